package fleet

import (
	"fmt"
	"sync"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
	"github.com/redis/go-redis/v9"
)

// TestProbe_OnePerOpening: a fleet of 8 workers asks at once, over many openings.
func TestProbe_OnePerOpening(t *testing.T) {
	openings := 25
	if full {
		openings = 100
	}
	server := redistest.Start(t)
	brief := func(o *Options) {
		o.Breaker = BreakerSpec{Base: 2 * time.Millisecond, Cap: 2 * time.Millisecond}
	}
	var ms []*Manager
	for i := range 8 {
		ms = append(ms, manager(t, storeOn(t, server), false, brief, func(o *Options) { o.Owner = fmt.Sprint("w", i) }))
	}
	fails(t, ms[0], "a", 5)
	for opening := range openings {
		probes := make(chan int, 8*3)
		var got [8]Admitted
		until(t, "somebody is admitted", func() bool {
			var all sync.WaitGroup
			for i, m := range ms {
				all.Go(func() {
					for try := range 3 {
						a, err := m.Admit(ctx, Admission{Model: "a", Key: fmt.Sprint(opening, " ", try), For: time.Minute})
						if err != nil {
							t.Error(err)
						}
						if a.OK {
							got[i] = a
							probes <- i
							return
						}
					}
				})
			}
			all.Wait()
			return len(probes) > 0
		})
		if len(probes) != 1 {
			t.Fatalf("opening %d: %d probes", opening, len(probes))
		}
		i := <-probes
		record(t, ms[i], Outcome{Model: "a", Key: fmt.Sprint("r", opening), Kind: lm.ProviderFailed, Probe: true, CircuitEpoch: got[i].CircuitEpoch, Reservation: got[i].Reservation})
	}
	if v := model(t, ms[0], "a"); v.Opened != openings+1 || v.CircuitEpoch != int64(openings+1) {
		t.Errorf("opened %d times, epoch %d", v.Opened, v.CircuitEpoch)
	}
}

// TestVerdicts: which kind counts, cools and quarantines whom.
func TestVerdicts_SetAsideWhomTheTableSays(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := lua.NewStore(rdb, rdb, lua.Options{})
		for _, row := range []struct {
			kind     lm.Kind
			after    time.Duration
			failures int
			cold     time.Duration // of a, about
			backend  bool          // b is set aside with it
			barred   bool
		}{
			{"", 0, 0, 0, false, false},
			{lm.RateLimited, time.Minute, 1, time.Minute, false, false},
			{lm.RateLimited, 0, 1, 0, false, false},
			{lm.RateLimited, 90 * time.Hour, 1, 24 * time.Hour, false, false},
			{lm.Overloaded, time.Minute, 1, time.Minute, false, false},
			{lm.QuotaExhausted, time.Hour, 0, time.Hour, true, false},
			{lm.QuotaExhausted, 0, 0, 15 * time.Minute, true, false},
			{lm.ProviderFailed, 0, 1, 0, false, false},
			{lm.TimedOut, 0, 1, 0, false, false},
			{lm.StreamInterrupted, 0, 1, 0, false, false},
			{lm.Unauthorized, 0, 0, 15 * time.Minute, false, true},
			{lm.ModelNotFound, 0, 0, 15 * time.Minute, false, true},
			{lm.ContextOverflow, 0, 0, 0, false, false},
			{lm.InvalidRequest, 0, 0, 0, false, false},
			{lm.ContentFiltered, 0, 0, 0, false, false},
			{lm.CallCancelled, 0, 0, 0, false, false},
		} {
			rdb.FlushAll(ctx)
			m := manager(t, s, false, func(o *Options) { o.Credentials = map[string]string{"one": "k1"} })
			record(t, m, Outcome{Model: "a", Kind: row.kind, RetryAfter: row.after})
			a, b := m.Snapshot().Model("a").State, m.Snapshot().Model("b").State
			left := func(st ModelState) time.Duration {
				if row.barred {
					return max(st.QuarantineUntil.Sub(m.Now()), 0)
				}
				return max(st.CooldownUntil.Sub(m.Now()), 0)
			}
			near := func(d, want time.Duration) bool { return d <= want+time.Second && d >= want-10*time.Second }
			wantB := time.Duration(0)
			if row.backend {
				wantB = row.cold
			}
			if a.Failures != row.failures || !near(left(a), row.cold) || !near(left(b), wantB) {
				t.Errorf("%q %s: failures %d, a %s, b %s", row.kind, row.after, a.Failures, left(a), left(b))
			}
			if row.kind == lm.Unauthorized {
				other := manager(t, s, false, func(o *Options) { o.Credentials = map[string]string{"one": "k2"} })
				if !other.Snapshot().Model("a").State.QuarantineUntil.IsZero() {
					t.Error("a new credential is quarantined")
				}
				if got := must[SystemState](t)(m.System(ctx)); !got.Providers[0].AuthValid {
					t.Errorf("%+v", got.Providers[0])
				}
			}
			if err := m.Operate(ctx, "a", lua.ModelReset); err != nil {
				t.Fatal(err)
			}
			if r, _ := m.Snapshot().Model("a").Standby(m.Now()); r != "" {
				t.Errorf("%q: after a reset %s", row.kind, r)
			}
		}
	})
}

