package fleet

import (
	"context"
	"time"

	"github.com/lighterman/lighterman/lua"
)

// seenList is a backend's record with its last good list.
type seenList struct {
	record lua.Observation
	list   string
	fence  int64
}

// Observe records a listing as observe.lua does.
func (y *memory) Observe(_ context.Context, token string, fence int64, l lua.Listing) (bool, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if !y.holdsLocked(token, fence) {
		return false, nil
	}
	now, s := y.clock(), y.seen[l.Name]
	if s == nil {
		s = &seenList{}
		y.seen[l.Name] = s
	} else if s.fence == fence {
		return true, nil
	}
	before := s.record
	s.fence = fence
	s.record = listedOnce(before, l, now)
	switch {
	case l.Kind == "":
		s.list = string(l.List)
	case s.record.Listed.IsZero():
		s.list = ""
	}
	on := y.accountLocked(l.Name.Backend)
	on.probed = now.UnixMilli()
	on.score *= 0.8
	if l.Kind == "" || l.Kind == lua.EmptyList {
		on.score += 0.2
	}
	if before.Etag != s.record.Etag || before.Kind != s.record.Kind || (before.Strikes >= strikes) != (s.record.Strikes >= strikes) || before.Tried.IsZero() {
		y.version++
	}
	return true, nil
}

// listedOnce is a record after a listing: a pure function.
func listedOnce(r lua.Observation, l lua.Listing, now time.Time) lua.Observation {
	r.Name, r.Tried, r.Took, r.Kind = l.Name, now, l.Took, l.Kind
	if l.Kind == "" {
		r.Listed, r.Since, r.Strikes, r.Etag, r.Count = now, time.Time{}, 0, l.Etag, l.Count
		return r
	}
	if r.Strikes++; r.Strikes == 1 {
		r.Since = now
	}
	if r.Listed.IsZero() || now.Sub(r.Listed) > l.Keep {
		r.Listed, r.Etag, r.Count = time.Time{}, "", 0
	}
	return r
}

func (y *memory) Observations(context.Context) ([]lua.Observation, time.Time, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.observationsLocked(), y.clock().UTC(), nil
}

func (y *memory) observationsLocked() []lua.Observation {
	var all []lua.Observation
	for _, s := range y.seen {
		all = append(all, s.record)
	}
	return all
}

func (y *memory) Lists(_ context.Context, names []lua.ListName) ([]string, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	lists := make([]string, len(names))
	for i, n := range names {
		if s := y.seen[n]; s != nil {
			lists[i] = s.list
		}
	}
	return lists, nil
}

func (y *memory) ForgetLists(_ context.Context, names []lua.ListName, before time.Time) (int, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	removed := 0
	for _, n := range names {
		if s := y.seen[n]; s != nil && s.record.Tried.Before(before) {
			delete(y.seen, n)
			removed++
		}
	}
	if removed > 0 {
		y.version++
	}
	return removed, nil
}

// accountLocked is a backend's account.
func (y *memory) accountLocked(backend string) *account {
	on := y.backends[backend]
	if on == nil {
		on = &account{score: 1}
		y.backends[backend] = on
	}
	return on
}
