package consumer

import (
	"context"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

const foreignStream = "{lm:0}:stream:default"

func longBody(n int) string { return `"` + strings.Repeat("b", n-2) + `"` }

// TestLong_AdoptedClaimedAndRunOnce: long foreign entries among short and own ones, and
// behind a reader that is already waiting.
func TestLong_AdoptedClaimedAndRunOnce(t *testing.T) {
	each(t, func(e *env) {
		sizes := map[lm.TraceID]int{"0-a": 100 << 10, "0-b": 2, "0-c": 1<<20 + 5, "0-d": 16 << 10, "0-e": lm.MaxRequest}
		add := func() {
			for _, id := range []lm.TraceID{"0-a", "0-b", "0-c", "0-d", "0-e"} {
				e.push("id", id.Name(), "body", longBody(sizes[id]), "reply", "me")
			}
			e.enqueue("0-own")
		}
		var n calls
		run := func() {
			e.worker(n.of(func(_ context.Context, claim lm.Claim) (lm.Result, error) {
				if want := sizes[claim.ID]; want > 0 && len(claim.Request.Body) != want {
					e.Errorf("%s: %d bytes, want %d", claim.ID, len(claim.Request.Body), want)
				}
				return lm.Result{Body: []byte(`1`)}, nil
			}), Options{})
		}
		e.groups()
		add()
		run()
		for _, id := range []lm.TraceID{"0-a", "0-b", "0-c", "0-d", "0-e", "0-own"} {
			e.until("the end of "+string(id), func() bool { return e.state(id) == lm.Completed })
			if r := e.record(id); r.Outcome != lm.Succeeded || r.CrashesTotal != 0 || n.get(id) != 1 {
				e.Errorf("%s: %s, %d crashes, %d calls", id, r.Outcome, r.CrashesTotal, n.get(id))
			}
		}
		e.push("id", "late", "body", longBody(300<<10))
		e.until("the late one's end", func() bool { return e.state("0-late") == lm.Completed })
		if n := e.rdb.XLen(ctx, foreignStream).Val(); n != 0 {
			e.Errorf("%d entries are left", n)
		}
	})
}

// TestLong_TooLongIsSetAsideUnread: it goes to the dead-letter stream without having
// travelled, with the ID that its producer gave it.
func TestLong_TooLongIsSetAsideUnread(t *testing.T) {
	each(t, func(e *env) {
		e.groups()
		e.push("id", "huge", "body", longBody(lm.MaxRequest+100<<10))
		e.push("id", "wide", "body", "1", "x", longBody(lm.MaxRequest+100<<10))
		good := e.push("id", "good", "body", longBody(100<<10))
		e.worker(fine, Options{})
		e.until("its neighbour's end", func() bool { return e.state("0-good") == lm.Completed })
		e.until("both letters", func() bool { return e.rdb.XLen(ctx, "{lm:0}:dead").Val() == 2 })
		letters, err := e.s.Dead(ctx, 0, 10)
		if err != nil {
			e.Fatal(err)
		}
		for _, l := range letters {
			if l.Reason != "body_too_large" || l.ID != "0-huge" && l.ID != "0-wide" || !strings.Contains(l.Error, "bytes, at most") {
				e.Errorf("%s: %s, %s (good: %s)", l.ID, l.Reason, l.Error, good)
			}
		}
		if left := len(e.pending(foreignStream)); left != 0 {
			e.Errorf("%d entries are pending", left)
		}
	})
}

// TestLong_TakenOverFromTheDead: long entries that a dead worker had read, adopted or
// claimed run elsewhere; only a claim counts a crash.
func TestLong_TakenOverFromTheDead(t *testing.T) {
	for _, died := range []string{"reading", "adopted", "claimed"} {
		t.Run(died, func(t *testing.T) {
			each(t, func(e *env) {
				e.groups()
				e.push("id", "a", "body", longBody(200<<10))
				entries, err := e.s.Read(ctx, "dead", []lua.Share{{Stream: lua.Stream{Queue: lm.DefaultQueue}, Count: 1}}, 1)
				if err != nil || len(entries) != 1 || entries[0].Long == 0 {
					e.Fatalf("%v, %v: want a long entry", entries, err)
				}
				crashes := 0
				if died != "reading" {
					entry, err := e.s.Fill(ctx, "dead", entries[0], false)
					if err != nil || len(entry.Fields) != 4 {
						e.Fatalf("%d fields, %v", len(entry.Fields), err)
					}
					if a, err := e.s.Adopt(ctx, "dead", []lua.Entry{entry}); err != nil || a[0] != lua.Adopted {
						e.Fatalf("%v %v", a, err)
					}
					if died == "claimed" {
						got, err := e.s.Claim(ctx, "dead", brief, []lua.Entry{entry})
						if err != nil || got[0].Unread.Any() || len(got[0].Claim.Request.Body) != 200<<10 {
							e.Fatalf("%+v %v: want the body that was read", got[0].Unread, err)
						}
						crashes = 1
					}
				}
				var n calls
				e.worker(n.of(fine), Options{Lease: brief})
				e.until("its end", func() bool { return e.state("0-a") == lm.Completed })
				if r := e.record("0-a"); r.Outcome != lm.Succeeded || r.CrashesTotal != crashes || n.get("0-a") != 1 {
					e.Errorf("%s, %d crashes, %d calls, want %d crashes: %s", r.Outcome, r.CrashesTotal, n.get("0-a"), crashes, path(r))
				}
				if left := e.rdb.HLen(ctx, "{lm:0}:tries").Val(); left != 0 && died == "reading" {
					e.Errorf("%d tries are left", left)
				}
			})
		})
	}
}

// TestLong_WhatKillsItsReadersIsSetAside: an entry that ended a worker before any claim,
// and then as many as the crash limit allows that took it over, is read no more.
func TestLong_WhatKillsItsReadersIsSetAside(t *testing.T) {
	each(t, func(e *env) {
		e.groups()
		e.push("id", "poison", "body", longBody(200<<10))
		st := lua.Stream{Queue: lm.DefaultQueue}
		if got, err := e.s.Read(ctx, "dead-0", []lua.Share{{Stream: st, Count: 1}}, 1); err != nil || len(got) != 1 {
			e.Fatalf("%v %v", got, err)
		}
		for _, name := range []string{"dead-1", "dead-2", "dead-3"} {
			taken, _, err := e.s.Idle(ctx, name, st, 0, "0-0")
			if err != nil || len(taken) != 1 || taken[0].Entry.Long == 0 {
				e.Fatalf("%+v %v", taken, err)
			}
			entry, err := e.s.Fill(ctx, name, taken[0].Entry, true) // and dies
			if err != nil || len(entry.Fields) != 4 {
				e.Fatalf("%s: %d fields, %v", name, len(entry.Fields), err)
			}
		}
		var n calls
		e.worker(n.of(fine), Options{Lease: brief})
		e.until("its letter", func() bool { return e.rdb.XLen(ctx, "{lm:0}:dead").Val() == 1 })
		letters, err := e.s.Dead(ctx, 0, 1)
		if err != nil || letters[0].ID != "0-poison" || letters[0].Reason != "crash_limit" || n.all() != 0 {
			e.Errorf("%+v %v, %d calls", letters, err, n.all())
		}
		if e.rdb.HLen(ctx, "{lm:0}:tries").Val() != 0 || e.rdb.XLen(ctx, foreignStream).Val() != 0 {
			e.Error("something of it is left")
		}
	})
}

// TestLong_ALostLinkIsNoTry: who lives takes the count back.
func TestLong_ALostLinkIsNoTry(t *testing.T) {
	each(t, func(e *env) {
		e.groups()
		e.push("id", "a", "body", longBody(200<<10))
		st := lua.Stream{Queue: lm.DefaultQueue}
		_, _ = e.s.Read(ctx, "dead", []lua.Share{{Stream: st, Count: 1}}, 1)
		taken, _, err := e.s.Idle(ctx, "w", st, 0, "0-0")
		if err != nil || len(taken) != 1 {
			e.Fatalf("%v %v", taken, err)
		}
		rdb := e.dial()
		l := &link{}
		rdb.AddHook(l)
		l.dead.Store(true)
		cut := lua.NewStore(rdb, rdb, lua.Options{Patience: time.Millisecond})
		if _, err := cut.Fill(ctx, "w", taken[0].Entry, true); err == nil {
			e.Fatal("read over a cut link")
		}
		again, _, err := e.s.Idle(ctx, "w2", st, 0, "0-0")
		if err != nil || len(again) != 1 {
			e.Fatalf("%v %v", again, err)
		}
		entry, err := e.s.Fill(ctx, "w2", again[0].Entry, true)
		if err != nil || len(entry.Fields) != 4 {
			e.Errorf("%d fields, %v", len(entry.Fields), err)
		}
		if got := e.rdb.HGet(ctx, "{lm:0}:tries", "stream:default/"+entry.ID).Val(); got != "1" {
			e.Errorf("%q tries are counted, want 1", got)
		}
	})
}
