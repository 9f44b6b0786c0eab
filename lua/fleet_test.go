package lua

import (
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
)

var minuteBreaker = Breaker{Streak: 5, Least: 20, Window: time.Minute, Base: 30 * time.Second, Cap: 10 * time.Minute}

// TestFleetScripts_ARepeatChangesNothing: each call of the fleet's scripts, sent
// again byte for byte as a client does whose reply was lost. What the rules mean is
// tested in package fleet, against their Go form.
func TestFleetScripts_ARepeatChangesNothing(t *testing.T) {
	each(t, func(e *env) {
		again := func(what string) {
			e.Helper()
			before := e.snapshot()
			e.again()
			if e.kind != "miniredis" { // which computes expiries anew, a millisecond off now and then
				e.unchanged("a repeat of "+what, before)
			}
		}
		limited := Admission{
			Model: "m", Backend: "b", Owner: "w1", Key: "k", Lease: time.Minute, Tokens: 10, CostNano: 10, RPM: 5, TPM: 500, Concurrent: 5,
			BudgetNano: 1000, BudgetPeriod: "daily_utc", Quota: 100, QuotaPeriod: "monthly", Window: time.Minute,
		}
		got, err := e.s.Admit(ctx, limited)
		if err != nil || !got.OK || got.Probe || ReservationToken(got.Reservation) != CallToken("w1", "k") {
			e.Fatalf("admit: %+v %v", got, err)
		}
		again("admit")
		o := CallOutcome{
			Model: "m", Backend: "b", Key: "k", Class: ClassFail, Error: true, Kind: lm.RateLimited, Cooldown: time.Hour, Pause: time.Hour, Quarantine: time.Hour, Bar: time.Hour,
			Usage: lm.Usage{Input: 5, Cached: 2, Output: 1}, CostNano: 7, Waste: "retry", Reservation: got.Reservation, QuotaPeriod: "monthly", BudgetPer: "daily_utc",
			Op: "0-x", Tenant: "t", Breaker: minuteBreaker,
		}
		if r, err := e.s.RecordCall(ctx, o); err != nil || r.Replay || r.Version == 0 {
			e.Fatalf("outcome: %+v %v", r, err)
		}
		again("outcome")
		if r, err := e.s.RecordCall(ctx, o); err != nil || !r.Replay {
			e.Errorf("the same outcome: %+v %v", r, err)
		}
		if no, err := e.s.Admit(ctx, limited); err != nil || no.OK || no.Reason != "quota_exhausted" || no.Until.Before(no.Now.Add(59*time.Minute)) {
			e.Errorf("admit of a cold model: %+v %v", no, err)
		}
		again("a refusal")
		in := Increments{Model: "m", Backend: "b", Key: "batch", Requests: 3, Usage: lm.Usage{Input: 3}, CostNano: 3, Window: time.Minute, Past: map[int]int64{0: 2, 1: 1}}
		if _, err := e.s.Count(ctx, []Increments{in}, nil); err != nil {
			e.Fatal(err)
		}
		again("count")
		if _, err := e.s.Count(ctx, nil, []Spent{{Tenant: "t", Key: "spent", Requests: 3, CostNano: 3}}); err != nil {
			e.Fatal(err)
		}
		again("spent")
		for _, ch := range []SessionChange{
			{What: "bind", To: "a", Home: "a", Life: time.Hour}, {What: "move", From: "a", To: "b", Most: -1, Life: time.Hour}, {What: "drop", From: "b"},
		} {
			if s, err := e.s.ChangeSession(ctx, "p:h", ch); err != nil || !s.Changed {
				e.Fatalf("%s: %+v %v", ch.What, s, err)
			}
			if ch.What != "drop" { // whose repeat begins the minute anew
				again(ch.What)
			}
			// Whoever lost the reply still hears that the change was its own.
			if v, ok := e.again().([]any); !ok || number(v[0]) != 1 {
				e.Errorf("the repeat of %s answers %v", ch.What, v)
			}
		}
		l, err := e.s.AcquireLock(ctx, "me", "token", time.Hour)
		if err != nil || !l.Held || l.Fence == 0 {
			e.Fatalf("lock: %+v %v", l, err)
		}
		again("lock")
		if other, err := e.s.AcquireLock(ctx, "you", "other", time.Hour); err != nil || other.Held || other.Owner != "me" {
			e.Errorf("a second lock: %+v %v", other, err)
		}
		e.flushScripts()
		if ok, err := e.s.SetUnderLock(ctx, "token", l.Fence, "p", map[string]string{"a": "b"}); err != nil || !ok {
			e.Errorf("guarded: %v %v", ok, err)
		}
		one := NewListName("one", "openai", "http://one", "hash")
		observe := func(l Listing) Observation {
			e.Helper()
			l.Name, l.Keep = one, time.Hour
			if ok, err := e.s.Observe(ctx, "token", nextFence(e), l); err != nil || !ok {
				e.Fatalf("observe: %v %v", ok, err)
			}
			again("observe")
			all, now, err := e.s.Observations(ctx)
			if err != nil || len(all) != 1 || now.IsZero() {
				e.Fatalf("%+v %v", all, err)
			}
			return all[0]
		}
		good := observe(Listing{List: []byte(`[{"name":"a"}]`), Etag: "e1", Count: 1, Took: 12 * time.Millisecond})
		if good.Name != one || good.Tried.IsZero() || !good.Listed.Equal(good.Tried) || good.Etag != "e1" || good.Count != 1 || good.Strikes != 0 || good.Kind != "" || good.Took != 12*time.Millisecond {
			e.Errorf("a good list: %+v", good)
		}
		bad := observe(Listing{Kind: lm.TimedOut})
		if bad.Strikes != 1 || bad.Kind != lm.TimedOut || !bad.Since.Equal(bad.Tried) || bad.Etag != "e1" || !bad.Listed.Equal(good.Listed) || bad.Count != 1 {
			e.Errorf("a failure: %+v", bad)
		}
		worse := observe(Listing{Kind: lm.Unauthorized})
		if worse.Strikes != 2 || worse.Kind != lm.Unauthorized || !worse.Since.Equal(bad.Since) {
			e.Errorf("another: %+v", worse)
		}
		if lists, err := e.s.Lists(ctx, []ListName{one, NewListName("one", "openai", "http://one", "other")}); err != nil || lists[0] != `[{"name":"a"}]` || lists[1] != "" {
			e.Errorf("%q %v", lists, err)
		}
		if ttl := e.rdb.PTTL(ctx, e.s.keys.list(one)).Val(); ttl <= 0 || ttl > time.Hour {
			e.Errorf("the list is kept for %s", ttl)
		}
		if n, err := e.s.ForgetLists(ctx, []ListName{one}, good.Tried); err != nil || n != 0 {
			e.Errorf("one that was looked at since: %d %v", n, err)
		}
		if n, err := e.s.ForgetLists(ctx, []ListName{one}, time.Now().Add(time.Hour)); err != nil || n != 1 || e.rdb.Exists(ctx, e.s.keys.list(one), e.s.keys.observed()).Val() != 0 {
			e.Errorf("forgotten: %d %v", n, err)
		}
		again("unlist")
		if ok, err := e.s.Observe(ctx, "token", 1, Listing{Name: one, Kind: lm.TimedOut}); err != nil || ok {
			e.Errorf("observed under an old fence: %v %v", ok, err)
		}
		if l, err = e.s.LockHolder(ctx); err != nil {
			e.Fatal(err)
		}
		if ok, err := e.s.RenewLock(ctx, "token", l.Fence, time.Hour); err != nil || !ok {
			e.Errorf("renew: %v %v", ok, err)
		}
		if ok, err := e.s.ReleaseLock(ctx, "token", l.Fence); err != nil || !ok {
			e.Errorf("unlock: %v %v", ok, err)
		}
		again("unlock")
		for _, what := range []string{ModelDisable, ModelEnable, ModelReset} {
			if _, err := e.s.OperateModel(ctx, "m", "b", what); err != nil {
				e.Error(err)
			}
		}
		if _, err := e.s.OperateModel(ctx, "m", "b", "burn"); err == nil {
			e.Error("an unknown operation was accepted")
		}
	})
}

