package lua

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	lm "github.com/lighterman/lighterman"
)

// Ended is what cancel said of an operation.
type Ended string

// What cancel can answer; the rest are errors.
const (
	CancelDone      Ended = "OK"        // it waited and has ended
	CancelRequested Ended = "REQUESTED" // it runs; its worker is asked to end it
	CancelLate      Ended = "LATE"      // it is being delivered and goes on
	CancelEnded     Ended = "ENDED"     // it had ended before
	CancelEarly     Ended = "EARLY"     // before its deadline
	cancelChanged   Ended = "CHANGED"   // it moved since it was read
)

// Left reports whether the operation stays where it was found, among those past
// their deadline.
func (e Ended) Left() bool {
	switch e {
	case CancelDone, CancelRequested, CancelLate, CancelEnded, "NOTFOUND":
		return false
	default:
		return true
	}
}

// cancelTries bounds how often an operation that moves is read again.
const cancelTries = 5

// Cancel ends an operation that is not wanted any more. ErrNotFound when there is
// none.
func (s *Store) Cancel(ctx context.Context, id lm.TraceID) (Ended, error) {
	ended, err := s.end(ctx, []lm.TraceID{id}, lm.Cancelled, 0, lm.Errorf(lm.CancelRequested, "cancelled on request"))
	if err != nil {
		return "", err
	}
	if err := refusal(string(ended[0])); err != nil {
		return "", fmt.Errorf("%s: %w", id, err)
	}
	return ended[0], nil
}

// Expire ends operations of one partition whose deadline has passed, at most
// 100; the answers come in order.
func (s *Store) Expire(ctx context.Context, ids []lm.TraceID) ([]Ended, error) {
	return s.end(ctx, ids, lm.Expired, 0, lm.Errorf(lm.DeadlineExceeded, "its deadline passed"))
}

// ExpireOld ends operations of one partition that are older than MaxAge, at most
// 100; the answers come in order. The age is the server's to say.
func (s *Store) ExpireOld(ctx context.Context, ids []lm.TraceID) ([]Ended, error) {
	return s.end(ctx, ids, lm.Expired, s.opts.MaxAge, lm.Errorf(lm.DeadlineExceeded, "older than limits.max_age"))
}

func (s *Store) end(ctx context.Context, ids []lm.TraceID, outcome lm.Outcome, maxAge time.Duration, failure *lm.Error) ([]Ended, error) {
	ended := make([]Ended, len(ids))
	open := make([]int, len(ids))
	for i := range ids {
		open[i] = i
	}
	for try := 0; len(open) > 0; try++ {
		some := make([]lm.TraceID, len(open))
		for i, at := range open {
			some[i] = ids[at]
		}
		answers, err := s.endOnce(ctx, some, outcome, maxAge, failure)
		if err != nil {
			return nil, err
		}
		var again []int
		for i, a := range answers {
			ended[open[i]] = Ended(a)
			if Ended(a) == cancelChanged && try < cancelTries {
				again = append(again, open[i])
			}
		}
		open = again
	}
	return ended, nil
}

// endOnce reads the operations and ends them as they were read.
func (s *Store) endOnce(ctx context.Context, ids []lm.TraceID, outcome lm.Outcome, maxAge time.Duration, failure *lm.Error) ([]string, error) {
	records, err := s.Records(ctx, ids)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(failure)
	if err != nil {
		return nil, err
	}
	p := ids[0].Partition()
	c := call{
		script: cancelScript,
		keys:   append(make([]string, 0, 6+8*len(ids)), s.keys.stats(p), s.keys.done(p), s.keys.dead(p), s.keys.deadlines(p), s.keys.delayed(p), s.keys.parked(p)),
		args:   append(make([]any, 0, 6+4*len(ids)), len(ids), Group, s.opts.Retention.Milliseconds(), string(outcome), text, maxAge.Milliseconds()),
	}
	for i, id := range ids {
		r := records[i]
		st, _, has := streamOf(p, r.Entry)
		c.keys = append(s.keys.operation(c.keys, id, r.Unique, r.Reply), s.keys.optional(has, s.keys.stream(st), s.keys.trace(id)))
		epoch := any("")
		if r.Epoch > 0 {
			epoch = int64(r.Epoch)
		}
		c.args = append(c.args, string(id), string(r.State.Letter()), r.Entry, epoch)
	}
	var answers []string
	err = again(ctx, s.opts.Patience, func() (err error) {
		answers, err = s.answers(ctx, c, len(ids))
		return err
	})
	s.tellOwners(ctx, records, answers)
	return answers, err
}

// tellOwners has the workers that run what was asked to end look at once. Nobody
// depends on it: their next heartbeat says the same.
func (s *Store) tellOwners(ctx context.Context, records []Record, answers []string) {
	var owners []string
	for i, a := range answers {
		if o := records[i].Owner; Ended(a) == CancelRequested && o != "" && !slices.Contains(owners, o) {
			owners = append(owners, o)
		}
	}
	_ = s.Tell(ctx, WordCancel, owners...)
}
