package consumer

import (
	"context"
	"errors"

	"github.com/lighterman/lighterman/lua"
)

// maxHeirs bounds how many dead workers wait to be taken over by one watcher;
// more are found dead again by the next sample.
const maxHeirs = 64

// maxPages bounds how many pages of 100 entries are taken over from one worker
// and partition in one go.
const maxPages = 1000

// errNotNow ends a takeover while contact with a server is not what it should be.
var errNotNow = errors.New("no takeovers at present")

// heir is a dead worker, and whether all it left was taken over.
type heir struct {
	owner string
	whole bool
}

// bequeath has a dead worker taken over, once.
func (w *watch) bequeath(owner string) {
	if w.heirs[owner] {
		return
	}
	select {
	case w.dead <- owner:
		w.heirs[owner] = true
	default:
	}
}

// inherited takes the result of a takeover. What could not be finished is found
// dead again.
func (w *watch) inherited(h heir) {
	delete(w.heirs, h.owner)
	if !h.whole {
		return
	}
	w.judge.drop(h.owner)
	m := w.c.crew.get()
	m.others, m.watchers = except(m.others, h.owner), except(m.watchers, h.owner)
	w.c.crew.set(m)
}

// takeOver takes dead workers over, one after the other, beside the sampling,
// which must not be late.
func (w *watch) takeOver(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case owner := <-w.dead:
			whole := w.c.inherit(ctx, owner)
			select {
			case w.done <- heir{owner, whole}:
			case <-ctx.Done():
			}
		}
	}
}

// inherit takes over everything that is pending with a dead worker and then takes
// it off the roster. Dying at any point leaves the rest pending with the dead one
// or with this one, for the next to find, and the record on the roster. Another
// watcher that does the same is harmless: putback moves what is pending with its
// caller, and an entry is pending with one. It reports whether nothing is left.
func (c *Consumer) inherit(ctx context.Context, owner string) bool {
	on, err := c.store.OnRoster(ctx, owner)
	if err != nil {
		return false
	}
	if !on {
		return true // it ended in good order, or somebody was faster
	}
	c.log.Warn().Str("from", owner).Msg("worker is gone; taking over")
	queues := c.crew.get().queues[owner]
	errs := c.perShard(ctx, func(ctx context.Context, partitions []int) error {
		for _, p := range partitions {
			if err := c.inheritFrom(ctx, p, owner, queues); err != nil {
				c.log.Warn().Err(err).Str("from", owner).Int("partition", p).Msg("take over; trying again")
				return err
			}
			if ctx.Err() != nil || !c.contactWith(p).mayTakeOver() {
				return errNotNow
			}
		}
		return nil
	})
	if errors.Join(errs...) != nil {
		return false
	}
	c.failedTo(ctx, "retire", c.store.Retire(ctx, owner))
	return true
}

// inheritFrom takes over what is pending with a dead worker in one partition, page
// by page to the end, in all queues that it or this worker serves or the counts
// know.
func (c *Consumer) inheritFrom(ctx context.Context, partition int, owner string, queues []string) error {
	counts, err := c.store.Counts(ctx, partition)
	if err != nil {
		return err
	}
	streams := withQueues(withQueues(c.streams(partition), partition, counts.Queues()), partition, queues)
	for range maxPages {
		pending, err := c.store.PendingOf(ctx, owner, streams)
		c.contactWith(partition).note(err)
		if err != nil {
			return err
		}
		left := false
		for i, ids := range pending {
			if len(ids) == 0 || ctx.Err() != nil || !c.contactWith(partition).mayTakeOver() {
				continue
			}
			left = true
			if err := c.inheritPage(ctx, owner, streams[i], ids); err != nil {
				return err
			}
		}
		if !left {
			return nil
		}
	}
	return nil
}

// inheritPage takes entries to this worker and puts them back; once begun it is
// not cut off, or the entries would wait for a lease.
func (c *Consumer) inheritPage(ctx context.Context, owner string, st lua.Stream, ids []string) error {
	ctx = context.WithoutCancel(ctx)
	taken, err := c.store.Inherit(ctx, c.owner, st, ids)
	if err == nil {
		err = c.putBackIdle(ctx, lua.CausePresence, owner, taken)
	}
	if !c.serves(st.Queue) { // nobody's census looks there
		_, _ = c.store.Forget(ctx, st, []string{c.owner}) // at the next sweep else
	}
	return err
}
