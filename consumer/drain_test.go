package consumer

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
	"github.com/lighterman/lighterman/statemachine"
)

// PARITY 37.
func TestParity37_DrainUnderLoad(t *testing.T) {
	for _, partitions := range []int{1, 4} {
		eachWithin(t, partitions, func(e *env) {
			var c calls
			var stages atomic.Int64
			staged := func(ctx context.Context, claim lm.Claim) (lm.Result, error) {
				for range 3 {
					select {
					case <-claim.Draining:
						return lm.Result{}, lm.ErrHandOver
					case <-ctx.Done():
						return lm.Result{}, ctx.Err()
					case <-time.After(5 * time.Millisecond):
						stages.Add(1)
					}
				}
				return lm.Result{}, nil
			}
			first := e.worker(c.of(staged), Options{Name: "first"})
			ids := e.many(150)
			e.until("it is busy", func() bool { return stages.Load() > 40 })
			first.drain()
			open := 0
			for _, id := range ids {
				switch s := e.state(id); s {
				case lm.Completed:
				case lm.Queued, lm.Reclaimed:
					open++
				default:
					e.Errorf("%s is %s after the drain", id, s)
				}
			}
			if open == 0 {
				e.Fatal("nothing was left to continue: void")
			}
			second := e.worker(c.of(staged), Options{Name: "second"})
			e.ended(ids...)
			second.drain()
			for _, id := range ids {
				e.want(id, "succeeded 1/0")
				if n := c.get(id); n > 2 {
					e.Errorf("%s was handled %d times", id, n)
				}
			}
			e.quiet()
			for p := range e.s.Partitions() {
				for _, resume := range []bool{false, true} {
					if cs, _ := e.s.Consumers(ctx, lua.Stream{Partition: p, Queue: lm.DefaultQueue, Resume: resume}); len(cs) != 0 {
						e.Errorf("partition %d keeps consumers %v after the workers left", p, cs)
					}
				}
			}
		})
	}
}

func eachWithin(t *testing.T, partitions int, f func(e *env)) {
	t.Run(map[int]string{1: "partitions=1", 4: "partitions=4"}[partitions], func(t *testing.T) {
		eachWith(t, lua.Options{Partitions: partitions}, f)
	})
}

// What a claim has reached is kept: it is put back from any state.
func TestDrain_HandOverFromAStage(t *testing.T) {
	each(t, func(e *env) {
		started := make(chan struct{})
		machine := statemachine.NewMachine(e.s)
		w := e.worker(func(ctx context.Context, c lm.Claim) (lm.Result, error) {
			if err := machine.Advance(ctx, c, []lm.State{lm.Gathering, lm.Inferring}, lm.Step{Name: "step:a", Data: []byte("1")}); err != nil {
				return lm.Result{}, err
			}
			close(started)
			<-c.Draining
			return lm.Result{}, lm.ErrHandOver
		}, Options{DrainTimeout: time.Minute})
		id := e.enqueue("0-a")
		e.come("the stage", started)
		w.drain()
		if r := e.record(id); r.State != lm.Reclaimed || r.Attempts != 0 || r.CrashesTotal != 0 || r.Owner != "" {
			e.Errorf("%s, owner %q, %d attempts, %d crashes", r.State, r.Owner, r.Attempts, r.CrashesTotal)
		}
		checkpoints := make(chan lm.Fields, 1)
		other := e.worker(func(ctx context.Context, c lm.Claim) (lm.Result, error) {
			checkpoints <- c.Checkpoint
			return lm.Result{}, nil
		}, Options{})
		if f := received(e, "the second claim", checkpoints); f["step:a"] != "1" {
			e.Errorf("checkpoint %v", f)
		}
		e.ended(id)
		other.drain()
		e.want(id, "succeeded 1/0")
		e.quiet()
	})
}

