package sim

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lighterman/lighterman"
)

// Reply is what a model does with one call. Its parts happen in this order:
// it waits for Delay, sends Text as tokens evenly over Over (at once when
// zero), and then returns Err when there is one, so that Text with Err is a
// stream that breaks, else the answer. What is not UTF-8 in Text is replaced.
// For an embed call only Delay and Err count.
type Reply struct {
	Text      string
	ToolCalls []lighterman.ToolCall // an ID or Arguments left empty are filled in
	Err       error                 // returned as it is; see lighterman.Errorf
	Delay     time.Duration
	Over      time.Duration
}

// Push appends replies to a model's script, and makes the model known. They
// are given to well-formed calls only, in order, each once.
func (s *Sim) Push(model string, replies ...Reply) { s.scripts.push(model, replies) }

// Scripted counts the replies of a model's script that no call has taken yet.
func (s *Sim) Scripted(model string) int { return s.scripts.left(model) }

// scripts holds replies by model. The counter spares calls the lock while
// there is nothing to give.
type scripts struct {
	pending atomic.Int64
	mu      sync.Mutex
	replies map[string][]Reply // a model stays when its replies are used up
}

func (s *scripts) push(model string, replies []Reply) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.replies == nil {
		s.replies = map[string][]Reply{}
	}
	queue := s.replies[model]
	for _, r := range replies {
		r.Text = strings.ToValidUTF8(r.Text, "\uFFFD")
		queue = append(queue, r)
	}
	s.replies[model] = queue
	s.pending.Add(int64(len(replies)))
}

func (s *scripts) next(model string) (Reply, bool) {
	if s.pending.Load() == 0 {
		return Reply{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	left := s.replies[model]
	if len(left) == 0 {
		return Reply{}, false
	}
	s.replies[model] = left[1:]
	s.pending.Add(-1)
	return left[0], true
}

func (s *scripts) left(model string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.replies[model])
}

func (s *scripts) knows(model string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.replies[model]
	return ok
}

func (s *scripts) models() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := make([]string, 0, len(s.replies))
	for name := range s.replies {
		names = append(names, name)
	}
	return names
}
