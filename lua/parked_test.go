package lua

import (
	"fmt"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/redis/go-redis/v9"
)

// parkedFor sets a claim aside for an hour, waiting for a target.
func parkedFor(waits string) Aside {
	return Aside{Path: []lm.State{lm.Errored, lm.Retrying}, Delay: time.Hour, Reason: "cold", Waits: waits}
}

func (e *env) parkedMembers() []string {
	e.Helper()
	members, err := e.rdb.ZRange(ctx, e.s.keys.parked(0), 0, -1).Result()
	if err != nil {
		e.Fatal(err)
	}
	return members
}

// park makes operations that wait for a target, one after the other by at least a ms.
func (e *env) park(waits string, ids ...lm.TraceID) {
	e.Helper()
	for _, id := range ids {
		c := e.in("w1", id, lm.Inferring)
		must(e, e.s.Retry(ctx, c, parkedFor(waits)))
		since := e.record(id).Parked
		e.eventually("the server's clock goes on", func() bool {
			now, err := e.s.timeAt(ctx, e.s.keys.parked(0))
			return err == nil && now.UnixMilli() > since.UnixMilli()
		})
	}
}

func (e *env) waiting(waits string, before time.Time, most int) []Parked {
	e.Helper()
	found, err := e.s.Waiting(ctx, 0, waits, before, most)
	if err != nil {
		e.Fatal(err)
	}
	return found
}

func TestRetry_ParkedOnesWaitByTheirTargetOldestFirst(t *testing.T) {
	each(t, func(e *env) {
		e.park("model/b", "0-3")
		e.park("model/a", "0-2", "0-1")
		e.park("model/a|x", "0-4")
		e.park("", "0-5")
		if got := fmt.Sprintf("%s %s %d", e.waiting("model/a", time.Time{}, 10)[0].ID, e.waiting("model/a", time.Time{}, 1)[0].ID, len(e.waiting("model/a", time.Time{}, 10))); got != "0-2 0-2 2" {
			e.Errorf("model/a: %s", got)
		}
		if got := e.waiting("model/a|x", time.Time{}, 10); len(got) != 1 || got[0].ID != "0-4" {
			e.Errorf("model/a|x: %v", got)
		}
		if got := e.waiting("model/a", e.record("0-1").Parked, 10); len(got) != 1 || got[0].ID != "0-2" {
			e.Errorf("before the second: %v", got)
		}
		d, err := e.s.Tick(ctx, 0, time.Millisecond, time.Minute, []Stream{resume, queue})
		if err != nil || fmt.Sprint(d.Waits) != "[model/a_x model/a model/b]" {
			e.Errorf("tick: %v %v", d.Waits, err)
		}
		if r := e.record("0-1"); r.WaitsFor != "model/a" || time.Since(r.Parked) > time.Minute {
			e.Errorf("trace: %q %s", r.WaitsFor, r.Parked)
		}
		if r := e.record("0-5"); r.WaitsFor != "" || !r.Parked.IsZero() {
			e.Errorf("a trace that waits for its time alone: %q %s", r.WaitsFor, r.Parked)
		}
	})
}

func TestWake_BringsBackBeforeItsTimeAndOnce(t *testing.T) {
	each(t, func(e *env) {
		e.park("model/a", "0-a", "0-b")
		found := e.waiting("model/a", time.Time{}, 1)
		if n, err := e.s.Wake(ctx, 0, found); err != nil || n != 1 {
			e.Fatalf("wake: %d %v", n, err)
		}
		e.want("0-a", "state", "QUEUED", "parked", "-", "attempts", "-")
		e.want("0-b", "state", "RETRYING")
		e.streams("queue 1/0 resume 0/0")
		e.counts("delayed:default=1 waiting:default=1")
		if got := e.parkedMembers(); len(got) != 1 {
			e.Errorf("parked: %q", got)
		}
		before := e.snapshot()
		if got := words(e.again()); got[0] != "GONE" {
			e.Errorf("replay: %v", got)
		}
		e.unchanged("a replayed wake", before)
	})
}

func TestWake_WhatIsParkedElsewhereStaysAndTheLeftoverGoes(t *testing.T) {
	each(t, func(e *env) {
		e.park("model/a", "0-a")
		old := e.waiting("model/a", time.Time{}, 1)
		if _, err := e.s.Wake(ctx, 0, old); err != nil {
			e.Fatal(err)
		}
		c := e.claimNext("w1")
		must(e, e.s.Retry(ctx, c, parkedFor("model/b")))
		// As a worker of an older version leaves it, which promotes and knows no parked set.
		e.rdb.ZAdd(ctx, e.s.keys.parked(0), redis.Z{Member: old[0].place + "|0-a"})
		if n, err := e.s.Wake(ctx, 0, old); err != nil || n != 0 {
			e.Errorf("wake of a leftover: %d %v", n, err)
		}
		e.want("0-a", "state", "RETRYING")
		if got := e.parkedMembers(); len(got) != 1 || got[0] != e.trace("0-a")["parked"]+"|0-a" {
			e.Errorf("parked: %q", got)
		}
	})
}

