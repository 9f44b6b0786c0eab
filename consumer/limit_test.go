package consumer

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

func TestWheel_WithoutRoomNoTurns(t *testing.T) {
	w := newWheel([]Queue{{Name: "a", Weight: 6}, {Name: "b", Weight: 3}, {Name: "c", Weight: 1}})
	for _, c := range []struct{ room, want []int }{
		{[]int{100, 100, 100}, []int{60, 30, 10}},
		{[]int{0, 100, 100}, []int{0, 75, 25}},
		{[]int{5, 100, 100}, []int{5, 71, 24}}, // 8 in 10 by weight, then 3 to 1
		{[]int{0, 0, 100}, []int{0, 0, 100}},
		{[]int{1, 2, 3}, []int{1, 2, 3}},
		{[]int{0, 0, 0}, []int{0, 0, 0}},
		{[]int{100, 100, 100}, []int{60, 30, 10}},
	} {
		got := w.spin(100, c.room)
		for i := range got {
			if d := got[i] - c.want[i]; d < -2 || d > 2 {
				t.Errorf("room %v: %v, want about %v", c.room, got, c.want)
			}
		}
	}
}

func TestSlots_SeatsOfAQueue(t *testing.T) {
	s := newSlots(10, Queue{Name: "a", Concurrency: 3}, Queue{Name: "b"})
	if got := []int{s.seat("b", 7), s.left("b"), s.left("a"), s.seat("a", 2), s.seat("a", 2), s.seat("a", 1), s.left("a")}; !cmp.Equal(got, []int{7, -1, 3, 2, 1, 0, 0}) {
		t.Errorf("%v", got)
	}
	freed := s.freed()
	s.unseat("b", 7)
	if closed(freed) {
		t.Error("a queue without a limit is never at it")
	}
	s.release("a", 2)
	if !closed(freed) || closed(s.freed()) || s.left("a") != 2 || s.take(100) != 12 {
		t.Errorf("%d seats left after the release of 2", s.left("a"))
	}
	freed = s.freed()
	s.unseat("a", 1)
	if closed(freed) {
		t.Error("the queue was not at its limit")
	}
}

// A limited queue never has more than its limit running here, over its stream and
// its resume stream, whatever is read; the others have all the room there is.
func TestLimit_NeverMoreAndNobodyHeldUp(t *testing.T) {
	for _, c := range []struct{ partitions, limit int }{{1, 1}, {1, 3}, {4, 1}, {4, 3}} {
		t.Run(fmt.Sprintf("partitions=%d,limit=%d", c.partitions, c.limit), func(t *testing.T) {
			eachWith(t, lua.Options{Partitions: c.partitions}, func(e *env) {
				queues := []Queue{{Name: "slow", Weight: 6, Concurrency: c.limit}, {Name: "b", Weight: 3}, {Name: "d", Weight: 1}}
				e.groups("slow")
				e.many(12, queue("slow")) // m0 to m11
				back := 0
				for p := range c.partitions {
					for _, cl := range e.die("gone-1", time.Hour, lua.Stream{Partition: p, Queue: "slow"}) {
						back++
						if err := e.s.Release(ctx, cl, "drain"); err != nil {
							e.Fatal(err)
						}
					}
				}
				if back != 12 {
					e.Fatalf("%d in the resume streams: void", back)
				}
				var slow, others gauge
				gate := make(chan struct{})
				w := e.worker(func(_ context.Context, cl lm.Claim) (lm.Result, error) {
					if cl.Request.Queue != "slow" {
						defer others.enter()()
						return lm.Result{}, nil
					}
					defer slow.enter()()
					<-gate
					return lm.Result{}, nil
				}, Options{Queues: queues, Concurrency: 8, Block: time.Second})
				var held, free []lm.TraceID
				for i := range 12 {
					held = append(held, lm.NewTraceID(i%c.partitions, fmt.Sprintf("m%d", i)))
				}
				for i := range 60 {
					held = append(held, e.enqueue(lm.NewTraceID(i%c.partitions, fmt.Sprintf("s%d", i)), queue("slow")))
					free = append(free, e.enqueue(lm.NewTraceID(i%c.partitions, fmt.Sprintf("b%d", i)), queue("b")))
					free = append(free, e.enqueue(lm.NewTraceID(i%c.partitions, fmt.Sprintf("d%d", i)), queue("d")))
				}
				e.ended(free...) // with the slow ones standing
				e.until("the limit is reached", func() bool { return w.Running() == c.limit && w.slots.left("slow") == 0 })
				if n := int(slow.now.Load()); n != c.limit {
					e.Errorf("%d of the limited queue run, want %d", n, c.limit)
				}
				close(gate)
				e.ended(held...)
				w.drain()
				if most := int(slow.most.Load()); most != c.limit {
					e.Errorf("%d of the limited queue ran at once, want %d", most, c.limit)
				}
				for _, id := range append(held, free...) {
					e.want(id, "succeeded 1/0")
				}
				w.allFree(map[string]int{"slow": c.limit})
				e.quiet()
			})
		})
	}
}

