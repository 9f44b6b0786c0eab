package consumer

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/lighterman/lighterman/lua"
)

// A subscription is pinged this often, and given up when neither a word nor an
// answer has come for hearsFor: the other end may be gone without a word.
const (
	pingEvery = 10 * time.Second
	hearsFor  = 25 * time.Second
)

// Between tries to subscribe anew, with jitter, so that a fleet does not come back
// in one moment.
const (
	firstListenPause = 50 * time.Millisecond
	lastListenPause  = time.Second
)

// State is told when the fleet's state has changed, by words that come over the
// worker's subscription. Its methods must not block.
type State interface {
	Noticed(version uint64) // the state has reached a version
	Hearing(up bool)        // whether words can arrive at all; what was told before is not repeated
}

// hearing is whether this worker's own subscription holds. The generation grows
// whenever it is made or broken, so that two equal ones mean that it held
// throughout.
//
//	deaf --subscribed, confirmed--> up --broken, silent, unsubscribed--> deaf
type hearing struct {
	mu         sync.Mutex
	generation uint64
	up         bool
}

func (h *hearing) set(up bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.generation++
	h.up = up
}

// now is the generation, 0 while there is no subscription.
func (h *hearing) now() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.up {
		return 0
	}
	return h.generation
}

// listen keeps this worker subscribed to its control channel until ctx ends. Each
// subscription is a new one; between two of them the worker is marked deaf, so
// that its silence is not taken for death. A server that refuses subscriptions is
// asked again every second; everything works without, only later.
func (c *Consumer) listen(ctx context.Context) {
	var marks sync.WaitGroup
	defer marks.Wait()
	marking := make(chan struct{}, 1)
	told := false
	for wait := firstListenPause; ; wait = min(2*wait, lastListenPause) {
		l, err := c.store.Listen(ctx, c.owner, hearsFor)
		if err == nil {
			wait, told = firstListenPause, false
			err = c.hear(ctx, l)
		}
		if ctx.Err() != nil {
			return
		}
		if !told {
			told = true
			c.log.Warn().Err(err).Msg("control channel lost; subscribing anew")
		}
		select {
		case marking <- struct{}{}:
			marks.Go(func() { c.markDeaf(ctx); <-marking })
		default: // the last one has not been answered yet
		}
		if !pause(ctx, wait/2+rand.N(wait)) {
			return
		}
	}
}

// markDeaf says on the state connection that the subscription broke. Where that
// is away too nobody can be told, and nobody is right to wait.
func (c *Consumer) markDeaf(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, c.opts.Lease/2)
	defer cancel()
	if err := c.store.MarkDeaf(limited, c.owner, c.opts.Lease); err != nil && ctx.Err() == nil {
		c.log.Debug().Err(err).Msg("mark as deaf")
	}
}

// hear acts on the words of one subscription until it breaks or ctx ends.
func (c *Consumer) hear(ctx context.Context, l *lua.Listener) error {
	c.hearing.set(true)
	defer c.hearing.set(false)
	if c.opts.State != nil {
		c.opts.State.Hearing(true)
		defer c.opts.State.Hearing(false)
	}
	defer l.Close()
	stop := context.AfterFunc(ctx, l.Close)
	defer stop()
	pinging, end := context.WithCancel(ctx)
	var pings sync.WaitGroup
	pings.Go(func() {
		for pause(pinging, pingEvery) {
			_ = l.Ping(pinging) // one that cannot be sent is not answered either
		}
	})
	defer pings.Wait()
	defer end()
	signal(c.crew.hurry)
	c.ordersChanged() // what was told before was not heard
	for {
		word, err := l.Next()
		if err != nil {
			return err
		}
		c.heard(word)
	}
}

// heard acts on a word. Words are hints, so one of a newer version is passed over.
func (c *Consumer) heard(word string) {
	switch word {
	case lua.WordCancel:
		signal(c.beatNow)
	case lua.WordOrders:
		c.ordersChanged()
	case lua.WordRoster:
		signal(c.crew.changed)
	case lua.WordWaits:
		signal(c.skills.hurry)
	case lua.WordBusy:
		signal(c.crew.hurry)
	default:
		if version, ok := lua.StateVersion(word); ok && c.opts.State != nil {
			c.opts.State.Noticed(version)
		}
	}
}

// nextBeat waits for the time of the next heartbeat or until one is wanted now;
// false when ctx ended.
func (c *Consumer) nextBeat(ctx context.Context) bool {
	timer := time.NewTimer(c.opts.Beat*9/10 + rand.N(c.opts.Beat/5))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	case <-c.beatNow:
	}
	return ctx.Err() == nil
}

// signal wakes whoever waits on a channel of one place, at once or when it comes.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
