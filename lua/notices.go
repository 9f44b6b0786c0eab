package lua

import (
	"context"
	"errors"
	"fmt"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/redis/go-redis/v9"
)

// Notice says that an operation has ended. It is a hint: it can be missed, and
// the trace is the truth.
type Notice struct {
	ID      lm.TraceID
	Outcome lm.Outcome
	At      time.Time
}

// NoticeStream is where notices are read: a producer's own reply stream, or with
// an empty Client the partition's stream of all ended operations.
type NoticeStream struct {
	Partition int
	Client    string
}

func (s *Store) noticeKey(n NoticeStream) string {
	if n.Client != "" {
		return s.keys.reply(n.Partition, n.Client)
	}
	return s.keys.done(n.Partition)
}

// Notices waits up to a time for notices after an ID of a stream ("$": from now
// on), and returns them with the ID to go on from. Nothing in time is no error.
func (s *Store) Notices(ctx context.Context, from NoticeStream, after string, wait time.Duration) ([]Notice, string, error) {
	streams, err := s.blocking.XRead(ctx, &redis.XReadArgs{
		Streams: []string{s.noticeKey(from), after}, Count: 1000, Block: max(wait, time.Millisecond),
	}).Result()
	if errors.Is(err, redis.Nil) {
		return nil, after, nil
	}
	if err != nil {
		return nil, after, fmt.Errorf("read notices: %w", err)
	}
	var notices []Notice
	for _, m := range streams[0].Messages {
		notices = appendNotices(notices, m)
		after = m.ID
	}
	return notices, after, nil
}

// NoticeEnd is the ID of a notice stream's last entry, to read on from without a
// gap; "0" while it is empty.
func (s *Store) NoticeEnd(ctx context.Context, of NoticeStream) (string, error) {
	last, err := s.rdb.XRevRangeN(ctx, s.noticeKey(of), "+", "-", 1).Result()
	if err != nil {
		return "", fmt.Errorf("read notices: %w", err)
	}
	if len(last) == 0 {
		return "0", nil
	}
	return last[0].ID, nil
}

// Ended lists the operations of a partition that ended last, newest first.
func (s *Store) Ended(ctx context.Context, partition, most int) ([]Notice, error) {
	messages, err := s.rdb.XRevRangeN(ctx, s.keys.done(partition), "+", "-", int64(most)).Result()
	if err != nil {
		return nil, fmt.Errorf("list ended operations: %w", err)
	}
	var notices []Notice
	for _, m := range messages {
		notices = appendNotices(notices, m)
	}
	return notices[:min(most, len(notices))], nil
}

// appendNotices reads one entry, which tells of all operations that one script
// ended: its fields are the IDs, its values the outcomes.
func appendNotices(to []Notice, m redis.XMessage) []Notice {
	for id, outcome := range m.Values {
		to = append(to, Notice{ID: lm.TraceID(id), Outcome: lm.Outcome(text(outcome)), At: idTime(m.ID)})
	}
	return to
}
