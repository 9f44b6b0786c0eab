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

func listCommand() *cobra.Command {
	var output, state, queue string
	var most int
	cmd := &cobra.Command{Use: "ls", Short: "List operations, newest first", Args: noArgs}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table, json, jsonl or id")
	cmd.Flags().StringVar(&state, "state", "", "only those in this state, as QUEUED or COMPLETED")
	cmd.Flags().StringVar(&queue, "queue", "", "only those of this queue")
	cmd.Flags().IntVarP(&most, "n", "n", 20, "at most so many")
	return reading(cmd, func(ctx context.Context, s *lua.Store, _ []string) error {
		how, err := validFormat(output, "table", "json", "jsonl", "id")
		if err != nil {
			return err
		}
		state = strings.ToUpper(state)
		if err := errors.Join(validState(state), positive("-n", most)); err != nil {
			return err
		}
		f := lua.Filter{Queue: queue}
		if state != "" {
			f.State, _ = lm.ParseState(state) // valid, as above
		}
		traces, err := s.Newest(ctx, f, most)
		if err != nil {
			return err
		}
		if err := s.NameModels(ctx, traces); err != nil {
			return err
		}
		return printTraces(cmd, how, traces)
	})
}

// validState checks --state; empty is any.
func validState(state string) error {
	var names []string
	for s := lm.Received; s <= lm.Reclaimed; s++ {
		names = append(names, s.String())
	}
	if state == "" || slices.Contains(names, state) {
		return nil
	}
	hint := ""
	if near := lm.DidYouMean(state, names); near != "" {
		hint = "; did you mean " + near + "?"
	}
	return usagef("--state %q: unknown%s (states: %s)", clipText(state), hint, strings.Join(names, ", "))
}

func printTraces(cmd *cobra.Command, how format, traces []lm.Trace) error {
	out := cmd.OutOrStdout()
	switch how {
	case "json":
		return printJSON(out, traces)
	case "jsonl":
		return printLines(out, traces)
	case "id":
		for _, t := range traces {
			fmt.Fprintln(out, t.ID)
		}
		return nil
	}
	tab := newTable(out, "ID", "STATE", "OUTCOME", "QUEUE", "KIND", "MODEL", "ATTEMPTS", "CRASHES", "AGE", "WORKER").least("WORKER", "KIND", "CRASHES", "ATTEMPTS", "QUEUE", "MODEL")
	for _, t := range traces {
		tab.row(t.ID, t.State, orDash(string(t.Outcome)), t.Queue, t.Kind, orDash(t.Model), t.Attempts, t.CrashesTotal, ago(t.Created), orDash(t.Owner))
	}
	return tab.flush()
}
