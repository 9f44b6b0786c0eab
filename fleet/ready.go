package fleet

import (
	"context"
	"sync"
	"time"

	lm "github.com/lighterman/lighterman"
)

// Ready says when what operations wait for can be called again, and how many of them
// may come back then. It remembers since when, so that those are woken that were
// parked before, and what a limit refuses afterwards keeps its own time.
//
//	cold --its circuit takes a probe--> probe --it answered--> well
//	  <------------------ set aside again ----------------------
//
// A step to the right is the news for which what is parked comes back. It may be used
// concurrently.
type Ready struct {
	m *Manager

	mu   sync.Mutex
	seen map[string]standing // by target
}

// standing is how a model or pool stood when it was last looked at.
type standing struct {
	level  level
	since  time.Time // server time of the last step to the right
	looked time.Time
}

type level int

const (
	cold level = iota
	probe
	well
)

const (
	// readyFresh is how old a snapshot may be that says that something is still cold.
	readyFresh = 250 * time.Millisecond
	// readyGrace is how long after the news an operation may have been parked and
	// still be woken by it: by a worker whose snapshot was not new yet.
	readyGrace = 3 * time.Second
	// readyForget is when a target that nobody asks about is forgotten.
	readyForget = time.Minute
	// readyFirst is how many operations come back in the first second where no limit
	// says less; doubled in every further one, readyDoubled times at most, so that what
	// has just come back is not run over.
	readyFirst   = 100
	readyDoubled = 6
)

// NewReady makes a Ready over a Manager.
func NewReady(m *Manager) *Ready { return &Ready{m: m, seen: make(map[string]standing)} }

// Ready satisfies consumer.Waits for targets of the classes model and limit. Of a limit it
// says how many places are free: they are taken within milliseconds by what who gave them
// back has brought back, unless a worker died that was to do it.
func (r *Ready) Ready(ctx context.Context, target string) (room int, before time.Time) {
	class, name := lm.WaitsFor(target)
	switch class {
	case lm.WaitModel:
	case lm.WaitLimit:
		return r.places(ctx, name), time.Time{}
	default:
		return 0, time.Time{}
	}
	_ = r.m.fresh(ctx, readyFresh) // else the snapshot that there is says so
	snap, now := r.m.Snapshot(), r.m.Now()
	at, room := levelOf(snap, name, now)
	since, before := r.step(target, at, now)
	if at == well {
		doubled := min(int(now.Sub(since)/time.Second), readyDoubled)
		if most := readyFirst << max(doubled, 0); room == 0 || room > most {
			room = most
		}
	}
	return room, before
}

// step notes how a target stands now, and says since when it stands so well and which
// operations that is news for.
func (r *Ready) step(target string, at level, now time.Time) (since, before time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, known := r.seen[target]
	if !known {
		for other, o := range r.seen {
			if now.Sub(o.looked) > readyForget {
				delete(r.seen, other)
			}
		}
	}
	if !known || now.Sub(s.looked) > readyForget || at > s.level {
		s.since = now
	}
	s.level, s.looked = at, now
	r.seen[target] = s
	return s.since, s.since.Add(readyGrace)
}

// levelOf is how a model or pool stands, and how many calls a second its limits let
// begin: 1 for a probe, 0 without a limit that counts, or cold.
func levelOf(snap *Snapshot, name string, now time.Time) (at level, room int) {
	pool := snap.Pool(name)
	if pool == nil {
		if pool = snap.Alone(name); pool == nil {
			return cold, 0
		}
	}
	bounded := true
	for _, i := range pool.Members {
		m := &snap.Models[i]
		switch u := m.Usability(now); {
		case !u.Usable:
		case u.Probe:
			at = max(at, probe)
		default:
			at = well
			n := m.Spec.Limits.perSecond()
			bounded = bounded && n > 0
			room += n
		}
	}
	switch {
	case at == probe:
		room = 1
	case !bounded:
		room = 0
	}
	return at, room
}

// places is how many calls at a time the limits of a model or pool have free. A member
// that also limits what begins in a minute is left out: what it refuses has its own time.
func (r *Ready) places(ctx context.Context, name string) (free int) {
	snap, now := r.m.Snapshot(), r.m.Now()
	pool := snap.Pool(name)
	if pool == nil {
		if pool = snap.Alone(name); pool == nil {
			return 0
		}
	}
	for _, i := range pool.Members {
		m := &snap.Models[i]
		most := m.Spec.Limits.Concurrent
		if most == 0 || m.Spec.Limits.RPM+m.Spec.Limits.TPM > 0 || !m.Usability(now).Usable {
			continue
		}
		if running, err := r.m.at.Running(ctx, m.Spec.ID); err == nil {
			free += max(most-int(running), 0)
		}
	}
	return free
}

// perSecond is about how many calls the limits let begin in a second; 0 without one
// of calls.
func (l Limits) perSecond() int {
	n := l.Concurrent
	if l.RPM > 0 {
		if rate := (l.RPM + 59) / 60; n == 0 || rate < n {
			n = rate
		}
	}
	return n
}
