package consumer

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// A place of a limit that a call gives back is taken by one that waits for it at once:
// the worker whose call it was brings it back.
//
//	refused --> parked for limit/M --woken by who gave a place back--> claimed, admitted
//
// One that is parked a moment after that look, and what waits for the places of a worker
// that died, is found by the tick; see Waits.

// freedPause is how long nobody looks after nothing was found: where nothing waits, a
// worker looks ten times a second at most.
const freedPause = 100 * time.Millisecond

// places are what calls of this worker have given back since the last look.
type places struct {
	mu   sync.Mutex
	free map[string]freed // by the first target
	came chan struct{}    // holds one value when there are some
}

// freed are places that operations of some targets can take.
type freed struct {
	n       int
	targets []string
}

func newPlaces() *places {
	return &places{free: make(map[string]freed), came: make(chan struct{}, 1)}
}

// add counts a place, up to most.
func (p *places) add(most int, targets []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free[targets[0]] = freed{n: min(p.free[targets[0]].n+1, most), targets: targets}
}

// take empties it.
func (p *places) take() map[string]freed {
	p.mu.Lock()
	defer p.mu.Unlock()
	free := p.free
	p.free = make(map[string]freed)
	return free
}

// Freed says that a place is free that operations waiting for one of the targets, which
// share it, can take; there are most of them in all. It never blocks and may be called by
// anybody.
func (c *Consumer) Freed(most int, targets ...string) {
	if len(targets) == 0 {
		return
	}
	c.places.add(most, targets)
	signal(c.places.came)
}

// wakeFreed brings an operation back for each place that was given back, until ctx ends.
func (c *Consumer) wakeFreed(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.places.came:
		}
		woken := 0
		for _, f := range c.places.take() {
			n, err := c.wakeAny(ctx, f)
			if err != nil && ctx.Err() == nil {
				c.log.Warn().Err(err).Str("waits_for", f.targets[0]).Msg("wake")
			}
			woken += n
		}
		c.metrics.Woken.Add(float64(woken))
		if woken == 0 && !pause(ctx, freedPause) {
			return
		}
	}
}

// wakeAny wakes up to as many operations as there are places, of any target and
// partition, beginning with one at random so that none is always the last.
func (c *Consumer) wakeAny(ctx context.Context, f freed) (woken int, err error) {
	partitions := c.store.Partitions()
	all := partitions * len(f.targets)
	from := rand.IntN(all)
	for i := 0; i < all && woken < f.n && err == nil; i++ {
		var n int
		at := (from + i) % all
		n, err = c.wakeSome(ctx, at%partitions, f.targets[at/partitions], time.Time{}, f.n-woken)
		woken += n
	}
	return woken, err
}
