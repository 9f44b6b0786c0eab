package consumer

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

// tight asks for the bounds that are promised; the usual ones are for machines
// that do other things too.
var tight = os.Getenv("LIGHTERMAN_E2E") == "full"

var twoQueues = []Queue{{Name: "a", Weight: 1}, {Name: "b", Weight: 1}}

// know waits until workers know of a queue that it is paused, or that it is not.
func (e *env) know(queue string, paused bool, workers ...*worker) {
	e.Helper()
	e.until(fmt.Sprintf("all know that paused is %v of %s", paused, queue), func() bool {
		return !slices.ContainsFunc(workers, func(w *worker) bool { return w.orders.isPaused(queue) != paused })
	})
}

func (e *env) pauseQueue(queues ...string) {
	e.Helper()
	for _, q := range queues {
		if err := e.s.PauseQueue(ctx, q); err != nil {
			e.Fatal(err)
		}
	}
}

func (e *env) resumeQueue(queue string) {
	e.Helper()
	if was, err := e.s.ResumeQueue(ctx, queue); err != nil || !was {
		e.Fatalf("resume: %v, %v", was, err)
	}
}

// untouched: a stream has entries that nobody has read.
func (e *env) untouched(key string, entries int) {
	e.Helper()
	if n := e.rdb.XLen(ctx, key).Val(); n != int64(entries) {
		e.Errorf("%s holds %d entries, want %d", key, n, entries)
	}
	if p := e.pending(key); len(p) > 0 {
		e.Errorf("%s was read: %v", key, p)
	}
}

// full: no slot and no seat was lost.
func (w *worker) allFree(seats map[string]int) {
	w.e.Helper()
	if free := w.slots.take(1000); free != w.opts.Concurrency {
		w.e.Errorf("%d slots are free at the end, want %d", free, w.opts.Concurrency)
	}
	for q, want := range seats {
		if left := w.slots.left(q); left != want {
			w.e.Errorf("%d seats of %s are left at the end, want %d", left, q, want)
		}
	}
}

// A paused queue is not read, neither its stream nor its resume stream, by
// workers that ran and by workers that start; the others are.
func TestPause_NothingIsReadUntilTheResume(t *testing.T) {
	for _, partitions := range []int{1, 4} {
		eachWithin(t, partitions, func(e *env) {
			e.groups("a")
			o := Options{Queues: twoQueues, Orders: 100 * time.Millisecond}
			early := e.worker(fine, o)
			e.pauseQueue("a")
			e.know("a", true, early)
			for p := range partitions { // the reads that were begun before the pause are over
				e.ended(e.enqueue(lm.NewTraceID(p, "probe"), queue("b")))
			}
			back := e.enqueue("0-back", queue("a"))
			for _, c := range e.die("gone-1", time.Hour, lua.Stream{Queue: "a"}) {
				if err := e.s.Release(ctx, c, "drain"); err != nil {
					e.Fatal(err)
				}
			}
			late := e.worker(fine, o)
			e.until("the late one reads", func() bool { return late.commands.Load() > 12 })
			held := e.many(20, queue("a"))
			var others []lm.TraceID
			for i := range 20 {
				others = append(others, e.enqueue(lm.NewTraceID(i%partitions, fmt.Sprint("other", i)), queue("b")))
			}
			e.ended(others...)
			for p := range partitions {
				e.untouched(fmt.Sprintf("{lm:%d}:stream:a", p), 20/partitions)
			}
			e.untouched("{lm:0}:resume:a", 1)
			e.resumeQueue("a")
			e.ended(append(held, back)...)
			early.drain()
			late.drain()
			early.allFree(nil)
			for _, id := range append(held, back) {
				e.want(id, "succeeded 1/0")
			}
			e.quiet()
		})
	}
}

