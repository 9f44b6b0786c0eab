package lua

import (
	"slices"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
)

// TestClaim_TellsOfClaimsThatDiedInACall: of those since the last checkpoint, and of
// no claim that gave the operation back, was set aside or died elsewhere.
func TestClaim_TellsOfClaimsThatDiedInACall(t *testing.T) {
	each(t, func(e *env) {
		e.s.opts.CrashLimit = 100
		tells := func(what string, c lm.Claim, want ...lm.Epoch) {
			e.Helper()
			if !slices.Equal(c.Lost, want) {
				e.Errorf("%s: lost %v, want %v", what, c.Lost, want)
			}
		}
		dies := func(c lm.Claim) lm.Claim {
			e.Helper()
			e.sweep("w9", c.Fence.Entry, PutBack)
			return e.claimNext("w1")
		}
		c := dies(e.claimed("w1", "0-a"))
		tells("it died before any stage", c)
		e.advance(c, lm.Gathering)
		c = dies(c)
		tells("it died in gather", c)
		e.advance(c, lm.Gathering, lm.Inferring)
		first := c.Fence.Epoch
		c = dies(c)
		tells("it died in a call", c, first)
		e.advance(c, lm.Gathering, lm.Inferring)
		must(e, e.s.Release(ctx, c, "drain"))
		c = e.claimNext("w2")
		tells("the next handed it over", c, first)
		e.advance(c, lm.Gathering, lm.Inferring)
		must(e, e.s.Retry(ctx, c, Aside{Path: []lm.State{lm.Errored, lm.Retrying}, Reason: "lease"})) // a park whose reason is no cause
		if n, err := e.s.Promote(ctx, 0, []lm.TraceID{"0-a"}); err != nil || n != 1 {
			e.Fatalf("promote: %d %v", n, err)
		}
		c = e.claimNext("w2")
		tells("the next was set aside", c, first)
		e.advance(c, lm.Gathering, lm.Inferring)
		second := c.Fence.Epoch
		e.unack("0-a")
		e.silence("0-a")
		e.repair(RepairBack, true, "0-a")
		c = e.claimNext("w3")
		tells("two died in a call, one of them without its entry", c, first, second)
		e.advance(c, lm.Gathering, lm.Inferring, lm.ToolExecuting)
		c = dies(c)
		tells("the next died in a tool", c, first, second)
		if _, err := e.s.Advance(ctx, c, Advance{Steps: []lm.Step{{Name: "step:x", Data: []byte("y")}}, Path: []lm.State{lm.Gathering, lm.Inferring}}); err != nil {
			e.Fatal(err)
		}
		third := c.Fence.Epoch
		c = dies(c)
		tells("a checkpoint lies between", c, third)
		e.finish(e.advanced(c))
	})
}

// TestLost_CountsACallOnce as cost and as waste; what its worker has recorded is
// waste alone, and what a stopped worker records afterwards is nothing.
func TestLost_CountsACallOnce(t *testing.T) {
	each(t, func(e *env) {
		costs := func(what, requests, cost, waste string) {
			e.Helper()
			for _, key := range []string{e.s.keys.model("m"), e.s.keys.backend("b"), e.s.keys.costs("op", "0-x"), e.s.keys.costs("tenant", "t")} {
				h := e.rdb.HGetAll(ctx, key).Val()
				if h["requests"] != requests || h["cost"] != cost || h["waste_crash"] != waste {
					e.Errorf("%s: %s has %s requests, cost %s, waste %s; want %s, %s, %s", what, key, h["requests"], h["cost"], h["waste_crash"], requests, cost, waste)
				}
			}
		}
		outcome := func(key string, class Class, cost int64) bool {
			e.Helper()
			r, err := e.s.RecordCall(ctx, CallOutcome{
				Model: "m", Backend: "b", Key: key, Class: class, CostNano: cost, Op: "0-x", Tenant: "t", BudgetPer: "daily_utc", Breaker: minuteBreaker,
			})
			if err != nil {
				e.Fatal(err)
			}
			return !r.Replay
		}
		lost := func(epoch string) {
			e.Helper()
			must(e, e.s.RecordLost(ctx, LostCall{Model: "m", Backend: "b", Key: "0-x/turn:1/" + epoch, Op: "0-x", Tenant: "t", CostNano: 10, BudgetPer: "daily_utc"}))
			before := e.snapshot()
			if got := text(e.again()); got != "REPLAY" {
				e.Errorf("the loss of %s again: %s", epoch, got)
			}
			if e.kind != "miniredis" {
				e.unchanged("a repeated loss", before)
			}
		}
		if a, err := e.s.Admit(ctx, Admission{Model: "m", Backend: "b", Owner: "w1", Key: "0-x/turn:1/1/0", Lease: time.Minute, Tokens: 10, RPM: 5, Window: time.Minute}); err != nil || !a.OK {
			e.Fatalf("%+v %v", a, err)
		}
		outcome("0-x/turn:1/9/0", ClassOK, 10) // the repeat
		lost("1")
		costs("nothing is known of the dead one", "2", "20", "10")
		if outcome("0-x/turn:1/1/0", ClassOK, 10) || outcome("0-x/turn:1/1/3", ClassOK, 10) {
			e.Error("a stopped worker's outcome counted after its loss")
		}
		outcome("0-x/turn:1/2/0", ClassFail, 3)
		outcome("0-x/turn:1/2/1", ClassOK, 10)
		lost("2")
		costs("its answer was recorded", "4", "33", "20")
		outcome("0-x/turn:1/3/0", ClassFail, 3)
		lost("3")
		costs("a failure of it was recorded", "6", "46", "30")
		if got := e.rdb.HGet(ctx, e.s.keys.model("m"), "budget_used").Val(); got != "46" {
			e.Errorf("budget used %s", got)
		}
		for _, last := range []func(){func() { lost("4") }, func() { outcome("0-x/turn:1/5/0", ClassOK, 0) }} {
			last()
			if ttl := e.rdb.PTTL(ctx, e.s.keys.costs("tenant", "t")).Val(); ttl < costKept {
				e.Errorf("a tenant's costs live for %s", ttl)
			}
		}
	})
}
