package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
	"github.com/spf13/cobra"
)

func deadCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "dead", Short: "Operations set aside for people", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	cmd.AddCommand(deadList(), deadShow(), deadRetry(), deadPurge())
	return cmd
}

func deadList() *cobra.Command {
	var output string
	var most int
	var filter deadFilter
	cmd := &cobra.Command{Use: "ls", Short: "List dead letters with their reason, newest first", Args: noArgs}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table, json, jsonl or id")
	cmd.Flags().IntVarP(&most, "n", "n", 20, "at most so many per partition")
	filter.add(cmd.Flags())
	return reading(cmd, func(ctx context.Context, s *lua.Store, _ []string) error {
		how, err := validFormat(output, "table", "json", "jsonl", "id")
		if err != nil {
			return err
		}
		if err := errors.Join(positive("-n", most), filter.check(time.Now())); err != nil {
			return err
		}
		letters, err := deadLetters(ctx, s, &filter, most)
		if err != nil {
			return err
		}
		out := cmd.OutOrStdout()
		switch how {
		case "json":
			return printJSON(out, letters)
		case "jsonl":
			return printLines(out, letters)
		case "id":
			for _, d := range letters {
				fmt.Fprintln(out, d.ID)
			}
			return nil
		}
		t := newTable(out, "ID", "REASON", "STATE", "QUEUE", "KIND", "AGE", "RETRY", "ERROR").least("RETRY", "KIND", "QUEUE", "STATE", "ERROR")
		for _, d := range letters {
			t.row(d.ID, d.Reason, orDash(d.State), orDash(d.Queue), orDash(d.Kind), ago(d.At), retryText(d.RetryOf, d.RetriedAs), oneLine(deadText(d.Error), 60))
		}
		return t.flush()
	})
}

// retryText says what an operation repeats, and what repeats it.
func retryText(of, as lm.TraceID) string {
	var parts []string
	if of != "" {
		parts = append(parts, "of "+string(of))
	}
	if as != "" {
		parts = append(parts, "retried as "+string(as))
	}
	return orDash(strings.Join(parts, ", "))
}

// deadLetters lists the newest letters of each partition that pass a filter.
func deadLetters(ctx context.Context, s *lua.Store, filter *deadFilter, most int) ([]lua.DeadLetter, error) {
	letters := []lua.DeadLetter{}
	for p := range s.Partitions() {
		found := 0
		err := eachDead(ctx, s, p, filter, true, func(d lua.DeadLetter) bool {
			letters = append(letters, d)
			found++
			return found < most
		})
		if err != nil {
			return nil, err
		}
	}
	return letters, s.Related(ctx, letters)
}

func deadShow() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show ID|last",
		Short: "Show one dead letter: why, from which state, and its way there",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("want one ID, or last for the newest; dead ls lists them")
			}
			return nil
		},
	}
	return reading(cmd, func(ctx context.Context, s *lua.Store, args []string) error {
		ids, err := namedIDs(ctx, s, args, newestLetter)
		if err != nil {
			return err
		}
		id := ids[0]
		letters, err := s.Dead(ctx, id.Partition(), 100_000)
		if err != nil {
			return err
		}
		out := cmd.OutOrStdout()
		found := false
		for _, d := range letters {
			if d.ID == id {
				found = true
				fmt.Fprintf(out, "%s  %s ago  reason %s   last state %s   worker %s\n  error: %s\n", d.ID, ago(d.At), d.Reason, orDash(d.State), orDash(d.Worker), orDash(deadText(d.Error)))
				if d.Raw != "" {
					fmt.Fprintf(out, "  raw fields: %s\n", d.Raw)
				}
			}
		}
		trace, err := s.Trace(ctx, id)
		if !found {
			if trace.RetriedAs != "" {
				return fmt.Errorf("%s is no dead letter any more: retried as %s", id, trace.RetriedAs)
			}
			return fmt.Errorf("%s is no dead letter; dead ls lists them", id)
		}
		if err == nil {
			results, err := s.Results(ctx, []lm.TraceID{id})
			if err != nil {
				return err
			}
			costs, err := s.Spent(ctx, "op", string(id))
			if err != nil {
				return err
			}
			results[0].Err = nil // told above
			printTrace(out, trace, results[0], costs, time.Time{})
		}
		return nil
	})
}

// deadText is the message of a dead letter's error, without its kind, which is
// the reason beside it.
func deadText(stored string) string {
	var e lm.Error
	if json.Unmarshal([]byte(stored), &e) != nil || e.Err == nil {
		return stored
	}
	return e.Err.Error()
}

// oneLine keeps a text to one line of a table.
func oneLine(s string, most int) string {
	runes := []rune(s)
	for i, r := range runes {
		if r < ' ' {
			runes[i] = ' '
		}
	}
	if len(runes) > most {
		return string(runes[:most-3]) + "..."
	}
	return string(runes)
}
