package consumer

import (
	"context"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

// PARITY 38.
func TestParity38_DeadConsumersAreRemovedOnlyWithNothingPending(t *testing.T) {
	onRedis(t, func(e *env) { // miniredis has no idle times of consumers
		e.groups()
		e.enqueue("0-a")
		if n := len(e.read("dead-with-work")); n != 1 {
			e.Fatalf("read %d", n)
		}
		b := e.enqueue("0-b")
		if err := e.s.Finish(ctx, e.die("dead-and-done", time.Hour)[0], lua.Ending{
			Path: []lm.State{lm.Errored, lm.Completed}, Result: lm.Result{Outcome: lm.Cancelled}}); err != nil {
			e.Fatal(err)
		}
		c := New(e.s, HandlerFunc(fine), quick(Options{Lease: time.Millisecond, Block: time.Millisecond}))
		present := &heardOf{names: make(map[string]bool)}
		e.until("both have been idle", func() bool {
			cs, _ := e.s.Consumers(ctx, stream)
			return len(cs) == 2 && cs[0].Idle > 10*time.Millisecond && cs[1].Idle > 10*time.Millisecond
		})
		if err := c.count(ctx, stream, present); err != nil { // a minute has not passed
			e.Fatal(err)
		}
		if cs, _ := e.s.Consumers(ctx, stream); len(cs) != 2 || len(present.names) != 0 {
			e.Errorf("consumers %v, present %v: removed too early", cs, present)
		}
		if n, err := e.s.Forget(ctx, stream, []string{"dead-with-work", "dead-and-done"}); n != 1 || err != nil {
			e.Errorf("forgot %d, %v; want 1", n, err)
		}
		cs, _ := e.s.Consumers(ctx, stream)
		if len(cs) != 1 || cs[0].Name != "dead-with-work" || cs[0].Pending != 1 {
			e.Errorf("consumers %+v: pending work was dropped", cs)
		}
		w := e.worker(fine, Options{Lease: brief})
		e.ended("0-a", b)
		w.drain()
		e.want("0-a", "succeeded 1/0")
		e.quiet()
	})
}

func TestCensus_RemovesTheLongGone(t *testing.T) {
	onRedis(t, func(e *env) { // miniredis has no idle times of consumers
		e.groups()
		id := e.enqueue("0-a")
		e.read("dead-with-work")
		e.rdb.XGroupCreateConsumer(ctx, "{lm:0}:stream:default", lua.Group, "dead")
		c := New(e.s, HandlerFunc(fine), quick(Options{Lease: time.Millisecond, Block: time.Millisecond, Census: 10 * time.Millisecond}))
		e.until("the dead one is removed", func() bool {
			if err := c.count(ctx, stream, &heardOf{names: map[string]bool{}}); err != nil {
				e.Fatal(err)
			}
			cs, _ := e.s.Consumers(ctx, stream)
			return len(cs) == 1 && cs[0].Name == "dead-with-work"
		})
		w := e.worker(fine, Options{Lease: brief})
		e.ended(id)
		w.drain()
		e.quiet()
	})
}

func TestLeave_RemovesItsOwnConsumers(t *testing.T) {
	each(t, func(e *env) {
		w := e.worker(func(context.Context, lm.Claim) (lm.Result, error) { return lm.Result{}, nil }, Options{Queues: Options{}.withDefaults().Queues})
		id := e.enqueue("0-a", queue("batch"))
		e.ended(id)
		st := lua.Stream{Queue: "batch"}
		if cs, _ := e.s.Consumers(ctx, st); len(cs) != 1 || cs[0].Name != w.Owner() {
			e.Errorf("consumers %v", cs)
		}
		w.drain()
		if cs, _ := e.s.Consumers(ctx, st); len(cs) != 0 {
			e.Errorf("consumers %v after it left", cs)
		}
		e.quiet()
	})
}
