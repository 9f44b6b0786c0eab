package fleet

import (
	"fmt"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
	"github.com/redis/go-redis/v9"
)

// eachTruth runs f over Redis of all kinds, and in memory, where s is nil.
func eachTruth(t *testing.T, f func(t *testing.T, s *lua.Store)) {
	t.Helper()
	onEach(t, func(t *testing.T, _ redis.UniversalClient, s *lua.Store) { f(t, s) })
	t.Run("memory", func(t *testing.T) { f(t, nil) })
}

func inMemoryWithout(s *lua.Store) func(*Options) {
	return func(o *Options) {
		if s == nil {
			o.Policy = InMemory
		}
	}
}

// TestReconcile_OneBackendsFailureStaysItsOwn: the others are listed, and its
// record has kind, class and since when.
func TestReconcile_OneBackendsFailureStaysItsOwn(t *testing.T) {
	eachTruth(t, func(t *testing.T, s *lua.Store) {
		y := newYard(t, "one", "two", "three", "four")
		m, r := y.worker(s, inMemoryWithout(s))
		y.expect(m, "a-one= b-two= c-three= d-four=")
		y.now(r)
		y.expect(m, "a-one=ok b-two=ok c-three=ok d-four=ok")
		y.shelves["one"].set(broken(failure(lm.Overloaded)))
		y.shelves["two"].set(broken(failure(lm.Unauthorized)))
		y.shelves["three"].set(func(s *shelf) { s.panics = true })
		y.shelves["four"].set(stocks("x"))
		y.now(r) // the first strike: what was good counts on
		y.expect(m, "a-one=ok b-two=ok c-three=ok d-four=ok four/x=model_undeclared")
		if p := provided(t, m, "two"); p.Failing != lm.Unauthorized || p.FailingClass != "lasting" || p.FailingSince.IsZero() || !p.AuthValid || p.Listed.IsZero() || p.Offerings != 1 {
			t.Errorf("after one refusal: %+v", p)
		}
		since := provided(t, m, "one").FailingSince
		y.now(r)
		y.expect(m, "a-one=unreachable b-two=unauthorized c-three=unreachable d-four=model_missing four/x=model_undeclared")
		if p := provided(t, m, "one"); p.Failing != lm.Overloaded || p.FailingClass != "passing" || !p.FailingSince.Equal(since) || !p.AuthValid || p.ActiveModelCount != 1 {
			t.Errorf("one: %+v since %s", p, since)
		}
		if p := provided(t, m, "two"); p.AuthValid || p.ActiveModelCount != 0 || p.AvailabilityScore < 0.63 || p.AvailabilityScore > 0.65 || !p.Available {
			t.Errorf("two: %+v", p)
		}
		if p := provided(t, m, "four"); p.Failing != "" || !p.FailingSince.IsZero() || p.AvailabilityScore != 1 || p.LastProbe.IsZero() {
			t.Errorf("four: %+v", p)
		}
		for range 4 {
			y.now(r, "two")
		}
		if p := provided(t, m, "two"); p.Available || p.AvailabilityScore > 0.27 {
			t.Errorf("two, six failures: %+v", p)
		}
		// Nothing of it counts for a breaker.
		for _, v := range must[SystemState](t)(m.System(ctx)).Models {
			if v.Circuit != "closed" || v.Failures != 0 || v.Errors != 0 || v.ErrorRate != 0 || v.Requests != 0 {
				t.Errorf("a listing counted for %+v", v)
			}
		}
		if v := model(t, m, "b-two"); v.Status != Standby || v.Reason != ReasonUnauthorized || v.Drift != DriftUnauthorized {
			t.Errorf("%+v", v)
		}
		if v := model(t, m, "d-four"); v.Reason != ReasonMissing {
			t.Errorf("%+v", v)
		}
		y.shelves["two"].set(broken(nil))
		y.shelves["four"].set(stocks("d x"))
		y.now(r)
		if got := drifts(m); !strings.Contains(got, "b-two=ok") || !strings.Contains(got, "d-four=ok") || provided(t, m, "two").Failing != "" {
			t.Errorf("mended: %s", got)
		}
	})
}

