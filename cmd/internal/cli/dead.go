package cli

import (
	"context"
	"encoding/json"
	"fmt"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
	"github.com/spf13/cobra"
)

func deadCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "dead", Short: "Operations set aside for people", Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() }}
	cmd.AddCommand(deadList(), deadShow())
	return cmd
}

func deadList() *cobra.Command {
	var output string
	var most int
	cmd := &cobra.Command{Use: "ls", Short: "List dead letters with their reason, newest first", Args: noArgs}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table, json, jsonl or id")
	cmd.Flags().IntVarP(&most, "n", "n", 20, "at most so many per partition")
	return reading(cmd, func(ctx context.Context, s *lua.Store, _ []string) error {
		how, err := validFormat(output, "table", "json", "jsonl", "id")
		if err != nil {
			return err
		}
		if err := positive("-n", most); err != nil {
			return err
		}
		letters, err := deadLetters(ctx, s, most)
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
		t := newTable(out, "ID", "REASON", "STATE", "QUEUE", "KIND", "AGE", "ERROR")
		for _, d := range letters {
			t.row(d.ID, d.Reason, orDash(d.State), orDash(d.Queue), orDash(d.Kind), ago(d.At), oneLine(deadText(d.Error), 60))
		}
		return t.flush()
	})
}

func deadLetters(ctx context.Context, s *lua.Store, most int) ([]lua.DeadLetter, error) {
	letters := []lua.DeadLetter{}
	for p := range s.Partitions() {
		some, err := s.Dead(ctx, p, most)
		if err != nil {
			return nil, err
		}
		letters = append(letters, some...)
	}
	return letters, nil
}

func deadShow() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show one dead letter: why, from which state, and its way there",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("want one ID; dead ls lists them")
			}
			return nil
		},
	}
	return reading(cmd, func(ctx context.Context, s *lua.Store, args []string) error {
		id, err := lm.ParseTraceID(args[0])
		if err != nil {
			return usagef("%w", err)
		}
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
		if !found {
			return fmt.Errorf("%s is no dead letter; dead ls lists them", id)
		}
		if trace, err := s.Trace(ctx, id); err == nil {
			results, err := s.Results(ctx, []lm.TraceID{id})
			if err != nil {
				return err
			}
			results[0].Err = nil // told above
			printTrace(out, trace, results[0])
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
