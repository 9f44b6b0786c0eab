package consumer

import (
	"context"
	"sync"
	"time"

	lm "github.com/lighterman/lighterman"
)

// graceAfterCancel is how long handlers may take to return once their context
// has ended; what has not returned then is put back over their heads, and
// whatever they still write is fenced.
const graceAfterCancel = time.Second

// drain ends the work of a worker: reading has stopped, what runs finishes or
// hands over, the rest is put back at the drain timeout or when Stop is called.
func (c *Consumer) drain(readers *sync.WaitGroup) {
	c.log.Info().Int("running", c.held.size()).Dur("timeout_ms", c.opts.DrainTimeout).Msg("draining")
	c.gate.drain()
	ctx, cancel := context.WithTimeout(context.Background(), c.opts.DrainTimeout)
	defer cancel()
	readersDone := make(chan struct{})
	go func() { readers.Wait(); close(readersDone) }()
	go func() {
		select {
		case <-c.kill:
			cancel()
		case <-ctx.Done():
		}
	}()

	c.held.awaitEmpty(ctx)
	await(ctx, readersDone) // a reader may still be about to claim
	c.held.awaitEmpty(ctx)
	c.Stop() // what is claimed from now on is given back without being run
	c.takeBack(c.held.all(-1))
	grace, stop := context.WithTimeout(context.Background(), graceAfterCancel)
	defer stop()
	await(grace, readersDone)
	c.held.awaitEmpty(grace)
	c.endOverTheirHeads(c.held.all(-1))
	c.log.Info().Msg("drained")
}

// endOverTheirHeads puts back what has not returned. Where Redis is away nothing
// can be written, and a drain is not held up by it: a sweep takes over.
func (c *Consumer) endOverTheirHeads(holds []*hold) {
	var ends sync.WaitGroup
	for _, h := range holds {
		ends.Go(func() {
			c.end(h, lm.Result{}, ErrDrained, true)
			c.held.remove(h)
		})
	}
	timer := time.AfterFunc(graceAfterCancel, c.stopWrites)
	defer timer.Stop()
	ends.Wait()
	c.stopWrites()
}

func await(ctx context.Context, done <-chan struct{}) {
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// takeBack cancels claims; their goroutines put them back.
func (c *Consumer) takeBack(holds []*hold) {
	for _, h := range holds {
		h.cancel(ErrDrained)
	}
}

// awaitGone polls until list is empty, ctx ends, the worker is killed or the
// time is over.
func (c *Consumer) awaitGone(ctx context.Context, list func() []*hold, most time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	for len(list()) > 0 && pause(ctx, 5*time.Millisecond) {
		select {
		case <-c.kill:
			return
		default:
		}
	}
}
