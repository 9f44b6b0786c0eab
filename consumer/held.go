package consumer

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

// hold is one claim that this worker has. Its context ends with a cause when the
// claim is lost or wanted back.
type hold struct {
	claim    lm.Claim  // as it was answered: without what was Unread
	queue    string    // whose seat it has
	expires  time.Time // its deadline by the clock of this process; zero: none
	followed atomic.Bool
	alone    bool // it is to run with nothing beside it; set before ends
	ctx      context.Context
	cancel   context.CancelCauseFunc
	renewed  atomic.Int64 // monotonic ns since start, from the sending of the last good renewal; the heartbeat writes it
	ends     atomic.Int64 // monotonic ns since start, when the handler's context ends at the latest; 0 until it is called
	ending   atomic.Int32 // set by whoever ends the claim, once: ownEnd or leakedEnd
}

// Who ended a claim.
const (
	ownEnd    int32 = 1 // its own goroutine, or a drain
	leakedEnd int32 = 2 // watchHandlers: its handler hangs
)

// endOnce reports whether the caller is the one to end the claim.
func (h *hold) endOnce(how int32) bool { return h.ending.CompareAndSwap(0, how) }

// held is the set of claims that this worker has. All methods may be called
// concurrently.
type held struct {
	start time.Time     // carries the monotonic clock
	began chan struct{} // holds one value when the set was empty and is not any more

	mu    sync.Mutex
	byID  map[lm.TraceID]*hold
	empty chan struct{} // closed while the set is empty
}

func newHeld() *held {
	h := &held{start: time.Now(), began: make(chan struct{}, 1), byID: make(map[lm.TraceID]*hold), empty: make(chan struct{})}
	close(h.empty)
	return h
}

// since is the monotonic time of this process.
func (s *held) since() time.Duration { return time.Since(s.start) }

// add takes a claim in. An older one of the same operation is lost: a Redis that
// came back without its last writes has handed the operation out again.
func (s *held) add(h *hold) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.byID) == 0 {
		s.empty = make(chan struct{})
		signal(s.began)
	}
	if older := s.byID[h.claim.ID]; older != nil {
		older.cancel(lm.ErrFenced)
	}
	s.byID[h.claim.ID] = h
}

func (s *held) remove(h *hold) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byID[h.claim.ID] != h {
		return
	}
	delete(s.byID, h.claim.ID)
	if len(s.byID) == 0 {
		close(s.empty)
	}
}

// has reports whether the claim that a trace tells of is held here. Another claim of
// the same operation, whose handler may hang, is none.
func (s *held) has(r lua.Record) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.byID[r.ID]
	return h != nil && h.claim.Fence.Owner == r.Owner && h.claim.Fence.Epoch == r.Epoch
}

func (s *held) size() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.byID)
}

// byPartition lists the holds of each partition that has any.
func (s *held) byPartition() map[int][]*hold {
	s.mu.Lock()
	defer s.mu.Unlock()
	holds := make(map[int][]*hold)
	for id, h := range s.byID {
		holds[id.Partition()] = append(holds[id.Partition()], h)
	}
	return holds
}

// all lists the holds, those of one partition when it is not negative.
func (s *held) all(partition int) []*hold {
	s.mu.Lock()
	defer s.mu.Unlock()
	holds := make([]*hold, 0, len(s.byID))
	for id, h := range s.byID {
		if partition < 0 || id.Partition() == partition {
			holds = append(holds, h)
		}
	}
	return holds
}

// awaitEmpty waits until nothing is held or ctx ends.
func (s *held) awaitEmpty(ctx context.Context) {
	s.mu.Lock()
	empty := s.empty
	s.mu.Unlock()
	select {
	case <-empty:
	case <-ctx.Done():
	}
}

func renewals(holds []*hold) []lua.Renewal {
	r := make([]lua.Renewal, len(holds))
	for i, h := range holds {
		r[i] = lua.Renewal{ID: h.claim.ID, Fence: h.claim.Fence}
	}
	return r
}