func TestDrain_TimeoutCancelsAndPutsBack(t *testing.T) {
	for _, listens := range []bool{true, false} {
		t.Run(map[bool]string{true: "handlerListens", false: "handlerIgnoresItsContext"}[listens], func(t *testing.T) {
			each(t, func(e *env) {
				release, causes := make(chan struct{}), make(chan error, 10)
				metrics := NewMetrics(nil)
				var handlers sync.WaitGroup
				w := e.worker(func(ctx context.Context, c lm.Claim) (lm.Result, error) {
					handlers.Add(1)
					defer handlers.Done()
					<-ctx.Done()
					causes <- context.Cause(ctx)
					if !listens {
						<-release
						return lm.Result{Body: []byte(`"too late"`)}, nil
					}
					return lm.Result{}, ctx.Err()
				}, Options{DrainTimeout: 50 * time.Millisecond, Metrics: metrics})
				ids := e.many(5)
				e.until("all run", func() bool { return w.Running() == 5 })
				w.drain()
				for range ids {
					if err := received(e, "a cause", causes); !errors.Is(err, ErrDrained) {
						e.Errorf("cause %v", err)
					}
				}
				for _, id := range ids {
					if r := e.record(id); r.State != lm.Reclaimed || r.Attempts != 0 || r.CrashesTotal != 0 || path(r) != "RQ C L(drain)" {
						e.Errorf("%s is %s after %s", id, r.State, path(r))
					}
				}
				close(release)
				handlers.Wait()
				other := e.worker(fine, Options{})
				e.ended(ids...)
				other.drain()
				results, _ := e.s.Results(ctx, ids)
				for i, id := range ids {
					e.want(id, "succeeded 1/0")
					if results[i].Text() != "fine" {
						e.Errorf("%s has result %s", id, results[i].Text())
					}
				}
				if n := value(e, metrics.Takeovers.WithLabelValues("drain")); n != 0 {
					e.Errorf("%v takeovers: what was the worker's own is none", n)
				}
				e.quiet()
			})
		})
	}
}

func TestStop_CutsTheDrainShort(t *testing.T) {
	for _, draining := range []bool{true, false} {
		t.Run(map[bool]string{true: "whileDraining", false: "whileRunning"}[draining], func(t *testing.T) {
			each(t, func(e *env) {
				w := e.worker(func(ctx context.Context, c lm.Claim) (lm.Result, error) {
					<-ctx.Done()
					return lm.Result{}, ctx.Err()
				}, Options{DrainTimeout: time.Hour})
				ids := e.many(5)
				e.until("all run", func() bool { return w.Running() == 5 })
				if draining {
					w.end()
					e.until("the drain", func() bool { return !w.gate.isOpen() })
				}
				w.Stop()
				w.Stop()
				w.await()
				for _, id := range ids {
					if r := e.record(id); r.State != lm.Reclaimed || r.Attempts != 0 || r.CrashesTotal != 0 {
						e.Errorf("%s is %s after %s", id, r.State, path(r))
					}
				}
				other := e.worker(fine, Options{})
				e.ended(ids...)
				other.drain()
				e.quiet()
			})
		})
	}
}

// A reader that is about to claim when Stop comes: its claims are given back
// unheard, and the worker waits for them.
func TestStop_WhileClaiming(t *testing.T) {
	each(t, func(e *env) {
		for range 10 {
			ids := e.many(30, func(r *lm.Request) { r.Thread = "" })
			w := e.worker(func(ctx context.Context, c lm.Claim) (lm.Result, error) {
				<-ctx.Done()
				return lm.Result{}, ctx.Err()
			}, Options{Concurrency: 30})
			e.until("something is on its way", func() bool { return w.commands.Load() > 3 })
			w.Stop()
			w.await()
			for _, id := range ids {
				if r := e.record(id); r.State != lm.Reclaimed && r.State != lm.Queued || r.CrashesTotal != 0 || r.Attempts != 0 {
					e.Fatalf("%s is %s, owner %q, after %s", id, r.State, r.Owner, path(r))
				}
			}
			other := e.worker(fine, Options{Concurrency: 30, Lease: brief})
			e.ended(ids...)
			other.drain()
			e.quiet()
			e.rdb.FlushAll(ctx)
		}
	})
}

// Redis is away for the whole drain, and a handler ignores its context: the
// drain ends nevertheless.
func TestDrain_IsNotHeldUpByALostRedis(t *testing.T) {
	each(t, func(e *env) {
		release := make(chan struct{})
		w := e.worker(func(ctx context.Context, c lm.Claim) (lm.Result, error) {
			if c.ID == "0-m0" {
				<-release
				return lm.Result{}, nil
			}
			<-ctx.Done()
			return lm.Result{}, ctx.Err()
		}, Options{DrainTimeout: 50 * time.Millisecond, Lease: brief})
		ids := e.many(3)
		e.until("all run", func() bool { return w.Running() == 3 })
		w.abandon()
		w.drain()
		close(release)
		other := e.worker(fine, Options{Lease: brief})
		e.ended(ids...)
		other.drain()
		for _, id := range ids {
			e.want(id, "succeeded 1/1")
		}
		e.quiet()
	})
}
