package lua

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
)

// full is a request with everything that an ending must clean up or tell.
func full(r *lm.Request) {
	r.Key, r.Reply, r.Deadline = "k", "client-1", time.Now().Add(time.Hour)
}

// TestFinish_Succeeded: result, lifetimes, notices, and nothing left behind of
// entry, request and checkpoint (PARITY 8, 20, 25, 33).
func TestFinish_Succeeded(t *testing.T) {
	each(t, func(e *env) {
		c := e.in("w1", "0-a", lm.Inferring, full)
		if _, err := e.s.Advance(ctx, c, Advance{Steps: []lm.Step{{Name: "a", Data: []byte("b")}}}); err != nil {
			e.Fatal(err)
		}
		must(e, e.s.Frames(ctx, c, []lm.Frame{{Seq: 1, Type: lm.FrameToken, Data: "x"}}))
		for _, key := range []string{"trace", "request", "checkpoint", "out"} {
			if ttl := e.rdb.PTTL(ctx, e.s.keys.of("0-a", key)).Val(); ttl > 0 {
				e.Errorf("%s of a running operation expires in %v", key, ttl)
			}
		}
		e.finish(c)
		e.want("0-a", "state", "COMPLETED", "outcome", "succeeded", "attempts", "1", "owner", "-", "entry", "", "started", "-", "reason", "")
		e.streams("queue 0/0 resume 0/0")
		e.counts("succeeded=1")
		e.dead()
		for _, key := range []string{e.s.keys.request("0-a"), e.s.keys.checkpoint("0-a")} {
			if e.rdb.Exists(ctx, key).Val() != 0 {
				e.Errorf("%s is still there", key)
			}
		}
		for _, key := range []string{e.s.keys.trace("0-a"), e.s.keys.result("0-a"), e.s.keys.out("0-a"), e.s.keys.unique(0, c.KeyHash), e.s.keys.reply(0, "client-1")} {
			if ttl := e.rdb.PTTL(ctx, key).Val(); ttl <= 59*time.Minute || ttl > time.Hour {
				e.Errorf("%s lives for %v", key, ttl)
			}
		}
		if _, there := e.score(e.s.keys.deadlines(0), "0-a"); there {
			e.Error("its deadline is still there")
		}
		r, err := e.s.Results(ctx, []lm.TraceID{"0-a", "0-none"})
		if err != nil || r[0].Text() != "yes" || r[0].Attempts != 1 || r[0].Usage.Output != 3 || len(r[0].Route) != 1 || r[0].Route[0] != "v1 chat: a cooldown, b failover" || r[0].Err != nil || r[1].Outcome != "" {
			e.Errorf("%+v %v", r, err)
		}
		for _, from := range []NoticeStream{{}, {Client: "client-1"}} {
			got, after, err := e.s.Notices(ctx, from, "0", time.Millisecond)
			if err != nil || len(got) != 1 || got[0].ID != "0-a" || got[0].Outcome != lm.Succeeded || time.Since(got[0].At) > time.Minute {
				e.Errorf("notices of %q: %+v %v", from.Client, got, err)
			}
			if end, err := e.s.NoticeEnd(ctx, from); err != nil || end != after {
				e.Errorf("end %q, after %q, %v", end, after, err)
			}
			if got, _, err := e.s.Notices(ctx, from, after, time.Millisecond); err != nil || len(got) != 0 {
				e.Errorf("once more: %v %v", got, err)
			}
		}
		if ended, err := e.s.Ended(ctx, 0, 5); err != nil || len(ended) != 1 || ended[0].ID != "0-a" {
			e.Errorf("%v %v", ended, err)
		}
		before := e.snapshot()
		if got := words(e.again()); got[0] != "OK" {
			e.Errorf("replay: %v", got)
		}
		e.unchanged("a replayed finish", before)
	})
}

