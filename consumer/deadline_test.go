package consumer

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
	"github.com/redis/go-redis/v9"
)

func deadline(t time.Time) func(*lm.Request) { return func(r *lm.Request) { r.Deadline = t } }

// serverNow is Redis' time.
func (e *env) serverNow() time.Time {
	e.Helper()
	now, err := e.rdb.Time(ctx).Result()
	if err != nil {
		e.Fatal(err)
	}
	return now
}

// Deadlines were the ticker's business only, 100 a second: 1,732 of 2,000 ran after
// theirs. The tick has no part in this test.
func TestDeadline_NothingRunsAfterIt(t *testing.T) {
	each(t, func(e *env) {
		n := 2000
		if e.srv == nil {
			n = 150 // miniredis takes a long time for many
		}
		past := e.serverNow().Add(time.Second)
		ids := e.many(n, deadline(past))
		e.groups()
		err := e.rdb.XAdd(ctx, &redis.XAddArgs{Stream: "{lm:0}:stream:default", Values: []string{"body", "{}", "id", "foreign", "deadline", fmt.Sprint(past.UnixMilli())}}).Err()
		if err != nil {
			e.Fatal(err)
		}
		lives := e.enqueue("0-lives", deadline(past.Add(time.Hour)))
		e.until("the deadline", func() bool { return e.serverNow().After(past) })
		var c calls
		w := e.worker(c.of(fine), Options{Concurrency: 64, Tick: time.Hour})
		e.ended(append(ids, "0-foreign", lives)...)
		w.drain()
		if c.all() != 1 || c.get(lives) != 1 {
			e.Errorf("%d calls, want the one of %s", c.all(), lives)
		}
		e.want(ids[0], "expired 0/0 expired")
		e.want("0-foreign", "expired 0/0 expired")
		e.want(lives, "succeeded 1/0")
		counts, _ := e.s.Counts(ctx, 0)
		if counts["expired"] != int64(n+1) {
			e.Errorf("%d expired, want %d", counts["expired"], n+1)
		}
	})
}

// The context of a handler ends at the deadline, without a tick or a heartbeat.
func TestDeadline_EndsTheHandlersContext(t *testing.T) {
	each(t, func(e *env) {
		causes := make(chan error, 1)
		w := e.worker(func(ctx context.Context, _ lm.Claim) (lm.Result, error) {
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return lm.Result{}, ctx.Err()
		}, Options{Tick: time.Hour, Beat: time.Hour, Lease: time.Hour})
		id := e.enqueue("0-a", deadline(e.serverNow().Add(time.Second)))
		if err := received(e, "the end of the context", causes); !errors.Is(err, lm.ErrExpired) {
			e.Errorf("cause %v", err)
		}
		e.ended(id)
		w.drain()
		e.want(id, "expired 1/0 deadline_exceeded")
		e.quiet()
	})
}

// One tick ends all that is past its deadline, also behind 100 that it cannot end.
func TestTick_DeadlinesAreFollowedToTheEnd(t *testing.T) {
	each(t, func(e *env) {
		past := e.serverNow().Add(300 * time.Millisecond)
		ids := e.many(250, queue("unserved"), deadline(past))
		for i := range 100 { // of another type, and the first in the set
			e.rdb.Set(ctx, fmt.Sprintf("{lm:0}:trace:0-broken%d", i), "somebody else's", 0)
			e.rdb.ZAdd(ctx, "{lm:0}:deadlines", redis.Z{Score: 1, Member: fmt.Sprintf("0-broken%d", i)})
		}
		e.until("the deadline", func() bool { return e.serverNow().After(past) })
		c := New(e.s, HandlerFunc(fine), quick(Options{}))
		due, err := e.s.Tick(ctx, 0, time.Second, time.Minute, nil)
		if err != nil {
			e.Fatal(err)
		}
		c.expire(ctx, 0, due)
		for _, id := range ids {
			if e.state(id) != lm.Completed {
				e.Fatalf("%s is %s after the tick", id, e.state(id))
			}
		}
	})
}

// 100 operations that cannot be promoted kept every other one from being.
func TestTick_RefusedPromotionsHoldUpNoOther(t *testing.T) {
	each(t, func(e *env) {
		later := func(r *lm.Request) { r.NotBefore = e.serverNow().Add(time.Hour) }
		e.rdb.Set(ctx, "{lm:0}:stream:bad", "somebody else's", 0)
		bad, good := make([]lm.TraceID, 150), make([]lm.TraceID, 150)
		for i := range bad {
			bad[i] = e.enqueue(lm.NewTraceID(0, fmt.Sprintf("bad%d", i)), queue("bad"), later)
			e.rdb.ZAdd(ctx, "{lm:0}:delayed", redis.Z{Score: 1, Member: string(bad[i])})
		}
		for i := range good {
			good[i] = e.enqueue(lm.NewTraceID(0, fmt.Sprintf("good%d", i)), later)
			e.rdb.ZAdd(ctx, "{lm:0}:delayed", redis.Z{Score: 2, Member: string(good[i])})
		}
		c := New(e.s, HandlerFunc(fine), quick(Options{}))
		due, err := e.s.Tick(ctx, 0, time.Second, time.Minute, nil)
		if err != nil {
			e.Fatal(err)
		}
		c.promote(ctx, 0, due)
		for _, id := range good {
			if e.state(id) != lm.Queued {
				e.Fatalf("%s is %s", id, e.state(id))
			}
		}
		if n := e.rdb.ZCard(ctx, "{lm:0}:delayed").Val(); n != int64(len(bad)) || e.state(bad[0]) != lm.Received {
			e.Errorf("%d delayed, the first %s; want those that were refused, as they were", n, e.state(bad[0]))
		}
		e.rdb.Del(ctx, "{lm:0}:stream:bad")
		if n, err := e.s.Promote(ctx, 0, bad[:100]); n != 100 || err != nil {
			e.Errorf("promoted %d, %v once their stream is theirs", n, err)
		}
	})
}

// One that is being delivered when its deadline passes and is not delivered after all
// is looked at again.
func TestDeadline_OfOneThatIsDeliveredStays(t *testing.T) {
	each(t, func(e *env) {
		e.groups()
		past := e.serverNow().Add(300 * time.Millisecond)
		id := e.enqueue("0-a", deadline(past))
		claim := e.die("w", time.Minute)[0]
		_, err := e.s.Advance(ctx, claim, lua.Advance{Path: []lm.State{lm.Gathering, lm.Inferring, lm.Postprocessing, lm.Delivering}})
		if err != nil {
			e.Fatal(err)
		}
		e.until("the deadline", func() bool { return e.serverNow().After(past) })
		if got, err := e.s.Expire(ctx, []lm.TraceID{id}); err != nil || got[0] != lua.CancelLate {
			e.Fatalf("%v %v", got, err)
		}
		score, err := e.rdb.ZScore(ctx, "{lm:0}:deadlines", string(id)).Result()
		if err != nil || score <= float64(e.serverNow().UnixMilli()) {
			e.Errorf("in the set of deadlines: %v, %v; want it later", score, err)
		}
	})
}