// What a blocking read brings after the pause goes back and waits: it goes round once
// for each read that was under way, and not for ever.
func TestPause_WhatABlockingReadBringsIsPutBackOnce(t *testing.T) {
	onRedis(t, func(e *env) {
		o := Options{Queues: twoQueues, Block: 4 * time.Second, Orders: time.Hour, Lease: time.Minute}
		workers := []*worker{e.worker(fine, o), e.worker(fine, o)}
		e.until("blocking reads", func() bool { return blockedClients(e) == 2 })
		e.pauseQueue("a")
		for _, w := range workers {
			w.ordersChanged()
		}
		e.know("a", true, workers...)
		id := e.enqueue("0-x", queue("a"))
		e.until("it went through both reads", func() bool {
			info, err := e.rdb.XInfoStream(ctx, "{lm:0}:resume:a").Result()
			return err == nil && info.EntriesAdded == 2 && len(e.pending("{lm:0}:resume:a")) == 0
		})
		later := e.enqueue("0-z", queue("a"))
		e.ended(e.enqueue("0-b", queue("b"))) // and both still read
		if r := e.record(id); r.State != lm.Queued || r.Owner != "" || r.Attempts+r.CrashesTotal != 0 || path(r) != "RQ" {
			e.Errorf("%s is %s, owner %q, after %s", id, r.State, r.Owner, path(r))
		}
		if info := e.rdb.XInfoStream(ctx, "{lm:0}:resume:a").Val(); info.EntriesAdded != 2 {
			e.Errorf("%d times put back, want 2: once by each read under way", info.EntriesAdded)
		}
		e.untouched("{lm:0}:resume:a", 1)
		e.untouched("{lm:0}:stream:a", 1)
		e.resumeQueue("a")
		for _, w := range workers {
			w.ordersChanged()
		}
		e.know("a", false, workers...)
		e.ended(id, later) // at the latest when the reads of before are over
		for _, w := range workers {
			w.drain()
			w.allFree(nil)
		}
		e.quiet()
	})
}

// All queues paused: the worker asks for its orders and for nothing else.
func TestPause_OfAllQueuesIsNoBusyLoop(t *testing.T) {
	each(t, func(e *env) {
		w := e.worker(fine, Options{Queues: twoQueues, Tick: time.Hour})
		e.pauseQueue("a", "b")
		w.ordersChanged()
		e.know("a", true, w)
		e.know("b", true, w)
		ids := append(e.many(5, queue("a")), e.enqueue("0-x", queue("b")))
		e.until("the last blocking read is over and what it brought is back", func() bool {
			before := w.commands.Load()
			<-time.After(300 * time.Millisecond) // the figure is a rate
			return w.commands.Load()-before <= 1
		})
		before, began := w.commands.Load(), time.Now()
		<-time.After(2 * time.Second)
		if rate := float64(w.commands.Load()-before) / time.Since(began).Seconds(); rate > 4 {
			e.Errorf("%.1f commands a second while all queues are paused", rate)
		}
		e.resumeQueue("a")
		e.resumeQueue("b")
		e.ended(ids...)
		w.drain()
		w.allFree(nil)
		e.quiet()
	})
}

// A pause holds, and a resume is noticed, within a second in the whole fleet,
// without any word of it: also where another queue's blocking read is under way.
func TestPause_AndResumeWithinASecond(t *testing.T) {
	onRedis(t, func(e *env) {
		bound := 4 * time.Second
		if tight {
			bound = 1100 * time.Millisecond // the clock of the test and its polling included
		}
		o := Options{Queues: twoQueues, Block: 2 * time.Second}
		workers := []*worker{e.worker(fine, o), e.worker(fine, o), e.worker(fine, o)}
		e.until("blocking reads", func() bool { return blockedClients(e) == len(workers) })
		for _, all := range []bool{false, true, false} {
			began := time.Now()
			e.pauseQueue("a")
			if all {
				e.pauseQueue("b")
				e.know("b", true, workers...)
			}
			e.know("a", true, workers...)
			paused := time.Since(began)
			e.until("reads of before are over", func() bool {
				<-time.After(2500 * time.Millisecond) // a fresh one may be of up to 2 s
				return true
			})
			id := e.enqueue(lm.NewTraceID(0, fmt.Sprint("after", began.UnixNano())), queue("a"))
			began = time.Now()
			e.resumeQueue("a")
			if all {
				e.resumeQueue("b")
			}
			e.ended(id)
			resumed := time.Since(began)
			e.Logf("all queues paused: %v; pause known by 3 workers after %s, first operation ended %s after the resume", all, paused, resumed)
			if paused > bound || resumed > bound {
				e.Errorf("pause %s, resume %s, want %s at most", paused, resumed, bound)
			}
			e.know("a", false, workers...)
			e.know("b", false, workers...)
		}
	})
}

