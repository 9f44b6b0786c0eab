package lua

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
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
	Entry  string     `json:"entry"` // the stream ID in its partition's dead-letter stream

	// What the trace tells, where it names this very entry; see Related.
	RetryOf   lm.TraceID `json:"retry_of,omitempty"`
	RetriedAs lm.TraceID `json:"retried_as,omitempty"`
}

// Operation reports whether the letter tells of an operation that ran and
// failed, and not of an entry that never became one or whose trace is gone.
func (d *DeadLetter) Operation() bool { return d.Raw == "" && d.Reason != "trace_lost" }

// Span bounds a list of dead letters by their age. Zero times bound nothing.
type Span struct {
	Since, Until time.Time // from Since on, and before Until
}

// Dead lists a partition's dead-letter entries, newest first.
func (s *Store) Dead(ctx context.Context, partition, most int) ([]DeadLetter, error) {
	letters, _, err := s.DeadPage(ctx, partition, Span{}, true, "", most)
	return letters, err
}

// DeadPage lists up to so many dead letters of a partition and a span, newest or
// oldest first, from behind a cursor (empty: from the beginning). next is the
// cursor of the next page, empty after the last one.
func (s *Store) DeadPage(ctx context.Context, partition int, span Span, newest bool, cursor string, most int) (letters []DeadLetter, next string, err error) {
	low, high := "-", "+"
	if !span.Since.IsZero() {
		low = strconv.FormatInt(max(0, span.Since.UnixMilli()), 10)
	}
	if !span.Until.IsZero() {
		high = "(" + strconv.FormatInt(max(0, span.Until.UnixMilli()), 10) + "-0"
	}
	key, read := s.keys.dead(partition), s.rdb.XRangeN
	first, last := low, high
	if newest {
		read, first, last = s.rdb.XRevRangeN, high, low
	}
	if cursor != "" {
		first = "(" + cursor
	}
	messages, err := read(ctx, key, first, last, int64(most)).Result()
	if err != nil {
		return nil, "", fmt.Errorf("list dead letters: %w", err)
	}
	letters = make([]DeadLetter, len(messages))
	for i, m := range messages {
		v := m.Values
		letters[i] = DeadLetter{
			ID: lm.TraceID(text(v["t"])), Reason: text(v["reason"]), State: text(v["state"]), Worker: text(v["worker"]),
			Queue: text(v["queue"]), Kind: text(v["kind"]), Error: text(v["error"]), Raw: text(v["raw"]), At: idTime(m.ID), Entry: m.ID,
		}
	}
	if len(messages) == most {
		next = messages[most-1].ID
	}
	return letters, next, nil
}

// Related fills in what the letters' operations repeat, and what repeats them,
// in one pipeline.
func (s *Store) Related(ctx context.Context, letters []DeadLetter) error {
	pipe := s.rdb.Pipeline()
	cmds := make([]*redis.SliceCmd, len(letters))
	for i := range letters {
		cmds[i] = pipe.HMGet(ctx, s.keys.trace(letters[i].ID), "dead", "retry_of", "retried_as")
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return fmt.Errorf("read traces: %w", err)
	}
	for i, cmd := range cmds {
		if v := cmd.Val(); len(v) == 3 && text(v[0]) == letters[i].Entry {
			letters[i].RetryOf, letters[i].RetriedAs = lm.TraceID(text(v[1])), lm.TraceID(text(v[2]))
		}
	}
	return nil
}

// Purged is what purge said of a dead letter.
type Purged string

// What purge can answer.
const (
	PurgedAll   Purged = "OK"    // the entry and all that its operation left
	PurgedEntry Purged = "ENTRY" // the entry; there was nothing else of it
	PurgedGone  Purged = "GONE"  // removed before, by this very call perhaps, if its reply was lost
)

// Purge forgets dead letters of one partition, at most 100, as they were listed.
// The answers come in order, with an error for each that Redis refused. Safe to
// repeat.
func (s *Store) Purge(ctx context.Context, partition int, letters []DeadLetter) ([]Purged, []error, error) {
	ids := make([]lm.TraceID, len(letters))
	for i, d := range letters {
		if ids[i] = d.ID; !validIn(partition, d.ID) {
			ids[i] = lm.NewTraceID(partition, "-") // no operation has this name: the entry goes alone
		}
	}
	records, err := s.Records(ctx, ids)
	if err != nil {
		return nil, nil, err
	}
	c := call{
		script: purgeScript,
		keys:   append(make([]string, 0, 1+6*len(ids)), s.keys.dead(partition)),
		args:   append(make([]any, 0, 1+2*len(ids)), len(ids)),
	}
	for i, id := range ids {
		c.keys = append(c.keys, slices.Delete(s.keys.operation(nil, id, records[i].Unique, ""), 6, 7)...)
		c.args = append(c.args, string(letters[i].ID), letters[i].Entry)
	}
	var answers []string
	if err := again(ctx, s.opts.Patience, func() (err error) {
		answers, err = s.answers(ctx, c, len(ids))
		return err
	}); err != nil {
		return nil, nil, err
	}
	purged, errs := make([]Purged, len(answers)), make([]error, len(answers))
	for i, a := range answers {
		purged[i], errs[i] = Purged(a), refusal(a)
	}
	return purged, errs, nil
}

// ForgetOldest purges the oldest dead letters of a partition, of so many that there are,
// until DeadKept are left, at most 100 of them; it says how many. Nothing of their
// operations stays.
func (s *Store) ForgetOldest(ctx context.Context, partition, letters int) (int, error) {
	over := min(letters-s.opts.DeadKept, maxBatch)
	if over <= 0 {
		return 0, nil
	}
	oldest, _, err := s.DeadPage(ctx, partition, Span{}, false, "", over)
	if err != nil || len(oldest) == 0 {
		return 0, err
	}
	purged, errs, err := s.Purge(ctx, partition, oldest)
	if err != nil {
		return 0, err
	}
	return len(purged), errors.Join(errs...)
}

// validIn reports whether an ID names keys of a partition.
func validIn(partition int, id lm.TraceID) bool {
	_, err := lm.ParseTraceID(string(id))
	return err == nil && id.Partition() == partition
}

// TrimDead removes a partition's dead letters that are older than DeadRetention,
// when all else of their operations has expired, and says how many. It is cheap
// where there is nothing to remove, and safe to repeat; once an hour is enough.
func (s *Store) TrimDead(ctx context.Context, partition int) (int, error) {
	c := call{script: trimScript, keys: []string{s.keys.dead(partition)}, args: []any{s.opts.DeadRetention.Milliseconds()}}
	var removed int
	err := again(ctx, s.opts.Patience, func() error {
		v, err := s.run(ctx, c)
		removed += int(number(v))
		return err
	})
	return removed, err
}
