package lua

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// TestLostReply_EveryScriptHasOneEffect loses the reply of each script once,
// after Redis has run it: the call succeeds all the same, and what is left is as
// if no reply had been lost.
func TestLostReply_EveryScriptHasOneEffect(t *testing.T) {
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server)
	rdb := proxy.Client()
	s := NewStore(rdb, rdb, Options{})
	if err := s.EnsureGroups(ctx, []Stream{queue, resume}); err != nil {
		t.Fatal(err)
	}
	lose := func(of *script, call func()) {
		t.Helper()
		before := proxy.Lost()
		if err := rdb.ScriptLoad(ctx, of.text).Err(); err != nil {
			t.Fatal(err)
		}
		proxy.LoseReply(of.sha)
		call()
		if proxy.Lost() != before+1 {
			t.Fatalf("%s: its reply was not lost, the test is void", of.name)
		}
	}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	req := &lm.Request{Body: json.RawMessage(`{}`)}
	req.Normalize()
	read := func(owner string) []Entry {
		t.Helper()
		entries, err := s.Read(ctx, owner, []Share{{Stream: resume, Count: 5}, {Stream: queue, Count: 5}}, 5)
		check(err)
		if len(entries) != 1 {
			t.Fatalf("%d entries, want 1", len(entries))
		}
		return entries
	}
	var claim lm.Claim
	take := func(owner string) {
		t.Helper()
		entries := read(owner)
		lose(claimScript, func() {
			claims, err := s.Claim(ctx, owner, time.Minute, entries)
			check(err)
			if claims[0].Verdict != ClaimOK || string(claims[0].Claim.Request.Body) != "{}" {
				t.Fatalf("claim: %+v", claims[0])
			}
			claim = claims[0].Claim
		})
	}

	lose(enqueueScript, func() { check(s.Enqueue(ctx, []Operation{{ID: "0-a", Request: req}})[0].Err) })
	take("w1")
	lose(advanceScript, func() {
		_, err := s.Advance(ctx, claim, Advance{Path: []lm.State{lm.Gathering}, Steps: []lm.Step{{Name: "step:a", Data: []byte("x")}}})
		check(err)
	})
	lose(retryScript, func() {
		check(s.Retry(ctx, claim, Aside{Path: []lm.State{lm.Errored, lm.Retrying}, Counted: CountAttempt, Reason: "provider"}))
	})
	if _, err := s.Promote(ctx, 0, []lm.TraceID{"0-a"}); err != nil {
		t.Fatal(err)
	}
	take("w2")
	lose(putbackScript, func() { check(s.Release(ctx, claim, "drain")) })
	take("w3")
	lose(finishScript, func() {
		check(s.Finish(ctx, claim, Ending{Path: []lm.State{lm.Errored, lm.Completed}, Tried: true,
			Result: lm.Result{Outcome: lm.Failed, Err: lm.Errorf(lm.PermanentFailure, "no")}}))
	})

	dead, err := s.Dead(ctx, 0, 10)
	check(err)
	if len(dead) != 1 {
		t.Errorf("%d dead letters, want 1", len(dead))
	}
	failed, err := s.Records(ctx, []lm.TraceID{"0-a"})
	check(err)
	lose(reviveScript, func() {
		if got := s.Revive(ctx, 0, []Revival{{Failed: failed[0], ID: "0-b"}})[0]; got.Err != nil || got.ID != "0-b" || got.Existing {
			t.Errorf("revive: %+v", got)
		}
	})
	take("w4")
	check(s.Finish(ctx, claim, Ending{Path: []lm.State{lm.Errored, lm.Completed}, Tried: true,
		Result: lm.Result{Outcome: lm.Failed, Err: lm.Errorf(lm.PermanentFailure, "no")}}))
	if dead, err = s.Dead(ctx, 0, 10); err != nil || len(dead) != 1 || dead[0].ID != "0-b" {
		t.Fatalf("dead letters: %+v %v", dead, err)
	}
	lose(purgeScript, func() {
		// The answer is the repeat's: there is nothing left to purge.
		if got, errs, err := s.Purge(ctx, 0, dead); err != nil || errs[0] != nil || got[0] != PurgedGone {
			t.Errorf("purge: %v %v %v", got, errs, err)
		}
	})
	if n := rdb.Exists(ctx, s.keys.trace("0-b"), s.keys.request("0-b"), s.keys.dead(0)).Val(); n != 1 || rdb.XLen(ctx, s.keys.dead(0)).Val() != 0 {
		t.Error("the purge left something")
	}
	check(rdb.Del(ctx, s.keys.dead(0)).Err()) // its last ID is remembered
	check(rdb.XAdd(ctx, &redis.XAddArgs{Stream: s.keys.dead(0), ID: "1-1", Values: []string{"t", "0-old"}}).Err())
	lose(trimScript, func() {
		if n, err := s.TrimDead(ctx, 0); err != nil || n != 0 {
			t.Errorf("trim: %d %v", n, err)
		}
	})
	if n := rdb.XLen(ctx, s.keys.dead(0)).Val(); n != 0 {
		t.Error("the trim did nothing")
	}

	trace, err := s.Trace(ctx, "0-a")
	check(err)
	var path []lm.State
	for _, hop := range trace.History {
		path = append(path, hop.Path...)
	}
	want := []lm.State{
		lm.Received, lm.Queued, lm.Claimed, lm.Gathering, lm.Errored, lm.Retrying, lm.Queued,
		lm.Claimed, lm.Reclaimed, lm.Claimed, lm.Errored, lm.Completed,
	}
	if !slices.Equal(path, want) {
		t.Errorf("history %v, want %v", path, want)
	}
	if trace.Attempts != 2 || trace.CrashesTotal != 0 {
		t.Errorf("attempts %d, crashes %d", trace.Attempts, trace.CrashesTotal)
	}
	counts, err := s.Counts(ctx, 0)
	check(err)
	for field, n := range counts {
		if want := int64(0); field != "failed" && n != want || field == "failed" && n != 2 {
			t.Errorf("count %s is %d", field, n)
		}
	}
	for _, st := range []Stream{queue, resume} {
		if n := rdb.XLen(ctx, s.keys.stream(st)).Val(); n != 0 {
			t.Errorf("%s holds %d entries", st.short(), n)
		}
		if p := rdb.XPending(ctx, s.keys.stream(st), Group).Val(); p.Count != 0 {
			t.Errorf("%s has %d pending", st.short(), p.Count)
		}
	}
}

