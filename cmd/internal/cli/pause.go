package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
	"github.com/spf13/cobra"
)

// queueOrder is what came of pausing or resuming one queue.
type queueOrder struct {
	Queue   string `json:"queue"`
	Paused  bool   `json:"paused"` // as it is now
	Changed bool   `json:"changed"`
	Known   bool   `json:"known"` // somebody serves it, or something was ever in it
	Waiting int64  `json:"waiting"`
	Running int64  `json:"running"`
}

func pauseCommand() *cobra.Command {
	return queueCommand("pause", "Have no worker read a queue any more; what runs goes on, and the door stays open", true)
}

// queueCommand is pause or resume, which differ in the order alone.
func queueCommand(name, about string, paused bool) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   name + " QUEUE...",
		Short: about,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("want one queue or more; status lists them")
			}
			var errs []error
			for _, q := range args {
				errs = append(errs, lm.ValidName(q))
			}
			if err := errors.Join(errs...); err != nil {
				return usagef("%w", err)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return reading(cmd, func(ctx context.Context, s *lua.Store, args []string) error {
		how, err := validFormat(output, "table", "json")
		if err != nil {
			return err
		}
		orders, known, err := giveOrders(ctx, s, args, paused)
		if err != nil {
			return err
		}
		for _, o := range orders {
			if !o.Known {
				fmt.Fprintf(stderr, "%s: %s: no worker serves this queue and nothing was ever in it%s\n", name, o.Queue, didYouMean(o.Queue, known))
			}
		}
		if how == "json" {
			return printJSON(cmd.OutOrStdout(), orders)
		}
		for _, o := range orders {
			fmt.Fprintln(cmd.OutOrStdout(), o.text())
		}
		return nil
	})
}

// giveOrders pauses or resumes queues; known are the queues that there are.
func giveOrders(ctx context.Context, s *lua.Store, queues []string, paused bool) (orders []queueOrder, known []string, err error) {
	st, err := readStatus(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	known, err = servedQueues(ctx, s)
	if err != nil {
		return nil, nil, err
	}
	standing := make(map[string]queueStatus)
	for _, q := range st.Queues {
		standing[q.Queue] = q
		if q.known {
			known = append(known, q.Queue)
		}
	}
	for _, q := range queues {
		o := queueOrder{Queue: q, Paused: paused, Known: slices.Contains(known, q), Waiting: standing[q].Waiting, Running: standing[q].Running}
		was := !standing[q].PausedSince.IsZero()
		if paused {
			err = s.PauseQueue(ctx, q)
		} else {
			_, err = s.ResumeQueue(ctx, q)
		}
		if err != nil {
			return nil, nil, err
		}
		o.Changed = was != paused
		orders = append(orders, o)
	}
	return orders, known, nil
}

func (o queueOrder) text() string {
	done := map[bool]string{true: "paused", false: "resumed"}[o.Paused]
	if !o.Changed {
		done = map[bool]string{true: "was paused already", false: "was not paused"}[o.Paused]
	}
	return fmt.Sprintf("%s  %s; %d waiting, %d running", o.Queue, done, o.Waiting, o.Running)
}

// servedQueues are the queues that the workers of the roster serve.
func servedQueues(ctx context.Context, s *lua.Store) ([]string, error) {
	roster, _, err := s.Roster(ctx)
	if err != nil {
		return nil, err
	}
	var queues []string
	for _, w := range roster {
		for _, q := range w.Queues {
			name, _, _ := strings.Cut(q, ":") // a weight may follow
			queues = append(queues, name)
		}
	}
	return queues, nil
}

// didYouMean is the hint at the nearest of some words, or empty.
func didYouMean(word string, words []string) string {
	if near := lm.DidYouMean(word, words); near != "" {
		return "; did you mean " + near + "?"
	}
	return ""
}
