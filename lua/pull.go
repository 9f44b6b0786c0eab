package lua

import (
	"context"
	"fmt"

	lm "github.com/lighterman/lighterman"
	"github.com/redis/go-redis/v9"
)

// Pull brings operations of one partition and queue back that are still parked where
// they were found, at most 100, and hands their entries to a consumer. Where older
// entries wait in the resume stream it is handed those first. What is not parked there
// any more, and what is another queue's, is left out.
func (s *Store) Pull(ctx context.Context, consumer string, st Stream, parked []Parked) ([]Entry, error) {
	st.Resume = true
	p := st.Partition
	c := call{
		script: pullScript,
		keys:   append(make([]string, 0, 4+len(parked)), s.keys.stats(p), s.keys.delayed(p), s.keys.parked(p), s.keys.stream(st)),
		args:   append(make([]any, 0, 4+2*len(parked)), len(parked), Group, consumer, st.Queue),
	}
	for _, one := range parked {
		c.keys = append(c.keys, s.keys.trace(one.ID))
		c.args = append(c.args, string(one.ID), one.place)
	}
	v, err := s.run(ctx, c)
	if err != nil {
		return nil, err
	}
	pair, err := list(v, 2)
	if err != nil {
		return nil, err
	}
	return appendEntries(nil, st, pair[1]), nil
}

// QueuesOf reads which queues parked operations are of, in order; empty for one whose
// trace is gone.
func (s *Store) QueuesOf(ctx context.Context, parked []Parked) ([]string, error) {
	pipe := s.rdb.Pipeline()
	cmds := make([]*redis.StringCmd, len(parked))
	for i, p := range parked {
		cmds[i] = pipe.HGet(ctx, s.keys.trace(p.ID), "queue")
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	queues := make([]string, len(parked))
	for i, cmd := range cmds {
		if err := cmd.Err(); IsLost(err) {
			return nil, fmt.Errorf("read queues: %w", err)
		}
		queues[i] = cmd.Val()
	}
	return queues, nil
}

// WaitedFor lists what parked operations of a partition wait for, each once, at most
// so many: as the tick does, by one plain command for each.
func (s *Store) WaitedFor(ctx context.Context, partition, most int) ([]string, error) {
	var targets []string
	for from := "-"; len(targets) < most; {
		first, err := s.rdb.ZRangeArgs(ctx, redis.ZRangeArgs{Key: s.keys.parked(partition), Start: from, Stop: "+", ByLex: true, Count: 1}).Result()
		if err != nil {
			return nil, fmt.Errorf("read what is waited for: %w", err)
		}
		if len(first) == 0 {
			break
		}
		place, _ := splitMember(first[0])
		target, _ := readPlace(place)
		if target == "" {
			from = "(" + first[0]
			continue
		}
		targets, from = append(targets, target), "("+target+"}"
	}
	return targets, nil
}

// splitMember splits a member of the parked set into place and ID.
func splitMember(member string) (place string, id lm.TraceID) {
	for i := len(member) - 1; i > 0; i-- {
		if member[i] == '|' {
			parsed, err := lm.ParseTraceID(member[i+1:])
			if err != nil {
				return "", ""
			}
			return member[:i], parsed
		}
	}
	return "", ""
}
