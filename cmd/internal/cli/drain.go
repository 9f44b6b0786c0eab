package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lighterman/lighterman/lua"
	"github.com/spf13/cobra"
)

// rosterEvery is how often a waiting drain looks at the roster.
const rosterEvery = 200 * time.Millisecond

// drained is what came of draining one worker.
type drained struct {
	Owner string `json:"owner"`
	Name  string `json:"name"`
	Host  string `json:"host,omitempty"`
	PID   int    `json:"pid,omitempty"`
	Left  bool   `json:"left"` // the roster; false where nobody waited
	MS    int64  `json:"ms,omitempty"`
	Lost  bool   `json:"lost,omitempty"` // it fell silent instead
}

func drainCommand() *cobra.Command {
	var output string
	var noWait bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "drain WORKER",
		Short: "Have a worker drain and end, as SIGTERM does; by its name (all of that name) or owner",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("want one worker; workers lists them")
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	cmd.Flags().BoolVar(&noWait, "no-wait", false, "give the order and do not wait until the worker has ended")
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "wait no longer than this (exit 4; the drain goes on)")
	return reading(cmd, func(ctx context.Context, s *lua.Store, args []string) error {
		how, err := validFormat(output, "table", "json")
		if err != nil {
			return err
		}
		targets, err := drainTargets(ctx, s, args[0])
		if err != nil {
			return err
		}
		d := drainage{cmd: cmd, store: s, told: how == "table", workers: make([]drained, len(targets))}
		for i, w := range targets {
			d.workers[i] = drained{Owner: w.Owner, Name: w.Name, Host: w.Host, PID: w.PID}
			if err := s.DrainWorker(ctx, w.Owner); err != nil {
				return err
			}
			d.say("%s  told to drain; host %s, pid %d, %d running\n", w.Owner, orDash(w.Host), w.PID, w.Running)
		}
		if !noWait {
			err = d.wait(ctx, timeout)
		}
		if how == "json" {
			err = errors.Join(err, printJSON(cmd.OutOrStdout(), d.workers))
		}
		return err
	})
}

// drainTargets are the workers of a name, or the one of an owner.
func drainTargets(ctx context.Context, s *lua.Store, word string) ([]lua.WorkerRecord, error) {
	roster, _, err := s.Roster(ctx)
	if err != nil {
		return nil, err
	}
	var targets []lua.WorkerRecord
	var names []string
	for _, w := range roster {
		names = append(names, w.Name, w.Owner)
		if w.Name == word || w.Owner == word {
			targets = append(targets, w)
		}
	}
	if len(targets) == 0 {
		return nil, usagef("%q: no such worker%s (workers lists them)", clipText(word), didYouMean(word, names))
	}
	return targets, nil
}

// drainage waits for workers to end.
type drainage struct {
	cmd     *cobra.Command
	store   *lua.Store
	told    bool // in words, as it happens
	workers []drained
}

func (d *drainage) say(format string, args ...any) {
	if d.told {
		fmt.Fprintf(d.cmd.OutOrStdout(), format, args...)
	}
}

// wait returns when all have left the roster or fallen silent; those that did are an
// error in the end.
func (d *drainage) wait(ctx context.Context, timeout time.Duration) error {
	began := time.Now()
	if timeout > 0 {
		limited, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		ctx = limited
	}
	bar := newProgress("drained", len(d.workers), d.told)
	defer bar.end()
	for open := len(d.workers); open > 0; {
		ended, lost, err := d.look(ctx, time.Since(began))
		if err != nil {
			return d.timedOut(ctx, open, err)
		}
		open -= ended
		bar.add(ended, lost)
		if open == 0 {
			break
		}
		select {
		case <-ctx.Done():
			return d.timedOut(ctx, open, ctx.Err())
		case <-time.After(rosterEvery):
		}
	}
	var errs []error
	for _, w := range d.workers {
		if w.Lost {
			errs = append(errs, fmt.Errorf("%s has been silent for over %s: what it held is taken over from it", w.Owner, silentAfter))
		}
	}
	return errors.Join(errs...)
}

func (d *drainage) timedOut(ctx context.Context, open int, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return exit(exitTimeout, fmt.Errorf("timed out: %d of %d still drain", open, len(d.workers)))
	}
	return err
}

// look compares the workers with the roster once: how many ended since the last
// time, and how many of all are lost. The order of one that has ended is taken
// down; mostly it did that itself.
func (d *drainage) look(ctx context.Context, after time.Duration) (ended, lost int, err error) {
	roster, now, err := d.store.Roster(ctx)
	if err != nil {
		return 0, 0, err
	}
	on := make(map[string]lua.WorkerRecord, len(roster))
	for _, w := range roster {
		on[w.Owner] = w
	}
	for i := range d.workers {
		w := &d.workers[i]
		record, there := on[w.Owner]
		silent := there && now.Sub(record.Seen) > silentAfter
		if w.Left || w.Lost || there && !silent {
			continue
		}
		w.Left, w.Lost, w.MS = !there, silent, after.Milliseconds()
		ended++
		if err := d.store.Drained(ctx, w.Owner); err != nil {
			return ended, 0, err
		}
		if w.Left {
			d.say("%s  has ended, %s after the order\n", w.Owner, short(after))
		}
	}
	for _, w := range d.workers {
		if w.Lost {
			lost++
		}
	}
	return ended, lost, nil
}
