package lua

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/redis/go-redis/v9"
)

// Parked is an operation that waits for something by its name, as the parked set
// has it.
type Parked struct {
	ID    lm.TraceID
	place string // TARGET|MS
}

// targetOf makes a target fit for the parked set, where | ends it. A long name is
// cut: who waits for another one of the same beginning is woken with it.
func targetOf(waits string) string {
	waits = strings.Map(func(r rune) rune {
		if r == '|' || r < ' ' {
			return '_'
		}
		return r
	}, waits)
	return strings.ToValidUTF8(waits[:min(len(waits), 128)], "_")
}

// readPlace splits a place into the target and the time at which it was parked.
func readPlace(place string) (target string, at time.Time) {
	i := strings.LastIndexByte(place, '|')
	if i < 0 {
		return "", time.Time{}
	}
	ms, _ := strconv.ParseInt(strings.TrimLeft(place[i+1:], "0"), 10, 64)
	return place[:i], atMS(ms)
}

// Waiting lists the operations of a partition that wait for a target and were parked
// before a time, at most 100, the oldest first. A zero time is no bound.
func (s *Store) Waiting(ctx context.Context, partition int, waits string, before time.Time, most int) ([]Parked, error) {
	target := targetOf(waits)
	to := "(" + target + "}" // the character behind |
	if !before.IsZero() {
		to = fmt.Sprintf("(%s|%014d", target, before.UnixMilli())
	}
	members, err := s.rdb.ZRangeArgs(ctx, redis.ZRangeArgs{
		Key: s.keys.parked(partition), Start: "[" + target + "|", Stop: to, ByLex: true, Count: int64(min(most, maxBatch)),
	}).Result()
	if err != nil {
		return nil, fmt.Errorf("read what is parked: %w", err)
	}
	var found []Parked
	for _, m := range members {
		if place, id := splitMember(m); place != "" {
			found = append(found, Parked{ID: id, place: place})
		}
	}
	return found, nil
}

// Wake brings operations of one partition back that are still parked where they were
// found, at most 100, and reports how many; the others leave the parked set.
func (s *Store) Wake(ctx context.Context, partition int, parked []Parked) (int, error) {
	if len(parked) == 0 {
		return 0, nil
	}
	ids := make([]lm.TraceID, len(parked))
	for i, p := range parked {
		ids[i] = p.ID
	}
	records, err := s.Records(ctx, ids)
	if err != nil {
		return 0, err
	}
	in := make([]promotion, len(parked))
	for i, p := range parked {
		in[i] = promotion{id: p.ID, queue: records[i].Queue, place: p.place}
	}
	answers, err := s.promote(ctx, partition, in)
	return promoted(answers), err
}

// Woken says what became of an operation that was to be woken.
type Woken string

// What WakeIDs can answer.
const (
	WokenOK        Woken = "woken"
	WokenNot       Woken = "not parked" // it runs, waits for its turn, or has ended: see its state
	WokenScheduled Woken = "scheduled"  // it has not begun, and waits for its start
	WokenUnknown   Woken = "not found"  // there is no such operation
	WokenMoved     Woken = "moved"      // something else happened to it at the same time
)

// WakeIDs brings back operations that wait for a time between two tries, whatever they
// wait for, in order; at most 100 of one partition at once travel together. What is
// not parked is left alone, so that a repeat changes nothing.
func (s *Store) WakeIDs(ctx context.Context, ids []lm.TraceID) ([]Woken, error) {
	woken := make([]Woken, len(ids))
	of := make(map[int][]int) // indices by partition
	for i, id := range ids {
		of[id.Partition()] = append(of[id.Partition()], i)
	}
	for p, all := range of {
		for batch := range slices.Chunk(all, maxBatch) {
			if err := s.wakeBatch(ctx, p, ids, batch, woken); err != nil {
				return woken, err
			}
		}
	}
	return woken, nil
}

func (s *Store) wakeBatch(ctx context.Context, partition int, ids []lm.TraceID, batch []int, woken []Woken) error {
	some := make([]lm.TraceID, len(batch))
	for i, at := range batch {
		some[i] = ids[at]
	}
	records, err := s.Records(ctx, some)
	if err != nil {
		return err
	}
	var in []promotion
	var at []int
	for i, r := range records {
		switch r.State {
		case lm.Retrying:
			in, at = append(in, promotion{id: r.ID, queue: r.Queue, hop: r.lastHop}), append(at, batch[i])
		case lm.Received:
			woken[batch[i]] = WokenScheduled
		case lm.None:
			woken[batch[i]] = WokenUnknown
		default:
			woken[batch[i]] = WokenNot
		}
	}
	if len(in) == 0 {
		return nil
	}
	answers, err := s.promote(ctx, partition, in)
	for i, a := range answers {
		if woken[at[i]] = WokenMoved; a == "OK" {
			woken[at[i]] = WokenOK
		}
	}
	return err
}

// Delayed calls f with the operations of a partition that wait for a time, page by
// page, the first that is due first, until f returns false. What moves meanwhile may
// be missed.
func (s *Store) Delayed(ctx context.Context, partition int, f func([]Record) bool) error {
	for from := int64(0); ; from += maxBatch {
		members, err := s.rdb.ZRange(ctx, s.keys.delayed(partition), from, from+maxBatch-1).Result()
		if err != nil {
			return fmt.Errorf("read the delayed set: %w", err)
		}
		if len(members) == 0 {
			return nil
		}
		ids := make([]lm.TraceID, len(members))
		for i, m := range members {
			ids[i] = lm.TraceID(m)
		}
		records, err := s.Records(ctx, ids)
		if err != nil {
			return err
		}
		if !f(records) {
			return nil
		}
	}
}
