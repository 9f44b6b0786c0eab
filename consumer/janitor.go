package consumer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/lighterman/lighterman/lua"
)

// janitorLease is how long a janitor that says nothing keeps others from
// beginning; it renews after every page, at most every third of it.
const janitorLease = time.Minute

// errNotJanitor ends a pass whose lease is another's now.
var errNotJanitor = errors.New("the janitor's lease is another's")

// janitor makes a pass over all keys about once in Janitor, one worker of the
// fleet at a time. The first comes soon after the start, so that a fleet that is
// restarted often has some too.
//
//	wait --due--> lease --ours--> pass --end--> done (the key stays until the next is due)
//	               | another's      | lease lost, or this worker dies: the key expires
//	               v                v
//	              wait             wait
func (c *Consumer) janitor(ctx context.Context) {
	every := c.opts.Janitor
	for wait := rand.N(every/6 + 1); pause(ctx, wait); wait = every*9/10 + rand.N(every/5+1) {
		if err := c.janitorTurn(ctx); err != nil && ctx.Err() == nil {
			c.log.Warn().Err(err).Msg("janitor")
		}
	}
}

// janitorTurn makes a pass over the partitions that are due and nobody else's.
func (c *Consumer) janitorTurn(ctx context.Context) error {
	mine, err := c.store.LeaseJanitor(ctx, c.owner, janitorLease, max(janitorLease, c.opts.Janitor))
	if err != nil || len(mine) == 0 {
		return err
	}
	next := c.opts.Janitor * 8 / 10 // less than the wait between turns, so that none is missed
	defer func() {
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if ctx.Err() != nil {
			next = time.Second // not done: the next worker that asks may
		}
		if err := c.store.DoneJanitor(late, c.owner, next, mine); err != nil {
			c.log.Debug().Err(err).Msg("janitor: end the lease")
		}
	}()
	renewed := time.Now()
	_, err = c.clean(ctx, lua.Janitor{Partitions: mine, Act: true, Alive: func(ctx context.Context) error {
		if time.Since(renewed) < janitorLease/3 {
			return nil
		}
		renewed = time.Now()
		ours, err := c.store.RenewJanitor(ctx, c.owner, janitorLease, mine)
		if err == nil && !ours {
			return errNotJanitor
		}
		return err
	}})
	return err
}

// Clean makes one pass of the janitor now, over all partitions and whoever has
// the lease: every write of it checks again what was read.
func (c *Consumer) Clean(ctx context.Context) (lua.Pass, error) {
	return c.clean(ctx, lua.Janitor{Act: true, Share: 0.5})
}

// clean makes a pass, tidies the roster, and says what came of it.
func (c *Consumer) clean(ctx context.Context, j lua.Janitor) (lua.Pass, error) {
	pass, err := c.store.Clean(ctx, j)
	c.metrics.cleaned(&pass)
	for _, m := range pass.Mended {
		c.log.Warn().Str("trace_id", string(m.ID)).Str("state", m.State).Str("answer", string(m.What)).Msg("orphan repaired")
	}
	for _, d := range pass.Drift {
		c.log.Error().Int("partition", d.Partition).Str("count", d.Field).Int64("counted", d.Counted).Int64("real", d.Real).Msg("a count disagrees with the operations")
	}
	log := c.log.Debug()
	if pass.Orphans()+pass.Expired+pass.Asked+pass.Strays+pass.Refused > 0 {
		log = c.log.Info()
	}
	log.Int("keys", pass.Keys).Int("open", pass.Open).Int("repaired", pass.Orphans()).Int("expired", pass.Expired).Int("asked", pass.Asked).
		Int("strays", pass.Strays).Int("refused", pass.Refused).Int("recounted", pass.Recounted).Dur("took_ms", pass.Took).Dur("redis_ms", pass.RedisMax).Msg("janitor passed")
	if err != nil {
		return pass, err
	}
	if err := c.trim(ctx, j.Partitions); err != nil {
		return pass, err
	}
	if err := c.retireQueues(ctx, j.Partitions); err != nil {
		return pass, err
	}
	roll, err := c.store.TidyRoster(ctx, true)
	if len(roll.Workers)+len(roll.Drains) > 0 {
		c.log.Info().Int("workers", len(roll.Workers)).Int("orders", len(roll.Drains)).Msg("silent workers taken off the roster")
	}
	return pass, err
}

// retireQueues removes the queues of some partitions, nil: all, that are empty and
// that nobody reads.
func (c *Consumer) retireQueues(ctx context.Context, partitions []int) error {
	keep := make([]string, len(c.opts.Queues))
	for i, q := range c.opts.Queues {
		keep[i] = q.Name
	}
	for _, p := range c.all(partitions) {
		gone, err := c.store.RetireQueues(ctx, p, keep)
		if len(gone) > 0 {
			c.log.Info().Int("partition", p).Int("queues", len(gone)).Msg("empty queues that nobody reads removed")
		}
		if err != nil {
			return fmt.Errorf("remove empty queues: %w", err)
		}
	}
	return nil
}

// all are the partitions named, nil: all there are.
func (c *Consumer) all(partitions []int) []int {
	if partitions == nil {
		for p := range c.store.Partitions() {
			partitions = append(partitions, p)
		}
	}
	return partitions
}

// trim removes the dead letters of some partitions, nil: all, that are older than
// their retention.
func (c *Consumer) trim(ctx context.Context, partitions []int) error {
	for _, p := range c.all(partitions) {
		n, err := c.store.TrimDead(ctx, p)
		if err != nil {
			return err
		}
		if n > 0 {
			c.log.Info().Int("partition", p).Int("letters", n).Msg("old dead letters removed")
		}
	}
	return nil
}