// TestFinish_Failed: a dead letter, and all of it lives as long.
func TestFinish_Failed(t *testing.T) {
	each(t, func(e *env) {
		c := e.in("w1", "0-a", lm.Inferring, full)
		if _, err := e.s.Advance(ctx, c, Advance{Steps: []lm.Step{{Name: "a", Data: []byte("b")}}}); err != nil {
			e.Fatal(err)
		}
		end := failed(c)
		end.Result.Err = lm.Errorf(lm.ContentFiltered, "%s", strings.Repeat("no ", 2000))
		must(e, e.s.Finish(ctx, c, end))
		e.want("0-a", "state", "COMPLETED", "outcome", "failed", "reason", "content_filtered", "attempts", "1")
		l := e.dead("content_filtered")[0]
		if l.ID != "0-a" || l.State != "INFERRING" || l.Worker != "w1" || l.Queue != "default" || l.Kind != "chat" || len(l.Error) > 1024 || l.Error == "" {
			e.Errorf("%+v", l)
		}
		for _, key := range []string{e.s.keys.trace("0-a"), e.s.keys.result("0-a"), e.s.keys.request("0-a"), e.s.keys.checkpoint("0-a"), e.s.keys.unique(0, c.KeyHash)} {
			if ttl := e.rdb.PTTL(ctx, key).Val(); ttl <= 29*24*time.Hour || ttl > 30*24*time.Hour {
				e.Errorf("%s lives for %v", key, ttl)
			}
		}
		e.counts("failed=1")
		e.streams("queue 0/0 resume 0/0")
		r, _ := e.s.Results(ctx, []lm.TraceID{"0-a"})
		if r[0].Err == nil || r[0].Err.Kind != lm.ContentFiltered || len(r[0].Err.Error()) < 6000 {
			e.Errorf("%+v", r[0].Err)
		}
		before := e.snapshot()
		e.again()
		e.unchanged("a replayed failure", before)
	})
}

// TestFinish_EveryOutcome: what was neither failed nor succeeded leaves no dead
// letter; Tried counts an attempt.
func TestFinish_EveryOutcome(t *testing.T) {
	each(t, func(e *env) {
		for _, outcome := range []lm.Outcome{lm.Cancelled, lm.Expired} {
			id := lm.TraceID("0-" + string(outcome))
			c := e.in("w1", id, lm.Inferring)
			must(e, e.s.Finish(ctx, c, Ending{Path: []lm.State{lm.Errored, lm.Completed}, Result: lm.Result{Outcome: outcome, Err: lm.Errorf(lm.CancelRequested, "x")}}))
			e.want(id, "outcome", string(outcome), "attempts", "0")
			if ttl := e.rdb.PTTL(ctx, e.s.keys.trace(id)).Val(); ttl > time.Hour || ttl <= 0 {
				e.Errorf("%v", ttl)
			}
		}
		e.dead()
		e.counts("cancelled=1 expired=1")
	})
}

// TestFinish_ReplyOfAnotherTypeDoesNotMatter: the producer named a key that is
// something else; the ending is written whole, and the key is left alone.
func TestFinish_ReplyOfAnotherTypeDoesNotMatter(t *testing.T) {
	each(t, func(e *env) {
		key := e.s.keys.reply(0, "client-1")
		e.rdb.Set(ctx, key, "a string", 0)
		c := e.in("w1", "0-a", lm.Inferring, full)
		e.finish(c)
		e.want("0-a", "state", "COMPLETED")
		if e.rdb.Get(ctx, key).Val() != "a string" || e.rdb.PTTL(ctx, key).Val() > 0 {
			e.Error("the key was changed")
		}
		if n := e.rdb.XLen(ctx, e.s.keys.done(0)).Val(); n != 1 {
			e.Errorf("%d notices", n)
		}
	})
}

