package sim

import (
	"sync"
	"time"
)

// window admits at most n calls in any stretch of time of its length. It
// remembers the times of the last n admitted calls in a ring.
type window struct {
	length time.Duration
	mu     sync.Mutex
	ring   []time.Time
	oldest int
}

// limits are the windows of sim-limited and of each member of it.
type limits struct {
	n      int
	length time.Duration
	byName sync.Map
}

func (l *limits) of(model string) *window {
	w, ok := l.byName.Load(model)
	if !ok {
		w, _ = l.byName.LoadOrStore(model, newWindow(l.n, l.length))
	}
	window, _ := w.(*window)
	return window
}

func newWindow(n int, length time.Duration) *window {
	if n <= 0 {
		n = 5
	}
	if length <= 0 {
		length = time.Second
	}
	return &window{length: length, ring: make([]time.Time, n)}
}

// take admits a call and returns zero, or returns how long to wait until one
// would be admitted. A refused call does not count.
func (w *window) take(now time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if first := w.ring[w.oldest]; !first.IsZero() {
		if wait := first.Add(w.length).Sub(now); wait > 0 {
			return wait
		}
	}
	w.ring[w.oldest] = now
	w.oldest = (w.oldest + 1) % len(w.ring)
	return 0
}