// TestLostReply_AWriteOfUnknownOutcomeDoesNotDropTheAnswer: the reply to an
// advance is lost for longer than the patience, and the claim does not know that
// its state has moved. Its end is refused as illegal once, learns the state by
// that, and is written from there with the answer that was paid for.
func TestLostReply_AWriteOfUnknownOutcomeDoesNotDropTheAnswer(t *testing.T) {
	proxy := redistest.NewProxy(t, redistest.Start(t))
	e := envOn(t, "redis", proxy.Client(), Options{Patience: 1})
	defer e.end()
	c := e.in("w1", "0-a", lm.Inferring)
	proxy.LoseReply(advanceScript.sha)
	if _, err := e.s.Advance(ctx, c, Advance{Path: []lm.State{lm.ToolExecuting}}); !errors.Is(err, lm.ErrUnavailable) {
		t.Fatalf("advance: %v, want an unknown outcome", err)
	}
	end := func(path ...lm.State) error {
		path = append(path, lm.Postprocessing, lm.Delivering, lm.Delivered, lm.Completed)
		return e.s.Finish(ctx, c, Ending{Path: path, Result: lm.Result{Outcome: lm.Succeeded, Body: json.RawMessage(`"paid"`)}})
	}
	var illegal *lm.IllegalState
	if err := end(); !errors.As(err, &illegal) || illegal.State != lm.ToolExecuting || c.Fence.State() != lm.ToolExecuting {
		t.Fatalf("finish from INFERRING: %v, and the claim thinks it is in %s; want to learn of TOOL_EXECUTING", err, c.Fence.State())
	}
	if err := end(lm.Inferring); err != nil {
		t.Fatalf("finish: %v", err)
	}
	if body := e.rdb.HGet(ctx, e.s.keys.result("0-a"), "body").Val(); body != `"paid"` {
		t.Errorf("result %q, want the answer that was paid for", body)
	}
}
