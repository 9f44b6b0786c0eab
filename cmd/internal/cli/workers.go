package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
	"github.com/spf13/cobra"
)

// silentAfter is how long a worker may say nothing before it is called silent: a
// few times the interval in which workers announce themselves.
const silentAfter = 30 * time.Second

// pendingMost bounds how many operations of a stream --ops looks at.
const pendingMost = 1000

// workerStatus is one worker of the roster as it is shown.
type workerStatus struct {
	lua.WorkerRecord
	State      string            `json:"state"` // ready, draining or silent
	Operations []workerOperation `json:"operations,omitempty"`
}

// workerOperation is an operation that a worker has.
type workerOperation struct {
	ID      lm.TraceID `json:"id"`
	State   string     `json:"state"`
	Queue   string     `json:"queue"`
	Kind    string     `json:"kind,omitempty"`
	Model   string     `json:"model,omitempty"`
	Created time.Time  `json:"created"`
}

func workersCommand() *cobra.Command {
	var output string
	var ops bool
	cmd := &cobra.Command{Use: "workers", Short: "The workers of the fleet, and what they do", Args: noArgs}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	cmd.Flags().BoolVar(&ops, "ops", false, fmt.Sprintf("list the operations that each has, of the oldest %d of each queue", pendingMost))
	return reading(cmd, func(ctx context.Context, s *lua.Store, _ []string) error {
		how, err := validFormat(output, "table", "json")
		if err != nil {
			return err
		}
		workers, now, err := readWorkers(ctx, s)
		if err != nil {
			return err
		}
		if ops {
			if err := addOperations(ctx, s, workers); err != nil {
				return err
			}
		}
		if how == "json" {
			return printJSON(cmd.OutOrStdout(), workers)
		}
		if err := printWorkers(cmd, workers, now); err != nil {
			return err
		}
		return printGaps(ctx, cmd.OutOrStdout(), s, workers, now)
	})
}

// readWorkers reads the roster, what each worker holds now (its record is a few
// seconds old), and the server's time.
func readWorkers(ctx context.Context, s *lua.Store) ([]workerStatus, time.Time, error) {
	roster, now, err := s.Roster(ctx)
	if err != nil {
		return nil, now, err
	}
	counts, err := s.AllCounts(ctx)
	if err != nil {
		return nil, now, err
	}
	holding, err := s.Holding(ctx, streamsOf(counts))
	workers := make([]workerStatus, len(roster))
	for i, r := range roster {
		r.Running = holding[r.Owner]
		workers[i] = workerStatus{WorkerRecord: r, State: workerState(r, now)}
	}
	return workers, now, err
}

func workerState(r lua.WorkerRecord, now time.Time) string {
	switch {
	case now.Sub(r.Seen) > silentAfter:
		return "silent"
	case r.Draining:
		return "draining"
	default:
		return "ready"
	}
}

// addOperations finds what each worker has by the entries that are pending with it.
func addOperations(ctx context.Context, s *lua.Store, workers []workerStatus) error {
	at := make(map[string]*workerStatus, len(workers))
	for i := range workers {
		at[workers[i].Owner] = &workers[i]
	}
	for p := range s.Partitions() {
		counts, err := s.Counts(ctx, p)
		if err != nil {
			return err
		}
		for _, q := range counts.Queues() {
			for _, resume := range []bool{true, false} {
				held, err := s.Pending(ctx, lua.Stream{Partition: p, Queue: q, Resume: resume}, pendingMost)
				if err != nil {
					return err
				}
				for _, h := range held {
					if w, t := at[h.Consumer], h.Trace; w != nil && t.Owner == h.Consumer {
						w.Operations = append(w.Operations, workerOperation{ID: t.ID, State: t.State.String(), Queue: t.Queue, Kind: t.Kind, Model: t.Model, Created: t.Created})
					}
				}
			}
		}
	}
	return nil
}

func printWorkers(cmd *cobra.Command, workers []workerStatus, now time.Time) error {
	out := cmd.OutOrStdout()
	if len(workers) == 0 {
		fmt.Fprintln(out, "no worker runs")
		return nil
	}
	t := newTable(out, "NAME", "OWNER", "HOST", "PID", "STATE", "RUNNING", "QUEUES", "UPTIME", "SEEN").least("HOST", "QUEUES", "UPTIME", "PID", "SEEN", "OWNER")
	for _, w := range workers {
		uptime := "-"
		if !w.Started.IsZero() {
			uptime = short(now.Sub(w.Started))
		}
		t.row(orDash(w.Name), w.Owner, orDash(w.Host), w.PID, w.State, fmt.Sprintf("%d/%d", w.Running, w.Slots), orDash(strings.Join(w.Queues, " ")), uptime, short(now.Sub(w.Seen))+" ago")
		for _, o := range w.Operations {
			t.row("", "  "+string(o.ID), o.State, "", o.Queue, orDash(o.Kind), orDash(o.Model), short(now.Sub(o.Created)), "")
		}
	}
	return t.flush()
}

// printGaps tells of workers that lack what others of their queue can run.
func printGaps(ctx context.Context, out io.Writer, s *lua.Store, workers []workerStatus, now time.Time) error {
	records := make([]lua.WorkerRecord, len(workers))
	for i := range workers {
		records[i] = workers[i].WorkerRecord
	}
	gaps, err := readGaps(ctx, s, records, now)
	if err == nil && len(gaps) > 0 {
		fmt.Fprintf(out, "\nnot alike: %s\n", joinGaps(gaps))
	}
	return err
}
