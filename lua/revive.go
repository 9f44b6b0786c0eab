package lua

import (
	"context"
	"errors"
	"fmt"
	"strings"

	lm "github.com/lighterman/lighterman"
	"github.com/redis/go-redis/v9"
)

// What a retry of a failed operation can answer, beside ErrNotFound (no such
// operation, or no more) and ErrQueueFull.
var (
	ErrNotFailed   = errors.New("only a failed operation can be retried")
	ErrRequestGone = errors.New("its request is gone")
	errChanged     = errors.New("it changed while it was read; try again")
)

// Revival is a failed operation, as Records read it, and the new one's ID in the
// same partition, with its checkpoint sealed for that ID.
type Revival struct {
	Failed Record
	ID     lm.TraceID
	Steps  []lm.Step
}

// Revived answers one Revival: ID is the new operation's, or with Existing that
// of the one which an earlier retry made.
type Revived struct {
	ID       lm.TraceID
	Existing bool
	Err      error
}

// Revive makes new operations of failed ones of one partition, at most 100, with
// their requests and labels and without their deadlines and idempotency keys. The
// requests move inside Redis: bound what a call moves by their sizes. The answers
// come in order. Safe to repeat.
func (s *Store) Revive(ctx context.Context, partition int, revivals []Revival) []Revived {
	answers := make([]Revived, len(revivals))
	c := s.reviveCall(partition, revivals)
	var words []string
	err := again(ctx, s.opts.Patience, func() (err error) {
		words, err = s.answers(ctx, c, len(revivals))
		return err
	})
	for i := range answers {
		if err != nil {
			answers[i].Err = err
			continue
		}
		answers[i] = revived(revivals[i].ID, words[i])
	}
	return answers
}

func revived(id lm.TraceID, answer string) Revived {
	code, rest, _ := strings.Cut(answer, " ")
	switch code {
	case "OK":
		return Revived{ID: id}
	case "EXISTING": // ours: its first answer was lost
		return Revived{ID: lm.TraceID(rest), Existing: lm.TraceID(rest) != id}
	case "NOREQUEST":
		return Revived{Err: ErrRequestGone}
	case "CHANGED":
		return Revived{Err: errChanged}
	case "ILLEGAL":
		if rest == lm.Retrying.String() {
			return Revived{Err: fmt.Errorf("%w; this one waits for its next try, and `lighterman wake` brings it back", ErrNotFailed)}
		}
		return Revived{Err: fmt.Errorf("%w; this one is %s", ErrNotFailed, rest)}
	case "CONFLICT":
		return Revived{Err: fmt.Errorf("the new ID %s is taken", id)}
	case "QUEUEFULL":
		return Revived{Err: ErrQueueFull}
	case "MANYQUEUES":
		return Revived{Err: ErrTooManyQueues}
	}
	if err := refusal(answer); err != nil {
		return Revived{Err: err}
	}
	return Revived{Err: fmt.Errorf("revive answered %q", answer)}
}

func (s *Store) reviveCall(p int, revivals []Revival) call {
	c := call{
		script: reviveScript,
		keys:   append(make([]string, 0, 2+7*len(revivals)), s.keys.stats(p), s.keys.dead(p)),
		args:   append(make([]any, 0, 2+20*len(revivals)), len(revivals), max(1, s.opts.QueueLimit/s.opts.Partitions)),
	}
	for _, r := range revivals {
		old := r.Failed
		c.keys = append(c.keys, s.keys.trace(old.ID), s.keys.request(old.ID), s.keys.checkpoint(old.ID),
			s.keys.trace(r.ID), s.keys.request(r.ID), s.keys.checkpoint(r.ID), s.keys.stream(Stream{Partition: p, Queue: old.Queue}))
		width := len(c.args)
		c.args = append(c.args, 0, string(old.ID), string(r.ID), unixMS(old.Ended), old.Queue, 2*len(r.Steps))
		for _, step := range r.Steps {
			c.args = append(c.args, step.Name, step.Data)
		}
		req := old.request("")
		c.args = appendFields(c.args, &req, "")
		c.args[width] = len(c.args) - width
	}
	return c
}

// Checkpoints reads stored checkpoints in one pipeline; one that is not there has
// no fields. Bound what a call reads by the records' CheckpointSize.
func (s *Store) Checkpoints(ctx context.Context, ids []lm.TraceID) ([]lm.Fields, error) {
	pipe := s.rdb.Pipeline()
	cmds := make([]*redis.MapStringStringCmd, len(ids))
	for i, id := range ids {
		cmds[i] = pipe.HGetAll(ctx, s.keys.checkpoint(id))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("read checkpoints: %w", err)
	}
	fields := make([]lm.Fields, len(ids))
	for i, cmd := range cmds {
		fields[i] = cmd.Val()
	}
	return fields, nil
}
