package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
	"github.com/spf13/cobra"
)

func showCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "show ID|last",
		Short: "Show one operation: its way through the states, and its result",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("want one ID, or last for the newest operation")
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
		trace, err := findTrace(ctx, s, args[0])
		if err != nil {
			return err
		}
		results, err := s.Results(ctx, []lm.TraceID{trace.ID})
		if err != nil {
			return err
		}
		costs, err := s.Spent(ctx, "op", string(trace.ID))
		if err != nil {
			return err
		}
		named := []lm.Trace{trace}
		if err := s.NameModels(ctx, named); err != nil {
			return err
		}
		due, err := s.Due(ctx, trace.ID)
		if err != nil {
			return err
		}
		if how == "json" {
			return printJSON(cmd.OutOrStdout(), struct {
				lm.Trace
				Due    time.Time  `json:"due,omitzero"` // of one that waits for a time
				Costs  *lua.Costs `json:"costs,omitempty"`
				Result *lm.Result `json:"result,omitempty"`
			}{named[0], due, recorded(costs), endedResult(results[0])})
		}
		printTrace(cmd.OutOrStdout(), named[0], results[0], costs, due)
		return nil
	})
}

// recorded is nil where nothing is: models without a declaration are not counted.
func recorded(c lua.Costs) *lua.Costs {
	if c.Requests == 0 {
		return nil
	}
	return &c
}

func endedResult(r lm.Result) *lm.Result {
	if r.Outcome == "" {
		return nil
	}
	return &r
}

// findTrace reads the trace of an ID, or the newest one.
func findTrace(ctx context.Context, s *lua.Store, arg string) (lm.Trace, error) {
	ids, err := namedIDs(ctx, s, []string{arg}, newestOperation)
	if err != nil {
		return lm.Trace{}, err
	}
	return s.Trace(ctx, ids[0])
}

// printTrace prints an operation; due is zero for one that waits for no time.
func printTrace(out io.Writer, t lm.Trace, r lm.Result, c lua.Costs, due time.Time) {
	state := t.State.String()
	switch t.Outcome {
	case lm.Succeeded:
		state += " " + paint(os.Stdout, green, string(t.Outcome))
	case "":
	default:
		state += " " + paint(os.Stdout, red, string(t.Outcome))
	}
	fmt.Fprintf(out, "%s  %s   kind %s   model %s   queue %s   attempts %d   crashes %d\n",
		t.ID, state, t.Kind, orDash(t.Model), t.Queue, t.Attempts, t.CrashesTotal)
	printTimeline(out, t)
	if !due.IsZero() {
		fmt.Fprintf(out, "  %s\n", dueText(due, time.Now()))
	}
	for _, way := range t.Route {
		fmt.Fprintf(out, "  route when it was set aside last: %s\n", way)
	}
	if t.RetryOf != "" {
		fmt.Fprintf(out, "  retry of %s\n", t.RetryOf)
	}
	if t.RetriedAs != "" {
		fmt.Fprintf(out, "  retried as %s\n", t.RetriedAs)
	}
	if t.Owner != "" {
		fmt.Fprintf(out, "  held by %s, last heartbeat %s ago\n", t.Owner, ago(t.Beat))
	}
	if r.Usage.Calls > 0 {
		fmt.Fprintf(out, "  usage: %d calls, %d tokens in, %d out\n", r.Usage.Calls, r.Usage.Input, r.Usage.Output)
	}
	if c.Requests > 0 {
		fmt.Fprintf(out, "  costs: %s\n", costsText(c))
	}
	if r.Model != "" && r.Model != t.Model {
		fmt.Fprintf(out, "  answered by %s\n", r.Model)
	}
	for _, way := range r.Route {
		fmt.Fprintf(out, "  route: %s\n", way)
	}
	if r.Err != nil {
		fmt.Fprintf(out, "  error: %s\n", paint(os.Stdout, red, r.Err.Error()))
	}
	if r.Outcome == lm.Succeeded {
		fmt.Fprintf(out, "\n%s\n", r.Text())
	}
}

// costsText is "$0.0012 in 3 calls, of which $0.0004 wasted by retry".
func costsText(c lua.Costs) string {
	text := fmt.Sprintf("%s in %d calls", dollars(c.USD), c.Requests)
	join := ", of which "
	for _, cause := range slices.Sorted(maps.Keys(c.Waste)) {
		text += join + dollars(c.Waste[cause]) + " wasted by " + cause
		join = ", "
	}
	return text
}

// after is a time since the trace began, of one width.
func after(d time.Duration) string { return fmt.Sprintf("+%-9s", fmt.Sprintf("%.3f s", d.Seconds())) }

func hopText(h lm.Hop) string {
	names := make([]string, len(h.Path))
	for i, s := range h.Path {
		names[i] = s.String()
	}
	text := strings.Join(names, ", ")
	if h.Worker != "" {
		text += " " + h.Worker
	}
	if h.Reason != "" {
		text += " (" + h.Reason + ")"
	}
	if h.Took.Std() >= time.Millisecond {
		text += "  after " + short(h.Took.Std())
	}
	return text
}
