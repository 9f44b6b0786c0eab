package lua

import (
	"fmt"
	"slices"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
)

func (e *env) clean(act bool) Pass {
	e.Helper()
	pass, err := e.s.Clean(ctx, Janitor{Act: act, Share: 1})
	if err != nil {
		e.Fatal(err)
	}
	return pass
}

// TestClean_LooksFirstAndMendsOnce plants one orphan, one stray, one that is too
// old and waits and one that runs, over two partitions, and passes three times.
func TestClean_LooksFirstAndMendsOnce(t *testing.T) {
	opts := Options{Partitions: 2, MaxAge: time.Hour}
	eachWith(t, opts, func(e *env) {
		old := time.Now().Add(-2 * time.Hour).UnixMilli()
		aged := func(id lm.TraceID) { e.rdb.HSet(ctx, e.s.keys.trace(id), "created", old) }
		e.claimed("w1", "0-runs")
		aged("0-runs")
		e.enqueue("1-orphan")
		e.rdb.Del(ctx, e.s.keys.stream(Stream{Partition: 1, Queue: "default"}))
		e.enqueue("0-old")
		aged("0-old")
		e.enqueue("0-late", func(r *lm.Request) { r.NotBefore = time.Now().Add(time.Hour) })
		aged("0-late") // created long ago, but it has not begun
		e.enqueue("0-young")
		for _, what := range []string{"request", "checkpoint", "result", "out"} {
			e.rdb.Set(ctx, e.s.keys.of("1-gone", what), "x", 0)
		}

		for _, pass := range []Pass{e.clean(false), e.clean(false)} {
			if pass.Open != 5 || pass.Orphans() != 1 || pass.Repairs[RepairEntry] != 1 || pass.Strays != 4 || pass.Expired != 2 || pass.Asked != 0 || len(pass.Drift) != 0 {
				e.Errorf("looking: %+v", pass)
			}
			if len(pass.Mended) != 1 || pass.Mended[0].ID != "1-orphan" {
				e.Errorf("named %+v", pass.Mended)
			}
		}
		if pass := e.clean(true); pass.Orphans() != 1 || pass.Strays != 4 || pass.Expired != 1 || pass.Asked != 1 {
			e.Errorf("acting: %+v", pass)
		}
		if pass := e.clean(true); pass.Orphans() != 0 || pass.Strays != 0 || pass.Expired != 0 || pass.Asked != 0 || pass.Open != 4 {
			e.Errorf("again: %+v", pass)
		}
		if got := e.trace("0-runs")["cancel_requested"]; got != "expired" {
			e.Errorf("what runs and is too old: cancel_requested %q", got)
		}
		if tr := e.trace("0-old"); tr["outcome"] != "expired" || e.rdb.Exists(ctx, e.s.keys.request("0-old")).Val() != 0 {
			e.Errorf("what waits and is too old: %v", tr)
		}
		for _, id := range []lm.TraceID{"0-late", "0-young"} {
			if tr := e.trace(id); tr["outcome"] != "" || tr["cancel_requested"] != "" {
				e.Errorf("%s: %v", id, tr)
			}
		}
		if ttl := e.rdb.PTTL(ctx, e.s.keys.request("1-gone")).Val(); ttl <= 0 || ttl > failsafe {
			e.Errorf("a stray lives for %v", ttl)
		}
		if n := e.rdb.XLen(ctx, e.s.keys.stream(Stream{Partition: 1, Queue: "default"})).Val(); n != 1 {
			e.Errorf("%d entries of the orphan", n)
		}
		if ttl := e.rdb.PTTL(ctx, e.s.keys.request("0-young")).Val(); ttl != -1 {
			e.Errorf("a request that is wanted lives for %v", ttl)
		}
		e.lax = true // streams and groups were deleted
	})
}

// TestClean_EndsWhatIsParked: an operation without a deadline that every model
// keeps waiting, months ahead, ends when it is too old; one that was asked to end
// when it was set aside too.
func TestClean_EndsWhatIsParked(t *testing.T) {
	eachWith(t, Options{MaxAge: time.Hour}, func(e *env) {
		parked := Aside{Path: []lm.State{lm.Errored, lm.Retrying}, Delay: 60 * 24 * time.Hour, Counted: CountNothing, Reason: "pool: quota_exhausted"}
		for _, id := range []lm.TraceID{"0-old", "0-asked", "0-young"} {
			must(e, e.s.Retry(ctx, e.in("w1", id, lm.Inferring), parked))
		}
		for _, id := range []lm.TraceID{"0-old", "0-asked"} {
			e.rdb.HSet(ctx, e.s.keys.trace(id), "created", time.Now().Add(-2*time.Hour).UnixMilli())
		}
		e.rdb.HSet(ctx, e.s.keys.trace("0-asked"), "cancel_requested", "expired")
		if pass := e.clean(true); pass.Expired != 2 || pass.Asked != 0 || pass.Orphans() != 0 {
			e.Errorf("%+v", pass)
		}
		for _, id := range []lm.TraceID{"0-old", "0-asked"} {
			e.want(id, "state", "COMPLETED", "outcome", "expired", "attempts", "0")
			if _, waits := e.score(e.s.keys.delayed(0), id); waits {
				e.Errorf("%s is still in the delayed set", id)
			}
		}
		e.want("0-young", "state", "RETRYING", "outcome", "")
	})
}

