package consumer

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/lighterman/lighterman/lua"
)

// startPatience is how long a start waits for a server of a cluster: one that is away
// or slow keeps no worker from serving the others.
const startPatience = 2 * time.Second

// perShard calls f once for the partitions of each server, all at the same time, and
// returns the errors.
func (c *Consumer) perShard(ctx context.Context, f func(ctx context.Context, partitions []int) error) []error {
	shards := c.store.Shards(ctx)
	errs := make([]error, len(shards))
	var calls sync.WaitGroup
	for i, partitions := range shards {
		calls.Go(func() { errs[i] = f(ctx, partitions) })
	}
	calls.Wait()
	return errs
}

// soon is ctx with an end for what a start asks of a cluster; one server may take its
// time, as there is nothing else to serve.
func (c *Consumer) soon(ctx context.Context) (context.Context, context.CancelFunc) {
	if !c.store.Sharded() {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, startPatience)
}

// ensureGroups makes the groups of all streams. Those of a server that is away are
// left to the readers of its partitions; the error says that no worker can start here.
func (c *Consumer) ensureGroups(ctx context.Context) error {
	limited, cancel := c.soon(ctx)
	defer cancel()
	errs := c.perShard(limited, func(ctx context.Context, partitions []int) error {
		var streams []lua.Stream
		for _, p := range partitions {
			streams = append(streams, c.streams(p)...)
		}
		return c.store.EnsureGroups(ctx, streams)
	})
	passing := 0
	for _, err := range errs {
		if lua.IsPassing(err) {
			passing++
		} else if err != nil {
			return err
		}
	}
	if passing == len(errs) {
		return errors.Join(errs...)
	}
	if passing > 0 {
		c.log.Warn().Int("shards", passing).Msg("some servers are away; their partitions are served when they are back")
	}
	return nil
}
