package lua

import (
	"context"
	"fmt"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/redis/go-redis/v9"
)

// DeadLetter is one operation set aside for people.
type DeadLetter struct {
	ID     lm.TraceID `json:"id"`
	Reason string     `json:"reason"`
	State  string     `json:"state,omitempty"` // the last one before it failed
	Worker string     `json:"worker,omitempty"`
	Queue  string     `json:"queue,omitempty"`
	Kind   string     `json:"kind,omitempty"`
	Error  string     `json:"error,omitempty"` // JSON {kind, message}, or a text
	Raw    string     `json:"raw,omitempty"`   // of a malformed entry: its fields as a JSON list
	At     time.Time  `json:"at"`
}

// Dead lists a partition's dead-letter entries, newest first.
func (s *Store) Dead(ctx context.Context, partition, most int) ([]DeadLetter, error) {
	messages, err := s.rdb.XRevRangeN(ctx, s.keys.dead(partition), "+", "-", int64(most)).Result()
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	letters := make([]DeadLetter, len(messages))
	for i, m := range messages {
		v := m.Values
		letters[i] = DeadLetter{
			ID: lm.TraceID(text(v["t"])), Reason: text(v["reason"]), State: text(v["state"]), Worker: text(v["worker"]),
			Queue: text(v["queue"]), Kind: text(v["kind"]), Error: text(v["error"]), Raw: text(v["raw"]), At: idTime(m.ID),
		}
	}
	return letters, nil
}

// Waiting lists operations of one partition that have not ended, from a queue's
// streams (newest first) and the delayed set, at most so many of each: those that run or wait
// have an entry, those that wait for a time are in the set.
func (s *Store) Waiting(ctx context.Context, partition int, queues []string, most int) ([]lm.TraceID, error) {
	pipe := s.rdb.Pipeline()
	var ranges []*redis.XMessageSliceCmd
	var streams []Stream
	for _, q := range queues {
		for _, resume := range []bool{true, false} {
			st := Stream{Partition: partition, Queue: q, Resume: resume}
			streams = append(streams, st)
			ranges = append(ranges, pipe.XRevRangeN(ctx, s.keys.stream(st), "+", "-", int64(most)))
		}
	}
	delayed := pipe.ZRange(ctx, s.keys.delayed(partition), 0, int64(most)-1)
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("list operations: %w", err)
	}
	var ids []lm.TraceID
	for i, cmd := range ranges {
		for _, m := range cmd.Val() {
			fields := make([]string, 0, 2*len(m.Values))
			for k, v := range m.Values {
				fields = append(fields, k, text(v))
			}
			if id, ok := (Entry{Stream: streams[i], ID: m.ID, Fields: fields}).Own(); ok {
				ids = append(ids, id)
			}
		}
	}
	for _, id := range delayed.Val() {
		ids = append(ids, lm.TraceID(id))
	}
	return ids, nil
}
