package router

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/fleet"
)

func keyOf(b *bench, name string) fleet.SessionKey {
	return SessionOf(b.snap.Pool("chat"), &lm.Call{Thread: name})
}

func TestSession_BoundByTheFirstServedCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pool("a b", first), nil)
		b.fail("a", fails(lm.InvalidRequest, 0))
		b.call(t, thread("t"))
		if len(b.changes) > 0 {
			t.Fatalf("a failed call wrote %v", b.changes)
		}
		b.fail("a", fails(lm.RateLimited, time.Minute))
		b.call(t, thread("t"))
		if got := b.sessions[keyOf(b, "t")]; got.Home != "a" || got.Active != "b" || strings.Join(b.changes, "; ") != "bind >b true" {
			t.Errorf("session %+v after %v: active is who served, home is a still", got, b.changes)
		}
		time.Sleep(2 * time.Minute) // a is well again, and b's cache is warm
		if got := b.call(t, thread("t")); got != "b" {
			t.Errorf("served by %s, want the session's member", got)
		}
		time.Sleep(11 * time.Minute)
		if got := b.call(t, thread("t")); got != "a" || b.sessions[keyOf(b, "t")].Active != "a" {
			t.Errorf("served by %s after 11 idle minutes, want home", got)
		}
		want := "bind >b true; served b> true; back b>a true; served a> true"
		if got := strings.Join(b.changes, "; "); got != want {
			t.Errorf("changes %s, want %s", got, want)
		}
	})
}

func TestSession_AFailoverChangesActiveNeverHome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pool("a b", first), nil)
		b.call(t, thread("t"))
		b.fail("a", fails(lm.Overloaded, 0))
		b.call(t, thread("t"))
		if s := b.sessions[keyOf(b, "t")]; s.Home != "a" || s.Active != "b" || s.Switches != 0 {
			t.Errorf("%+v, want active b, home a, switches forgiven by the served call", s)
		}
		if want := "bind >a true; move a>b true; served b> true"; strings.Join(b.changes, "; ") != want {
			t.Errorf("%v, want %s", b.changes, want)
		}
	})
}

// Two processes whose calls fail together switch the session once; the second
// takes over the first one's choice.
func TestSession_TwoThatFailTogetherSwitchOnce(t *testing.T) {
	b := newBench(t, pool("a b c d", upTo(1)), nil)
	b.sessions[keyOf(b, "t")] = fleet.Session{Home: "a", Active: "a", Exists: true, Gen: 1, IdleSince: time.Now()}
	var both sync.WaitGroup
	both.Add(2)
	b.hold = func(_ context.Context, model string) {
		if model == "a" { // both are under way before either fails
			both.Done()
			both.Wait()
		}
	}
	b.fail("a", fails(lm.RateLimited, time.Hour), fails(lm.RateLimited, time.Hour))
	got := make([]string, 2)
	var done sync.WaitGroup
	for i, r := range []*Router{b.router, b.another()} {
		done.Go(func() { got[i] = said(r.Call(t.Context(), newCall(thread("t")))) })
	}
	done.Wait()
	moves := 0
	for _, c := range b.changes {
		if strings.HasPrefix(c, "move") && strings.HasSuffix(c, "true") {
			moves++
		}
	}
	if moves != 1 || got[0] != got[1] || b.sessions[keyOf(b, "t")].Active != got[0] {
		t.Errorf("served by %v after %v, want one switch and the same member", got, b.changes)
	}
}

func TestSession_AStaleFailureDoesNotMoveOneThatHasMovedOn(t *testing.T) {
	b := newBench(t, pool("a b c d", first), nil)
	key := keyOf(b, "t")
	b.sessions[key] = fleet.Session{Home: "a", Active: "a", Exists: true, Gen: 1, IdleSince: time.Now()}
	b.hold = func(_ context.Context, model string) {
		if model == "a" {
			b.truth.mu.Lock()
			b.sessions[key] = fleet.Session{Home: "a", Active: "d", Exists: true, Gen: 2, Switches: 1, IdleSince: time.Now()}
			b.truth.mu.Unlock()
		}
	}
	b.fail("a", fails(lm.Overloaded, 0))
	if got := b.call(t, thread("t")); got != "d" || b.sessions[key].Active != "d" || strings.Contains(strings.Join(b.changes, "; "), "move a>b true") {
		t.Errorf("served by %s, session %+v, changes %v", got, b.sessions[key], b.changes)
	}
}

