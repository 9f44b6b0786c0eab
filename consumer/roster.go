package consumer

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/lighterman/lighterman/lua"
)

// watchers is how many workers of a fleet look after all: enough that one that
// dies is itself looked after, and few, so that a large fleet is quiet.
const watchers = 4

// crew is what this worker knows of the others. All methods may be called
// concurrently.
type crew struct {
	hurry   chan struct{} // holds one value when somebody became busy: look at once
	changed chan struct{} // holds one value when the roster has changed
	tell    chan struct{} // holds one value when the own record has changed

	mu     sync.Mutex
	muster muster
	able   bool // this server lets us count who listens, and presence is not turned off
}

func newCrew() *crew {
	return &crew{hurry: make(chan struct{}, 1), changed: make(chan struct{}, 1), tell: make(chan struct{}, 1)}
}

func (w *crew) set(m muster) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.muster = m
}

func (w *crew) get() muster {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.muster
}

// setAble notes whether who listens can be counted; the record says so too.
func (w *crew) setAble(able bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.able != able {
		w.able = able
		signal(w.tell)
	}
}

func (w *crew) isAble() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.able
}

// muster is the roster as one worker reads it.
type muster struct {
	others   []string            // all but the reader
	watchers []string            // the first of those that were heard of lately, by start
	stale    []string            // others that were not heard of for long
	fresh    int                 // those that were heard of lately
	queues   map[string][]string // by owner
	real     bool                // another one of the fresh answers by no simulation what names no model
}

// mustered reads a roster. A worker that was silent for longer than silent gives
// its place as a watcher up, one for longer than stale its place on the roster.
func mustered(records []lua.WorkerRecord, now time.Time, self string, silent, stale time.Duration) muster {
	m := muster{queues: make(map[string][]string, len(records))}
	records = slices.Clone(records)
	slices.SortFunc(records, func(a, b lua.WorkerRecord) int {
		return cmp.Or(a.Started.Compare(b.Started), cmp.Compare(a.Owner, b.Owner))
	})
	for _, r := range records {
		age := now.Sub(r.Seen)
		if age <= silent {
			m.fresh++
			m.real = m.real || r.Real && r.Owner != self
			if len(m.watchers) < watchers {
				m.watchers = append(m.watchers, r.Owner)
			}
		}
		switch {
		case r.Owner == self:
		case age > stale:
			m.stale = append(m.stale, r.Owner)
		default:
			m.others = append(m.others, r.Owner)
			m.queues[r.Owner] = r.Queues
		}
	}
	return m
}

// silent and stale are the ages of a record after which its worker counts as
// silent or gone.
func (c *Consumer) silent() time.Duration { return c.opts.Lease + 3*c.opts.Announce }
func (c *Consumer) stale() time.Duration {
	return max(3*c.opts.Lease, 30*time.Second, 6*c.opts.Announce)
}

// Presence reports whether this worker listens to its control channel and Redis
// lets it count who else does. If not, a dead worker is noticed by its lease.
func (c *Consumer) Presence() bool { return c.crew.isAble() && c.hearing.now() != 0 }

// reporter keeps this worker's record on the roster and its busy mark on the
// board; its goroutine owns it.
type reporter struct {
	c      *Consumer
	record lua.WorkerRecord
	left   <-chan struct{} // closed when the worker drains; nil once that was seen
	busy   time.Time       // of the last busy mark
	listed time.Time       // when the catalog was published last
}

// report announces this worker until ctx ends: at the start, every Announce (half
// as often where nobody else is), and when its record changes.
func (c *Consumer) report(ctx context.Context) {
	host, _ := os.Hostname()
	r := &reporter{c: c, left: c.gate.left, record: lua.WorkerRecord{Owner: c.owner, Name: c.opts.Name, Host: host, PID: os.Getpid(),
		Version: c.opts.Version, Started: time.Now(), Slots: c.opts.Concurrency}}
	for _, q := range c.opts.Queues {
		r.record.Queues = append(r.record.Queues, q.Name)
	}
	r.announce(ctx)
	signal(c.crew.changed) // now we are on it
	for r.rest(ctx) {
		r.announce(ctx)
	}
}

func (r *reporter) announce(ctx context.Context) {
	c := r.c
	r.skills(ctx)
	r.record.Running, r.record.Draining, r.record.Presence = c.held.size(), r.left == nil, c.Presence()
	err := c.store.Announce(ctx, r.record)
	c.failedTo(ctx, "announce this worker", err)
	if err == nil {
		c.ordersChanged() // what was ordered before we were on the roster was not told to us
	}
	if r.record.Running > 0 {
		r.markBusy(ctx)
	}
}

// rest waits until the next record is due; false when ctx ended.
func (r *reporter) rest(ctx context.Context) bool {
	c := r.c
	every := c.opts.Announce
	if len(c.crew.get().others) == 0 {
		every *= 2
	}
	timer := time.NewTimer(every*9/10 + rand.N(every/5))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-r.left:
			r.left = nil
			return true
		case <-c.crew.tell:
			return true
		case <-c.held.began:
			if time.Since(r.busy) > c.opts.Announce {
				r.markBusy(ctx)
				c.failedTo(ctx, "tell watchers", c.store.Tell(ctx, lua.WordBusy, except(c.crew.get().watchers, c.owner)...))
			}
		}
	}
}

// markBusy says that this worker holds something. The mark outlasts what is held
// by a while and goes by itself.
func (r *reporter) markBusy(ctx context.Context) {
	r.busy = time.Now()
	r.c.failedTo(ctx, "mark as busy", r.c.store.MarkBusy(ctx, r.c.owner, 3*r.c.opts.Announce))
}

func (c *Consumer) failedTo(ctx context.Context, what string, err error) {
	if err != nil && ctx.Err() == nil {
		c.log.Debug().Err(err).Str("doing", what).Msg("roster")
	}
}

// retire takes this worker off the roster when nothing is pending with it. Else
// it stays there, so that the others see that it is gone and take over.
func (c *Consumer) retire() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	errs := c.perShard(ctx, func(ctx context.Context, partitions []int) error {
		for _, p := range partitions {
			pending, err := c.store.PendingOf(ctx, c.owner, c.streams(p))
			if err != nil {
				return err
			}
			if slices.ContainsFunc(pending, func(ids []string) bool { return len(ids) > 0 }) {
				return errPendingHere
			}
		}
		return nil
	})
	if err := errors.Join(errs...); err != nil {
		c.log.Debug().Err(err).Msg("leave: something is pending here; the others take it over")
		return
	}
	c.failedTo(ctx, "retire", c.store.Retire(ctx, c.owner))
}

var errPendingHere = errors.New("entries are pending with this worker")

// except is a list without one name.
func except(names []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == name })
}
