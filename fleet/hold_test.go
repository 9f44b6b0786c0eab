package fleet

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
	"github.com/redis/go-redis/v9"
)

// TestBreaker_BucketsThatHaveLeftTheWindowDoNotCount, in the script.
func TestBreaker_BucketsThatHaveLeftTheWindowDoNotCount(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		m := manager(t, lua.NewStore(rdb, rdb, lua.Options{}), false)
		slot := slotOf(m.Now().UnixMilli(), time.Minute)
		old := slot - 14 // also if a bucket begins meanwhile
		rdb.HSet(ctx, "{lm:fleet}:model:a", fmt.Sprint("b", old%12), fmt.Sprint(old, " 0 40"))
		fails(t, m, "a", 1)
		if v := model(t, m, "a"); v.Circuit != "closed" || v.ErrorRate != 1 {
			t.Errorf("circuit %s, rate %v", v.Circuit, v.ErrorRate)
		}
		young := slot - 9
		rdb.HSet(ctx, "{lm:fleet}:model:a", fmt.Sprint("b", young%12), fmt.Sprint(young, " 18 18"))
		record(t, m, Outcome{Model: "a"}) // 19 of 38, and one does not open it
		fails(t, m, "a", 1)
		if v := model(t, m, "a"); v.Circuit != "open" {
			t.Errorf("circuit %s, rate %v", v.Circuit, v.ErrorRate)
		}
	})
}

// TestCount_SavesOnlyWhatStillCounts: successes of an older circuit, and of before
// the window, are in the totals and move no breaker; one from before the last
// failure ends no streak.
func TestCount_SavesOnlyWhatStillCounts(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := lua.NewStore(rdb, rdb, lua.Options{})
		m := manager(t, s, false)
		count := func(key string, epoch int64, age time.Duration, past int) {
			t.Helper()
			in := lua.Increments{Model: "a", Backend: "one", Key: key, Epoch: epoch, Age: age, Requests: 10, Window: time.Minute, Past: map[int]int64{past: 10}}
			if _, err := s.Count(ctx, []lua.Increments{in}, nil); err != nil {
				t.Fatal(err)
			}
		}
		fails(t, m, "a", 2)
		count("early", 0, time.Minute, 0)
		if v := model(t, m, "a"); v.Failures != 2 || v.Requests != 12 || v.ErrorRate != 2.0/12 {
			t.Errorf("before the last failure: %+v", v.ModelState)
		}
		count("ancient", 0, 2*time.Minute, 24)
		count("other circuit", 1, 0, 0)
		if v := model(t, m, "a"); v.Failures != 2 || v.Requests != 32 || v.ErrorRate != 2.0/12 {
			t.Errorf("what does not count: %+v", v.ModelState)
		}
		before := must[uint64](t)(s.FleetVersion(ctx))
		until(t, "a later success", func() bool {
			count(fmt.Sprint("late ", time.Now().UnixNano()), 0, 0, 0)
			return model(t, m, "a").Failures == 0
		})
		if now := must[uint64](t)(s.FleetVersion(ctx)); now != before+1 {
			t.Errorf("version %d after %d", now, before)
		}
	})
}

// TestPeriod_AClockSetBackBringsNothingBack.
func TestPeriod_AClockSetBackBringsNothingBack(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		m := manager(t, lua.NewStore(rdb, rdb, lua.Options{}), false)
		ahead := Monthly.End(m.Now())
		rdb.HSet(ctx, "{lm:fleet}:model:c", "quota_used", 99, "quota_start", ahead.UnixMilli())
		record(t, m, Outcome{Model: "c"})
		if v := model(t, m, "c"); v.QuotaUsed != 100 || !v.QuotaStart.Equal(ahead) {
			t.Errorf("%d since %s", v.QuotaUsed, v.QuotaStart)
		}
	})
}

// TestVersion_GrowsWithWhatRoutingMustSee and with nothing else.
func TestVersion_GrowsWithWhatRoutingMustSee(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := lua.NewStore(rdb, rdb, lua.Options{})
		m := manager(t, s, false, func(o *Options) { o.Breaker.Base = time.Millisecond })
		version := func() uint64 { return must[uint64](t)(s.FleetVersion(ctx)) }
		step := func(what string, grows bool, f func()) {
			t.Helper()
			before := version()
			f()
			if (version() > before) != grows {
				t.Errorf("%s: version %d after %d", what, version(), before)
			}
		}
		step("a success", false, func() { record(t, m, Outcome{Model: "a"}) })
		step("an invalid request", false, func() { record(t, m, Outcome{Model: "a", Kind: lm.InvalidRequest}) })
		step("a first failure", true, func() { fails(t, m, "a", 1) })
		step("a second failure", false, func() { fails(t, m, "a", 1) })
		step("a success after it", true, func() { record(t, m, Outcome{Model: "a"}) })
		step("an opening", true, func() { fails(t, m, "a", 5) })
		var probe Admitted
		step("a probe", true, func() {
			until(t, "half-open", func() bool {
				probe = admit(t, m, Admission{Model: "a", Key: "p"})
				return probe.OK
			})
		})
		step("a probe given back", true, func() {
			record(t, m, Outcome{Model: "a", Key: "p", Kind: lm.InvalidRequest, CircuitEpoch: 1, Reservation: probe.Reservation, Probe: true})
		})
		step("a cooldown", true, func() {
			record(t, m, Outcome{Model: "b", Kind: lm.Overloaded, RetryAfter: time.Hour, CircuitEpoch: 99})
		})
		step("a shorter one", false, func() {
			record(t, m, Outcome{Model: "b", Kind: lm.Overloaded, RetryAfter: time.Minute, CircuitEpoch: 99})
		})
		step("an admission within limits", false, func() { admit(t, m, Admission{Model: "c", Key: "c"}) })
		step("disable", true, func() { _ = m.Operate(ctx, "b", lua.ModelDisable) })
	})
}

