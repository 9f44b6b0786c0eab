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
