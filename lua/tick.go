package lua

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/redis/go-redis/v9"
)

// Stalled is the first entry of a stream that has been idle for a lease.
type Stalled struct {
	Stream Stream
	From   string
}

// Due is what a tick found.
type Due struct {
	Ran       bool  // false: another worker had this interval
	Now       int64 // server ms, to read on from
	Delayed   []lm.TraceID
	Deadlines []lm.TraceID
	Stalled   []Stalled
	Waits     []string // what parked operations wait for, the first 100
	Letters   int      // dead ones
	Counts    Counts
}

// Counts are a partition's exact counts by field: waiting:QUEUE, running:QUEUE,
// delayed:QUEUE, and the outcomes since the beginning.
type Counts map[string]int64

// Queues lists the queues that the counts know.
func (c Counts) Queues() []string {
	seen := make(map[string]bool)
	var queues []string
	for field := range c {
		if _, queue, ok := strings.Cut(field, ":"); ok && !seen[queue] {
			seen[queue] = true
			queues = append(queues, queue)
		}
	}
	return queues
}

// Sum adds the counts whose field is kind or kind:QUEUE.
func (c Counts) Sum(kind string) (n int64) {
	for field, v := range c {
		if k, _, _ := strings.Cut(field, ":"); k == kind {
			n += v
		}
	}
	return n
}

// Tick finds what is due in a partition, once per interval for the whole fleet.
func (s *Store) Tick(ctx context.Context, partition int, interval, lease time.Duration, streams []Stream) (Due, error) {
	c := call{
		script: tickScript,
		keys:   append(make([]string, 0, 6+len(streams)), s.keys.tick(partition), s.keys.stats(partition), s.keys.delayed(partition), s.keys.deadlines(partition), s.keys.parked(partition), s.keys.dead(partition)),
		args:   []any{interval.Milliseconds(), Group, lease.Milliseconds(), maxBatch, len(streams)},
	}
	for _, st := range streams {
		c.keys = append(c.keys, s.keys.stream(st))
	}
	v, err := s.run(ctx, c)
	if err != nil {
		return Due{}, err
	}
	reply, err := list(v, -1)
	if err != nil || len(reply) < 2 {
		return Due{}, err
	}
	if len(reply) < 8 {
		return Due{Now: number(reply[1])}, nil
	}
	due := Due{Ran: true, Now: number(reply[1]), Counts: readCounts(reply[2]), Delayed: traceIDs(reply[3]), Deadlines: traceIDs(reply[4]), Waits: texts(reply[6]), Letters: int(number(reply[7]))}
	stalled, _ := reply[5].([]any)
	for _, item := range stalled {
		pair, err := list(item, 2)
		if err != nil {
			return Due{}, err
		}
		due.Stalled = append(due.Stalled, Stalled{Stream: streams[number(pair[0])-1], From: text(pair[1])})
	}
	return due, nil
}

func traceIDs(v any) []lm.TraceID {
	names := texts(v)
	ids := make([]lm.TraceID, len(names))
	for i, n := range names {
		ids[i] = lm.TraceID(n)
	}
	return ids
}

func readCounts(v any) Counts {
	flat, _ := v.([]any)
	counts := make(Counts, len(flat)/2)
	for i := 0; i+1 < len(flat); i += 2 {
		counts[text(flat[i])] = number(flat[i+1])
	}
	return counts
}

// MoreDelayed names further operations that were due at a tick, at most 100, behind
// as many as are left of those that were asked for: one that cannot be promoted keeps
// no other.
func (s *Store) MoreDelayed(ctx context.Context, partition int, due Due, left int) ([]lm.TraceID, error) {
	return s.more(ctx, s.keys.delayed(partition), due, left)
}

// MoreDeadlines is MoreDelayed for operations past their deadline.
func (s *Store) MoreDeadlines(ctx context.Context, partition int, due Due, left int) ([]lm.TraceID, error) {
	return s.more(ctx, s.keys.deadlines(partition), due, left)
}

func (s *Store) more(ctx context.Context, key string, due Due, left int) ([]lm.TraceID, error) {
	names, err := s.rdb.ZRangeByScore(ctx, key, &redis.ZRangeBy{Min: "-inf", Max: strconv.FormatInt(due.Now, 10), Offset: int64(left), Count: maxBatch}).Result()
	if err != nil {
		return nil, fmt.Errorf("read what is due: %w", err)
	}
	ids := make([]lm.TraceID, len(names))
	for i, n := range names {
		ids[i] = lm.TraceID(n)
	}
	return ids, nil
}

// Promoted is what promote said of an operation. Anything else is a refusal, and the
// operation stays where it is.
type Promoted string

// The promotions; none of them is due in the delayed set any more.
const (
	PromoteOK    Promoted = "OK"
	PromoteEarly Promoted = "EARLY" // not due any more
	PromoteGone  Promoted = "GONE"  // it did not wait
)

// Left reports whether the operation stays due in the delayed set.
func (p Promoted) Left() bool { return p != PromoteOK && p != PromoteEarly && p != PromoteGone }

// Promote gives entries to operations of one partition that are due in the
// delayed set, at most 100; it reports how many it moved.
func (s *Store) Promote(ctx context.Context, partition int, ids []lm.TraceID) (moved int, err error) {
	answers, err := s.PromoteEach(ctx, partition, ids)
	for _, a := range answers {
		if a == PromoteOK {
			moved++
		}
	}
	return moved, err
}

// PromoteEach is Promote that says what came of each.
func (s *Store) PromoteEach(ctx context.Context, partition int, ids []lm.TraceID) ([]Promoted, error) {
	records, err := s.Records(ctx, ids)
	if err != nil {
		return nil, err
	}
	in := make([]promotion, len(ids))
	for i, id := range ids {
		in[i] = promotion{id: id, queue: records[i].Queue}
	}
	answers, err := s.promote(ctx, partition, in)
	if err != nil {
		return nil, err
	}
	said := make([]Promoted, len(answers))
	for i, a := range answers {
		said[i] = Promoted(a)
	}
	return said, nil
}

// Counts reads a partition's counts.
func (s *Store) Counts(ctx context.Context, partition int) (Counts, error) {
	counts, err := s.countsOf(ctx, []int{partition})
	if err != nil {
		return nil, err
	}
	return counts[0], nil
}

// AllCounts reads the counts of every partition in one round trip.
func (s *Store) AllCounts(ctx context.Context) ([]Counts, error) {
	partitions := make([]int, s.Partitions())
	for p := range partitions {
		partitions[p] = p
	}
	return s.countsOf(ctx, partitions)
}

func (s *Store) countsOf(ctx context.Context, partitions []int) ([]Counts, error) {
	pipe := s.rdb.Pipeline()
	cmds := make([]*redis.MapStringStringCmd, len(partitions))
	for i, p := range partitions {
		cmds[i] = pipe.HGetAll(ctx, s.keys.stats(p))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("read counts: %w", err)
	}
	all := make([]Counts, len(partitions))
	for i, cmd := range cmds {
		all[i] = make(Counts, len(cmd.Val()))
		for field, v := range cmd.Val() {
			all[i][field] = number(v)
		}
	}
	return all, nil
}
