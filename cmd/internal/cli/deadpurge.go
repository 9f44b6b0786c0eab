package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/lighterman/lighterman/lua"
	"github.com/spf13/cobra"
)

func deadPurge() *cobra.Command {
	b := &bulk{verb: "Purge"}
	cmd := &cobra.Command{
		Use:   "purge [ID|last...]",
		Short: "Forget dead letters, with all that their operations left",
		Long: `Forget dead letters by ID, by a filter, or all: the entry, and the failed operation's trace, request,
checkpoint, result, frames and idempotency key. Nothing brings them back; the ID and the key may be
used again. Asks on a terminal; elsewhere it needs --yes.`,
	}
	b.flags(cmd)
	return reading(cmd, func(ctx context.Context, s *lua.Store, args []string) error {
		if err := b.checkArgs(cmd, args); err != nil {
			return err
		}
		if !b.yes && !b.dryRun && !canAsk() {
			return usagef("nobody can be asked here: --yes purges, --dry-run only says what would go")
		}
		letters, err := b.letters(ctx, cmd, s, args)
		if err != nil {
			return err
		}
		if b.dryRun {
			return b.look(cmd, letters)
		}
		if len(letters) > 0 {
			if err := b.goAhead(len(letters)); err != nil {
				return err
			}
		}
		t := newTally("purged")
		err = b.purge(ctx, cmd, s, letters, t)
		return errors.Join(t.print(cmd, b.output, "OUTCOME"), err)
	})
}

func (b *bulk) purge(ctx context.Context, cmd *cobra.Command, s *lua.Store, letters []picked, t *tally) error {
	bar := newProgress("purged", len(letters), len(letters) > inOneScript)
	defer bar.end()
	bad := newComplaints(cmd)
	for _, chunk := range chunks(letters, inOneScript) {
		some := make([]lua.DeadLetter, len(chunk))
		for i, l := range chunk {
			some[i] = lua.DeadLetter{ID: l.id, Entry: l.entry}
		}
		answers, errs, err := s.Purge(ctx, chunk[0].partition, some)
		if err != nil {
			answers, errs = make([]lua.Purged, len(chunk)), slices.Repeat([]error{err}, len(chunk))
		}
		for i, answer := range answers {
			switch {
			case errs[i] != nil:
				if bad.say(fmt.Errorf("%s: %w", chunk[i].id, errs[i])) {
					t.add("failed", 1)
				}
			case answer == lua.PurgedEntry:
				t.add("entry only", 1)
			case answer == lua.PurgedGone:
				t.add("gone before", 1)
			default:
				t.add("purged", 1)
			}
		}
		bar.add(len(chunk), bad.n)
		if ctx.Err() != nil || bad.lost {
			break
		}
	}
	return bad.err(ctx, "dead letters were not purged")
}
