package consumer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
	"github.com/redis/go-redis/v9"
)

// PARITY 24, 25.
func TestParity25_ClaimToAcknowledgement(t *testing.T) {
	for _, partitions := range []int{1, 4} {
		t.Run(fmt.Sprintf("partitions=%d", partitions), func(t *testing.T) {
			eachWith(t, lua.Options{Partitions: partitions}, func(e *env) {
				ids := e.many(60)
				var c calls
				w := e.worker(c.of(func(_ context.Context, claim lm.Claim) (lm.Result, error) {
					return lm.Result{Body: json.RawMessage(fmt.Sprintf("%q", claim.ID)), Usage: lm.Usage{Calls: 1}}, nil
				}), Options{})
				e.ended(ids...)
				late := e.enqueue(lm.NewTraceID(partitions-1, "late"))
				e.ended(late)
				again := e.worker(c.of(fine), Options{}) // its groups are there already
				again.drain()
				w.drain()
				for _, id := range append(ids, late) {
					e.want(id, "succeeded 1/0")
					if n := c.get(id); n != 1 {
						e.Errorf("%s was handled %d times", id, n)
					}
				}
				r, err := e.s.Results(ctx, ids)
				if err != nil || len(r) != 60 || r[7].Text() != string(ids[7]) || r[7].Usage.Calls != 1 {
					e.Errorf("result %+v, %v", r[7], err)
				}
				e.quiet()
			})
		})
	}
}

func TestMiddleware_FirstIsOutermost(t *testing.T) {
	each(t, func(e *env) {
		var order []string
		wrap := func(name string) Middleware {
			return func(next Handler) Handler {
				return HandlerFunc(func(ctx context.Context, c lm.Claim) (lm.Result, error) {
					order = append(order, name)
					return next.Handle(ctx, c)
				})
			}
		}
		id := e.enqueue("0-a")
		e.worker(fine, Options{Middleware: []Middleware{wrap("a"), wrap("b")}})
		e.ended(id)
		if fmt.Sprint(order) != "[a b]" {
			e.Errorf("order %v", order)
		}
	})
}

// claimed is how many claims there are now, over all partitions in one look.
func (e *env) claimed() (n int) {
	pipe := e.rdb.TxPipeline()
	var stats []*redis.MapStringStringCmd
	for p := range e.s.Partitions() {
		stats = append(stats, pipe.HGetAll(ctx, fmt.Sprintf("{lm:%d}:stats", p)))
	}
	_, _ = pipe.Exec(ctx)
	for _, cmd := range stats {
		for field, v := range cmd.Val() {
			if k, _ := strconv.Atoi(v); strings.HasPrefix(field, "running:") {
				n += k
			}
		}
	}
	return n
}

// gauge remembers the most that ran at once, in a worker or in all.
type gauge struct{ now, most atomic.Int64 }

func (g *gauge) enter() func() {
	n := g.now.Add(1)
	for m := g.most.Load(); n > m && !g.most.CompareAndSwap(m, n); m = g.most.Load() {
	}
	return func() { g.now.Add(-1) }
}

func TestRead_NeverMoreThanThereIsRoomFor(t *testing.T) {
	for _, c := range []struct{ concurrency, partitions int }{{1, 1}, {4, 1}, {5, 4}, {16, 4}} {
		t.Run(fmt.Sprintf("concurrency=%d,partitions=%d", c.concurrency, c.partitions), func(t *testing.T) {
			eachWith(t, lua.Options{Partitions: c.partitions}, func(e *env) {
				queues := []Queue{{Name: "interactive", Weight: 6}, {Name: "default", Weight: 3}, {Name: "batch", Weight: 1}}
				var g gauge
				var handled calls
				var mu sync.Mutex
				over := 0
				w := e.worker(handled.of(func(context.Context, lm.Claim) (lm.Result, error) {
					defer g.enter()()
					mu.Lock()
					defer mu.Unlock()
					over = max(over, e.claimed())
					return lm.Result{}, nil
				}), Options{Queues: queues, Concurrency: c.concurrency})
				var ids []lm.TraceID
				for i := range 120 { // while it runs: by blocking reads as well as by backlog reads
					ids = append(ids, e.enqueue(lm.NewTraceID(i%c.partitions, fmt.Sprintf("r%d", i)), queue(queues[i%3].Name)))
				}
				e.ended(ids...)
				w.drain()
				if most := int(g.most.Load()); most > c.concurrency || most < min(c.concurrency, 2) {
					e.Errorf("%d handlers at once, want at most %d, and not one by one", most, c.concurrency)
				}
				if over > c.concurrency {
					e.Errorf("%d claims at once, want at most %d", over, c.concurrency)
				}
				for _, id := range ids {
					if n := handled.get(id); n != 1 {
						e.Errorf("%s was handled %d times", id, n)
					}
					e.want(id, "succeeded 1/0")
				}
				e.quiet()
			})
		})
	}
}