// A place that becomes free is used soon, although the reader is in a blocking read
// of the other queues.
func TestLimit_FreedPlaceIsUsedSoon(t *testing.T) {
	for _, partitions := range []int{1, 4} {
		t.Run(fmt.Sprintf("partitions=%d", partitions), func(t *testing.T) {
			eachWith(t, lua.Options{Partitions: partitions}, func(e *env) {
				next := make(chan struct{})
				started := make(chan time.Time, 100)
				w := e.worker(func(context.Context, lm.Claim) (lm.Result, error) {
					started <- time.Now()
					<-next
					return lm.Result{}, nil
				}, Options{Queues: []Queue{{Name: "slow", Weight: 1, Concurrency: 1}, {Name: "b", Weight: 1}}, Block: 5 * time.Second})
				ops := 6 + 2*partitions
				e.many(ops, queue("slow"))
				received(e, "the first", started)
				var longest time.Duration
				for range 5 {
					<-time.After(100 * time.Millisecond) // so that the reader is in its blocking read
					freed := time.Now()
					next <- struct{}{}
					longest = max(longest, received(e, "the next", started).Sub(freed))
				}
				bound := 3 * time.Second // under the 5 s of an unhurried read
				if tight {
					bound = time.Duration(partitions)*limitedBlock + 100*time.Millisecond
				}
				e.Logf("%d partitions: a freed place was used within %s", partitions, longest)
				if longest > bound {
					e.Errorf("a freed place was used after %s, want %s at most", longest, bound)
				}
				close(next)
				e.until("all have ended", func() bool { return w.Running() == 0 && len(started) == ops-6 })
				w.drain()
				w.allFree(map[string]int{"slow": 1})
				e.quiet()
			})
		})
	}
}

// COUNT is per stream, and a queue has two: the surplus over the limit goes back
// with nothing counted, to whoever has room.
func TestLimit_SurplusGoesToWhoeverHasRoom(t *testing.T) {
	each(t, func(e *env) {
		e.groups("slow")
		queues := []Queue{{Name: "slow", Weight: 1, Concurrency: 1}}
		e.enqueue("0-r", queue("slow"))
		for _, cl := range e.die("gone-1", time.Hour, lua.Stream{Queue: "slow"}) {
			if err := e.s.Release(ctx, cl, "drain"); err != nil {
				e.Fatal(err)
			}
		}
		e.enqueue("0-s", queue("slow"))
		hold := make(chan struct{})
		c := New(e.s, HandlerFunc(func(context.Context, lm.Claim) (lm.Result, error) {
			<-hold
			return lm.Result{}, nil
		}), quick(Options{Queues: queues}))
		r := &reader{c: c, wheel: newWheel(queues), reached: 2} // so that it blocks
		entries, surplus, err := r.next(r.reach(), 8)
		if err != nil || len(entries) != 1 || len(surplus) != 1 || c.slots.left("slow") != 0 {
			e.Fatalf("%d entries, %d surplus, %v: want one each", len(entries), len(surplus), err)
		}
		if at := r.reach(); len(at.streams) != 0 || at.block > limitedBlock {
			e.Errorf("at its limit it may read %v, for %s", at.streams, at.block)
		}
		r.start(ctx, entries, surplus)
		if got := e.record("0-s"); got.State != lm.Queued || !strings.HasPrefix(got.Entry, "resume:") || path(got) != "RQ" || c.Running() != 1 {
			e.Errorf("the surplus is %s after %s, %d run", got.State, path(got), c.Running())
		}
		other := e.worker(fine, Options{Queues: queues})
		e.ended("0-s")
		close(hold)
		e.ended("0-r")
		e.until("the first has its place back", func() bool { return c.slots.left("slow") == 1 && c.slots.take(0) == 0 && c.Running() == 0 })
		other.drain()
		other.allFree(map[string]int{"slow": 1})
		e.want("0-s", "succeeded 1/0")
		e.quiet()
	})
}