// What is paused is still cared for: stalled entries are swept, what is due is
// promoted, deadlines end what waits; and the door is open.
func TestPause_SweepsPromotesAndEnds(t *testing.T) {
	each(t, func(e *env) {
		e.groups("a")
		stalled := e.enqueue("0-stalled", queue("a"))
		e.die("gone-1", brief, lua.Stream{Queue: "a"})
		e.pauseQueue("a")
		w := e.worker(fine, Options{Queues: twoQueues, Lease: brief})
		due := e.enqueue("0-due", queue("a"), func(r *lm.Request) { r.NotBefore = time.Now().Add(100 * time.Millisecond) })
		late := e.enqueue("0-late", queue("a"), func(r *lm.Request) { r.Deadline = time.Now().Add(200 * time.Millisecond) })
		e.until("the sweep", func() bool { return e.state(stalled) == lm.Reclaimed })
		e.until("the promotion", func() bool { return e.state(due) == lm.Queued })
		e.ended(late)
		e.want(late, "expired 0/0 expired")
		e.untouched("{lm:0}:resume:a", 1)
		e.untouched("{lm:0}:stream:a", 1)
		e.resumeQueue("a")
		e.ended(stalled, due)
		w.drain()
		e.want(stalled, "succeeded 1/1")
		e.want(due, "succeeded 1/0")
		e.quiet()
	})
}

// While Redis is away the last known orders stay, and the new ones hold after.
func TestOrders_LastKnownStayWhileRedisIsAway(t *testing.T) {
	each(t, func(e *env) {
		w := e.worker(fine, Options{Queues: twoQueues, Orders: 20 * time.Millisecond, Lease: brief})
		e.pauseQueue("a")
		e.know("a", true, w)
		w.dead.Store(true)
		e.until("it has noticed", func() bool { return !w.contacts.fleet.mayTakeOver() })
		if !w.orders.isPaused("a") {
			e.Error("the pause was forgotten with the contact")
		}
		e.resumeQueue("a")
		id := e.enqueue("0-x", queue("a"))
		w.dead.Store(false)
		e.ended(id)
		w.drain()
		e.quiet()
	})
}

// An order to drain is as good as SIGTERM: what runs is handed over at its stage's
// end, the process may end, and the order is taken down. Others do not care.
func TestDrainOrder_OneWorkerHandsOverAndEnds(t *testing.T) {
	each(t, func(e *env) {
		var second *worker
		staged := func(ctx context.Context, c lm.Claim) (lm.Result, error) {
			select {
			case <-c.Draining:
				return lm.Result{}, lm.ErrHandOver
			case <-ctx.Done():
				return lm.Result{}, ctx.Err()
			}
		}
		first := e.worker(staged, Options{Name: "w", Orders: 100 * time.Millisecond})
		ids := e.many(5)
		e.until("it is busy", func() bool { return first.Running() == 5 })
		second = e.worker(fine, Options{Name: "w", Orders: 100 * time.Millisecond})
		if err := e.s.DrainWorker(ctx, first.Owner()); err != nil {
			e.Fatal(err)
		}
		e.come("the first worker's end, of which nobody told its context", first.done)
		e.ended(ids...)
		for _, id := range ids {
			if r := e.record(id); r.Attempts != 1 || r.CrashesTotal != 0 || path(r) != "RQ C L(drain) C OVX" && !strings.Contains(path(r), "C L(drain) C") {
				e.Errorf("%s after %s", id, path(r))
			}
		}
		if o, err := e.s.Orders(ctx); err != nil || len(o.Drain) != 0 {
			e.Errorf("orders %v, %v: want none left", o, err)
		}
		if second.told() {
			e.Error("the other worker of that name was told too")
		}
		second.drain()
		e.quiet()
	})
}