// TestCooldown_OnlyGrowsAndSurvivesARestart (PARITY 65, 82).
func TestCooldown_OnlyGrowsAndSurvivesARestart(t *testing.T) {
	server := redistest.Start(t, redistest.WithAppendOnly())
	m := manager(t, storeOn(t, server), false)
	record(t, m, Outcome{Model: "a", Kind: lm.RateLimited, RetryAfter: time.Hour})
	long := m.Snapshot().Model("a").State.CooldownUntil
	record(t, m, Outcome{Model: "a", Kind: lm.RateLimited, RetryAfter: time.Minute})
	record(t, m, Outcome{Model: "a"})
	server.Restart()
	again := manager(t, storeOn(t, server), false)
	if got := again.Snapshot().Model("a").State.CooldownUntil; !got.Equal(long) {
		t.Errorf("cooldown until %s, was %s", got, long)
	}
}

// TestWaste_IsCountedByCause per model and tenant.
func TestWaste_IsCountedByCause(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := lua.NewStore(rdb, rdb, lua.Options{})
		m := manager(t, s, false)
		for i, cause := range []string{"", WasteRetry, WasteCrash, WasteCancel, WasteRetry} {
			record(t, m, Outcome{Model: "a", Key: fmt.Sprint(i), Waste: cause, CostUSD: 0.1, Tenant: "t"})
		}
		v := model(t, m, "a")
		if v.CostUSD != 0.5 || v.Waste[WasteRetry] != 0.2 || v.Waste[WasteCrash] != 0.1 || v.Waste[WasteCancel] != 0.1 {
			t.Errorf("cost %v, waste %v", v.CostUSD, v.Waste)
		}
		if c := must[map[string]string](t)(s.Costs(ctx, "tenant", "t")); c["waste_retry"] != "200000000" {
			t.Errorf("tenant %v", c)
		}
	})
}

// TestKeys_OutliveTheLongestOpenTime, and a disabled model has no lifetime at all.
func TestKeys_OutliveTheLongestOpenTime(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		m := manager(t, lua.NewStore(rdb, rdb, lua.Options{}), false)
		fails(t, m, "a", 5)
		record(t, m, Outcome{Model: "a", Kind: lm.QuotaExhausted, RetryAfter: 30 * time.Hour, Tenant: "t", Op: "0-x", Key: "k"})
		a := admit(t, m, Admission{Model: "c", Key: "c"})
		if !a.OK {
			t.Fatal(a)
		}
		forever := map[string]bool{"{lm:fleet}:version": true}
		for _, key := range rdb.Keys(ctx, "*").Val() {
			ttl := rdb.PTTL(ctx, key).Val()
			if forever[key] || ttl > 0 {
				continue
			}
			t.Errorf("%s has no lifetime", key)
		}
		for _, key := range []string{"{lm:fleet}:model:a", "{lm:fleet}:backend:one"} {
			if ttl := rdb.PTTL(ctx, key).Val(); ttl < 40*24*time.Hour {
				t.Errorf("%s lives %s", key, ttl)
			}
		}
		if err := m.Operate(ctx, "a", lua.ModelDisable); err != nil {
			t.Fatal(err)
		}
		record(t, m, Outcome{Model: "a"})
		if ttl := rdb.PTTL(ctx, "{lm:fleet}:model:a").Val(); ttl != -1 {
			t.Errorf("a disabled model is forgotten in %s", ttl)
		}
	})
}
