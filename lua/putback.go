package lua

import (
	"context"
	"fmt"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/redis/go-redis/v9"
)

// Returned is what putback said of an operation.
type Returned string

// What putback can answer; the rest are errors.
const (
	PutBack      Returned = "OK"    // in the resume stream
	PutBackEnded Returned = "ENDED" // over the crash limit, or it was delivered already
	PutBackStale Returned = "STALE" // the trace does not name this entry; it was removed
	PutBackLost  Returned = "LOST"  // its trace is gone; dead-lettered trace_lost
	PutBackLive  Returned = "LIVE"  // its owner's lease runs
	PutBackSkip  Returned = "SKIP"  // it changed meanwhile, or is not pending with the caller
)

// The causes for which a sweep takes a claim over from its owner: its lease ended,
// or its process was seen to be gone.
const (
	CauseLease    = "lease"
	CausePresence = "presence"
	causeRepair   = "repair" // its entry was gone too; see repair.lua
)

// Taken is an entry that the caller took over, with the trace as it read it.
type Taken struct {
	Entry  Entry
	Record Record // State None when there is no trace
}

type putBackIn struct {
	id     lm.TraceID
	entry  string
	cause  string
	claim  *lm.Fence // of a claim's own putback
	seq    uint64
	record Record
}

// Release gives a claim's operation back to the fleet by its own fence; nothing
// is counted. cause is a code word for the history (drain, contact). Errors as
// Finish.
func (s *Store) Release(ctx context.Context, claim lm.Claim, cause string) error {
	record := Record{Unique: claim.KeyHash, Reply: claim.Request.Reply}
	record.Queue = claim.Request.Queue
	return claim.Fence.Write(func(at lm.Attempt) (lm.State, error) {
		in := putBackIn{id: claim.ID, entry: claim.Fence.Entry, cause: cause, claim: claim.Fence, seq: at.Seq, record: record}
		return lm.Reclaimed, again(ctx, s.opts.Patience, func() error {
			answer, err := s.releases.do(ctx, claim.ID.Partition(), in)
			if err != nil {
				return err
			}
			return refusal(answer)
		})
	})
}

// Takeover puts entries back that are pending with consumer and whose traces
// were read: of a dead owner, or read and not claimed. leased refuses where the
// owner's lease still runs. At most 100, of one partition. The answers come in
// order.
func (s *Store) Takeover(ctx context.Context, consumer, cause string, leased bool, taken []Taken) ([]Returned, error) {
	in := make([]putBackIn, len(taken))
	for i, t := range taken {
		in[i] = putBackIn{id: s.idOf(t.Entry), entry: t.Entry.Names(), cause: cause, record: t.Record}
		if t.Record.State == lm.None {
			in[i].record.Queue = t.Entry.Stream.Queue
		}
	}
	var answers []string
	err := again(ctx, s.opts.Patience, func() (err error) {
		answers, err = s.sendPutBacks(ctx, taken[0].Entry.Stream.Partition, consumer, leased, in)
		return err
	})
	if err != nil {
		return nil, err
	}
	returned := make([]Returned, len(answers))
	for i, a := range answers {
		returned[i] = Returned(a)
	}
	return returned, nil
}

func (s *Store) sendReleases(ctx context.Context, p int, in []putBackIn) ([]string, error) {
	return s.sendPutBacks(ctx, p, in[0].claim.Owner, false, in)
}

func (s *Store) sendPutBacks(ctx context.Context, p int, consumer string, leased bool, in []putBackIn) ([]string, error) {
	c := call{
		script: putbackScript,
		keys:   append(make([]string, 0, 4+9*len(in)), s.keys.stats(p), s.keys.done(p), s.keys.dead(p), s.keys.deadlines(p)),
		args: append(make([]any, 0, 8+9*len(in)), len(in), Group, consumer, s.opts.Retention.Milliseconds(), s.opts.DeadRetention.Milliseconds(),
			s.opts.CrashLimit, s.opts.CrashBound, flag(leased)),
	}
	for _, b := range in {
		st, _, _ := streamOf(p, b.entry)
		c.keys = append(s.keys.operation(c.keys, b.id, b.record.Unique, b.record.Reply),
			s.keys.stream(st), s.keys.stream(Stream{Partition: p, Queue: b.record.Queue, Resume: true}))
		if b.claim != nil {
			c.args = append(c.args, string(b.id), b.entry, 1, b.claim.Owner, int64(b.claim.Epoch), b.claim.Token, b.seq, "", b.cause)
			continue
		}
		epoch := any("")
		if b.record.Epoch > 0 {
			epoch = int64(b.record.Epoch)
		}
		c.args = append(c.args, string(b.id), b.entry, 0, b.record.Owner, epoch, "", "", string(b.record.State.Letter()), b.cause)
	}
	return s.answers(ctx, c, len(in))
}

