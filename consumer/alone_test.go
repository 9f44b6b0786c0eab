package consumer

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
	"github.com/redis/go-redis/v9"
)

// atLimit makes a waiting operation as one whose claims have crashed so often.
func (e *env) atLimit(id lm.TraceID, crashes int) lm.TraceID {
	e.Helper()
	e.enqueue(id, func(r *lm.Request) { r.NotBefore = time.Now().Add(time.Hour) }) // nobody claims it before it is ready
	if err := e.rdb.HSet(ctx, "{lm:0}:trace:"+string(id), "crashes", crashes, "crashes_total", crashes).Err(); err != nil {
		e.Fatal(err)
	}
	if err := e.rdb.ZAdd(ctx, "{lm:0}:delayed", redis.Z{Score: 1, Member: string(id)}).Err(); err != nil {
		e.Fatal(err)
	}
	return id
}

// PARITY 31.
func TestParity31_LastClaimRunsAlone(t *testing.T) {
	for _, listens := range []bool{true, false} {
		name := map[bool]string{true: "neighbours=handOver", false: "neighbours=ignoreDraining"}[listens]
		t.Run(name, func(t *testing.T) {
			each(t, func(e *env) {
				var g, poison gauge
				var alone atomic.Bool
				started := make(chan lm.TraceID, 100)
				var w *worker
				w = e.worker(func(ctx context.Context, c lm.Claim) (lm.Result, error) {
					defer g.enter()()
					if c.Crashes == 3 {
						defer poison.enter()()
						if n := g.now.Load(); n != 1 || w.Running() != 1 {
							e.Errorf("%s starts beside %d others, %d held", c.ID, n-1, w.Running())
						}
						if c.Draining != nil && closed(c.Draining) {
							e.Error("it is asked back before it starts")
						}
						alone.Store(true)
						return lm.Result{}, nil
					}
					started <- c.ID
					if listens {
						select {
						case <-c.Draining:
							return lm.Result{}, lm.ErrHandOver
						case <-ctx.Done():
							return lm.Result{}, ctx.Err()
						case <-time.After(time.Duration(10+len(c.ID)) * time.Millisecond):
							return lm.Result{}, nil
						}
					}
					select {
					case <-ctx.Done():
						return lm.Result{}, ctx.Err()
					case <-time.After(20 * time.Millisecond):
						return lm.Result{}, nil
					}
				}, Options{Concurrency: 4})
				ids := e.many(12)
				received(e, "the neighbours", started)
				bad, worse := e.atLimit("0-bad", 3), e.atLimit("0-worse", 3)
				e.ended(append(ids, bad, worse)...)
				w.drain()
				if !alone.Load() || poison.most.Load() != 1 {
					e.Errorf("ran %v, at most %d at once", alone.Load(), poison.most.Load())
				}
				for _, id := range ids {
					e.want(id, "succeeded 1/0")
				}
				for _, id := range []lm.TraceID{bad, worse} {
					e.want(id, "succeeded 1/3")
				}
				e.quiet()
			})
		})
	}
}

func TestAlone_ClearsTheWayAtTheDrainTimeout(t *testing.T) {
	each(t, func(e *env) {
		started, causes := make(chan struct{}, 10), make(chan error, 10)
		var later atomic.Bool
		w := e.worker(func(ctx context.Context, c lm.Claim) (lm.Result, error) {
			if c.ID != "0-stubborn" || later.Swap(true) {
				return lm.Result{}, nil
			}
			started <- struct{}{}
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return lm.Result{}, ctx.Err()
		}, Options{Concurrency: 4, DrainTimeout: 100 * time.Millisecond})
		stubborn := e.enqueue("0-stubborn")
		e.come("the neighbour", started)
		bad := e.atLimit("0-bad", 3)
		if err := received(e, "its end", causes); !errors.Is(err, ErrDrained) {
			e.Errorf("cause %v", err)
		}
		e.ended(bad, stubborn)
		w.drain()
		e.want(bad, "succeeded 1/3")
		e.want(stubborn, "succeeded 1/0")
		e.quiet()
	})
}

