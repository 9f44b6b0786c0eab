package lua

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
)

// TestOutOfMemory: with Redis at maxmemory nothing new is let in, and what frees
// memory goes on: every end of a claim, heartbeats, the tick and its promotion.
func TestOutOfMemory(t *testing.T) {
	onRedis(t, Options{}, func(e *env) {
		defer e.rdb.ConfigSet(ctx, "maxmemory", "0")
		claim := map[string]lm.Claim{}
		for _, name := range []string{"finish", "failed", "retry", "release", "sweep", "limit", "advance", "steps", "alone", "beat", "frame", "parked"} {
			claim[name] = e.in("w1", lm.TraceID("0-"+name), lm.Inferring)
		}
		e.rdb.HSet(ctx, e.s.keys.trace("0-limit"), "crashes", 3)
		must(e, e.s.Retry(ctx, claim["parked"], aside(0)))
		e.enqueue("0-waits")
		waits := e.read("w1")[0]
		for _, name := range []string{"0-sweep", "0-limit"} {
			e.grab("w2", e.trace(lm.TraceID(name))["entry"])
		}
		full := func() { // every write may have freed a little
			e.rdb.ConfigSet(ctx, "maxmemory", "1")
		}
		full()
		if err := e.rdb.Set(ctx, "probe", "1", 0).Err(); !IsOutOfMemory(err) {
			e.Fatalf("a plain SET at maxmemory: %v", err)
		}

		before := e.snapshot()
		if a := e.accept(Operation{ID: "0-new", Request: request(`1`)}); !IsOutOfMemory(a.Err) {
			e.Errorf("enqueue: %+v", a)
		}
		if a := e.accept(Operation{ID: "0-later", Request: request(`1`, func(r *lm.Request) {
			r.Key, r.NotBefore, r.Deadline = "k", time.Now().Add(time.Hour), time.Now().Add(time.Hour)
		})}); !IsOutOfMemory(a.Err) {
			e.Errorf("enqueue for later: %+v", a)
		}
		if got, err := e.s.Claim(ctx, "w1", time.Minute, []Entry{waits}); err != nil || !IsOutOfMemory(got[0].Err) {
			e.Errorf("claim: %+v %v", got, err)
		}
		if err := e.s.Frames(ctx, claim["frame"], []lm.Frame{{Seq: 1, Type: lm.FrameToken, Data: "x"}}); !IsOutOfMemory(err) {
			e.Errorf("frame: %v", err)
		}
		alone := Advance{Steps: []lm.Step{{Name: "a", Data: []byte("b")}}}
		if _, err := e.s.Advance(ctx, claim["alone"], alone); !IsOutOfMemory(err) {
			e.Errorf("checkpoint alone: %v", err)
		}
		e.unchanged("what was refused", before)

		// Hops go through, the first time alone, the second time without their steps.
		if _, err := e.s.Advance(ctx, claim["advance"], Advance{Path: []lm.State{lm.ToolExecuting}}); err != nil {
			e.Errorf("advance without steps: %v", err)
		}
		e.rdb.HSet(ctx, e.s.keys.trace("0-steps"), "cancel_requested", "1")
		e.rdb.ConfigSet(ctx, "maxmemory", "0")
		e.rdb.HSet(ctx, e.s.keys.trace("0-steps"), "cancel_requested", "1")
		full()
		stop, err := e.s.Advance(ctx, claim["steps"], Advance{Path: []lm.State{lm.ToolExecuting}, Steps: alone.Steps})
		if !IsOutOfMemory(err) || !errors.Is(stop, lm.ErrCancelRequested) {
			e.Errorf("advance with steps: stop %v, %v", stop, err)
		}
		e.want("0-steps", "state", "TOOL_EXECUTING", "checkpoint_size", "-")
		if e.rdb.Exists(ctx, e.s.keys.checkpoint("0-steps")).Val() != 0 || claim["steps"].Fence.State() != lm.ToolExecuting {
			e.Errorf("the fence is in %s", claim["steps"].Fence.State())
		}
		e.want("0-advance", "state", "TOOL_EXECUTING")

		if b, err := e.s.Heartbeat(ctx, 0, "w1", []Renewal{{"0-beat", claim["beat"].Fence}}); err != nil || b[0] != BeatOK {
			e.Errorf("heartbeat: %v %v", b, err)
		}
		must(e, e.s.Finish(ctx, claim["finish"], succeeded(claim["finish"])))
		must(e, e.s.Finish(ctx, claim["failed"], failed(claim["failed"])))
		must(e, e.s.Retry(ctx, claim["retry"], aside(time.Hour)))
		must(e, e.s.Release(ctx, claim["release"], "drain"))
		e.want("0-finish", "state", "COMPLETED")
		e.want("0-failed", "state", "COMPLETED", "outcome", "failed")
		e.want("0-retry", "state", "RETRYING")
		e.want("0-release", "state", "RECLAIMED")
		for _, row := range []struct {
			name string
			want Returned
		}{{"sweep", PutBack}, {"limit", PutBackEnded}} {
			st, id, _ := streamOf(0, claim[row.name].Fence.Entry)
			e.takeover("w2", false, e.taken(Entry{Stream: st, ID: id, Fields: []string{"t", "0-" + row.name}}), row.want)
		}
		due, err := e.s.Tick(ctx, 0, time.Second, time.Minute, []Stream{resume, queue})
		if err != nil || !due.Ran || fmt.Sprint(due.Delayed) != "[0-parked]" {
			e.Errorf("tick: %+v %v", due, err)
		}
		if n, err := e.s.Promote(ctx, 0, []lm.TraceID{"0-parked"}); err != nil || n != 1 {
			e.Errorf("promote: %d %v", n, err)
		}
		if n, err := e.s.Read(ctx, "w3", []Share{{Stream: resume, Count: 9}, {Stream: queue, Count: 9}}, 9); err != nil || len(n) != 3 {
			e.Errorf("read: %v %v", n, err)
		}
		e.counts("delayed:default=1 failed=2 running:default=5 succeeded=1 waiting:default=4")
		e.rdb.ConfigSet(ctx, "maxmemory", "0")
		e.take("w1", waits, ClaimOK)
		if _, err := e.s.Advance(ctx, claim["steps"], Advance{Steps: alone.Steps}); err != nil {
			e.Errorf("the steps with the next write: %v", err)
		}
	})
}

// TestOutOfMemory_ABatchRefusesOnlyWhatNeedsMemory: in one script.
func TestOutOfMemory_ABatchRefusesOnlyWhatNeedsMemory(t *testing.T) {
	onRedis(t, Options{}, func(e *env) {
		defer e.rdb.ConfigSet(ctx, "maxmemory", "0")
		a, b := e.in("w1", "0-a", lm.Inferring), e.in("w1", "0-b", lm.Inferring)
		e.rdb.ConfigSet(ctx, "maxmemory", "1")
		got, err := e.s.sendAdvances(ctx, 0, []advanceIn{
			{id: "0-a", fence: a.Fence, at: lm.Attempt{Seq: 9, From: lm.Inferring}, step: Advance{Steps: []lm.Step{{Name: "a", Data: []byte("b")}}}},
			{id: "0-b", fence: b.Fence, at: lm.Attempt{Seq: 9, From: lm.Inferring}, step: Advance{Path: []lm.State{lm.ToolExecuting}}},
		})
		if err != nil || strings.Join(got, " ") != "OOM OK" {
			e.Errorf("%v %v", got, err)
		}
		e.want("0-a", "seq", "1")
		e.want("0-b", "state", "TOOL_EXECUTING")
	})
}
