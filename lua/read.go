package lua

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/redis/go-redis/v9"
)

// Entry is what a stream delivered. An own entry has exactly one field, t, the
// trace ID; any other is a foreign producer's.
type Entry struct {
	Stream Stream
	ID     string
	Fields []string // names and values, flat, as they came; none of a long one before Fill
	Long   int      // bytes of a foreign entry that did not travel; 0: it did, or Fill has read it

	tries   int    // how often a long one's taking over was begun
	refused string // why Fill has not read it, as a code word
	weight  int    // its bytes, where they are too many
}

// Own reports the trace ID of an own entry. One whose t is no trace ID of this
// partition is a foreign one, and malformed.
func (e Entry) Own() (lm.TraceID, bool) {
	if len(e.Fields) != 2 || e.Fields[0] != "t" {
		return "", false
	}
	id, err := lm.ParseTraceID(e.Fields[1])
	return id, err == nil && id.Partition() == e.Stream.Partition
}

// body is a foreign entry's request, which need not be read again; empty where it did
// not travel.
func (e Entry) body() string {
	if _, own := e.Own(); own {
		return ""
	}
	for i := 0; i+1 < len(e.Fields); i += 2 {
		if e.Fields[i] == "body" {
			return e.Fields[i+1]
		}
	}
	return ""
}

// Names is the entry as a trace names it, STREAM/ID.
func (e Entry) Names() string { return e.Stream.short() + "/" + e.ID }

// Share is how many entries of a stream the first pass of Read may take. OwnOnly says that
// the reads before brought own entries alone, which are short: it is then read in one
// go, else a few at a time.
type Share struct {
	Stream  Stream
	Count   int
	OwnOnly bool
}

// stepMixed is how many entries Read asks a stream for at a time where long foreign ones
// may be among them, stepOwn where none are expected: as many as one claim takes, which
// bounds what a first burst of long ones costs.
const (
	stepMixed = 8
	stepOwn   = maxBatch
)

// Read takes up to room entries of one partition without blocking: first each
// stream's share in the given order, then whatever is left in the same order.
// An error for which IsNoGroup holds means that EnsureGroups is due; what other streams
// delivered comes with it.
func (s *Store) Read(ctx context.Context, consumer string, shares []Share, room int) ([]Entry, error) {
	return s.ReadWithin(ctx, consumer, shares, room, nil)
}

// ReadWithin is Read that takes of a queue at most what limits says, over its
// stream and its resume stream together; a queue that is not in it has no limit.
func (s *Store) ReadWithin(ctx context.Context, consumer string, shares []Share, room int, limits map[string]int) ([]Entry, error) {
	c := call{script: readScript, keys: make([]string, len(shares)), args: append(make([]any, 0, 6+4*len(shares)), len(shares), Group, consumer, room, inlineBytes, readBytes)}
	numbers := make(map[string]int, len(shares))
	for i, sh := range shares {
		queue := sh.Stream.Queue
		if numbers[queue] == 0 {
			numbers[queue] = i + 1
		}
		most, limited := limits[queue]
		if !limited {
			most = room
		}
		c.keys[i] = s.keys.stream(sh.Stream)
		step := stepMixed
		if sh.OwnOnly {
			step = stepOwn
		}
		c.args = append(c.args, sh.Count, numbers[queue], most, step)
	}
	v, err := s.run(ctx, c)
	if err != nil {
		return nil, err
	}
	got, err := list(v, -1)
	if err != nil {
		return nil, err
	}
	var entries []Entry
	for _, g := range got {
		pair, err := list(g, 2)
		if err != nil {
			return nil, err
		}
		if number(pair[0]) == 0 {
			return entries, fmt.Errorf("read: %s", text(pair[1]))
		}
		entries = appendEntries(entries, shares[number(pair[0])-1].Stream, pair[1])
	}
	return entries, nil
}

// Block waits up to a time for entries of any of the streams, which are of one
// partition, and takes at most count of each. Nothing in time is no error. The
// wait cannot be cancelled without losing what Redis delivers meanwhile, so it
// is short and ctx is not passed on.
func (s *Store) Block(consumer string, streams []Stream, count int, wait time.Duration) ([]Entry, error) {
	args := []any{"xreadgroup", "group", Group, consumer, "count", count, "block", max(1, wait.Milliseconds()), "streams"}
	byKey := make(map[string]Stream, len(streams))
	for _, st := range streams {
		key := s.keys.stream(st)
		byKey[key] = st
		args = append(args, key)
	}
	for range streams {
		args = append(args, ">")
	}
	cmd := redis.NewCmd(context.Background(), args...)
	cmd.SetFirstKeyPos(9) // the first stream; the blocking client's read timeout is longer than any wait
	err := s.blocking.Process(context.Background(), cmd)
	if errors.Is(err, redis.Nil) || err != nil && strings.HasPrefix(err.Error(), "UNBLOCKED") {
		return nil, nil // UNBLOCKED: a stream went to another node with its slot; the next read finds it there, or says what is wrong
	}
	if err != nil {
		return nil, fmt.Errorf("read streams: %w", err)
	}
	got, err := list(cmd.Val(), -1)
	if err != nil {
		return nil, err
	}
	var entries []Entry
	for _, g := range got {
		pair, err := list(g, 2)
		if err != nil {
			return nil, err
		}
		entries = appendEntries(entries, byKey[text(pair[0])], pair[1])
	}
	return entries, nil
}

func appendEntries(to []Entry, st Stream, v any) []Entry {
	items, _ := v.([]any)
	for _, item := range items {
		pair, _ := item.([]any)
		if len(pair) < 2 {
			continue
		}
		e := Entry{Stream: st, ID: text(pair[0]), Fields: texts(pair[1])}
		if long, ok := pair[1].(int64); ok {
			e.Fields, e.Long = nil, int(long)
		}
		if len(pair) == 3 {
			e.tries = int(number(pair[2]))
		}
		to = append(to, e)
	}
	return to
}

// IsNoGroup reports that a stream or its consumer group is gone.
func IsNoGroup(err error) bool { return err != nil && strings.Contains(err.Error(), "NOGROUP") }

// EnsureGroups creates streams with their consumer group where they are missing,
// from the stream's beginning: what is there and done is refused by its trace.
// Idempotent.
func (s *Store) EnsureGroups(ctx context.Context, streams []Stream) error {
	pipe := s.rdb.Pipeline()
	cmds := make([]*redis.StatusCmd, len(streams))
	for i, st := range streams {
		cmds[i] = pipe.XGroupCreateMkStream(ctx, s.keys.stream(st), Group, "0")
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	var errs []error
	for i, cmd := range cmds {
		if err := cmd.Err(); err != nil && !strings.HasPrefix(err.Error(), "BUSYGROUP") {
			errs = append(errs, fmt.Errorf("create consumer group of %s: %w", s.keys.stream(streams[i]), err))
		}
	}
	return errors.Join(errs...)
}