// TestReconcile_TheLastGoodListOutlivesFailures for its time and no longer: what
// it tells counts on, and nothing was ever there before the first.
func TestReconcile_TheLastGoodListOutlivesFailures(t *testing.T) {
	eachTruth(t, func(t *testing.T, s *lua.Store) {
		const keep = 1500 * time.Millisecond
		y := newYard(t, "one", "two")
		y.spec.Observe = ObserveSpec{Keep: keep, Discover: true}
		y.shelves["one"].set(stocks("a extra"))
		y.shelves["two"].set(broken(failure(lm.TimedOut)))
		m, r := y.worker(s, inMemoryWithout(s))
		began := time.Now()
		y.now(r)
		y.shelves["one"].set(broken(failure(lm.TimedOut)))
		y.now(r)
		y.now(r)
		got := drifts(m)
		if time.Since(began) < keep/2 && got != "a-one=unreachable b-two=unreachable one/extra=unreachable" {
			t.Errorf("within its time: %s", got)
		}
		for _, id := range []string{"a-one", "b-two"} { // one has been unreachable for long, the other was never there
			if v := model(t, m, id); v.Status != Active {
				t.Errorf("its listing alone took %s away: %+v", id, v)
			}
		}
		until(t, "its list is gone", func() bool { y.now(r, "one"); return m.Snapshot().Model("one/extra") == nil })
		if took := time.Since(began); took < keep {
			t.Errorf("gone after %s", took)
		}
		until(t, "its record says so", func() bool { y.now(r, "one"); p := provided(t, m, "one"); return p.Listed.IsZero() && p.Offerings == 0 })
		y.expect(m, "a-one=unreachable b-two=unreachable")
	})
}

// TestReconcile_CacheMisses: what was listed serves until its time is over, for
// the same address and credential; nothing else is served.
func TestReconcile_CacheMisses(t *testing.T) {
	eachTruth(t, func(t *testing.T, s *lua.Store) {
		y := newYard(t, "one", "two")
		m, r := y.worker(s, inMemoryWithout(s))
		cycle := func(r *Reconciler, what string, want ...string) {
			t.Helper()
			report, err := r.Cycle(ctx)
			var got []string
			for _, l := range report.Listed {
				got = append(got, l.Backend)
			}
			if err != nil || report.Busy || strings.Join(got, " ") != strings.Join(want, " ") {
				t.Errorf("%s: listed %v, want %v; %+v %v", what, got, want, report, err)
			}
			if report.Wait <= 0 || report.Wait > time.Minute {
				t.Errorf("%s: the next is due in %s", what, report.Wait)
			}
		}
		cycle(r, "at first", "one", "two")
		cycle(r, "a hit")
		if s == nil {
			return // another Manager has a memory of its own
		}
		_, other := y.worker(s)
		cycle(other, "another worker's hit")
		rotated := func(o *Options) { o.Credentials = map[string]string{"one": "h2"} }
		mr, rr := y.worker(s, rotated)
		if got := drifts(mr); got != "a-one= b-two=ok" {
			t.Errorf("another credential's list is served: %s", got)
		}
		cycle(rr, "key rotated", "one")
		cycle(r, "the old key's own is still there")
		y.spec.Backends[1].URL = "http://elsewhere"
		_, moved := y.worker(s)
		cycle(moved, "URL changed", "two")
		y.spec.Backends[1].Provider = "ollama"
		_, turned := y.worker(s)
		cycle(turned, "type changed", "two")
		cycle(r, "and none of it was the first one's")

		// Operators, without credentials, see what was seen last.
		y.shelves["one"].set(stocks("z"))
		y.now(rr, "one")
		y.now(rr, "one")
		look, _ := y.worker(s, func(o *Options) { o.Onlooker = true })
		if got := drifts(look); !strings.HasPrefix(got, "a-one=model_missing b-two=ok") {
			t.Errorf("an onlooker: %s", got)
		}
		y.expect(m, "a-one=ok b-two=ok")
	})
}

// TestReconcile_TimeOverAndEmptyLists are misses.
func TestReconcile_TimeOverAndEmptyLists(t *testing.T) {
	eachTruth(t, func(t *testing.T, s *lua.Store) {
		y := newYard(t, "one")
		y.spec.Observe.Interval = 300 * time.Millisecond
		m, r := y.worker(s, inMemoryWithout(s))
		y.now(r)
		looks := y.total()
		until(t, "it is due again", func() bool {
			report, err := r.Cycle(ctx)
			if err != nil {
				t.Fatal(err)
			}
			return len(report.Listed) == 1
		})
		if y.total() != looks+1 {
			t.Errorf("%d looks", y.total()-looks)
		}
		until(t, "what nobody renews is stale", func() bool { return drifts(m) == "a-one=stale" })
		if v := model(t, m, "a-one"); v.Status != Active {
			t.Errorf("stale is unknown, not unhealthy: %+v", v)
		}

		y.spec.Observe.Interval = time.Minute
		m, r = y.worker(s, inMemoryWithout(s))
		y.shelves["one"].set(stocks("a"))
		y.now(r)
		y.shelves["one"].set(stocks(""))
		report := y.now(r)
		if report.Listed[0].Kind != lua.EmptyList {
			t.Errorf("%+v", report)
		}
		y.expect(m, "a-one=ok") // the last good list, not the empty one
		y.now(r)
		y.expect(m, "a-one=ok")
		if p := provided(t, m, "one"); p.Failing != lua.EmptyList || p.Offerings != 1 || p.AvailabilityScore != 1 {
			t.Errorf("%+v", p)
		}
	})
}

