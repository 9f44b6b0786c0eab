package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
	"github.com/spf13/cobra"
)

// queueStatus is how one queue stands over all partitions.
type queueStatus struct {
	Queue   string `json:"queue"`
	Waiting int64  `json:"waiting"`
	Running int64  `json:"running"`
	Delayed int64  `json:"delayed"`

	PausedSince time.Time `json:"paused_since,omitzero"`

	known bool // something was ever in it
}

// consumerStatus is one consumer over all streams.
type consumerStatus struct {
	Consumer string     `json:"consumer"`
	State    string     `json:"state"` // as of its worker: ready, draining, silent; gone: it is on no roster
	Pending  int64      `json:"pending"`
	Idle     lm.Seconds `json:"idle_seconds"`
}

type fleetStatus struct {
	Queues    []queueStatus    `json:"queues"`
	Succeeded int64            `json:"succeeded"`
	Failed    int64            `json:"failed"`
	Cancelled int64            `json:"cancelled"`
	Expired   int64            `json:"expired"`
	Consumers []consumerStatus `json:"consumers"`
}

func statusCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{Use: "status", Short: "How the queues stand, and who consumes", Args: noArgs}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return reading(cmd, func(ctx context.Context, s *lua.Store, _ []string) error {
		how, err := validFormat(output, "table", "json")
		if err != nil {
			return err
		}
		st, err := readStatus(ctx, s)
		if err != nil {
			return err
		}
		if how == "json" {
			return printJSON(cmd.OutOrStdout(), st)
		}
		return printStatus(cmd, st)
	})
}

func readStatus(ctx context.Context, s *lua.Store) (fleetStatus, error) {
	st := fleetStatus{Queues: []queueStatus{}, Consumers: []consumerStatus{}}
	queues := make(map[string]*queueStatus)
	consumers := make(map[string]*consumerStatus)
	all, err := s.AllCounts(ctx)
	if err != nil {
		return st, err
	}
	for _, counts := range all {
		st.Succeeded += counts["succeeded"]
		st.Failed += counts["failed"]
		st.Cancelled += counts["cancelled"]
		st.Expired += counts["expired"]
		for _, q := range counts.Queues() {
			if queues[q] == nil {
				queues[q] = &queueStatus{Queue: q, known: true}
			}
			queues[q].Waiting += counts["waiting:"+q]
			queues[q].Running += counts["running:"+q]
			queues[q].Delayed += counts["delayed:"+q]
		}
	}
	if err := addConsumers(ctx, s, streamsOf(all), consumers); err != nil {
		return st, err
	}
	if err := addStates(ctx, s, consumers); err != nil {
		return st, err
	}
	if err := addPauses(ctx, s, queues); err != nil {
		return st, err
	}
	for _, q := range queues {
		st.Queues = append(st.Queues, *q)
	}
	for _, c := range consumers {
		st.Consumers = append(st.Consumers, *c)
	}
	slices.SortFunc(st.Queues, func(a, b queueStatus) int { return cmp.Compare(a.Queue, b.Queue) })
	slices.SortFunc(st.Consumers, func(a, b consumerStatus) int { return cmp.Compare(a.Consumer, b.Consumer) })
	return st, nil
}

// addPauses notes which queues are paused, those that nothing was ever in included.
func addPauses(ctx context.Context, s *lua.Store, to map[string]*queueStatus) error {
	orders, err := s.Orders(ctx)
	for q, since := range orders.Paused {
		if to[q] == nil {
			to[q] = &queueStatus{Queue: q}
		}
		to[q].PausedSince = since
	}
	return err
}

// streamsOf are the streams of all queues that the partitions' counts know.
func streamsOf(all []lua.Counts) (streams []lua.Stream) {
	for p, counts := range all {
		for _, q := range counts.Queues() {
			streams = append(streams, lua.Stream{Partition: p, Queue: q}, lua.Stream{Partition: p, Queue: q, Resume: true})
		}
	}
	return streams
}

func addConsumers(ctx context.Context, s *lua.Store, streams []lua.Stream, to map[string]*consumerStatus) error {
	list, err := s.AllConsumers(ctx, streams)
	for _, c := range list {
		known := to[c.Name]
		if known == nil {
			known = &consumerStatus{Consumer: c.Name, Idle: lm.Seconds(c.Idle)}
			to[c.Name] = known
		}
		known.Pending += c.Pending
		known.Idle = min(known.Idle, lm.Seconds(c.Idle))
	}
	return err
}

// addStates tells the consumers of living workers from those that dead ones left.
func addStates(ctx context.Context, s *lua.Store, to map[string]*consumerStatus) error {
	roster, now, err := s.Roster(ctx)
	for _, c := range to {
		c.State = "gone"
	}
	for _, w := range roster {
		if c := to[w.Owner]; c != nil {
			c.State = workerState(w, now)
		}
	}
	return err
}

func printStatus(cmd *cobra.Command, st fleetStatus) error {
	out := cmd.OutOrStdout()
	t := newTable(out, "QUEUE", "WAITING", "RUNNING", "DELAYED", "PAUSED")
	for _, q := range st.Queues {
		paused := "-"
		if !q.PausedSince.IsZero() {
			paused = "PAUSED since " + q.PausedSince.Local().Format(time.DateTime)
		}
		t.row(q.Queue, q.Waiting, q.Running, q.Delayed, paused)
	}
	if err := t.flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nended: %d succeeded, %d failed, %d cancelled, %d expired\n\n", st.Succeeded, st.Failed, st.Cancelled, st.Expired)
	t = newTable(out, "CONSUMER", "STATE", "PENDING", "LAST SEEN")
	for _, c := range st.Consumers {
		t.row(c.Consumer, c.State, c.Pending, short(c.Idle.Std())+" ago")
	}
	if len(st.Consumers) == 0 {
		fmt.Fprintln(out, "no worker seen yet; one shows up with the first work it reads")
		return nil
	}
	return t.flush()
}
