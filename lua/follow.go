package lua

import (
	"context"
	"errors"
	"fmt"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/redis/go-redis/v9"
)

// FollowReaders is how many blocking reads of token streams one process has room
// for beside the others.
const FollowReaders = 64

// Follow marks an operation as followed, unless it has ended, and says what state
// it is in: from then on its worker writes frames, and its end writes one of type
// final. A worker that runs it already is told, and hears it at the latest with
// its next heartbeat. ErrNotFound when there is none. Idempotent.
func (s *Store) Follow(ctx context.Context, id lm.TraceID) (lm.State, error) {
	v, err := s.run(ctx, call{script: followScript, keys: []string{s.keys.trace(id)}, args: []any{1}})
	if err != nil {
		return lm.None, err
	}
	answer, err := list(v, 2)
	if err != nil {
		return lm.None, err
	}
	state, owner := text(answer[0]), text(answer[1])
	if err := refusal(state); err != nil {
		return lm.None, err
	}
	if owner != "" {
		_ = s.Tell(ctx, WordCancel, owner) // has it beat now; a lost one costs the time until it beats anyway
	}
	return lm.ParseState(state)
}

// ReadFrames reads frames of an operation that come after one of an ID ("0": from
// the first that is kept), at most so many. With a wait it blocks up to that time
// until there is one; without, it returns what is there. None is no error.
func (s *Store) ReadFrames(ctx context.Context, id lm.TraceID, after string, most int, wait time.Duration) ([]lm.Frame, error) {
	messages, err := s.readOut(ctx, s.keys.out(id), after, int64(most), wait)
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("read frames: %w", err)
	}
	frames := make([]lm.Frame, len(messages))
	for i, m := range messages {
		v := m.Values
		frames[i] = lm.Frame{
			ID: m.ID, Epoch: lm.Epoch(number(v["epoch"])), Seq: uint64(number(v["seq"])), //nolint:gosec // counts from 0
			Type: lm.FrameType(text(v["type"])), Step: text(v["step"]), Data: text(v["data"]),
		}
	}
	return frames, nil
}

func (s *Store) readOut(ctx context.Context, key, after string, most int64, wait time.Duration) ([]redis.XMessage, error) {
	if wait <= 0 {
		return s.rdb.XRangeN(ctx, key, "("+after, "+", most).Result()
	}
	args := &redis.XReadArgs{Streams: []string{key, after}, Count: most, Block: max(wait, time.Millisecond)}
	streams, err := s.blocking.XRead(ctx, args).Result()
	if err != nil || len(streams) == 0 {
		return nil, err
	}
	return streams[0].Messages, nil
}
