package consumer

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
)

// waits is a Waits of a test: what is ready, and how many of it at a time.
type waits struct {
	mu     sync.Mutex
	room   map[string]int
	before time.Time
}

func (w *waits) Ready(_ context.Context, target string) (int, time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.room[target], w.before
}

func (w *waits) set(target string, room int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.room, w.before = map[string]int{target: room}, time.Now().Add(time.Hour)
}

// coldUntil parks an operation at its first claim, and answers it afterwards.
func coldUntil(c *calls) HandlerFunc {
	return c.of(func(_ context.Context, claim lm.Claim) (lm.Result, error) {
		if c.get(claim.ID) == 1 {
			return lm.Result{}, &lm.Parked{Until: time.Now().Add(time.Hour), Reason: "m: cooldown", For: lm.WaitModel + claim.Request.Model}
		}
		return fine(context.Background(), claim)
	})
}

func model(name string) func(*lm.Request) { return func(r *lm.Request) { r.Model = name } }

func TestWake_WhatIsParkedComesBackWhenItsModelDoes(t *testing.T) {
	each(t, func(e *env) {
		ready, handled := &waits{}, &calls{}
		ids := []lm.TraceID{e.enqueue("0-a", model("m")), e.enqueue("0-b", model("m")), e.enqueue("0-c", model("other"))}
		w := e.worker(coldUntil(handled), Options{Waits: ready})
		e.until("all are parked", func() bool { return w.Running() == 0 && handled.all() == 3 && e.state("0-c") == lm.Retrying })
		ready.set("model/m", 1) // one in each interval
		e.ended(ids[:2]...)
		if r := e.record("0-c"); r.State != lm.Retrying || r.WaitsFor != "model/other" {
			e.Errorf("what waits for another: %s %q", r.State, r.WaitsFor)
		}
		for _, id := range ids[:2] {
			if r := e.record(id); handled.get(id) != 2 || r.Attempts != 1 {
				e.Errorf("%s: %d calls, %d attempts", id, handled.get(id), r.Attempts)
			}
		}
	})
}

func TestWake_OldestFirstAndNoMoreThanThereIsRoom(t *testing.T) {
	each(t, func(e *env) {
		handled := &calls{}
		var ids []lm.TraceID
		w := e.worker(coldUntil(handled), Options{Tick: time.Hour})
		for i := range 5 {
			id := e.enqueue(lm.TraceID(fmt.Sprintf("0-%d", i)), model("m"))
			e.until("it is parked", func() bool { return e.state(id) == lm.Retrying })
			ids = append(ids, id)
		}
		if n, err := w.wakeSome(ctx, 0, "model/m", time.Time{}, 2); err != nil || n != 2 {
			e.Fatalf("woken: %d %v", n, err)
		}
		e.ended(ids[:2]...)
		for _, id := range ids[2:] {
			if s := e.state(id); s != lm.Retrying {
				e.Errorf("%s: %s", id, s)
			}
		}
	})
}