// TestRetry_AskedToEndWaitsForNoTime: its place in the deadlines is gone by then,
// so nothing else would end it before its park does.
func TestRetry_AskedToEndWaitsForNoTime(t *testing.T) {
	each(t, func(e *env) {
		for _, id := range []lm.TraceID{"0-asked", "0-wanted"} {
			c := e.in("w1", id, lm.Inferring)
			if id == "0-asked" {
				if got, err := e.s.Cancel(ctx, id); got != CancelRequested || err != nil {
					e.Fatal(got, err)
				}
			}
			must(e, e.s.Retry(ctx, c, aside(time.Hour)))
		}
		now := float64(time.Now().Add(time.Minute).UnixMilli())
		for id, due := range map[lm.TraceID]bool{"0-asked": true, "0-wanted": false} {
			if at, waits := e.score(e.s.keys.delayed(0), id); !waits || (at < now) != due {
				e.Errorf("%s is due at %v (now is %v), want soon: %v", id, at, now, due)
			}
		}
	})
}

func TestClean_OnlyItsPartitions(t *testing.T) {
	eachWith(t, Options{Partitions: 2}, func(e *env) {
		e.lax = true
		for p := range 2 {
			e.enqueue(lm.NewTraceID(p, "a"))
			e.rdb.Del(ctx, e.s.keys.stream(Stream{Partition: p, Queue: "default"}))
		}
		pass, err := e.s.Clean(ctx, Janitor{Act: true, Share: 1, Partitions: []int{1}})
		if err != nil || pass.Orphans() != 1 || pass.Mended[0].ID != "1-a" {
			e.Errorf("%+v %v", pass, err)
		}
	})
}

// TestClean_ReportsDrift: a count that nobody changes and that is wrong.
func TestClean_ReportsDrift(t *testing.T) {
	each(t, func(e *env) {
		e.lax = true
		e.enqueue("0-a")
		if pass := e.clean(true); len(pass.Drift) != 0 {
			e.Fatalf("drift %+v", pass.Drift)
		}
		e.rdb.HIncrBy(ctx, e.s.keys.stats(0), "waiting:default", 2)
		e.rdb.HIncrBy(ctx, e.s.keys.stats(0), "running:ghost", -1)
		want := []Drift{{0, "running:ghost", -1, 0}, {0, "waiting:default", 3, 1}}
		if pass := e.clean(true); !slices.Equal(pass.Drift, want) {
			e.Errorf("drift %+v, want %+v", pass.Drift, want)
		}
	})
}

// TestClean_BesideAPrefixThatMatches: another fleet's keys are not touched, also
// when our prefix reads as a pattern.
func TestClean_BesideAPrefixThatMatches(t *testing.T) {
	eachWith(t, Options{Prefix: "l?"}, func(e *env) {
		e.rdb.Set(ctx, "{lm:0}:request:0-x", "x", 0)
		e.rdb.Set(ctx, "{l?:0}:request:1-x", "x", 0) // in a slot where it does not belong
		if pass := e.clean(true); pass.Strays != 0 {
			e.Errorf("%+v", pass)
		}
		e.rdb.Del(ctx, "{lm:0}:request:0-x")
		e.rdb.Del(ctx, "{l?:0}:request:1-x")
		e.lax = true
	})
}

// TestStray_AnIDThatIsUsedAgain: the trace in between keeps its request.
func TestStray_AnIDThatIsUsedAgain(t *testing.T) {
	each(t, func(e *env) {
		e.rdb.Set(ctx, e.s.keys.request("0-a"), "old", 0)
		if n, err := e.s.strays(ctx, []string{e.s.keys.request("0-a"), e.s.keys.trace("0-a")}, true); n != 1 || err != nil {
			e.Fatalf("%d %v", n, err)
		}
		if got := e.again(); got != int64(0) {
			e.Errorf("the repeat found %v", got)
		}
		e.enqueue("0-a")
		if n, err := e.s.strays(ctx, []string{e.s.keys.request("0-a"), e.s.keys.trace("0-a")}, true); n != 0 || err != nil {
			e.Errorf("%d %v", n, err)
		}
		if ttl := e.rdb.PTTL(ctx, e.s.keys.request("0-a")).Val(); ttl != -1 {
			e.Errorf("its request lives for %v", ttl)
		}
	})
}

