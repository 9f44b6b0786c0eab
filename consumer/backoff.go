package consumer

import (
	"math/rand/v2"
	"time"
)

// Backoff is the wait before an operation is tried again: exponential with full
// jitter (Brooker, "Exponential Backoff And Jitter", AWS 2015).
type Backoff struct {
	First time.Duration // default 500 ms
	Cap   time.Duration // default 60 s
}

func (b Backoff) withDefaults() Backoff {
	if b.First <= 0 {
		b.First = 500 * time.Millisecond
	}
	if b.Cap <= 0 {
		b.Cap = time.Minute
	}
	return b
}

// delay is the wait after so many failed tries; never less than the floor, which
// is a provider's Retry-After.
func (b Backoff) delay(failed int, floor time.Duration) time.Duration {
	bound := b.bound(failed)
	return max(floor, time.Duration(rand.Int64N(int64(bound)+1)))
}

// bound is the longest wait after so many failed tries.
func (b Backoff) bound(failed int) time.Duration {
	d := b.First
	for i := 1; i < failed && d < b.Cap; i++ {
		d *= 2
	}
	return min(d, b.Cap)
}

// newerWait is how long an operation waits for a worker that can run it: 2 s
// doubling with each wait.
func newerWait(waits int) time.Duration {
	return Backoff{First: 2 * time.Second, Cap: 10 * time.Minute}.bound(waits + 1)
}
