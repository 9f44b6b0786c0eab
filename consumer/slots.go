package consumer

import (
	"context"
	"slices"
	"sync"
	"time"
)

// slots counts how many operations may still be started. Readers take slots
// before they read, so that nothing is claimed that cannot start.
type slots struct {
	mu    sync.Mutex
	free  int
	waits []waiter
}

// waiter is a reader that waits until so many slots are free.
type waiter struct {
	want int
	wake chan struct{}
}

func newSlots(n int) *slots { return &slots{free: n} }

// gather waits until want slots are free, but not longer than most, and says how
// many are: at least one, or 0 when ctx ended. With a backlog it makes batches of
// what would be single claims, where operations are short; where they are long
// the little wait is nothing.
func (s *slots) gather(ctx context.Context, want int, most time.Duration) int {
	if free := s.wait(ctx); free == 0 || free >= want {
		return free
	}
	timer := time.NewTimer(most)
	defer timer.Stop()
	wake := s.queue(want)
	select {
	case <-wake:
	case <-timer.C:
	case <-ctx.Done():
	}
	s.forget(wake)
	return s.wait(ctx)
}

// wait blocks until a slot is free and says how many are; 0 when ctx ended.
func (s *slots) wait(ctx context.Context) int {
	for {
		s.mu.Lock()
		free := s.free
		s.mu.Unlock()
		if ctx.Err() != nil {
			return 0
		}
		if free > 0 {
			return free
		}
		wake := s.queue(1)
		select {
		case <-ctx.Done():
			s.forget(wake)
			return 0
		case <-wake:
		}
	}
}

// queue returns a channel that is closed when so many slots are free.
func (s *slots) queue(want int) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	wake := make(chan struct{})
	if s.free >= want {
		close(wake)
		return wake
	}
	s.waits = append(s.waits, waiter{want, wake})
	return wake
}

// forget takes a channel of queue out again.
func (s *slots) forget(wake chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waits = slices.DeleteFunc(s.waits, func(w waiter) bool { return w.wake == wake })
}

// take takes up to n free slots and says how many.
func (s *slots) take(n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n = min(n, s.free)
	s.free -= n
	return n
}

// give frees n slots.
func (s *slots) give(n int) {
	if n == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free += n
	s.waits = slices.DeleteFunc(s.waits, func(w waiter) bool {
		if w.want > s.free {
			return false
		}
		close(w.wake)
		return true
	})
}
