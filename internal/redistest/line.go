package redistest

import (
	"math/rand/v2"
	"sync"
	"time"
)

// Line is how a Proxy carries bytes in each direction. The zero value carries
// them at once.
type Line struct {
	Delay          time.Duration // each piece arrives so much later
	Jitter         time.Duration // and up to so much more, in order
	BytesPerSecond int           // of all connections of the proxy together; 0: no limit
}

// shaper decides when bytes arrive. It may be used concurrently.
type shaper struct {
	mu     sync.Mutex
	line   Line
	busy   time.Time     // the line is taken until then
	frozen chan struct{} // closed by Thaw; nil when bytes flow
}

func (s *shaper) set(l Line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.line, s.busy = l, time.Time{}
}

// arrival returns when n bytes that were sent at a moment arrive. One direction
// of the proxy is one line, so that what several connections send queues up.
func (s *shaper) arrival(sent time.Time, n int) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := sent
	if s.line.BytesPerSecond > 0 {
		if s.busy.Before(sent) {
			s.busy = sent
		}
		s.busy = s.busy.Add(time.Duration(n) * time.Second / time.Duration(s.line.BytesPerSecond))
		at = s.busy
	}
	at = at.Add(s.line.Delay)
	if s.line.Jitter > 0 {
		at = at.Add(rand.N(s.line.Jitter))
	}
	return at
}

// freeze stops the line until thaw.
func (s *shaper) freeze() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.frozen == nil {
		s.frozen = make(chan struct{})
	}
}

func (s *shaper) thaw() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.frozen != nil {
		close(s.frozen)
		s.frozen = nil
	}
}

// thawed returns a channel that is closed when bytes flow again; nil when they do.
func (s *shaper) thawed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.frozen
}
