package consumer

import (
	"context"
	"sync"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
	"github.com/redis/go-redis/v9"
)

// TestJanitor_AFleetMendsADeletedStream: the stream and its group are deleted
// with everything that waits in it; the fleet's own janitor gives each operation
// a new entry, and each runs once.
func TestJanitor_AFleetMendsADeletedStream(t *testing.T) {
	each(t, func(e *env) {
		e.groups()
		ids := e.many(20)
		e.rdb.Del(ctx, "{lm:0}:stream:default")
		var n calls
		for range 2 {
			e.worker(n.of(fine), Options{Janitor: 300 * time.Millisecond})
		}
		e.ended(ids...)
		for _, id := range ids {
			if k := n.get(id); k != 1 {
				e.Errorf("%s ran %d times", id, k)
			}
		}
		e.quiet()
	})
}

// TestJanitor_TrimsDeadLetters: those of all partitions that are older than their
// retention go with a pass.
func TestJanitor_TrimsDeadLetters(t *testing.T) {
	eachWith(t, lua.Options{Partitions: 2, DeadRetention: time.Hour}, func(e *env) {
		for _, id := range []string{"1000-0", "*"} {
			if err := e.rdb.XAdd(ctx, &redis.XAddArgs{Stream: "{lm:1}:dead", ID: id, Values: []string{"t", "1-a", "reason", "x"}}).Err(); err != nil {
				e.Fatal(err)
			}
		}
		if _, err := e.worker(fine, Options{}).Clean(ctx); err != nil {
			e.Fatal(err)
		}
		if letters := e.dead(1); len(letters) != 1 || letters[0].Entry == "1000-0" {
			e.Errorf("left: %v", letters)
		}
	})
}

// TestJanitor_BesideALiveFleetChangesNothing passes again and again over a fleet
// under load, while nothing is wrong: no operation runs twice.
func TestJanitor_BesideALiveFleetChangesNothing(t *testing.T) {
	each(t, func(e *env) {
		e.groups()
		var n calls
		slow := func(ctx context.Context, c lm.Claim) (lm.Result, error) {
			pause(ctx, time.Millisecond)
			if n.get(c.ID) == 1 && c.Attempts == 0 && len(c.ID)%2 == 0 {
				return lm.Result{}, lm.Errorf(lm.RateLimited, "later")
			}
			return fine(ctx, c)
		}
		a, b := e.worker(n.of(slow), Options{}), e.worker(n.of(slow), Options{})
		stop := make(chan struct{})
		var passes sync.WaitGroup
		for _, w := range []*worker{a, b} {
			passes.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					pass, err := w.Clean(ctx)
					if err != nil || pass.Orphans() != 0 || pass.Strays != 0 || len(pass.Drift) != 0 {
						e.Errorf("pass %+v %v", pass, err)
						return
					}
				}
			})
		}
		ids := e.many(300)
		e.ended(ids...)
		close(stop)
		passes.Wait()
		for _, id := range ids {
			if k := n.get(id); k != 1 && k != 2 {
				e.Errorf("%s ran %d times", id, k)
			}
			if tr, err := e.s.Trace(ctx, id); err != nil || n.get(id) != tr.Attempts {
				e.Errorf("%s ran %d times in %d attempts, %v", id, n.get(id), tr.Attempts, err)
			}
		}
		e.quiet()
	})
}

// TestJanitor_OneAtATime: the second asks in vain until the first's time is over,
// and a worker that is told to end leaves the pass to another.
func TestJanitor_OneAtATime(t *testing.T) {
	each(t, func(e *env) {
		e.groups()
		e.enqueue("0-a")
		a, b := New(e.s, HandlerFunc(fine), quick(Options{Janitor: time.Hour})), New(e.s, HandlerFunc(fine), quick(Options{Janitor: time.Hour}))
		ended, cancel := context.WithCancel(ctx)
		if err := a.janitorTurn(ctx); err != nil {
			e.Fatal(err)
		}
		if v := e.rdb.Get(ctx, "{lm:0}:janitor").Val(); v != "done "+a.owner {
			e.Fatalf("lease %q", v)
		}
		if ttl := e.rdb.PTTL(ctx, "{lm:0}:janitor").Val(); ttl < 40*time.Minute {
			e.Errorf("due again in %v", ttl)
		}
		e.rdb.Del(ctx, "{lm:0}:stream:default")
		if err := b.janitorTurn(ctx); err != nil {
			e.Fatal(err)
		}
		if e.rdb.Exists(ctx, "{lm:0}:stream:default").Val() != 0 {
			e.Error("the second passed before it was due")
		}
		e.rdb.Del(ctx, "{lm:0}:janitor")
		if err := b.janitorTurn(ctx); err != nil || e.rdb.Exists(ctx, "{lm:0}:stream:default").Val() != 1 {
			e.Errorf("it was due: %v", err)
		}
		cancel()
		if err := a.janitorTurn(ended); err == nil && ended.Err() == nil {
			e.Error("a turn after the end")
		}
	})
}

// TestClaim_AKeyOfAnotherTypeIsDeadLetteredAtOnce: no lease passes, and its
// neighbour goes on.
func TestClaim_AKeyOfAnotherTypeIsDeadLetteredAtOnce(t *testing.T) {
	each(t, func(e *env) {
		e.groups()
		for _, id := range []lm.TraceID{"0-list", "0-well"} {
			e.enqueue(id)
		}
		e.rdb.Del(ctx, "{lm:0}:request:0-list")
		e.rdb.RPush(ctx, "{lm:0}:request:0-list", "x")
		e.worker(fine, Options{})
		e.ended("0-list", "0-well")
		dead, err := e.s.Dead(ctx, 0, 10)
		if err != nil || len(dead) != 1 || dead[0].ID != "0-list" || dead[0].Reason != "key_replaced" {
			e.Errorf("dead letters %+v %v", dead, err)
		}
		e.quiet()
	})
}

// TestJanitor_OldAndRunning: it is asked to end, and its worker ends it expired.
func TestJanitor_OldAndRunning(t *testing.T) {
	eachWith(t, lua.Options{MaxAge: time.Minute}, func(e *env) {
		e.groups()
		begun := make(chan struct{})
		w := e.worker(func(ctx context.Context, _ lm.Claim) (lm.Result, error) {
			close(begun)
			<-ctx.Done()
			return lm.Result{}, context.Cause(ctx)
		}, Options{Beat: 20 * time.Millisecond})
		e.enqueue("0-a")
		<-begun
		e.rdb.HSet(ctx, "{lm:0}:trace:0-a", "created", 1)
		if pass, err := w.Clean(ctx); err != nil || pass.Asked != 1 {
			e.Fatalf("%+v %v", pass, err)
		}
		e.ended("0-a")
		if tr, err := e.s.Trace(ctx, "0-a"); err != nil || tr.Outcome != lm.Expired {
			e.Errorf("%+v %v", tr, err)
		}
	})
}