func TestWakeIDs_SaysOfEachWhatBecameOfIt(t *testing.T) {
	each(t, func(e *env) {
		e.park("model/a", "0-a")
		e.park("", "0-b")
		e.enqueue("0-later", func(r *lm.Request) { r.NotBefore = time.Now().Add(time.Hour) })
		e.enqueue("0-c")
		got, err := e.s.WakeIDs(ctx, []lm.TraceID{"0-none", "0-a", "0-b", "0-c", "0-later"})
		if want := "[not found woken woken not parked scheduled]"; err != nil || fmt.Sprint(got) != want {
			e.Errorf("%v %v, want %s", got, err, want)
		}
		e.want("0-a", "state", "QUEUED")
		e.want("0-b", "state", "QUEUED")
		e.want("0-later", "state", "RECEIVED")
		if got := e.parkedMembers(); len(got) != 0 {
			e.Errorf("parked: %q", got)
		}
		again, err := e.s.WakeIDs(ctx, []lm.TraceID{"0-a"})
		if err != nil || again[0] != WokenNot {
			e.Errorf("again: %v %v", again, err)
		}
	})
}

func TestParked_EndsAndPromotionsLeaveNothing(t *testing.T) {
	each(t, func(e *env) {
		e.park("model/a", "0-a", "0-b")
		if ended, err := e.s.Cancel(ctx, "0-a"); err != nil || ended != CancelDone {
			e.Fatalf("cancel: %v %v", ended, err)
		}
		e.rdb.ZAdd(ctx, e.s.keys.delayed(0), redis.Z{Score: 1, Member: "0-b"})
		if n, err := e.s.Promote(ctx, 0, []lm.TraceID{"0-b"}); err != nil || n != 1 {
			e.Fatalf("promote %d %v", n, err)
		}
		if got := e.parkedMembers(); len(got) != 0 {
			e.Errorf("parked: %q", got)
		}
		e.finish(e.claimNext("w1"))
		c := e.in("w1", "0-c", lm.Inferring)
		e.rdb.HSet(ctx, e.s.keys.trace("0-c"), "cancel_requested", "cancelled")
		must(e, e.s.Retry(ctx, c, parkedFor("model/a"))) // one that is to end waits for nothing
		if got := e.parkedMembers(); len(got) != 0 {
			e.Errorf("parked: %q", got)
		}
	})
}

// A pull hands what it brings back to its caller, and a repeat brings nothing; who dies
// then leaves entries that a sweep puts back uncounted.
func TestPull_HandsTheEntriesToTheCallerAlone(t *testing.T) {
	each(t, func(e *env) {
		e.park("kind/rare", "0-a", "0-b")
		found := e.waiting("kind/rare", time.Time{}, 10)
		queues, err := e.s.QueuesOf(ctx, found)
		if err != nil || fmt.Sprint(queues) != "[default default]" {
			e.Fatalf("queues %v %v", queues, err)
		}
		entries, err := e.s.Pull(ctx, "w2", queue, found)
		if err != nil || len(entries) != 2 || entries[0].Stream != resume || entries[0].Fields[1] != "0-a" {
			e.Fatalf("pull: %v %v", entries, err)
		}
		e.want("0-a", "state", "QUEUED", "parked", "-", "entry", entries[0].Names())
		e.streams("queue 0/0 resume 2/2")
		e.counts("waiting:default=2")
		before := e.snapshot()
		if got, _ := list(e.again(), 2); fmt.Sprint(words(got[0])) != "[GONE GONE]" {
			e.Errorf("replay: %v", got)
		}
		e.unchanged("a replayed pull", before)
		if got := e.read("w1"); len(got) != 0 {
			e.Errorf("another one read %v", got)
		}
		e.finish(e.take("w2", entries[0], ClaimOK).Claim)
		if e.kind == "redis" {
			e.sweep("w1", entries[1].Names(), PutBack)
			e.want("0-b", "state", "QUEUED", "crashes", "-")
			e.finish(e.claimNext("w1"))
		} else {
			e.finish(e.take("w2", entries[1], ClaimOK).Claim)
		}
		if targets, err := e.s.WaitedFor(ctx, 0, 10); err != nil || len(targets) != 0 {
			e.Errorf("waited for: %v %v", targets, err)
		}
	})
}

func TestWaitedFor_EachTargetOnceInOrder(t *testing.T) {
	each(t, func(e *env) {
		e.park("model/b", "0-1", "0-2")
		e.park("kind/k", "0-3")
		for most, want := range map[int]string{1: "[kind/k]", 10: "[kind/k model/b]"} {
			if got, err := e.s.WaitedFor(ctx, 0, most); err != nil || fmt.Sprint(got) != want {
				e.Errorf("%d: %v %v", most, got, err)
			}
		}
	})
}

func TestCatalog_OneListHoweverManyWorkers(t *testing.T) {
	each(t, func(e *env) {
		e.lax = true // no operations
		names := []string{"a", "b"}
		must(e, e.s.PublishCatalog(ctx, names, true))
		must(e, e.s.PublishCatalog(ctx, names, false))
		for i := range catalogsKept {
			must(e, e.s.PublishCatalog(ctx, []string{fmt.Sprint(i)}, false))
		}
		d := CatalogDigest(names)
		got, err := e.s.Catalogs(ctx, []string{d, d, "", "none"})
		if err != nil || len(got) != 1 || fmt.Sprint(got[d]) != "[a b]" {
			e.Errorf("%v %v", got, err)
		}
		must(e, e.s.PublishCatalog(ctx, []string{"new"}, true))
		if n := e.rdb.HLen(ctx, e.s.keys.fleet("catalogs")).Val(); n != 1 {
			e.Errorf("%d lists are kept", n)
		}
	})
}
