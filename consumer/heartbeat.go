package consumer

import (
	"context"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

// beat renews what is held, every Beat with jitter and when it is told, until ctx
// ends.
func (c *Consumer) beat(ctx context.Context) {
	for c.nextBeat(ctx) {
		for p := range c.store.Partitions() {
			if holds := c.held.all(p); len(holds) > 0 {
				c.renew(ctx, p, holds)
			}
		}
	}
}

// renew sends one partition's beat. A lease runs from the sending, because the
// server may have renewed it just then; nothing later is certain.
func (c *Consumer) renew(ctx context.Context, partition int, holds []*hold) {
	sent := c.held.since()
	limited, cancel := context.WithTimeout(ctx, c.opts.Lease/2)
	defer cancel()
	beats, err := c.store.Heartbeat(limited, partition, c.owner, renewals(holds))
	if ctx.Err() == nil || err == nil {
		c.contact.note(err)
	}
	if err != nil {
		c.log.Warn().Err(err).Int("claims", len(holds)).Msg("renew leases")
		return
	}
	for i, b := range beats {
		switch h := holds[i]; b {
		case lua.BeatFollowed:
			h.followed.Store(true)
			h.renewed.Store(int64(sent))
		case lua.BeatOK:
			h.renewed.Store(int64(sent))
		case lua.BeatCancel:
			h.renewed.Store(int64(sent))
			h.cancel(lm.ErrCancelRequested)
		case lua.BeatExpire:
			h.renewed.Store(int64(sent))
			h.cancel(lm.ErrExpired)
		case lua.BeatLost:
			h.cancel(lm.ErrFenced)
		}
	}
}

// watchLeases ends the work of every claim whose lease ran out without a
// renewal: somebody else may have it by now. It measures by the monotonic clock,
// also after the process was stopped for a while.
func (c *Consumer) watchLeases(ctx context.Context) {
	for pause(ctx, max(c.opts.Lease/20, 10*time.Millisecond)) {
		now := c.held.since()
		for _, h := range c.held.all(-1) {
			if now-time.Duration(h.renewed.Load()) > c.opts.Lease {
				h.cancel(ErrLeaseEnded)
			}
		}
	}
}
