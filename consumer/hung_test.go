package consumer

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
	"github.com/lighterman/lighterman/statemachine"
)

// A handler that hangs in a claim that was lost kept the next claim of the same
// operation, of a worker that died, from ever being taken over by this worker.
func TestReclaim_AHungHandlerKeepsNoDeadClaim(t *testing.T) {
	each(t, func(e *env) {
		e.groups()
		id := e.enqueue("0-a")
		c := New(e.s, HandlerFunc(fine), quick(Options{Lease: brief}))
		hung := e.die(c.Owner(), brief)[0]
		c.held.add(&hold{claim: hung, cancel: func(error) {}})
		if err := e.s.Release(ctx, hung, "contact"); err != nil {
			e.Fatal(err)
		}
		if dead := e.die("dead", brief)[0]; dead.ID != id {
			e.Fatalf("claimed %s", dead.ID)
		}
		e.until("the dead claim is taken over", func() bool {
			taken, _, err := e.s.Idle(ctx, c.Owner(), resume, brief, "0-0")
			if err == nil {
				err = c.putBackIdle(ctx, lua.CauseLease, "", taken)
			}
			return err == nil && e.state(id) == lm.Reclaimed
		})
		if r := e.record(id); r.CrashesTotal != 1 || r.Owner != "" {
			e.Errorf("crashes %d, owner %q", r.CrashesTotal, r.Owner)
		}
	})
}

// stuck is a handler that ignores its context until it is let go.
type stuck struct {
	began chan lm.Claim
	free  chan struct{}
}

func newStuck() stuck { return stuck{began: make(chan lm.Claim, 10), free: make(chan struct{})} }

func (s stuck) handle(_ context.Context, claim lm.Claim) (lm.Result, error) {
	s.began <- claim
	<-s.free
	return lm.Result{Body: json.RawMessage(`"late"`)}, nil
}

// run starts a consumer whose Run may return an error.
func (e *env) run(h HandlerFunc, o Options) (*Consumer, context.CancelFunc, <-chan error) {
	rdb := e.dial()
	c := New(lua.NewStore(rdb, rdb, e.opts), h, quick(o))
	running, end := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- c.Run(running) }()
	e.Cleanup(func() { end(); c.Stop() })
	return c, end, ended
}

// A handler that ignored the end of its context kept its claim for ever: every heartbeat
// renewed it.
func TestHang_TheClaimEndsWithoutTheHandler(t *testing.T) {
	each(t, func(e *env) {
		hung := newStuck()
		free := sync.OnceFunc(func() { close(hung.free) })
		defer free()
		m := NewMetrics(nil)
		w := e.worker(hung.handle, Options{Concurrency: 4, MaxAttempts: 1, HungAfter: 50 * time.Millisecond, Metrics: m})
		id := e.enqueue("0-a", within(50*time.Millisecond))
		received(e, "the call", hung.began)
		e.ended(id)
		e.want(id, "failed 1/0 attempts_used_up")
		e.until("nothing is held", func() bool { return w.Running() == 0 })
		if leaked, free := value(e, m.Leaked), w.slots.take(10); leaked != 1 || free != 3 || w.Err() != nil {
			e.Errorf("%v leaked, %d slots are free, %v", leaked, free, w.Err())
		}
		w.slots.give(3)
		free()
		e.until("the slot is free again", func() bool { return value(e, m.Leaked) == 0 && value(e, m.Fenced) == 1 })
		w.drain()
		e.want(id, "failed 1/0 attempts_used_up")
		e.quiet()
	})
}

// The operation goes on elsewhere, and what the hung handler writes later is refused.
func TestHang_WhatEndedTheContextIsWritten(t *testing.T) {
	each(t, func(e *env) {
		hung := newStuck()
		defer close(hung.free)
		w := e.worker(hung.handle, Options{Concurrency: 8, Lease: time.Second, HungAfter: 50 * time.Millisecond})
		late := e.enqueue("0-late", func(r *lm.Request) { r.Deadline = time.Now().Add(time.Second) })
		received(e, "the call", hung.began)
		e.ended(late)
		e.want(late, "expired 1/0 deadline_exceeded")

		asked := e.enqueue("0-asked")
		received(e, "the call", hung.began)
		if _, err := e.s.Cancel(ctx, asked); err != nil {
			e.Fatal(err)
		}
		e.ended(asked)
		e.want(asked, "cancelled 1/0 cancel_requested")

		w.end()
		again := e.enqueue("0-again", within(50*time.Millisecond))
		w.await()
		second := e.worker(hung.handle, Options{Name: "second", Concurrency: 8, MaxAttempts: 2, HungAfter: 50 * time.Millisecond})
		first := received(e, "the call", hung.began)
		received(e, "the second call, though the first has not returned", hung.began)
		if err := e.s.Finish(ctx, first, lua.Ending{Path: statemachine.Path(first.Fence.State(), lm.Completed), Result: lm.Result{Outcome: lm.Succeeded}}); !errors.Is(err, lm.ErrFenced) {
			e.Errorf("a late end of %s: %v", again, err)
		}
		second.end()
	})
}

// A worker whose slots hang ends with an error, so that a supervisor restarts it.
func TestHang_HalfOfTheSlotsEndTheWorker(t *testing.T) {
	for name, o := range map[string]Options{
		"of the worker": {Concurrency: 4},
		"of a queue":    {Concurrency: 64, Queues: []Queue{{Name: lm.DefaultQueue, Weight: 1, Concurrency: 4}}},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(e *env) {
				o := o // one for each server
				hung := newStuck()
				defer close(hung.free)
				o.HungAfter = 50 * time.Millisecond
				o.DrainTimeout = patience
				c, _, ended := e.run(hung.handle, o)
				e.enqueue("0-a", within(50*time.Millisecond))
				received(e, "the first call", hung.began)
				received(e, "the second call", hung.began)
				if err := received(e, "the worker's end", ended); !errors.Is(err, ErrHandlersHang) || !errors.Is(c.Err(), ErrHandlersHang) {
					e.Errorf("the worker ended with %v", err)
				}
				if r := e.record("0-a"); r.Owner != "" || r.Attempts != 2 || r.CrashesTotal != 0 {
					e.Errorf("%s, owner %q, %d attempts, %d crashes", r.State, r.Owner, r.Attempts, r.CrashesTotal)
				}
			})
		})
	}
}