// Idle takes over the entries of a stream that have been idle for a time, from
// an ID on, and reads their traces: one page of at most 100 and the ID to go on
// from, empty at the end. The entries are then pending with consumer and must be
// put back.
func (s *Store) Idle(ctx context.Context, consumer string, st Stream, minIdle time.Duration, from string) (taken []Taken, next string, err error) {
	v, err := s.rdb.Do(ctx, "xautoclaim", s.keys.stream(st), Group, consumer, minIdle.Milliseconds(), from, "count", maxBatch, "justid").Result()
	if err != nil {
		return nil, "", err
	}
	reply, err := list(v, -1)
	if err != nil || len(reply) < 2 {
		return nil, "", err
	}
	if next = text(reply[0]); next == "0-0" {
		next = ""
	}
	taken, err = s.taken(ctx, st, texts(reply[1]))
	return taken, next, err
}

// WithRecords reads the traces of entries that the caller has read. That of a long
// entry is known once Fill has read it.
func (s *Store) WithRecords(ctx context.Context, entries []Entry) ([]Taken, error) {
	if len(entries) == 0 {
		return nil, nil
	}
	ids := make([]lm.TraceID, len(entries))
	for i, e := range entries {
		ids[i] = s.idOf(e)
	}
	records, err := s.Records(ctx, ids)
	if err != nil {
		return nil, err
	}
	taken := make([]Taken, len(entries))
	for i := range entries {
		taken[i] = Taken{Entry: entries[i], Record: records[i]}
	}
	return taken, nil
}

// PendingOf lists what is pending with a consumer, per stream at most 100 entry
// IDs; the streams are of one partition. A stream or group that is gone has none.
func (s *Store) PendingOf(ctx context.Context, consumer string, streams []Stream) ([][]string, error) {
	pipe := s.rdb.Pipeline()
	cmds := make([]*redis.XPendingExtCmd, len(streams))
	for i, st := range streams {
		cmds[i] = pipe.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: s.keys.stream(st), Group: Group, Start: "-", End: "+", Count: maxBatch, Consumer: consumer})
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	pending := make([][]string, len(streams))
	for i, cmd := range cmds {
		if err := cmd.Err(); err != nil && !IsNoGroup(err) {
			return nil, fmt.Errorf("list what is pending with a consumer: %w", err)
		}
		for _, p := range cmd.Val() {
			pending[i] = append(pending[i], p.ID)
		}
	}
	return pending, nil
}

// Inherit takes entries of a stream over from whoever has them pending, at most
// 100, and reads their traces. Those that are pending with nobody any more, or
// deleted, are left out. The rest are then pending with consumer and must be put
// back; one that is not, because this process died, is found by a sweep.
func (s *Store) Inherit(ctx context.Context, consumer string, st Stream, ids []string) ([]Taken, error) {
	args := []any{"xclaim", s.keys.stream(st), Group, consumer, 0}
	for _, id := range ids {
		args = append(args, id)
	}
	v, err := s.rdb.Do(ctx, append(args, "justid")...).Result()
	if err != nil {
		return nil, fmt.Errorf("take over entries: %w", err)
	}
	return s.taken(ctx, st, texts(v))
}

// taken reads entries that were taken over without their fields, so that long ones do
// not travel, and their traces.
func (s *Store) taken(ctx context.Context, st Stream, ids []string) ([]Taken, error) {
	entries, err := s.entries(ctx, st, ids)
	if err != nil {
		return nil, err
	}
	return s.WithRecords(ctx, entries)
}