// The operation that waits to run alone is lost meanwhile: its neighbours have
// nothing to do with it.
func TestAlone_LostWhileItWaitsLeavesItsNeighbours(t *testing.T) {
	each(t, func(e *env) {
		started, release := make(chan struct{}, 10), make(chan struct{})
		w := e.worker(func(ctx context.Context, c lm.Claim) (lm.Result, error) {
			if c.ID != "0-neighbour" {
				return lm.Result{}, nil
			}
			started <- struct{}{}
			select {
			case <-ctx.Done():
				e.Errorf("the neighbour was ended: %v", context.Cause(ctx))
			case <-release:
			}
			return lm.Result{}, nil
		}, Options{Concurrency: 4, Beat: 20 * time.Millisecond})
		n := e.enqueue("0-neighbour")
		e.come("the neighbour", started)
		bad := e.atLimit("0-bad", 3)
		e.until("it waits", func() bool { return w.Running() == 2 })
		e.rdb.HSet(ctx, "{lm:0}:trace:0-bad", "cancel_requested", "1")
		e.ended(bad)
		close(release)
		e.ended(n)
		w.drain()
		e.want(n, "succeeded 1/0")
		e.want(bad, "cancelled 0/3 cancel_requested")
		e.quiet()
	})
}

func TestAlone_DrainWantsItBack(t *testing.T) {
	for _, at := range []string{"waiting", "running"} {
		t.Run(at, func(t *testing.T) {
			each(t, func(e *env) {
				started, release := make(chan lm.TraceID, 10), make(chan struct{})
				w := e.worker(func(ctx context.Context, c lm.Claim) (lm.Result, error) {
					started <- c.ID
					if c.ID == "0-neighbour" {
						<-release
						return lm.Result{}, nil
					}
					<-c.Draining
					return lm.Result{}, lm.ErrHandOver
				}, Options{Concurrency: 4, DrainTimeout: time.Minute})
				if at == "waiting" {
					e.enqueue("0-neighbour")
					received(e, "the neighbour", started)
				}
				bad := e.atLimit("0-bad", 3)
				if at == "running" {
					received(e, "the handler", started)
				} else {
					e.until("it waits", func() bool { return w.Running() == 2 })
				}
				w.end()
				e.until("the drain", func() bool { return closed(w.gate.left) })
				close(release)
				w.await()
				if at == "waiting" && len(started) > 0 {
					e.Error("it was started in a drain")
				}
				if r := e.record(bad); r.State != lm.Reclaimed || r.Attempts != 0 || r.CrashesTotal != 3 {
					e.Errorf("%s, %d attempts, %d crashes; want it put back with nothing counted", r.State, r.Attempts, r.CrashesTotal)
				}
				other := e.worker(fine, Options{})
				e.ended(bad)
				other.drain()
				e.quiet()
			})
		})
	}
}

// PARITY 31: the fourth crash is the end, once, however many sweep.
func TestParity31_FourthCrashDeadLettersOnce(t *testing.T) {
	each(t, func(e *env) {
		metrics := NewMetrics(nil)
		e.groups()
		id := e.enqueue("0-poison")
		good := e.enqueue("0-good")
		for i := range 4 {
			var claims []lm.Claim
			e.until("it can be claimed", func() bool {
				claims = append(claims, e.die("dead", time.Millisecond)...)
				return len(claims) > 0
			})
			for _, c := range claims {
				if c.ID == good {
					if err := e.s.Release(ctx, c, "drain"); err != nil {
						e.Fatal(err)
					}
				} else if i == 3 {
					if c.Crashes != 3 {
						e.Fatalf("%d crashes before the last claim", c.Crashes)
					}
					if _, err := e.s.Advance(ctx, c, lua.Advance{Start: true}); err != nil {
						e.Fatal(err)
					}
				}
			}
			if i < 3 {
				sweeper := New(e.s, HandlerFunc(fine), quick(Options{Lease: time.Millisecond}))
				e.until("a sweep", func() bool {
					for _, st := range []lua.Stream{stream, resume} {
						sweeper.sweep(ctx, lua.Stalled{Stream: st, From: "0"})
					}
					return e.state(id) == lm.Reclaimed
				})
			}
		}
		var c calls
		var ws []*worker
		for range 5 {
			ws = append(ws, e.worker(c.of(fine), Options{Lease: brief, Metrics: metrics}))
		}
		e.ended(id, good)
		for _, w := range ws {
			w.drain()
		}
		e.want(id, "failed 0/4 crash_limit")
		e.want(good, "succeeded 1/0")
		if got := e.deadReasons(); got != "crash_limit=1" {
			e.Errorf("dead letters %s", got)
		}
		if l := e.dead(0)[0]; l.ID != id || l.State != "CLAIMED" || l.Worker != "dead" {
			e.Errorf("dead letter %+v", l)
		}
		if c.get(id) != 0 {
			e.Errorf("it was handled %d times after its last crash", c.get(id))
		}
		if d, t := value(e, metrics.DeadLetters.WithLabelValues("crash_limit")), value(e, metrics.Takeovers.WithLabelValues("lease")); d != 1 || t != 1 {
			e.Errorf("counted %v dead letters and %v takeovers, want 1 and 1", d, t)
		}
		e.quiet()
	})
}