func TestRead_SurplusGoesToWhoeverHasRoom(t *testing.T) {
	each(t, func(e *env) {
		queues := []Queue{{Name: "a", Weight: 1}, {Name: "b", Weight: 1}, {Name: "c", Weight: 1}}
		hold := make(chan struct{})
		started := make(chan lm.TraceID, 10)
		busy := func(ctx context.Context, c lm.Claim) (lm.Result, error) {
			started <- c.ID
			<-hold
			return lm.Result{}, nil
		}
		w := e.worker(busy, Options{Queues: queues, Concurrency: 1, Block: time.Second})
		e.until("a blocking read", func() bool { return blockedClients(e) != 0 })
		pipe := e.rdb.TxPipeline() // three streams at once for one free slot
		for _, q := range queues {
			pipe.XAdd(ctx, &redis.XAddArgs{Stream: "{lm:0}:stream:" + q.Name, Values: []string{"v", "1", "id", "s-" + q.Name, "body", "{}"}})
		}
		if _, err := pipe.Exec(ctx); err != nil {
			e.Fatal(err)
		}
		first := received(e, "the first handler", started)
		other := e.worker(fine, Options{Queues: queues, Concurrency: 3})
		var rest []lm.TraceID
		for _, q := range queues {
			if id := lm.TraceID("0-s-" + q.Name); id != first {
				rest = append(rest, id)
			}
		}
		e.ended(rest...)
		if w.Running() != 1 {
			e.Errorf("the busy worker holds %d", w.Running())
		}
		close(hold)
		e.ended(first)
		other.drain()
		w.drain()
		for _, id := range append(rest, first) {
			e.want(id, "succeeded 1/0")
		}
		e.quiet()
	})
}

// blockedClients is how many clients wait in a blocking read; -1 where the
// server does not say.
func blockedClients(e *env) int {
	if e.srv == nil {
		return -1
	}
	for line := range strings.Lines(e.rdb.Info(ctx, "clients").Val()) {
		var n int
		if _, err := fmt.Sscanf(line, "blocked_clients:%d", &n); err == nil {
			return n
		}
	}
	return 0
}