// TestACL_TheDocumentedUserIsEnough for all of it.
func TestACL_TheDocumentedUserIsEnough(t *testing.T) {
	page, err := os.ReadFile("../docs/redis.md")
	if err != nil {
		t.Fatal(err)
	}
	rule := regexp.MustCompile(`(?s)ACL SETUSER (lighterman on .*?)\n` + "```").FindStringSubmatch(string(page))
	if rule == nil {
		t.Fatal("the page has no ACL rule")
	}
	server := redistest.Start(t)
	admin := server.Client()
	words := strings.Fields(strings.Replace(rule[1], ">PASSWORD", ">pw", 1))
	args := []any{"ACL", "SETUSER"}
	for _, w := range words {
		args = append(args, w)
	}
	if err := admin.Do(ctx, args...).Err(); err != nil {
		t.Fatal(err)
	}
	opts := *admin.Options()
	opts.Username, opts.Password = "lighterman", "pw"
	rdb := redis.NewClient(&opts)
	t.Cleanup(func() { _ = rdb.Close() })
	s := lua.NewStore(rdb, rdb, lua.Options{})
	m := manager(t, s, false, policy(Periodic), func(o *Options) { o.Breaker.Base = time.Millisecond })
	record(t, m, Outcome{Model: "a", Tenant: "t", Op: "0-x", CostUSD: 1})
	if err := m.Save(ctx); err != nil {
		t.Error(err)
	}
	fails(t, m, "a", 5)
	until(t, "a probe", func() bool { return admit(t, m, Admission{Model: "a", Key: "k"}).OK })
	c := admit(t, m, Admission{Model: "c", Key: "k", For: time.Millisecond})
	record(t, m, Outcome{Model: "c", Key: "k", Reservation: c.Reservation})
	key := NewSessionKey("p", "", ScopeRun, "r")
	for _, ch := range []SessionChange{{Kind: Bind, To: "a", Home: "a"}, {Kind: Move, From: "a", To: "b", MaxSwitches: -1}, {Kind: Served, From: "b"}, {Kind: Drop, From: "b"}} {
		if got := must[Session](t)(m.ChangeSession(ctx, key, ch)); !got.Changed {
			t.Errorf("%s changed nothing", ch.Kind)
		}
	}
	must[uint64](t)(m.Turn(ctx, "p"))
	for _, what := range []string{lua.ModelDisable, lua.ModelEnable, lua.ModelReset} {
		if err := m.Operate(ctx, "a", what); err != nil {
			t.Error(err)
		}
	}
	h := must[*LockHandle](t)(m.AcquireLock(ctx))
	if err := h.Renew(ctx); err != nil {
		t.Error(err)
	}
	if _, err := m.Rotate(ctx, h, "p", Manual); err != nil {
		t.Error(err)
	}
	must[lua.Lock](t)(s.LockHolder(ctx))
	must[int64](t)(s.Running(ctx, "c"))
	must[map[string]string](t)(s.Costs(ctx, "op", "0-x"))
	if err := m.ReleaseLock(ctx, h); err != nil {
		t.Error(err)
	}
}

// TestOutOfMemory: what frees goes through, what needs memory is refused as a whole.
func TestOutOfMemory_NothingIsHalfWritten(t *testing.T) {
	server := redistest.Start(t)
	rdb := server.Client()
	m := manager(t, lua.NewStore(rdb, rdb, lua.Options{}), false)
	h := must[*LockHandle](t)(m.AcquireLock(ctx))
	c := admit(t, m, Admission{Model: "c", Key: "held", Cost: 0.1})
	state := func() string {
		var b strings.Builder
		keys := rdb.Keys(ctx, "*").Val()
		slices.Sort(keys)
		for _, k := range keys {
			b.WriteString(k + fmt.Sprintf("%x", rdb.Dump(ctx, k).Val()))
		}
		return b.String()
	}
	before := state()
	rdb.ConfigSet(ctx, "maxmemory", "1")
	o := Outcome{Model: "c", Backend: "two", Key: "held", Reservation: c.Reservation, CostUSD: 0.1, Tenant: "t"}
	if err := m.Record(ctx, o); !lua.IsOutOfMemory(err) {
		t.Errorf("record: %v", err)
	}
	if _, err := m.Admit(ctx, Admission{Model: "c", Key: "more"}); !lua.IsOutOfMemory(err) {
		t.Errorf("admit: %v", err)
	}
	if _, err := m.ChangeSession(ctx, "p:x", SessionChange{Kind: Bind, To: "a", Home: "a"}); !lua.IsOutOfMemory(err) {
		t.Errorf("bind: %v", err)
	}
	if err := h.SetSystem(ctx, map[string]string{"a": "b"}); !lua.IsOutOfMemory(err) || strings.Contains(err.Error(), ErrLockLost.Error()) {
		t.Errorf("guarded: %v", err)
	}
	if state() != before {
		t.Error("something was written")
	}
	if err := h.Renew(ctx); err != nil {
		t.Errorf("renew: %v", err)
	}
	if err := m.ReleaseLock(ctx, h); err != nil {
		t.Errorf("release: %v", err)
	}
	rdb.ConfigSet(ctx, "maxmemory", "0")
	record(t, m, o)
	if v := model(t, m, "c"); v.BudgetUsed != 0.1 || v.Requests != 1 {
		t.Errorf("%+v", v.ModelState)
	}
}
