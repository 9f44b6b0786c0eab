package lua

import (
	"context"
	"fmt"

	lm "github.com/lighterman/lighterman"
	"github.com/redis/go-redis/v9"
)

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