func TestRead_BacklogByWeightAndResumeFirst(t *testing.T) {
	each(t, func(e *env) {
		queues := []Queue{{Name: "interactive", Weight: 6}, {Name: "default", Weight: 3}, {Name: "batch", Weight: 1}}
		e.groups("interactive", "batch")
		e.many(10, queue("batch"))
		for _, c := range e.die("gone-1", time.Hour, lua.Stream{Queue: "batch"})[:3] {
			if err := e.s.Release(ctx, c, "drain"); err != nil {
				e.Fatal(err)
			}
		}
		for _, q := range queues {
			for i := range 60 {
				e.enqueue(lm.NewTraceID(0, fmt.Sprintf("%s%d", q.Name, i)), queue(q.Name))
			}
		}
		c := New(e.s, HandlerFunc(fine), Options{Queues: queues, Concurrency: 23})
		r := &reader{c: c, wheel: newWheel(queues), backlog: true}
		entries, surplus, err := r.next(r.reach(), 23)
		if free := c.slots.take(1); err != nil || len(entries) != 23 || len(surplus) != 0 || free != 0 {
			e.Fatalf("read %d entries and a surplus of %d, %d slots free, %v; want 23", len(entries), len(surplus), free, err)
		}
		got := make(map[lua.Stream]int)
		for i, en := range entries {
			got[en.Stream]++
			if en.Stream.Resume != (i < 3) {
				e.Errorf("entry %d is of %+v; the 3 of the resume stream come first", i, en.Stream)
			}
		}
		// the wheel deals 23; what the resume stream took is missing at the end
		if i, d := got[lua.Stream{Queue: "interactive"}], got[lua.Stream{Queue: "default"}]; i < 13 || i > 14 || d < 6 || d > 7 {
			e.Errorf("dealt %v, want about 14 interactive, 6 default", got)
		}
		if !r.backlog {
			e.Error("a full read means more: the next one must not block")
		}
		c.slots.give(23)
		total := map[string]int{}
		for range 6 {
			entries, _, err := r.next(r.reach(), 20)
			if err != nil {
				e.Fatal(err)
			}
			for _, en := range entries {
				total[en.Stream.Queue]++
			}
			c.slots.give(len(entries))
		}
		if i, d, b := total["interactive"], total["default"], total["batch"]; i < 45 || d < 35 || b < 12 || b > 40 {
			e.Errorf("120 read: %v; no queue may starve", total)
		}
	})
}

// PARITY 32.
func TestParity32_TransientIsRetriedPermanentIsNot(t *testing.T) {
	each(t, func(e *env) {
		var c calls
		w := e.worker(c.of(func(_ context.Context, claim lm.Claim) (lm.Result, error) {
			switch claim.Request.Kind {
			case "twice":
				if claim.Attempts < 2 {
					return lm.Result{}, errors.New("not yet")
				}
			case "never":
				return lm.Result{}, lm.Errorf(lm.Overloaded, "529")
			case "permanent":
				return lm.Result{}, lm.Permanent(errors.New("no such page"))
			case "panic":
				if claim.Attempts == 0 {
					panic("boom")
				}
			case "panics":
				panic("boom")
			}
			return lm.Result{}, nil
		}), Options{MaxAttempts: 3})
		ids := map[string]lm.TraceID{}
		for _, k := range []string{"fine", "twice", "never", "permanent", "panic", "panics"} {
			ids[k] = e.enqueue(lm.NewTraceID(0, k), kind(k))
		}
		for k, want := range map[string]string{
			"fine": "succeeded 1/0", "twice": "succeeded 3/0", "never": "failed 3/0 attempts_used_up",
			"permanent": "failed 1/0 permanent", "panic": "succeeded 2/0", "panics": "failed 3/0 attempts_used_up",
		} {
			e.ended(ids[k])
			e.want(ids[k], want)
			r := e.record(ids[k])
			if n := c.get(ids[k]); n != r.Attempts {
				e.Errorf("%s was handled %d times, %d attempts", k, n, r.Attempts)
			}
		}
		w.drain()
		if got, want := path(e.record(ids["twice"])), "RQ C EW(handler) Q C EW(handler) Q C GIODVX"; !strings.HasPrefix(got, "RQ C EW(handler) Q C EW(handler) Q C ") {
			e.Errorf("history %s, want %s", got, want)
		}
		if got := e.deadReasons(); got != "attempts_used_up=2 permanent=1" {
			e.Errorf("dead letters %s", got)
		}
		results, _ := e.s.Results(ctx, []lm.TraceID{ids["panics"], ids["permanent"]})
		if results[0].Err == nil || !strings.Contains(results[0].Err.Error(), "boom") || results[1].Err == nil || !strings.Contains(results[1].Err.Error(), "no such page") {
			e.Errorf("stored errors %v, %v", results[0].Err, results[1].Err)
		}
		e.quiet()
	})
}