// TestFinish_ManyAtOnceShareScripts: a hundred callers, few scripts, each ended
// exactly once.
func TestFinish_ManyAtOnceShareScripts(t *testing.T) {
	each(t, func(e *env) {
		var ops []Operation
		for i := range 100 {
			ops = append(ops, Operation{ID: lm.TraceID(fmt.Sprintf("0-%d", i)), Request: request(`1`)})
		}
		e.s.Enqueue(ctx, ops)
		got, err := e.s.Claim(ctx, "w1", time.Minute, e.read("w1"))
		if err != nil {
			e.Fatal(err)
		}
		before := e.s.ScriptRuns()
		errs := make(chan error)
		for _, c := range got {
			go func() {
				f := c.Claim
				if f.Fence.State() == lm.Claimed {
					if _, err := e.s.Advance(ctx, f, Advance{Path: []lm.State{lm.Gathering, lm.Inferring}}); err != nil {
						errs <- err
						return
					}
				}
				errs <- e.s.Finish(ctx, f, succeeded(f))
			}()
		}
		for range got {
			if err := <-errs; err != nil {
				e.Error(err)
			}
		}
		e.counts("succeeded=100")
		e.streams("queue 0/0 resume 0/0")
		t.Logf("%d scripts for 200 writes", e.s.ScriptRuns()-before)
	})
}

// TestLists: what a person asks for.
func TestLists_WaitingAndDead(t *testing.T) {
	each(t, func(e *env) {
		e.enqueue("0-waits")
		e.enqueue("0-later", func(r *lm.Request) { r.NotBefore = time.Now().Add(time.Hour) })
		tr, err := e.s.Trace(ctx, "0-waits")
		if b, _ := json.Marshal(tr); err != nil || !strings.Contains(string(b), `"state":"QUEUED"`) {
			e.Errorf("%s %v", b, err)
		}
	})
}

// TestWrongType_NothingOfARefusedWriteIsWritten: a key of the operation holds
// another type. Whatever the answer, the write is there wholly or not at all.
func TestWrongType_NothingOfARefusedWriteIsWritten(t *testing.T) {
	writes := map[string]func(e *env, c lm.Claim) error{
		"advance": func(e *env, c lm.Claim) error {
			return second(e.s.Advance(ctx, c, Advance{Path: []lm.State{lm.ToolExecuting}, Steps: []lm.Step{{Name: "a", Data: []byte("b")}}}))
		},
		"frame": func(e *env, c lm.Claim) error {
			return e.s.Frames(ctx, c, []lm.Frame{{Seq: 1, Type: lm.FrameToken, Data: "x"}})
		},
		"retry":   func(e *env, c lm.Claim) error { return e.s.Retry(ctx, c, aside(0)) },
		"release": func(e *env, c lm.Claim) error { return e.s.Release(ctx, c, "drain") },
		"finish":  func(e *env, c lm.Claim) error { return e.s.Finish(ctx, c, succeeded(c)) },
		"failed":  func(e *env, c lm.Claim) error { return e.s.Finish(ctx, c, failed(c)) },
	}
	onRedis(t, Options{}, func(e *env) {
		e.lax = true
		for _, key := range []string{"request", "checkpoint", "result", "out"} {
			for what, write := range writes {
				c := e.in("w1", lm.TraceID("0-"+what+"-"+key), lm.Inferring)
				planted := e.s.keys.of(c.ID, key)
				e.rdb.Del(ctx, planted)
				e.rdb.LPush(ctx, planted, "a list")
				before := e.snapshot()
				err := write(e, c)
				if d := difference(before, e.snapshot()); err != nil && d != "" {
					e.Errorf("%s with a %s of another type: %v, and yet it changed\n%s", what, key, err, d)
				}
				if errors.Is(err, lm.ErrFenced) || errors.Is(err, lm.ErrIllegal) {
					e.Errorf("%s with a %s of another type: %v", what, key, err)
				}
				for _, x := range e.read("w9") {
					_, _ = e.s.Claim(ctx, "w9", time.Minute, []Entry{x})
				}
			}
		}
	})
}