// A vanished worker's order is taken down by whoever sees it; that of one on the
// roster stays.
func TestDrainOrder_StraysAreTakenDown(t *testing.T) {
	each(t, func(e *env) {
		if err := e.s.Announce(ctx, lua.WorkerRecord{Owner: "here-1", Name: "here"}); err != nil {
			e.Fatal(err)
		}
		for _, owner := range []string{"here-1", "gone-1", "gone-2"} {
			if err := e.s.DrainWorker(ctx, owner); err != nil {
				e.Fatal(err)
			}
		}
		e.pauseQueue("a")
		w := e.worker(fine, Options{Orders: 20 * time.Millisecond, StrayAfter: 100 * time.Millisecond})
		began := time.Now()
		e.until("the strays are gone", func() bool { o, err := e.s.Orders(ctx); return err == nil && len(o.Drain) == 1 })
		if took := time.Since(began); took < 100*time.Millisecond {
			e.Errorf("they were taken down after %s: the fleet may not have come up yet", took)
		}
		if o, _ := e.s.Orders(ctx); o.Drain["here-1"].IsZero() || o.Paused["a"].IsZero() {
			e.Errorf("orders %v", o)
		}
		w.drain()
	})
}

func TestOrders_SetTellsOnlyOfChanges(t *testing.T) {
	o := newOrders()
	now := time.Now()
	steps := []struct {
		paused         []string
		fresh, resumed string
	}{{nil, "", ""}, {[]string{"a"}, "a", ""}, {[]string{"a"}, "", ""}, {[]string{"b"}, "b", "a"}, {nil, "", "b"}}
	for i, s := range steps {
		paused := make(map[string]time.Time)
		for _, q := range s.paused {
			paused[q] = now
		}
		before := o.changes()
		fresh, resumed := o.set(paused)
		if f, r := strings.Join(fresh, " "), strings.Join(resumed, " "); f != s.fresh || r != s.resumed || closed(before) != (f+r != "") {
			t.Errorf("step %d: paused %q, resumed %q, told %v", i, f, r, closed(before))
		}
	}
}

// An idle worker's blocking reads are ended by its drain, and do not hold it up.
func TestDrain_OfAnIdleWorkerDoesNotWaitForItsRead(t *testing.T) {
	onRedis(t, func(e *env) {
		store, err := lua.Open(ctx, e.srv.URL(), lua.Options{Partitions: 4})
		if err != nil {
			e.Fatal(err)
		}
		e.Cleanup(func() { _ = store.Close() })
		c := New(store, HandlerFunc(fine), quick(Options{Block: 8 * time.Second, Lease: time.Minute}))
		running, end := context.WithCancel(ctx)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			if err := c.Run(running); err != nil {
				e.Errorf("run: %v", err)
			}
		}()
		e.until("four blocking reads", func() bool { return blockedClients(e) == 4 })
		began := time.Now()
		end()
		e.come("its end", ended)
		if took := time.Since(began); took > 4*time.Second {
			e.Errorf("an idle worker drained in %s, its reads take 8 s", took)
		} else {
			e.Logf("drained in %s, with reads of 8 s", took)
		}
	})
}

// What was ordered while the control channel was lost is read as soon as it is
// there again, however seldom the orders are polled.
func TestOrders_ReadAfterEachSubscription(t *testing.T) {
	onRedis(t, func(e *env) {
		w := e.worker(fine, Options{Orders: time.Hour})
		order := func(queue string) {
			if err := e.rdb.HSet(ctx, "{lm:fleet}:orders", "pause "+queue, 1).Err(); err != nil {
				e.Fatal(err)
			}
		}
		e.until("it hears", func() bool { return w.hearing.now() != 0 })
		heard := w.hearing.now()
		order("other")
		w.ordersChanged()
		e.until("the first orders are known", func() bool { return w.orders.isPaused("other") && len(w.orders.hurry) == 0 })
		order(lm.DefaultQueue)
		if err := e.rdb.ClientKillByFilter(ctx, "TYPE", "pubsub").Err(); err != nil {
			e.Fatal(err)
		}
		e.until("the queue is paused", func() bool { return w.orders.isPaused(lm.DefaultQueue) })
		if now := w.hearing.now(); now == heard {
			e.Error("it heard throughout: void")
		}
	})
}
