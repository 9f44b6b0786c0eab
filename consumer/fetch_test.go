package consumer

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/redis/go-redis/v9"
)

// bodyReads is a hook that stands before every read of a large request, whole or in
// pieces, and fails those for which err returns an error.
type bodyReads struct {
	redis.Hook
	met atomic.Int64
	err func() error
}

func (b *bodyReads) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if key, _ := argument(cmd, 1).(string); strings.Contains(key, ":request:") && strings.HasPrefix(cmd.Name(), "get") {
			b.met.Add(1)
			if err := b.err(); err != nil {
				cmd.SetErr(err)
				return err
			}
		}
		return next(ctx, cmd)
	}
}

func argument(cmd redis.Cmder, i int) any {
	if args := cmd.Args(); i < len(args) {
		return args[i]
	}
	return nil
}

func (b *bodyReads) DialHook(next redis.DialHook) redis.DialHook { return next }

func (b *bodyReads) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

// reads puts a hook before the reads of large requests of workers that start later.
func (e *env) reads(err func() error) *bodyReads {
	b, dial := &bodyReads{err: err}, e.dial
	e.dial = func() *redis.Client {
		rdb := dial()
		rdb.AddHook(b)
		return rdb
	}
	return b
}

func large(r *lm.Request) { r.Body = json.RawMessage(`"` + strings.Repeat("b", 300<<10) + `"`) }

// whole is a handler that fails what has not its whole request.
func whole(_ context.Context, claim lm.Claim) (lm.Result, error) {
	if len(claim.Request.Body) != 300<<10+2 || !json.Valid(claim.Request.Body) {
		return lm.Result{}, lm.Permanent(errors.New("not the whole request"))
	}
	return lm.Result{Body: []byte(`1`)}, nil
}

// TestClaim_BodiesAreReadWhileHeld: while the requests of a batch are slow to come, all
// of its claims are renewed, and each runs once.
func TestClaim_BodiesAreReadWhileHeld(t *testing.T) {
	each(t, func(e *env) {
		ids := e.many(6, large)
		come := make(chan struct{})
		reads := e.reads(func() error { <-come; return nil })
		var n calls
		w := e.worker(n.of(whole), Options{Lease: time.Second, Concurrency: len(ids)})
		e.until("all are held", func() bool { return w.Running() == len(ids) && reads.met.Load() > 0 })
		first := make(map[lm.TraceID]time.Time)
		for _, id := range ids {
			first[id] = e.record(id).Beat
		}
		e.until("each is renewed over its lease", func() bool {
			for _, id := range ids {
				if r := e.record(id); r.Beat.Sub(first[id]) < time.Second || r.Owner != w.Owner() {
					return false
				}
			}
			return true
		})
		if n.all() != 0 {
			e.Errorf("%d handlers ran without a request", n.all())
		}
		close(come)
		for _, id := range ids {
			e.until("its end", func() bool { return e.state(id) == lm.Completed })
			if r := e.record(id); n.get(id) != 1 || r.Outcome != lm.Succeeded || r.CrashesTotal != 0 || r.Attempts != 1 {
				e.Errorf("%s: %s, %d calls, %d crashes, %d attempts: %s", id, r.Outcome, n.get(id), r.CrashesTotal, r.Attempts, path(r))
			}
		}
	})
}

// TestClaim_AFailedReadOfABodyCountsNothing: lost contact is tried again under the
// claim; what Redis refuses is set aside.
func TestClaim_AFailedReadOfABodyCountsNothing(t *testing.T) {
	each(t, func(e *env) {
		var left atomic.Int64
		left.Store(3)
		e.reads(func() error {
			if left.Add(-1) >= 0 {
				return io.EOF
			}
			return nil
		})
		var n calls
		e.worker(n.of(whole), Options{})
		id := e.enqueue("0-lost", large)
		e.until("its end", func() bool { return e.state(id) == lm.Completed })
		if r := e.record(id); n.get(id) != 1 || r.Outcome != lm.Succeeded || r.CrashesTotal != 0 || r.Attempts != 1 || path(r) != "RQ C GIODVX" {
			e.Errorf("%s, %d calls, %d crashes, %d attempts: %s", r.Outcome, n.get(id), r.CrashesTotal, r.Attempts, path(r))
		}
	})
}

// TestClaim_ABodyThatRedisRefusesIsSetAside: nothing is counted, and its slot is free.
func TestClaim_ABodyThatRedisRefusesIsSetAside(t *testing.T) {
	each(t, func(e *env) {
		reads := e.reads(func() error { return errors.New("ERR refused") })
		var n calls
		w := e.worker(n.of(fine), Options{Concurrency: 1})
		id := e.enqueue("0-refused", large)
		e.until("it is set aside", func() bool { return e.state(id) == lm.Retrying })
		other := e.enqueue("0-other")
		e.until("its neighbour's end", func() bool { return e.state(other) == lm.Completed })
		if r := e.record(id); r.CrashesTotal != 0 || r.Attempts != 0 || r.Reason != "request_unreadable" || n.get(id) != 0 {
			e.Errorf("%d crashes, %d attempts, %d calls, %s", r.CrashesTotal, r.Attempts, n.get(id), r.Reason)
		}
		if got := reads.met.Load(); got != 1 {
			e.Errorf("%d reads, want 1", got)
		}
		e.until("nothing is held", func() bool { return w.Running() == 0 })
	})
}

// TestClaim_ABodyOfAnotherTypeIsDeadLettered: a large request that somebody replaced.
func TestClaim_ABodyOfAnotherTypeIsDeadLettered(t *testing.T) {
	each(t, func(e *env) {
		id := e.enqueue("0-list", large)
		key := "{lm:0}:request:0-list"
		e.rdb.Del(ctx, key)
		e.rdb.RPush(ctx, key, "x")
		var n calls
		e.worker(n.of(fine), Options{})
		e.until("its end", func() bool { return e.state(id) == lm.Completed })
		if r := e.record(id); r.Outcome != lm.Failed || r.Reason != "key_replaced" || r.CrashesTotal != 0 || n.all() != 0 {
			e.Errorf("%s %s, %d crashes, %d calls", r.Outcome, r.Reason, r.CrashesTotal, n.all())
		}
	})
}
