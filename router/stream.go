package router

import (
	"sync"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/fleet"
)

// stream hands on the frames of one member at a time. What an earlier member, or
// an earlier try, sent is called back by a reset before the next one's first
// frame, and what it sends late is dropped.
type stream struct {
	to func(lm.Frame)

	mu    sync.Mutex
	try   int
	stale bool      // frames were sent that no answer holds
	sent  bool      // by this try
	first time.Time // this try's first token; zero: none yet
}

// newStream hands frames on to a function; nil, on which nothing is sent, where
// that is nil.
func newStream(to func(lm.Frame)) *stream {
	if to == nil {
		return nil
	}
	return &stream{to: to}
}

// begin is where the next try, of a model, sends its frames; nil where nobody wants
// any, or the model is declared not to stream: then its answer comes whole.
func (s *stream) begin(m *fleet.ModelSpec) func(lm.Frame) {
	if s == nil {
		return nil
	}
	if can, declared := m.Capabilities[fleet.CanStream]; declared && !can {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.try++
	s.stale, s.sent, s.first = s.stale || s.sent, false, time.Time{}
	try := s.try
	return func(f lm.Frame) { s.send(try, f) }
}

// end makes all frames late that still come from the try that has ended, and
// returns when its first token came; zero: it sent none.
func (s *stream) end() time.Time {
	if s == nil {
		return time.Time{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.try++
	return s.first
}

func (s *stream) send(try int, f lm.Frame) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if try != s.try {
		return
	}
	if s.stale {
		s.stale = false
		s.to(lm.Frame{Type: lm.FrameReset})
	}
	s.sent = true
	if s.first.IsZero() && (f.Type == lm.FrameToken || f.Type == lm.FrameReasoning) {
		s.first = time.Now()
	}
	s.to(f)
}