// A session that others moved away and back while a call failed is another one
// than the call knew: its move is refused, and made anew for the one in force.
func TestSession_MovedThereAndBackMeanwhileIsNoticed(t *testing.T) {
	b := newBench(t, pool("a b c", first), nil)
	b.call(t, thread("t"))
	key := SessionOf(b.snap.Pool("chat"), &lm.Call{Thread: "t"})
	b.hold = func(_ context.Context, model string) {
		if model == "a" {
			b.truth.mu.Lock()
			defer b.truth.mu.Unlock()
			s := b.sessions[key]
			s.Gen += 2
			b.sessions[key] = s
		}
	}
	b.fail("a", fails(lm.Overloaded, 0))
	b.changes = nil
	if got := b.call(t, thread("t")); got != "b" || !strings.HasPrefix(strings.Join(b.changes, "; "), "move a>b false; move a>b true") {
		t.Errorf("served by %s, changes %v", got, b.changes)
	}
}

func TestSession_Budget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pool("a b c", first, upTo(1)), nil)
		limited := fails(lm.RateLimited, time.Hour)
		b.fail("a", limited)
		b.fail("b", limited)
		if got := b.call(t, thread("t")); got != "rate_limited" || b.called() != "a b" {
			t.Errorf("%s by %s: one switch, then the provider's error", got, b.called())
		}
		b = newBench(t, pool("a b", first, upTo(0)), states{"a": {Circuit: fleet.CircuitOpen, OpenUntil: time.Now().Add(time.Minute)}})
		b.sessions[keyOf(b, "t")] = fleet.Session{Home: "a", Active: "a", Exists: true, Gen: 1}
		if got := b.call(t, thread("t")); got != "parked chat: switches used up" || b.called() != "" {
			t.Errorf("%s by %q: 0 forbids even when the breaker is open", got, b.called())
		}
		b = newBench(t, pool("a b c", first, upTo(2)), nil)
		key := keyOf(b, "t")
		b.sessions[key] = fleet.Session{Home: "a", Active: "a", Exists: true, Gen: 1, Switches: 1, IdleSince: time.Now()}
		b.fail("a", limited)
		if got := b.call(t, thread("t")); got != "b" || b.sessions[key].Switches != 0 {
			t.Errorf("%s, %+v: a served call forgives", got, b.sessions[key])
		}
		b.sessions[key] = fleet.Session{Home: "a", Active: "b", Exists: true, Gen: 5, Switches: 2, IdleSince: time.Now()}
		b.fail("b", limited)
		if got := b.call(t, thread("t")); got != "rate_limited" || b.sessions[key].Switches != 2 {
			t.Errorf("%s, %+v: an error does not", got, b.sessions[key])
		}
	})
}

// What the call knew of the session is older than Redis: the script refuses over
// the switches that others made.
func TestSession_BudgetIsHeldByTheScript(t *testing.T) {
	b := newBench(t, pool("a b", first, upTo(3)), nil)
	key := keyOf(b, "t")
	b.sessions[key] = fleet.Session{Home: "a", Active: "a", Exists: true, Gen: 1, IdleSince: time.Now()}
	b.hold = func(context.Context, string) {
		b.truth.mu.Lock()
		defer b.truth.mu.Unlock()
		s := b.sessions[key]
		s.Switches = 3
		b.sessions[key] = s
	}
	b.fail("a", fails(lm.Overloaded, 0))
	if got := b.call(t, thread("t")); got != "overloaded" || b.called() != "a" {
		t.Errorf("%s by %s", got, b.called())
	}
}

func TestSession_FetchedOncePerOperation(t *testing.T) {
	b := newBench(t, pool("a b", first), nil)
	memo := new(sync.Map)
	for range 3 {
		if got := b.call(t, thread("t"), func(c *lm.Call) { c.Memo = memo }); got != "a" {
			t.Fatal(got)
		}
	}
	if b.reads != 1 || len(b.changes) != 1 {
		t.Errorf("%d reads, %v, want one read and one bind", b.reads, b.changes)
	}
}

func TestSession_OfAThreadOrRunOrNothing(t *testing.T) {
	threads, runs := newBench(t, pool("a b"), nil).snap.Pool("chat"), newBench(t, pool("a b", func(p *fleet.PoolSpec) { p.Routing.Scope = fleet.ScopeRun }), nil).snap.Pool("chat")
	for _, c := range []struct {
		pool *fleet.Pool
		call lm.Call
		home string
		id   string // of the session; empty: none
	}{
		{threads, lm.Call{Thread: "t", Run: "r", Tenant: "x"}, "t", "thread t"},
		{threads, lm.Call{Thread: "t", Agent: "bot"}, "bot", "thread t"},
		{threads, lm.Call{Run: "r"}, "r", "run r"},
		{threads, lm.Call{ID: "0-op"}, "0-op", ""},
		{threads, lm.Call{ID: "0-op", Agent: "bot"}, "bot", ""},
		{runs, lm.Call{Thread: "t", Run: "r"}, "r", "run r"},
		{runs, lm.Call{Thread: "t", ID: "0-op"}, "0-op", ""},
	} {
		var want fleet.SessionKey
		if scope, id, ok := strings.Cut(c.id, " "); ok {
			want = fleet.NewSessionKey("chat", c.call.Tenant, fleet.Scope(scope), id)
		}
		if key := SessionOf(c.pool, &c.call); key != want || HomeKey(c.pool, &c.call) != c.home {
			t.Errorf("%+v: session %q, home key %q, want %q and %q", c.call, key, HomeKey(c.pool, &c.call), want, c.home)
		}
	}
	if one := newTruth(pool("a b"), nil).snap.Alone("a"); SessionOf(one, &lm.Call{Thread: "t"}) != "" {
		t.Error("a model alone has no session")
	}
}

