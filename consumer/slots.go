package consumer

import (
	"context"
	"slices"
	"sync"
	"time"
)

// slots counts how many operations may still be started. Readers take slots
// before they read, so that nothing is claimed that cannot start. An operation of a
// queue with a limit of its own also takes one of that queue's seats.
type slots struct {
	mu     sync.Mutex
	free   int
	seats  map[string]int // of each limited queue, how many are left
	opened chan struct{}  // closed, and another made, when a queue without a seat gets one back
	waits  []waiter
}

// waiter is a reader that waits until so many slots are free.
type waiter struct {
	want int
	wake chan struct{}
}

func newSlots(n int, queues ...Queue) *slots {
	s := &slots{free: n, seats: make(map[string]int), opened: make(chan struct{})}
	for _, q := range queues {
		if q.Concurrency > 0 {
			s.seats[q.Name] = q.Concurrency
		}
	}
	return s
}

// left is how many seats a queue has left, -1 for one without a limit.
func (s *slots) left(queue string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if left, limited := s.seats[queue]; limited {
		return left
	}
	return -1
}

// freed is a channel that is closed when a queue that has no seat left gets one
// back.
func (s *slots) freed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opened
}

// seat takes up to n seats of a queue and says how many; n for one without a limit.
func (s *slots) seat(queue string, n int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	left, limited := s.seats[queue]
	if !limited {
		return n
	}
	n = min(n, left)
	s.seats[queue] = left - n
	return n
}

// unseat gives n seats of a queue back.
func (s *slots) unseat(queue string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	left, limited := s.seats[queue]
	if !limited || n == 0 {
		return
	}
	s.seats[queue] = left + n
	if left == 0 {
		close(s.opened)
		s.opened = make(chan struct{})
	}
}

// release frees n slots and the seats of their queue. The seats come first: a reader
// that waits for a slot then finds them.
func (s *slots) release(queue string, n int) {
	s.unseat(queue, n)
	s.give(n)
}

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
