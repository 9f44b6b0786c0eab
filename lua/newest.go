package lua

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/redis/go-redis/v9"
)

// Filter says which operations a list is to show; the zero value is any.
type Filter struct {
	State lm.State
	Queue string
}

func (f Filter) keeps(t lm.Trace) bool {
	return t.State != lm.None && (f.State == lm.None || f.State == t.State) && (f.Queue == "" || f.Queue == t.Queue)
}

// Newest lists the operations that were created last, newest first, running,
// waiting and ended ones together. It takes four or five round trips, and its cost
// depends on how many are asked for and not on how many there are: of each stream
// and set it sees only the newest, so that a filter may leave out older ones.
func (s *Store) Newest(ctx context.Context, f Filter, most int) ([]lm.Trace, error) {
	counts, err := s.AllCounts(ctx)
	if err != nil {
		return nil, err
	}
	look := &look{s: s, f: f, depth: most + 10}
	if f != (Filter{}) { // what it wants lies among others
		look.depth = max(most, max(10*most, 200)/len(counts))
	}
	seen, err := look.around(ctx, counts)
	if err != nil {
		return nil, err
	}
	return s.choose(ctx, f, seen, most)
}

// sighting is where an operation was seen, and since when it was there: about its
// creation for those that wait.
type sighting struct {
	id lm.TraceID
	at time.Time
}

// look is one search for operations.
type look struct {
	s     *Store
	f     Filter
	depth int // entries of each stream
}

// around sees what may be among the newest: it looks where operations of the
// wanted state are.
func (l *look) around(ctx context.Context, counts []Counts) ([]sighting, error) {
	pipe := l.s.rdb.Pipeline()
	entries, pending := make(map[Stream]*redis.Cmd), make(map[Stream]*redis.XPendingExtCmd)
	var delayed []*redis.StringSliceCmd
	var done []*redis.XMessageSliceCmd
	for p, c := range counts {
		for _, st := range l.streams(p, c) {
			switch l.f.State {
			case lm.None, lm.Queued, lm.Reclaimed:
				entries[st] = pipe.Do(ctx, "xrevrange", l.s.keys.stream(st), "+", "-", "count", l.depth)
			case lm.Received, lm.Retrying, lm.Completed: // have no entry
			default: // run, and are the oldest behind a backlog
				pending[st] = pipe.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: l.s.keys.stream(st), Group: Group, Start: "-", End: "+", Count: int64(l.depth)})
			}
		}
		if l.f.State == lm.None || l.f.State == lm.Received || l.f.State == lm.Retrying {
			some := int64(max(10, 2*l.depth/len(counts))) // the set is by due time: a part of either end
			delayed = append(delayed, pipe.ZRange(ctx, l.s.keys.delayed(p), 0, some-1), pipe.ZRange(ctx, l.s.keys.delayed(p), -some, -1))
		}
		if l.f.State == lm.None || l.f.State == lm.Completed {
			done = append(done, pipe.XRevRangeN(ctx, l.s.keys.done(p), "+", "-", int64(l.depth)))
		}
	}
	if pipe.Len() == 0 {
		return nil, nil
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) && !IsNoGroup(err) {
		return nil, fmt.Errorf("list operations: %w", err)
	}
	waiting, err := l.pending(ctx, pending)
	if err != nil {
		return nil, err
	}
	for st, cmd := range entries {
		waiting = l.see(waiting, st, cmd)
	}
	var ended, later []sighting
	for _, cmd := range done {
		for _, m := range cmd.Val() {
			for _, n := range appendNotices(nil, m) {
				ended = append(ended, sighting{n.ID, n.At})
			}
		}
	}
	for _, cmd := range delayed {
		for _, id := range cmd.Val() {
			later = append(later, sighting{id: lm.TraceID(id)})
		}
	}
	return slices.Concat(l.latest(waiting), l.latest(ended), later), nil
}

// streams are the streams of the queues that are wanted.
func (l *look) streams(p int, c Counts) (streams []Stream) {
	for _, q := range c.Queues() {
		if l.f.Queue == "" || l.f.Queue == q {
			streams = append(streams, Stream{Partition: p, Queue: q, Resume: true}, Stream{Partition: p, Queue: q})
		}
	}
	return streams
}

// pending reads the entries of what runs.
func (l *look) pending(ctx context.Context, of map[Stream]*redis.XPendingExtCmd) (found []sighting, err error) {
	pipe := l.s.rdb.Pipeline()
	entries := make(map[*redis.Cmd]Stream)
	for st, cmd := range of {
		for _, p := range cmd.Val() {
			entries[pipe.Do(ctx, "xrange", l.s.keys.stream(st), p.ID, p.ID)] = st
		}
	}
	if len(entries) == 0 {
		return nil, nil
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("list running operations: %w", err)
	}
	for cmd, st := range entries {
		found = l.see(found, st, cmd)
	}
	return found, nil
}

// see adds the operations that entries stand for.
func (l *look) see(to []sighting, st Stream, cmd *redis.Cmd) []sighting {
	for _, e := range appendEntries(nil, st, cmd.Val()) {
		to = append(to, sighting{l.s.idOf(e), idTime(e.ID)})
	}
	return to
}

// latest cuts sightings to those that may be shown.
func (l *look) latest(all []sighting) []sighting {
	slices.SortFunc(all, func(a, b sighting) int { return b.at.Compare(a.at) })
	return all[:min(len(all), max(2*l.depth, 200))]
}

// choose reads the little of each operation that decides, and then all of those
// that are shown.
func (s *Store) choose(ctx context.Context, f Filter, seen []sighting, most int) ([]lm.Trace, error) {
	pipe := s.rdb.Pipeline()
	cmds := make(map[lm.TraceID]*redis.SliceCmd, len(seen))
	for _, found := range seen {
		if cmds[found.id] == nil {
			cmds[found.id] = pipe.HMGet(ctx, s.keys.trace(found.id), "state", "queue", "created")
		}
	}
	if len(cmds) == 0 {
		return []lm.Trace{}, nil
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("read traces: %w", err)
	}
	var kept []lm.Trace
	for id, cmd := range cmds {
		v := cmd.Val()
		t := lm.Trace{ID: id, Queue: text(v[1]), Created: atMS(number(v[2]))}
		t.State, _ = lm.ParseState(text(v[0]))
		if f.keeps(t) {
			kept = append(kept, t)
		}
	}
	slices.SortFunc(kept, func(a, b lm.Trace) int { return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(b.ID, a.ID)) })
	ids := make([]lm.TraceID, 0, most)
	for _, t := range kept[:min(most, len(kept))] {
		ids = append(ids, t.ID)
	}
	records, err := s.Records(ctx, ids)
	if err != nil {
		return nil, err
	}
	kept = kept[:0]
	for _, r := range records {
		if f.keeps(r.Trace) { // it may have moved or expired just now
			kept = append(kept, r.Trace)
		}
	}
	return kept, nil
}
