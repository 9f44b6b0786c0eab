package consumer

import (
	"context"
	"errors"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

// alone runs the last claim that the crash limit allows an operation: with
// nothing else in the process, so that innocent neighbours of one that kills its
// worker survive. The worker stops reading, hands over or finishes what it holds
// as in a drain, and only then starts it. A second such operation is put back.
func (c *Consumer) alone(ctx context.Context, h *hold, claim lm.Claim) {
	if !c.gate.shut() {
		c.end(h, lm.Result{}, lm.ErrHandOver, false)
		return
	}
	defer c.gate.open()
	c.log.Warn().Str("trace_id", string(h.claim.ID)).Int("crashes", h.claim.Crashes).Msg("at its crash limit: runs alone")
	c.clear(ctx, h)
	select {
	case <-c.gate.left:
		c.end(h, lm.Result{}, lm.ErrHandOver, false)
		return
	default:
	}
	stop, err := c.store.Advance(ctx, h.claim, lua.Advance{Start: true})
	switch {
	case stop != nil && err == nil:
		c.end(h, lm.Result{}, stop, false)
	case err != nil && errors.Is(err, lm.ErrFenced):
		c.end(h, lm.Result{}, err, false)
	case err != nil:
		c.end(h, lm.Result{}, lm.ErrHandOver, false)
	default:
		h.alone = true
		c.work(ctx, h, claim)
	}
}

// clear waits until everything but h has ended; at the drain timeout the rest is
// cancelled and put back.
func (c *Consumer) clear(ctx context.Context, h *hold) {
	others := func() []*hold {
		var list []*hold
		for _, o := range c.held.all(-1) {
			if o != h {
				list = append(list, o)
			}
		}
		return list
	}
	c.awaitGone(ctx, others, c.opts.DrainTimeout)
	if ctx.Err() != nil {
		return // h is lost or cancelled: no reason to take anything from its neighbours
	}
	c.takeBack(others())
	c.awaitGone(ctx, others, graceAfterCancel)
}
