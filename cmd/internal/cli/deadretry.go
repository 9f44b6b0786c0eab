package cli

import (
	"context"
	"errors"
	"slices"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/config"
	"github.com/lighterman/lighterman/lua"
	"github.com/spf13/cobra"
)

func deadRetry() *cobra.Command {
	b := &bulk{verb: "Retry"}
	cmd := &cobra.Command{
		Use:   "retry [ID|last...]",
		Short: "Have many failed operations done again, by reason, queue, kind and age",
		Long: `Have failed operations done again, as retry does: by ID, by a filter, or all. Entries that never were
operations (malformed, conflict, trace_lost) are left where they are. Acts on what is there when it
starts: what fails again meanwhile is not retried once more.`,
	}
	b.flags(cmd)
	return acting(cmd, func(ctx context.Context, cfg *config.Config, s *lua.Store, args []string) error {
		if err := b.checkArgs(cmd, args); err != nil {
			return err
		}
		if len(args) > 0 && !b.dryRun {
			return retryIDs(ctx, cmd, cfg, s, format(b.output), args, newestLetter)
		}
		letters, err := b.letters(ctx, cmd, s, args)
		if err != nil {
			return err
		}
		letters, stay := operations(letters)
		if b.dryRun {
			return b.look(cmd, letters)
		}
		if len(letters) > 0 {
			if err := b.goAhead(len(letters)); err != nil {
				return err
			}
		}
		t := newTally("retried")
		err = b.retry(ctx, cmd, cfg, s, letters, t)
		if stay > 0 {
			t.add("no operation", stay)
		}
		return errors.Join(t.print(cmd, b.output, "OUTCOME"), err)
	})
}

// operations leaves out what cannot be retried, and says how many.
func operations(letters []picked) ([]picked, int) {
	n := len(letters)
	letters = slices.DeleteFunc(letters, func(l picked) bool { return !l.operation })
	return letters, n - len(letters)
}

func (b *bulk) retry(ctx context.Context, cmd *cobra.Command, cfg *config.Config, s *lua.Store, letters []picked, t *tally) error {
	client := retrier(cfg, s)
	defer client.Close() //nolint:errcheck // the store is not its own
	bar := newProgress("retried", len(letters), len(letters) > inOneScript)
	defer bar.end()
	bad := newComplaints(cmd)
	for _, chunk := range chunks(letters, inOneScript) {
		ids := make([]lm.TraceID, len(chunk))
		for i, l := range chunk {
			ids[i] = l.id
		}
		for _, r := range client.RetryMany(ctx, ids) {
			switch {
			case r.Err == nil && r.Existing:
				t.add("retried before", 1)
			case r.Err == nil:
				t.add("retried", 1)
				if r.Dropped != nil {
					t.add("of these without their checkpoint", 1)
				}
			case errors.Is(r.Err, lm.ErrNotFound), errors.Is(r.Err, lua.ErrRequestGone):
				t.add("gone", 1)
			case errors.Is(r.Err, lua.ErrQueueFull):
				t.add("queue full", 1)
				bad.n++
			case bad.say(r.Err):
				t.add("failed", 1)
			}
		}
		bar.add(len(chunk), bad.n)
		if ctx.Err() != nil || bad.lost {
			break
		}
	}
	return bad.err(ctx, "dead letters were not retried; they are still there")
}
