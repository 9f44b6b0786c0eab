package consumer

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/lighterman/lighterman/lua"
)

// orders is what this worker knows of the fleet's orders: the last that it could
// read. While Redis is away those stay in force.
//
//	     poll, or told to look
//	known ---- paused set differs ----> changed is closed, readers look again
//	      ---- this owner is to drain -> told is closed, Run drains
type orders struct {
	hurry chan struct{} // holds one value when the orders shall be read now
	told  chan struct{} // closed when this worker is to drain; follow closes it

	mu      sync.Mutex
	paused  map[string]time.Time
	changed chan struct{} // closed, and another made, when paused changes
}

func newOrders() *orders {
	return &orders{hurry: make(chan struct{}, 1), told: make(chan struct{}), changed: make(chan struct{})}
}

// isPaused reports whether a queue is not to be read.
func (o *orders) isPaused(queue string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, paused := o.paused[queue]
	return paused
}

// changes is a channel that is closed when the paused queues are no longer those
// of now.
func (o *orders) changes() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.changed
}

// set takes the paused queues as they are now, and names those that were paused
// and resumed since.
func (o *orders) set(paused map[string]time.Time) (fresh, resumed []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	fresh, resumed = without(paused, o.paused), without(o.paused, paused)
	if len(fresh)+len(resumed) > 0 {
		o.paused = paused
		close(o.changed)
		o.changed = make(chan struct{})
	}
	return fresh, resumed
}

func without(these, those map[string]time.Time) (rest []string) {
	for queue := range these {
		if _, in := those[queue]; !in {
			rest = append(rest, queue)
		}
	}
	return rest
}

// ordersChanged has the orders read at once. It never blocks and may be called
// from anywhere; calls that come while one waits are one.
func (c *Consumer) ordersChanged() {
	select {
	case c.orders.hurry <- struct{}{}:
	default:
	}
}

// follow reads the orders until ctx ends: after the interval, jittered, or when it
// is told. While a queue of this worker is paused it looks twice as often, because a
// reader may then be in a blocking read that was begun without the queue: both
// together keep a resume within the interval, also where no word of it arrives.
// While it hears its control channel, on which every change is told, a fourth of
// that is enough.
func (c *Consumer) follow(ctx context.Context) {
	strays := strays{seen: make(map[string]time.Time)}
	for {
		every := c.opts.Orders
		switch {
		case c.anyPaused():
			every /= 2
		case c.hearing.now() != 0:
			every *= 4
		}
		timer := time.NewTimer(every*8/10 + rand.N(every/5))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-c.orders.hurry:
			timer.Stop()
		case <-timer.C:
		}
		if now, ok := c.readOrders(ctx); ok {
			c.tidyOrders(ctx, &strays, now)
		}
	}
}

// anyPaused reports whether a queue that this worker serves is paused.
func (c *Consumer) anyPaused() bool {
	for _, q := range c.opts.Queues {
		if c.orders.isPaused(q.Name) {
			return true
		}
	}
	return false
}

// readOrders takes the orders as they are in Redis; ok is false when they could not
// be read, and those known stay. It is one plain command.
func (c *Consumer) readOrders(ctx context.Context) (now lua.Orders, ok bool) {
	now, err := c.store.Orders(ctx)
	if ctx.Err() != nil {
		return now, false
	}
	c.contacts.fleet.note(err)
	if err != nil {
		c.log.Warn().Err(err).Msg("read orders; the last ones stay")
		return now, false
	}
	paused, resumed := c.orders.set(now.Paused)
	for _, queue := range paused {
		c.log.Info().Str("queue", queue).Msg("queue paused")
	}
	for _, queue := range resumed {
		c.log.Info().Str("queue", queue).Msg("queue resumed")
	}
	if _, drain := now.Drain[c.owner]; drain && !c.told() {
		c.log.Info().Msg("ordered to drain")
		close(c.orders.told) // only this goroutine does, and Run before it starts it
	}
	return now, true
}

// told reports whether this worker was ordered to drain.
func (c *Consumer) told() bool {
	select {
	case <-c.orders.told:
		return true
	default:
		return false
	}
}

// obeyed takes down the order by which this worker drained. Left behind, as when
// Redis is away or the process is killed, it is a stray for the others.
func (c *Consumer) obeyed() {
	if !c.told() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := c.store.Drained(ctx, c.owner); err != nil {
		c.log.Debug().Err(err).Msg("take down the drain order")
	}
}

// strays are drain orders of other workers, and since when this one sees them.
// Only follow's goroutine touches them.
type strays struct {
	seen   map[string]time.Time
	looked time.Time
}

// strayAfter is how long an order must stand before anybody asks whether its worker
// still is: longer than a drain usually takes.
const strayAfter = time.Minute

// tidyOrders takes down drain orders whose workers have left the roster. An order
// goes to one start of a worker, so that none of these can ever be obeyed. The
// roster is read at most once in strayAfter, and only while there is such an order.
func (c *Consumer) tidyOrders(ctx context.Context, s *strays, now lua.Orders) {
	old := s.note(now.Drain, c.owner, time.Now(), c.opts.StrayAfter)
	if len(old) == 0 {
		return
	}
	workers, _, err := c.store.Roster(ctx)
	if err != nil {
		return // at the next look
	}
	for _, w := range workers {
		delete(old, w.Owner)
	}
	gone := make([]string, 0, len(old))
	for owner := range old {
		gone = append(gone, owner)
	}
	if err := c.store.Drained(ctx, gone...); err == nil && len(gone) > 0 {
		c.log.Info().Strs("workers", gone).Msg("drain orders of vanished workers taken down")
	}
}

// note remembers whose drain orders stand, and names those that have stood for long,
// if it is time to look at them.
func (s *strays) note(drain map[string]time.Time, own string, now time.Time, after time.Duration) map[string]bool {
	for owner := range s.seen {
		if _, stands := drain[owner]; !stands {
			delete(s.seen, owner)
		}
	}
	old := make(map[string]bool)
	for owner := range drain {
		since, known := s.seen[owner]
		switch {
		case owner == own:
		case !known:
			s.seen[owner] = now
		case now.Sub(since) >= after:
			old[owner] = true
		}
	}
	if now.Sub(s.looked) < after {
		return nil
	}
	if len(old) > 0 {
		s.looked = now
	}
	return old
}