func TestLeaseJanitor_OneAtATimeAndDueAgain(t *testing.T) {
	eachWith(t, Options{Partitions: 2}, func(e *env) {
		take := func(owner string, want ...int) {
			e.Helper()
			if got, err := e.s.LeaseJanitor(ctx, owner, time.Minute, time.Hour); err != nil || !slices.Equal(got, want) {
				e.Fatalf("%s has %v %v, want %v", owner, got, err, want)
			}
		}
		renew := func(owner string, want bool) {
			e.Helper()
			if ok, err := e.s.RenewJanitor(ctx, owner, time.Minute, []int{0, 1}); err != nil || ok != want {
				e.Fatalf("%s renews: %v %v", owner, ok, err)
			}
		}
		take("w1", 0, 1)
		take("w2")
		renew("w1", true)
		renew("w2", false)
		if err := e.s.DoneJanitor(ctx, "w2", time.Millisecond, []int{0, 1}); err != nil { // not its lease
			e.Fatal(err)
		}
		if ttl := e.rdb.PTTL(ctx, e.s.keys.janitor(0)).Val(); ttl < 30*time.Second {
			e.Fatalf("somebody else ended the lease: %v", ttl)
		}
		if err := e.s.DoneJanitor(ctx, "w1", time.Hour, []int{0}); err != nil {
			e.Fatal(err)
		}
		e.rdb.Del(ctx, e.s.keys.janitor(1)) // its owner died
		take("w2", 1)
		renew("w1", false)
		if ttl := e.rdb.PTTL(ctx, e.s.keys.janitor(0)).Val(); ttl < 59*time.Minute {
			e.Fatalf("the next pass is due in %v", ttl)
		}
	})
}

func TestTidyRoster(t *testing.T) {
	each(t, func(e *env) {
		e.lax = true
		now := time.Now()
		put := func(owner string, age time.Duration) {
			e.rdb.HSet(ctx, e.s.keys.fleet("workers"), owner, fmt.Sprintf("%d {}", now.Add(-age).UnixMilli()))
		}
		put("live", time.Second)
		put("quiet", 23*time.Hour)
		put("gone", 25*time.Hour)
		for owner, age := range map[string]time.Duration{"live": time.Hour, "gone": time.Hour, "unknown": time.Hour, "new": time.Second} {
			e.rdb.HSet(ctx, e.s.keys.fleet("orders"), "drain "+owner, now.Add(-age).UnixMilli())
		}
		e.rdb.HSet(ctx, e.s.keys.fleet("orders"), "pause batch", 1)
		for _, act := range []bool{false, true} {
			roll, err := e.s.TidyRoster(ctx, act)
			slices.Sort(roll.Drains)
			if err != nil || !slices.Equal(roll.Workers, []string{"gone"}) || !slices.Equal(roll.Drains, []string{"gone", "unknown"}) {
				e.Fatalf("%+v %v", roll, err)
			}
		}
		workers, _, err := e.s.Roster(ctx)
		if err != nil || len(workers) != 2 {
			e.Errorf("roster %+v %v", workers, err)
		}
		orders, err := e.s.Orders(ctx)
		if err != nil || len(orders.Drain) != 2 || len(orders.Paused) != 1 {
			e.Errorf("orders %+v %v", orders, err)
		}
	})
}

// TestLostReply_Repair loses the replies of repair, stray and cancel by age once
// each, after Redis has run them.
func TestLostReply_Repair(t *testing.T) {
	proxy := redistest.NewProxy(t, redistest.Start(t))
	rdb := proxy.Client()
	e := envOn(t, "redis", rdb, Options{MaxAge: time.Minute})
	e.lax = true
	lose := func(of *script) {
		t.Helper()
		if err := rdb.ScriptLoad(ctx, of.text).Err(); err != nil {
			t.Fatal(err)
		}
		before := proxy.Lost()
		proxy.LoseReply(of.sha)
		e.clean(true)
		if proxy.Lost() != before+1 {
			t.Fatalf("%s: its reply was not lost, the test is void", of.name)
		}
	}
	e.enqueue("0-a")
	e.rdb.Del(ctx, e.s.keys.stream(queue))
	lose(repairScript)
	if n := e.rdb.XLen(ctx, e.s.keys.stream(queue)).Val(); n != 1 {
		t.Errorf("%d entries, want 1", n)
	}
	e.rdb.Set(ctx, e.s.keys.result("0-gone"), "x", 0)
	lose(strayScript)
	if ttl := e.rdb.PTTL(ctx, e.s.keys.result("0-gone")).Val(); ttl <= 0 {
		t.Errorf("a stray lives for %v", ttl)
	}
	e.rdb.HSet(ctx, e.s.keys.trace("0-a"), "created", 1)
	lose(cancelScript)
	counts, err := e.s.Counts(ctx, 0)
	if err != nil || counts["expired"] != 1 || counts["waiting:default"] != 0 {
		t.Errorf("counts %v %v", counts, err)
	}
}