// All calls of an operation without thread or run stick to one member, also where
// another worker goes on from its checkpoint, which tells the last one's model.
func TestSession_AnOperationAloneSticks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pool("a b c", first), nil)
		b.fail("a", fails(lm.RateLimited, time.Second))
		last := ""
		for range 3 {
			last = said(b.router.Call(t.Context(), newCall(func(c *lm.Call) { c.Last = last })))
			time.Sleep(time.Minute)
		}
		if got := said(b.another().Call(t.Context(), newCall(func(c *lm.Call) { c.Last = last }))); got != "b" || b.called() != "a b b b b" {
			t.Errorf("%s by %s, want b from its first answer on", got, b.called())
		}
		if b.reads > 0 || len(b.changes) > 0 {
			t.Errorf("%d reads and changes %v of a session that nobody shares", b.reads, b.changes)
		}
	})
}

func TestSession_AgentsHomeToOneMemberAndOperationsSpread(t *testing.T) {
	b := newBench(t, pool("a b c"), nil)
	alone, agents := map[string]int{}, map[string]int{}
	for i := range 60 {
		id := func(c *lm.Call) { c.ID, c.Thread = "0-op"+lm.TraceID(fmt.Sprint(i)), "" }
		alone[b.call(t, id)]++
		agents[b.call(t, id, thread(fmt.Sprint("t", i)), func(c *lm.Call) { c.Agent = "bot" })]++
	}
	if len(alone) != 3 || len(agents) != 1 {
		t.Errorf("alone %v, of one agent %v", alone, agents)
	}
}

func TestSession_RoundRobinByTheSharedCounter(t *testing.T) {
	b := newBench(t, pool("a b c", by(fleet.HomeRoundRobin)), nil)
	for range 4 {
		b.call(t)
	}
	for range 2 {
		b.call(t, thread("t"))
	}
	b.truth.mu.Lock()
	b.down = errBoom
	b.truth.mu.Unlock()
	b.call(t)
	b.call(t)
	if want := "a b c a b b a b"; b.called() != want {
		t.Errorf("%s, want %s: in turn, a session where it is, and a counter of its own without Redis", b.called(), want)
	}
}

func TestSession_NoTroubleOfRedisFailsACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pool("a b", first), nil)
		b.down = errBoom
		b.fail("a", fails(lm.Overloaded, 0))
		if got := b.call(t, thread("t")); got != "b" {
			t.Error(got)
		}
	})
}

func TestSession_AMemberThatLeftThePool(t *testing.T) {
	b := newBench(t, pool("a b", first), nil)
	key := keyOf(b, "t")
	b.sessions[key] = fleet.Session{Home: "gone", Active: "gone", Exists: true, Gen: 4, IdleSince: time.Now()}
	b.call(t, thread("t"))
	if s := b.sessions[key]; s.Home != "a" || s.Active != "a" || !cmp.Equal(b.changes, []string{"drop gone> true", "bind >a true"}) {
		t.Errorf("%+v by %v", s, b.changes)
	}
}

// A call that the session's member cannot serve goes elsewhere once, and nothing
// is written of it.
func TestSession_ADetourChangesNothing(t *testing.T) {
	spec := pool("a b", first)
	spec.Models[0].Capabilities = fleet.Capabilities{fleet.CanTools: false}
	b := newBench(t, spec, nil)
	b.sessions[keyOf(b, "t")] = fleet.Session{Home: "a", Active: "a", Exists: true, Gen: 1, IdleSince: time.Now().Add(-time.Minute)}
	tools := func(c *lm.Call) { c.Body = []byte(`{"messages":[],"tools":[{}]}`) }
	if got := b.call(t, thread("t"), tools); got != "b" || len(b.changes) > 0 {
		t.Errorf("served by %s, changes %v", got, b.changes)
	}
}