func TestRetryAfter_IsAFloorAndHoldsNoSlot(t *testing.T) {
	each(t, func(e *env) {
		const floor = 300 * time.Millisecond
		times := make(chan time.Time, 2)
		w := e.worker(func(_ context.Context, c lm.Claim) (lm.Result, error) {
			if c.ID != "0-a" {
				return lm.Result{}, nil
			}
			times <- time.Now()
			if c.Attempts == 0 {
				return lm.Result{}, lm.RetryAfter(floor, lm.Errorf(lm.RateLimited, "429"))
			}
			return lm.Result{}, nil
		}, Options{Concurrency: 1})
		a := e.enqueue("0-a")
		first := received(e, "the first try", times)
		b := e.enqueue("0-b")
		e.ended(b)
		if s := e.state(a); s != lm.Retrying {
			e.Errorf("%s while it waits: it must hold no slot", s)
		}
		e.ended(a)
		if d := received(e, "the second try", times).Sub(first); d < floor {
			e.Errorf("tried again after %s, want at least %s", d, floor)
		}
		w.drain()
		e.want(a, "succeeded 2/0")
		e.quiet()
	})
}

func TestPark_CountsNothing(t *testing.T) {
	each(t, func(e *env) {
		var c calls
		w := e.worker(c.of(func(_ context.Context, claim lm.Claim) (lm.Result, error) {
			if c.get(claim.ID) <= 7 { // more often than there are attempts
				return lm.Result{}, lm.Park(time.Now().Add(time.Millisecond), "all models cold")
			}
			return lm.Result{}, nil
		}), Options{MaxAttempts: 2})
		id := e.enqueue("0-a")
		e.ended(id)
		w.drain()
		e.want(id, "succeeded 1/0")
		if h := path(e.record(id)); strings.Count(h, "(all models cold)") != 7 {
			e.Errorf("history %s; want the reason 7 times", h)
		}
		e.quiet()
	})
}

func TestTimeout_OfAnAttempt(t *testing.T) {
	for _, own := range []bool{false, true} {
		t.Run(fmt.Sprintf("handlerReturnsItsCause=%v", own), func(t *testing.T) {
			each(t, func(e *env) {
				causes := make(chan error, 2)
				w := e.worker(func(ctx context.Context, c lm.Claim) (lm.Result, error) {
					if c.Attempts > 0 {
						return lm.Result{}, nil
					}
					<-ctx.Done()
					causes <- context.Cause(ctx)
					if own {
						return lm.Result{}, context.Cause(ctx)
					}
					return lm.Result{}, ctx.Err()
				}, Options{Timeout: time.Hour})
				id := e.enqueue("0-a", within(20*time.Millisecond))
				if err := received(e, "the timeout", causes); !errors.Is(err, ErrAttemptTimeout) {
					e.Errorf("cause %v", err)
				}
				e.ended(id)
				w.drain()
				e.want(id, "succeeded 2/0")
				if h := path(e.record(id)); !strings.Contains(h, "EW(timeout)") {
					e.Errorf("history %s, want the reason timeout", h)
				}
				e.quiet()
			})
		})
	}
}

func TestCancelRequested_EndsWhatRunsAndWhatWaits(t *testing.T) {
	each(t, func(e *env) {
		started, causes := make(chan struct{}), make(chan error, 1)
		w := e.worker(func(ctx context.Context, c lm.Claim) (lm.Result, error) {
			close(started)
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return lm.Result{}, ctx.Err()
		}, Options{Beat: 20 * time.Millisecond, Concurrency: 1})
		running := e.enqueue("0-running")
		e.come("the handler", started)
		waiting := e.enqueue("0-waiting")
		for _, id := range []lm.TraceID{running, waiting} {
			e.rdb.HSet(ctx, "{lm:0}:trace:"+string(id), "cancel_requested", "1")
		}
		if err := received(e, "the cancel", causes); !errors.Is(err, lm.ErrCancelRequested) {
			e.Errorf("cause %v", err)
		}
		e.ended(running, waiting)
		w.drain()
		e.want(running, "cancelled 1/0 cancel_requested")
		e.want(waiting, "cancelled 0/0 cancel_requested")
		if n := len(e.dead(0)); n != 0 {
			e.Errorf("%d dead letters for what a person cancelled", n)
		}
		e.quiet()
	})
}
