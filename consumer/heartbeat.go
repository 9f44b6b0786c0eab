package consumer

import (
	"context"
	"sync"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

// beatShare is the part of a lease for which a beat may wait for its answer: a second
// one then still comes before the lease ends.
const beatShare = 0.4

// beat renews what is held, every Beat with jitter and when it is told, until ctx
// ends. The partitions of one shard go together, in one round trip, and no shard waits
// for another; a partition whose last beat is under way is asked when that is back.
func (c *Consumer) beat(ctx context.Context) {
	var beats sync.WaitGroup
	defer beats.Wait()
	under := beating{partitions: make(map[int]bool)}
	for c.nextBeat(ctx) {
		due := under.begin(c.held.byPartition())
		for _, partitions := range c.store.Shards(ctx) {
			holds := of(due, partitions)
			if len(holds) == 0 {
				continue
			}
			beats.Go(func() {
				c.renew(ctx, holds)
				if under.end(holds) {
					signal(c.beatNow)
				}
			})
		}
	}
}

// of picks what belongs to some partitions.
func of(holds map[int][]*hold, partitions []int) map[int][]*hold {
	some := make(map[int][]*hold)
	for _, p := range partitions {
		if h, ok := holds[p]; ok {
			some[p] = h
		}
	}
	return some
}

// beating knows which partitions have a beat under way: true for one that was wanted
// again meanwhile.
type beating struct {
	mu         sync.Mutex
	partitions map[int]bool
}

// begin returns the partitions that have none under way; they have one now.
func (b *beating) begin(holds map[int][]*hold) map[int][]*hold {
	b.mu.Lock()
	defer b.mu.Unlock()
	for p := range holds {
		if _, under := b.partitions[p]; under {
			b.partitions[p] = true
			delete(holds, p)
			continue
		}
		b.partitions[p] = false
	}
	return holds
}

// end reports whether one of the partitions was wanted again meanwhile.
func (b *beating) end(holds map[int][]*hold) (again bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for p := range holds {
		again = again || b.partitions[p]
		delete(b.partitions, p)
	}
	return again
}

// renew sends the beats of partitions of one shard. A lease runs from the sending,
// because the server may have renewed it just then; nothing later is certain.
func (c *Consumer) renew(ctx context.Context, holds map[int][]*hold) {
	sent := c.held.since()
	limited, cancel := context.WithTimeout(ctx, time.Duration(beatShare*float64(c.opts.Lease)))
	defer cancel()
	claims := make(map[int][]lua.Renewal, len(holds))
	for p, some := range holds {
		claims[p] = renewals(some)
	}
	beats, errs := c.store.HeartbeatAll(limited, c.owner, claims)
	for p, some := range holds {
		err := errs[p]
		if ctx.Err() == nil || err == nil {
			c.contactWith(p).note(err)
		}
		if err != nil {
			c.log.Warn().Err(err).Int("partition", p).Int("claims", len(some)).Msg("renew leases")
			continue
		}
		for i, h := range some {
			c.renewed(h, beats[p][i], sent)
		}
	}
}

// renewed takes what a beat said of one claim.
func (c *Consumer) renewed(h *hold, b lua.Beat, sent time.Duration) {
	switch b {
	case lua.BeatOK, lua.BeatFollowed, lua.BeatCancel, lua.BeatExpire:
		h.renewed.Store(int64(sent))
	case lua.BeatLost:
		h.cancel(lm.ErrFenced)
	default:
		c.log.Warn().Str("trace_id", string(h.claim.ID)).Str("answer", string(b)).Msg("a lease was not renewed")
	}
	switch b {
	case lua.BeatFollowed:
		h.followed.Store(true)
	case lua.BeatCancel:
		h.cancel(lm.ErrCancelRequested)
	case lua.BeatExpire:
		h.cancel(lm.ErrExpired)
	case lua.BeatOK, lua.BeatLost:
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
