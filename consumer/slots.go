package consumer

import (
	"context"
	"sync"
)

// slots counts how many operations may still be started. Readers take slots
// before they read, so that nothing is claimed that cannot start.
type slots struct {
	mu   sync.Mutex
	free int
	wake chan struct{} // closed and renewed when a slot becomes free
}

func newSlots(n int) *slots { return &slots{free: n, wake: make(chan struct{})} }

// wait blocks until a slot is free and says how many are; 0 when ctx ended.
func (s *slots) wait(ctx context.Context) int {
	for {
		s.mu.Lock()
		free, wake := s.free, s.wake
		s.mu.Unlock()
		if ctx.Err() != nil {
			return 0
		}
		if free > 0 {
			return free
		}
		select {
		case <-ctx.Done():
			return 0
		case <-wake:
		}
	}
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
	close(s.wake)
	s.wake = make(chan struct{})
}