// nextFence ends the holding of the lock and begins another, as the next cycle does: one
// holding lists a backend once.
func nextFence(e *env) int64 {
	e.Helper()
	old, err := e.s.LockHolder(ctx)
	if err != nil {
		e.Fatal(err)
	}
	if ok, err := e.s.ReleaseLock(ctx, "token", old.Fence); err != nil || !ok {
		e.Fatalf("%v %v", ok, err)
	}
	l, err := e.s.AcquireLock(ctx, "me", "token", time.Hour)
	if err != nil || !l.Held {
		e.Fatalf("%+v %v", l, err)
	}
	return l.Fence
}

// TestFleetScripts_AKeyOfAnotherTypeIsLeftAlone: nothing is half written.
func TestFleetScripts_AKeyOfAnotherTypeIsLeftAlone(t *testing.T) {
	each(t, func(e *env) {
		call := func() (errs []error) {
			_, a := e.s.RecordCall(ctx, CallOutcome{Model: "m", Backend: "b", Key: "k", Class: ClassFail, Op: "0-x", Tenant: "t", Reservation: "t:1:1:1", Breaker: minuteBreaker})
			_, b := e.s.Count(ctx, []Increments{{Model: "m", Backend: "b", Key: "k2", Requests: 1, Window: time.Minute, Past: map[int]int64{0: 1}}}, nil)
			c := e.s.RecordLost(ctx, LostCall{Model: "m", Backend: "b", Key: "0-x/s/1", Op: "0-x", Tenant: "t", CostNano: 1})
			return append(errs, a, b, c)
		}
		for _, row := range []struct {
			key  string
			hits []bool
		}{
			{e.s.keys.model("m"), []bool{true, true, true}}, {e.s.keys.backend("b"), []bool{true, true, true}}, {e.s.keys.holds("m"), []bool{true, false, false}},
			{e.s.keys.costs("op", "0-x"), []bool{true, false, true}}, {e.s.keys.costs("tenant", "t"), []bool{true, false, true}},
		} {
			e.rdb.Del(ctx, e.allKeysOfFleet()...)
			e.rdb.RPush(ctx, row.key, "somebody's")
			before := e.snapshot()
			for i, err := range call() {
				if row.hits[i] && err == nil {
					e.Errorf("%s: call %d says nothing", row.key, i)
				}
			}
			if row.hits[1] {
				e.unchanged("calls with a foreign "+row.key, before)
			} else if e.rdb.Exists(ctx, e.s.keys.seen("k")).Val() != 0 {
				e.Errorf("%s: the outcome's replay key was written", row.key)
			}
			if row.hits[2] && e.rdb.Exists(ctx, e.s.keys.seen("0-x/s/1/lost"), e.s.keys.seen("0-x/s/1/0")).Val() != 0 {
				e.Errorf("%s: the loss's replay keys were written", row.key)
			}
		}
		for _, key := range []string{e.s.keys.observed(), e.s.keys.backend("b")} {
			e.rdb.Del(ctx, e.allKeysOfFleet()...)
			l, err := e.s.AcquireLock(ctx, "me", "token", time.Hour)
			if err != nil {
				e.Fatal(err)
			}
			e.rdb.RPush(ctx, key, "somebody's")
			before := e.snapshot()
			name := NewListName("b", "openai", "", "")
			for _, listing := range []Listing{{Name: name, List: []byte("[]"), Etag: "e", Keep: time.Hour}, {Name: name, Kind: lm.TimedOut, Keep: time.Hour}} {
				if _, err := e.s.Observe(ctx, "token", l.Fence, listing); err == nil {
					e.Errorf("%s: observe says nothing", key)
				}
				e.unchanged("an observation with a foreign "+key, before)
			}
		}
		e.rdb.Del(ctx, e.allKeysOfFleet()...)
	})
}

// allKeysOfFleet are the keys of the fleet's slot, one that is not there at least.
func (e *env) allKeysOfFleet() []string {
	return append(e.rdb.Keys(ctx, e.s.keys.fleet("*")).Val(), e.s.keys.fleet("-"))
}
