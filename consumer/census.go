package consumer

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/lighterman/lighterman/lua"
)

// census removes consumers that have been gone for long and have nothing
// pending, and learns how large the fleet is.
func (c *Consumer) census(ctx context.Context) {
	for {
		present := heardOf{names: make(map[string]bool)}
		c.perShard(ctx, func(ctx context.Context, partitions []int) error { return c.countAll(ctx, partitions, &present) })
		c.fleet.n.Store(int64(len(present.names)))
		if !pause(ctx, c.fleet.stretch(c.opts.Census*9/10+rand.N(c.opts.Census/5))) {
			return
		}
	}
}

// goneAfter is how long a consumer must have done nothing to be removed. Removal
// is safe anyway; this only spares live ones the trouble.
func (c *Consumer) goneAfter() time.Duration { return max(10*c.opts.Lease, c.opts.Census) }

// heardOf is the set of consumers that were heard of lately.
type heardOf struct {
	mu    sync.Mutex
	names map[string]bool
}

func (p *heardOf) add(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.names[name] = true
}

// countAll counts the consumers of some partitions; it ends early where their server
// is away.
func (c *Consumer) countAll(ctx context.Context, partitions []int, present *heardOf) error {
	for _, p := range partitions {
		for _, st := range c.streams(p) {
			err := c.count(ctx, st, present)
			if err != nil && ctx.Err() == nil {
				c.log.Debug().Err(err).Str("queue", st.Queue).Msg("census")
			}
			if lua.IsPassing(err) {
				return err
			}
		}
	}
	return nil
}

func (c *Consumer) count(ctx context.Context, st lua.Stream, present *heardOf) error {
	consumers, err := c.store.Consumers(ctx, st)
	if err != nil {
		return err
	}
	var gone []string
	for _, other := range consumers {
		switch {
		case other.Idle < 2*(c.opts.Block+c.opts.Lease):
			present.add(other.Name)
		case other.Idle > c.goneAfter() && other.Pending == 0 && len(gone) < 100:
			gone = append(gone, other.Name)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	n, err := c.store.Forget(ctx, st, gone)
	if n > 0 {
		c.log.Info().Int("consumers", n).Str("queue", st.Queue).Msg("dead consumers removed")
	}
	return err
}

// leave removes this worker's own consumers after a drain.
func (c *Consumer) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	c.perShard(ctx, func(ctx context.Context, partitions []int) error {
		for _, p := range partitions {
			for _, st := range c.streams(p) {
				if _, err := c.store.Forget(ctx, st, []string{c.owner}); err != nil {
					c.log.Debug().Err(err).Msg("leave")
					return err
				}
			}
		}
		return nil
	})
}