// Where the only queue is at its limit there is nothing to read: the reader waits for
// a place, and asks Redis for nothing meanwhile.
func TestLimit_OfTheOnlyQueueIsNoBusyLoop(t *testing.T) {
	each(t, func(e *env) {
		next := make(chan struct{})
		w := e.worker(func(context.Context, lm.Claim) (lm.Result, error) {
			<-next
			return lm.Result{}, nil
		}, Options{Queues: []Queue{{Name: "slow", Weight: 1, Concurrency: 2}}, Tick: time.Hour})
		ids := e.many(8, queue("slow"))
		e.until("it is at its limit, and reads of before are over", func() bool {
			before := w.commands.Load()
			<-time.After(300 * time.Millisecond) // the figure is a rate
			return w.Running() == 2 && w.commands.Load()-before <= 1
		})
		close(next)
		e.ended(ids...)
		w.drain()
		w.allFree(map[string]int{"slow": 2})
		e.quiet()
	})
}

// What has come within reach is likely to have a backlog, and is read by the script
// that keeps to the limit: no surplus.
func TestReach_WhatHasComeWithinItIsReadByTheScript(t *testing.T) {
	each(t, func(e *env) {
		e.groups("slow")
		e.many(4, queue("slow"))
		for _, cl := range e.die("gone-1", time.Hour, lua.Stream{Queue: "slow"})[:2] {
			if err := e.s.Release(ctx, cl, "drain"); err != nil {
				e.Fatal(err)
			}
		}
		e.enqueue("0-s", queue("slow"))
		queues := []Queue{{Name: "slow", Weight: 1, Concurrency: 1}, {Name: "b", Weight: 1}}
		c := New(e.s, HandlerFunc(fine), quick(Options{Queues: queues}))
		r := &reader{c: c, wheel: newWheel(queues), reached: 2}
		e.groups("b")
		entries, surplus, err := r.next(r.reach(), 8)
		if err != nil || len(entries) != 1 || len(surplus) != 0 || c.slots.left("slow") != 0 {
			e.Errorf("%d entries, %d surplus, %v: want one and none", len(entries), len(surplus), err)
		}
	})
}

// A read that is begun without a queue must be short, or what changes is noticed late.
func TestReach_ReadsAreShortWhileAQueueIsOut(t *testing.T) {
	each(t, func(e *env) {
		e.s = lua.NewStore(e.rdb, e.rdb, lua.Options{Partitions: 8})
		queues := []Queue{{Name: "a", Weight: 1}, {Name: "b", Weight: 1, Concurrency: 1}, {Name: "c", Weight: 1}}
		c := New(e.s, HandlerFunc(fine), Options{Queues: queues})
		r := &reader{c: c, wheel: newWheel(queues)}
		look := func() string {
			at := r.reach()
			return fmt.Sprint(at.block, " ", len(at.streams))
		}
		if got := look(); got != "2s 6" {
			e.Errorf("with nothing out: %s", got)
		}
		c.slots.seat("b", 1)
		if got := look(); got != "400ms 4" {
			e.Errorf("at a limit: %s, want 50 ms for each partition", got)
		}
		c.slots.unseat("b", 1)
		c.orders.set(map[string]time.Time{"a": time.Now(), "c": time.Now()})
		if got := look(); got != "450ms 2" {
			e.Errorf("paused: %s", got)
		}
		c.slots.seat("b", 1)
		if got := look(); got != "400ms 0" {
			e.Errorf("all out: %s", got)
		}
	})
}

func TestReach_CountIsThePartOfTheLeastRoom(t *testing.T) {
	for _, c := range []struct{ streams, seats, free, want int }{
		{6, 0, 64, 10}, {6, 0, 3, 1}, {2, 0, 64, 32}, {6, 8, 64, 4}, {6, 1, 64, 1}, {6, 100, 64, 10}, {2, 3, 64, 1},
	} {
		at := reach{streams: make([]lua.Stream, c.streams), seats: c.seats}
		if got := at.count(c.free); got != c.want {
			t.Errorf("%+v: %d of each stream", c, got)
		}
	}
}
