package lua

import (
	"context"
	"fmt"
	"time"

	lm "github.com/lighterman/lighterman"
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
