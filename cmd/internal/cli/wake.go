package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
	"github.com/spf13/cobra"
)

// wakeFilter says which of the operations that wait between two tries are woken.
type wakeFilter struct {
	model, reason, queue string
	all                  bool
}

// narrow reports whether it says anything but all.
func (f *wakeFilter) narrow() bool { return f.model != "" || f.reason != "" || f.queue != "" }

// takes reports whether an operation is meant. A model's name is the request's, or
// that of what it waits for; a reason is the whole, or what follows the pool's name.
func (f *wakeFilter) takes(r *lua.Record) bool {
	_, waits := lm.WaitsFor(r.WaitsFor)
	_, reason, _ := strings.Cut(r.Reason, ": ")
	return r.State == lm.Retrying &&
		(f.model == "" || f.model == r.Model || f.model == waits) &&
		(f.reason == "" || f.reason == r.Reason || f.reason == reason) &&
		(f.queue == "" || f.queue == r.Queue)
}

func wakeCommand() *cobra.Command {
	var f wakeFilter
	var output string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "wake ID|last... | --model M | --reason R | --queue Q | --all",
		Short: "Bring back at once what is parked or waits to be tried again",
		Long: `Bring back at once what is parked or waits to be tried again, without counting an attempt: by ID, or all
that a filter takes. What waits for a model or pool comes back by itself when that can be called
again; waking it sooner has it look, and park again if nothing has changed. Scheduled operations
keep their start.`,
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) > 0 && (f.all || f.narrow() || dryRun):
				return usagef("give IDs, or --all or a filter, not both")
			case len(args) == 0 && !f.all && !f.narrow():
				return usagef("want IDs, --model, --reason, --queue, or --all; `lighterman ls --state RETRYING` lists what waits")
			case f.all && (f.model != "" || f.reason != ""):
				return usagef("give --all or a filter, not both (--all --queue Q takes all of a queue)")
			}
			return nil
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&f.model, "model", "", "all that name this model or pool, or wait for it")
	fs.StringVar(&f.reason, "reason", "", "all that were set aside for this reason, as show prints it: `cooldown`, provider, unknown_kind")
	fs.StringVar(&f.queue, "queue", "", "only those of this queue")
	fs.BoolVar(&f.all, "all", false, "all that wait between two tries")
	fs.BoolVar(&dryRun, "dry-run", false, "only say how many would be woken")
	fs.StringVarP(&output, "output", "o", "table", "table, json or id")
	return reading(cmd, func(ctx context.Context, s *lua.Store, args []string) error {
		how, err := validFormat(output, "table", "json", "id")
		if err != nil {
			return err
		}
		if len(args) > 0 {
			return wakeIDs(ctx, cmd, s, how, args)
		}
		return wakeMany(ctx, cmd, s, how, &f, dryRun)
	})
}

// wakeTexts say what became of one that was not woken.
var wakeTexts = map[lua.Woken]string{
	lua.WokenNot:       "is not parked: it is %s",
	lua.WokenScheduled: "is not parked: it is scheduled for its start",
	lua.WokenMoved:     "came back at the same moment",
}

// wokenRow is one line of what wake prints.
type wokenRow struct {
	ID    lm.TraceID `json:"id"`
	Woken bool       `json:"woken"`
	Why   string     `json:"error,omitempty"`
}

// wakeIDs wakes the operations of IDs, and fails when one was not.
func wakeIDs(ctx context.Context, cmd *cobra.Command, s *lua.Store, how format, args []string) error {
	ids, err := namedIDs(ctx, s, args, newestOperation)
	if err != nil {
		return err
	}
	woken, err := s.WakeIDs(ctx, ids)
	if err != nil {
		return err
	}
	var rows []wokenRow
	var errs []error
	for i, w := range woken {
		row := wokenRow{ID: ids[i], Woken: w == lua.WokenOK}
		if err := notWoken(ctx, s, ids[i], w); err != nil {
			row.Why = err.Error()
			errs = append(errs, err)
		}
		rows = append(rows, row)
	}
	return errors.Join(printWoken(cmd, how, rows), errors.Join(errs...))
}

// notWoken says why an operation was not woken; nil when it was.
func notWoken(ctx context.Context, s *lua.Store, id lm.TraceID, w lua.Woken) error {
	switch w { //nolint:exhaustive // the others have a text
	case lua.WokenOK:
		return nil
	case lua.WokenUnknown:
		return fmt.Errorf("%s: %w", id, lm.ErrNotFound)
	case lua.WokenNot:
		trace, err := s.Trace(ctx, id)
		if err != nil {
			return err
		}
		state := trace.State.String()
		if trace.Outcome != "" {
			state += " " + string(trace.Outcome)
		}
		return fmt.Errorf("%s "+wakeTexts[w], id, state)
	}
	return fmt.Errorf("%s %s", id, wakeTexts[w])
}

func printWoken(cmd *cobra.Command, how format, rows []wokenRow) error {
	if how == "json" {
		return printJSON(cmd.OutOrStdout(), rows)
	}
	for _, r := range rows {
		switch {
		case !r.Woken:
		case how == "id":
			fmt.Fprintln(cmd.OutOrStdout(), r.ID)
		default:
			fmt.Fprintf(cmd.OutOrStdout(), "%s  woken\n", r.ID)
		}
	}
	return nil
}

// wokenSum is what a bulk wake did, or would do.
type wokenSum struct {
	Found    int            `json:"found"`
	Woken    int            `json:"woken"` // the others came back by themselves meanwhile
	WaitsFor map[string]int `json:"waits_for"`
}

// wakeMany wakes all that a filter takes: first they are found, because what comes
// back leaves the set that is read.
func wakeMany(ctx context.Context, cmd *cobra.Command, s *lua.Store, how format, f *wakeFilter, dryRun bool) error {
	sum := wokenSum{WaitsFor: map[string]int{}}
	var ids []lm.TraceID
	for p := range s.Partitions() {
		err := s.Delayed(ctx, p, func(records []lua.Record) bool {
			for i := range records {
				if r := &records[i]; f.takes(r) {
					ids = append(ids, r.ID)
					sum.WaitsFor[orTime(r.WaitsFor)]++
				}
			}
			return true
		})
		if err != nil {
			return err
		}
	}
	sum.Found = len(ids)
	if !dryRun {
		woken, err := s.WakeIDs(ctx, ids)
		if err != nil {
			return err
		}
		for i, w := range woken {
			if w == lua.WokenOK {
				sum.Woken++
				if how == "id" {
					fmt.Fprintln(cmd.OutOrStdout(), ids[i])
				}
			}
		}
	}
	switch how {
	case "id":
		return nil
	case "json":
		return printJSON(cmd.OutOrStdout(), sum)
	}
	for _, waits := range slices.Sorted(maps.Keys(sum.WaitsFor)) {
		fmt.Fprintf(cmd.OutOrStdout(), "%6d  waited for %s\n", sum.WaitsFor[waits], waits)
	}
	if dryRun {
		fmt.Fprintf(cmd.OutOrStdout(), "%d would be woken\n", sum.Found)
	} else {
		fmt.Fprintf(cmd.OutOrStdout(), "%d woken\n", sum.Woken)
	}
	return nil
}

// orTime is what an operation waits for, for people.
func orTime(waits string) string {
	if waits == "" {
		return "their time"
	}
	return waits
}
