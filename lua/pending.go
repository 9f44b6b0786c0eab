package lua

import (
	"context"
	"fmt"

	lm "github.com/lighterman/lighterman"
	"github.com/redis/go-redis/v9"
)

// Held is an operation whose entry is pending with a consumer. Its trace is zero but
// for the ID where there is none, as of a foreign entry that nobody has adopted.
type Held struct {
	Consumer string
	Trace    lm.Trace
}

// Pending lists what the consumers of a stream have read and not ended, at most so
// many of the oldest; none when the stream or its group is gone. It reads without
// taking part: idle times and delivery counts stay.
func (s *Store) Pending(ctx context.Context, st Stream, most int) ([]Held, error) {
	key := s.keys.stream(st)
	pending, err := s.rdb.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: key, Group: Group, Start: "-", End: "+", Count: int64(most)}).Result()
	if err != nil && !IsNoGroup(err) {
		return nil, fmt.Errorf("list pending entries: %w", err)
	}
	if len(pending) == 0 {
		return nil, nil
	}
	pipe := s.rdb.Pipeline()
	cmds := make([]*redis.Cmd, len(pending))
	for i, p := range pending {
		cmds[i] = pipe.Do(ctx, "xrange", key, p.ID, p.ID)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("read pending entries: %w", err)
	}
	var held []Held
	var ids []lm.TraceID
	for i, cmd := range cmds {
		for _, e := range appendEntries(nil, st, cmd.Val()) { // none: it ended meanwhile
			held = append(held, Held{Consumer: pending[i].Consumer})
			ids = append(ids, s.idOf(e))
		}
	}
	records, err := s.Records(ctx, ids)
	if err != nil {
		return nil, err
	}
	for i := range held {
		held[i].Trace = records[i].Trace
	}
	return held, nil
}

// Holding counts what each consumer holds over all of these streams, in one
// pipeline. It grows with those that hold something, not with the fleet.
func (s *Store) Holding(ctx context.Context, streams []Stream) (map[string]int, error) {
	pipe := s.rdb.Pipeline()
	cmds := make([]*redis.XPendingCmd, len(streams))
	for i, st := range streams {
		cmds[i] = pipe.XPending(ctx, s.keys.stream(st), Group)
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	holding := make(map[string]int)
	for i, cmd := range cmds {
		pending, err := cmd.Result()
		if IsNoGroup(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("count what is held of %s: %w", s.keys.stream(streams[i]), err)
		}
		for consumer, n := range pending.Consumers {
			holding[consumer] += int(n)
		}
	}
	return holding, nil
}