// TestForgetLists_OneOrAll, and nothing else.
func TestForgetLists_OneOrAll(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := lua.NewStore(rdb, rdb, lua.Options{})
		y := newYard(t, "one", "two", "three")
		m, r := y.worker(s)
		m2, r2 := y.worker(s, func(o *Options) { o.Credentials = map[string]string{"one": "another"} })
		y.now(r)
		y.now(r2)
		record(t, m, Outcome{Model: "a-one", Backend: "one"})
		others := func() int { return len(rdb.Keys(ctx, "*").Val()) - len(rdb.Keys(ctx, "*:prov:*").Val()) }
		before := others()
		list := func() string {
			var words []string
			for _, l := range must[[]lua.Observation](t)(m.CachedLists(ctx)) {
				words = append(words, fmt.Sprint(l.Name.Backend, l.Count))
			}
			return strings.Join(words, " ")
		}
		if got := list(); got != "one1 one1 three1 two1" || len(rdb.Keys(ctx, "*:prov:*").Val()) != 4 {
			t.Errorf("cached: %s", got)
		}
		if n := must[int](t)(m.ForgetLists(ctx, "one")); n != 2 { // whatever the credential
			t.Errorf("%d of one were forgotten", n)
		}
		if got := list(); got != "three1 two1" || others() != before || len(rdb.Keys(ctx, "*:prov:*").Val()) != 2 {
			t.Errorf("after one: %s, %v", got, rdb.Keys(ctx, "*").Val())
		}
		for _, m := range []*Manager{m, m2} {
			if err := m.poll(ctx, false); err != nil { // the version says it
				t.Fatal(err)
			}
			y.expect(m, "a-one= b-two=ok c-three=ok")
		}
		if report, err := r.Cycle(ctx); err != nil || len(report.Listed) != 1 || report.Listed[0].Backend != "one" {
			t.Errorf("a forgotten one is due at once: %+v %v", report, err)
		}
		if n := must[int](t)(m.ForgetLists(ctx)); n != 3 {
			t.Errorf("%d were forgotten", n)
		}
		// With the last record the hash of them goes too.
		if got := list(); got != "" || others() != before-1 || len(rdb.Keys(ctx, "*:prov:*").Val()) != 0 {
			t.Errorf("after all: %q, %v", got, rdb.Keys(ctx, "*").Val())
		}
		if n := must[int](t)(m.ForgetLists(ctx, "nobody")); n != 0 {
			t.Errorf("%d of nobody", n)
		}
		if v := model(t, m, "a-one"); v.Requests != 1 {
			t.Errorf("a model's record went with the lists: %+v", v)
		}
	})
}

// TestReconcile_ARemovedBackendDisappears from what is shown at once, and its
// record and list from Redis when nobody has renewed them for long.
func TestReconcile_ARemovedBackendDisappears(t *testing.T) {
	eachTruth(t, func(t *testing.T, s *lua.Store) {
		y := newYard(t, "one", "two")
		y.spec.Observe = ObserveSpec{Interval: 10 * time.Millisecond, Keep: 50 * time.Millisecond, Discover: true}
		y.shelves["two"].set(stocks("b more"))
		m, r := y.worker(s, inMemoryWithout(s))
		y.now(r)
		if m.Snapshot().Model("two/more") == nil {
			t.Fatal("not discovered")
		}
		m.opts.Spec.Backends, m.opts.Spec.Models = m.opts.Spec.Backends[:1], m.opts.Spec.Models[:1] // as after a restart
		m.lists.stock = nil
		until(t, "its record is gone", func() bool {
			y.now(r)
			all, _, err := m.at.Observations(ctx)
			return err == nil && len(all) == 1 && all[0].Name.Backend == "one"
		})
		if got := drifts(m); got != "a-one=ok" {
			t.Errorf("%s", got)
		}
		for _, p := range must[SystemState](t)(m.System(ctx)).Providers {
			if p.ID == "two" {
				t.Errorf("%+v", p)
			}
		}
	})
}
