package consumer

import (
	"context"
	"errors"
	"sync"
	"time"

	lm "github.com/lighterman/lighterman"
)

// A handler that ignores the end of its context is hung. Its claim is ended without it,
// so that the operation goes on elsewhere; what the handler writes later is refused. It
// keeps its slot, because nothing can end its goroutine: the slot is leaked until it
// returns.
//
//	running --context ends--> late --HungAfter--> leaked --returns--> slot free again
//	                                                |
//	                                                +--half of the slots--> the worker ends

// hungAfter is how long a handler may take to return once its context has ended.
const hungAfter = 5 * time.Second

// ErrHandlersHang is what Run returns when so many handlers hang that only a new process
// can work again.
var ErrHandlersHang = errors.New("too many handlers ignore that their context has ended")

// leaks counts the slots that hung handlers keep, of the worker and of each queue that
// has a limit of its own.
type leaks struct {
	full chan struct{} // closed when too many are leaked, for good

	mu     sync.Mutex
	most   int // slots that may be leaked before the worker ends
	leaked int
	seats  map[string]int // of each limited queue, how many more may be leaked
}

func newLeaks(slots int, queues []Queue) *leaks {
	l := &leaks{full: make(chan struct{}), most: mostLeaked(slots), seats: make(map[string]int)}
	for _, q := range queues {
		if q.Concurrency > 0 {
			l.seats[q.Name] = mostLeaked(q.Concurrency)
		}
	}
	return l
}

// mostLeaked is how many of n slots may be leaked before the worker ends: half, at least
// one.
func mostLeaked(n int) int { return max(1, n/2) }

// add counts a hung handler. One that was to run alone keeps the worker from reading, so
// it alone is too many.
func (l *leaks) add(h *hold) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leaked++
	left, limited := l.seats[h.queue]
	if limited {
		l.seats[h.queue] = left - 1
	}
	if (l.leaked >= l.most || limited && left <= 1 || h.alone) && !l.tooMany() {
		close(l.full)
	}
}

// remove counts a hung handler that has returned.
func (l *leaks) remove(h *hold) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leaked--
	if left, limited := l.seats[h.queue]; limited {
		l.seats[h.queue] = left + 1
	}
}

func (l *leaks) tooMany() bool {
	select {
	case <-l.full:
		return true
	default:
		return false
	}
}

// err is nil, or ErrHandlersHang when too many are leaked.
func (l *leaks) err() error {
	if l.tooMany() {
		return ErrHandlersHang
	}
	return nil
}

// Err returns ErrHandlersHang when so many handlers hang that the worker takes no more
// operations and ends, else nil.
func (c *Consumer) Err() error { return c.leaks.err() }

// overdue returns why a handler's context has ended; nil while it has not, or while no
// handler runs. now is the monotonic time of this process.
func (h *hold) overdue(now time.Duration) error {
	ends := time.Duration(h.ends.Load())
	if ends == 0 {
		return nil
	}
	switch cause := context.Cause(h.ctx); {
	case cause != nil:
		return cause
	case now < ends:
		return nil
	case !h.expires.IsZero() && !time.Now().Before(h.expires):
		return lm.ErrExpired
	default:
		return ErrAttemptTimeout
	}
}

// watchHandlers ends the claims of hung handlers, until ctx ends. The grace begins when
// the end of the context is first seen, so that a process that was stopped for a while
// gives its handlers the whole of it.
func (c *Consumer) watchHandlers(ctx context.Context) {
	late := make(map[*hold]time.Duration) // since when
	for pause(ctx, max(c.opts.HungAfter/10, 10*time.Millisecond)) {
		now := c.held.since()
		still := make(map[*hold]time.Duration, len(late))
		for _, h := range c.held.all(-1) {
			cause := h.overdue(now)
			if cause == nil {
				continue
			}
			since, known := late[h]
			if !known {
				since = now
			}
			if now-since > c.opts.HungAfter {
				c.leak(h, cause)
				continue
			}
			still[h] = since
		}
		late = still
	}
}

// leak ends the claim of a hung handler, unless its end is being written already, and
// holds it no more, so that no heartbeat renews it.
func (c *Consumer) leak(h *hold, cause error) {
	if !h.endOnce(leakedEnd) {
		return
	}
	c.metrics.Leaked.Inc()
	c.leaks.add(h)
	c.log.Warn().Str("trace_id", string(h.claim.ID)).Str("kind", h.claim.Request.Kind).AnErr("cause", cause).
		Msg("a handler ignores that its context has ended; its claim is ended, its slot stays taken")
	c.runs.Go(func() {
		c.settle(h, lm.Result{}, causeFirst(cause, cause), true)
		c.held.remove(h)
	})
}

// returned takes the return of a handler whose claim was ended without it.
func (c *Consumer) returned(h *hold) {
	c.metrics.Fenced.Inc()
	if h.ending.Load() == leakedEnd {
		c.metrics.Leaked.Dec()
		c.leaks.remove(h)
	}
}
