package consumer

import (
	"slices"
	"sync"
	"testing"

	"github.com/lighterman/lighterman/lua"
)

// told is a State that remembers what it was told.
type told struct {
	mu       sync.Mutex
	hearing  []bool
	versions []uint64
}

func (s *told) Hearing(up bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hearing = append(s.hearing, up)
}

func (s *told) Noticed(version uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.versions = append(s.versions, version)
}

func (s *told) heard(up ...bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Equal(s.hearing, up)
}

func (s *told) of(version uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Contains(s.versions, version)
}

// Changes of the fleet's state are told over the subscription that a worker has
// anyway, and whether it holds.
func TestState_IsToldOfChangesAndOfBreaks(t *testing.T) {
	each(t, func(e *env) {
		s := &told{}
		w := e.worker(fine, Options{State: s})
		other := e.worker(fine, Options{}) // nobody to tell: the words are passed over
		change := func() uint64 {
			e.Helper()
			r, err := e.s.OperateModel(ctx, "m", "b", lua.ModelDisable)
			if err != nil {
				e.Fatal(err)
			}
			return r.Version
		}
		e.until("it hears", func() bool { return s.heard(true) })
		e.until("the other hears", func() bool { return other.hearing.now() != 0 })
		version := change()
		e.until("it is told", func() bool { return s.of(version) })
		if e.srv != nil {
			if err := e.rdb.Do(ctx, "client", "kill", "type", "pubsub").Err(); err != nil {
				e.Fatal(err)
			}
			e.until("it knows of the break, and hears again", func() bool { return s.heard(true, false, true) })
			version := change()
			e.until("it is told again", func() bool { return s.of(version) })
		}
		w.drain()
		if s.mu.Lock(); s.hearing[len(s.hearing)-1] {
			e.Error("it hears after its end")
		}
		s.mu.Unlock()
		e.until("the other works", func() bool { return other.hearing.now() != 0 })
	})
}
