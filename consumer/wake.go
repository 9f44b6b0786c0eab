package consumer

import (
	"context"
	"time"
)

// Waits says when what parked operations wait for can be had again. Its methods are
// called concurrently.
type Waits interface {
	// Ready says how many operations that wait for a target may come back now, and
	// that only those parked before a time may: later ones were refused for another
	// reason than the one that is over. 0: none, or it knows nothing of the target. It
	// is asked about once a second for as long as somebody waits.
	Ready(ctx context.Context, target string) (room int, before time.Time)
}

// wake brings back what a partition's parked operations no longer have to wait for,
// the oldest first. The tick names what is waited for, so that one worker of the fleet
// does it in each interval, and a change of which nobody was told is found as well. A
// second worker that does the same at the same time finds nothing left to move.
func (c *Consumer) wake(ctx context.Context, partition int, targets []string) {
	for _, target := range targets {
		if needsAbility(target) {
			c.callAble(ctx, target)
			continue
		}
		if c.opts.Waits == nil {
			continue
		}
		room, before := c.opts.Waits.Ready(ctx, target)
		if room <= 0 {
			continue
		}
		woken, err := c.wakeSome(ctx, partition, target, before, max(1, room/c.store.Partitions()))
		if err != nil && ctx.Err() == nil {
			c.log.Warn().Err(err).Int("partition", partition).Str("waits_for", target).Msg("wake")
		}
		if woken > 0 {
			c.metrics.Woken.Add(float64(woken))
			c.log.Info().Int("partition", partition).Str("waits_for", target).Int("operations", woken).Msg("woken")
		}
	}
}

// wakeSome wakes up to most operations of a target, in scripts of 100.
func (c *Consumer) wakeSome(ctx context.Context, partition int, target string, before time.Time, most int) (woken int, err error) {
	for woken < most {
		parked, err := c.store.Waiting(ctx, partition, target, before, most-woken)
		if err != nil || len(parked) == 0 {
			return woken, err
		}
		n, err := c.store.Wake(ctx, partition, parked)
		woken += n
		if err != nil {
			return woken, err
		}
	}
	return woken, nil
}
