package fleet

import (
	"fmt"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
	"github.com/redis/go-redis/v9"
)

// withC changes the model that has limits.
func withC(change func(*ModelSpec)) func(*Options) {
	return func(o *Options) { change(&o.Spec.Models[2]) }
}

func admit(t testing.TB, m *Manager, a Admission) Admitted {
	t.Helper()
	return must[Admitted](t)(m.Admit(ctx, a))
}

// TestAdmit_ReachingALimitIsAllowedPassingItIsNot for every limit by itself.
func TestAdmit_ReachingALimitIsAllowedPassingItIsNot(t *testing.T) {
	for _, row := range []struct {
		name   string
		limit  func(*ModelSpec)
		tokens int
		cost   float64
		fit    int
		reason Reason
		frees  bool // an outcome makes room
	}{
		{"rpm", func(s *ModelSpec) { s.Limits = Limits{RPM: 5} }, 0, 0, 5, ReasonRequestLimit, false},
		{"tpm", func(s *ModelSpec) { s.Limits = Limits{TPM: 300} }, 100, 0, 3, ReasonTokenLimit, true},
		{"concurrent", func(s *ModelSpec) { s.Limits = Limits{Concurrent: 4} }, 0, 0, 4, ReasonRequestLimit, true},
		{"budget", func(s *ModelSpec) { s.Budget = Budget{USD: 1} }, 0, 0.25, 4, ReasonBudget, true},
		{"quota", func(s *ModelSpec) { s.Quota = Quota{Requests: 3, Period: Hourly} }, 0, 0, 3, ReasonQuota, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
				m := manager(t, lua.NewStore(rdb, rdb, lua.Options{}), false, withC(func(s *ModelSpec) { *s = ModelSpec{ID: "c", Backend: "two"}; row.limit(s) }))
				var last Admitted
				for i := range row.fit {
					a := Admission{Model: "c", Key: fmt.Sprint(i), Tokens: row.tokens, Cost: row.cost}
					if last = admit(t, m, a); !last.OK {
						t.Fatalf("call %d: %+v", i, last)
					}
					if again := admit(t, m, a); again != last {
						t.Errorf("the same again: %+v, was %+v", again, last)
					}
				}
				no := admit(t, m, Admission{Model: "c", Key: "more", Tokens: row.tokens, Cost: row.cost})
				if no.OK || no.Reason != row.reason || !no.Until.After(m.Now().Add(-time.Second)) {
					t.Fatalf("one more: %+v", no)
				}
				record(t, m, Outcome{Model: "c", Key: fmt.Sprint(row.fit - 1), Reservation: last.Reservation})
				record(t, m, Outcome{Model: "c", Key: fmt.Sprint(row.fit - 1), Reservation: last.Reservation})
				for i, want := range []bool{row.frees, false} {
					if got := admit(t, m, Admission{Model: "c", Key: fmt.Sprint("after ", i), Tokens: row.tokens, Cost: row.cost}); got.OK != want {
						t.Errorf("after one ended, call %d: %+v", i, got)
					}
				}
			})
		})
	}
}

// TestAdmit_WhatNeverFitsSaysSo: it is not told to wait for a time.
func TestAdmit_WhatNeverFitsSaysSo(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		m := manager(t, lua.NewStore(rdb, rdb, lua.Options{}), false)
		for _, a := range []Admission{{Model: "c", Tokens: 1001, Cost: 0.1}, {Model: "c", Cost: 1.5}, {Model: "c", Tokens: 20_000}} {
			if got := admit(t, m, a); got.OK || !got.Until.IsZero() {
				t.Errorf("%+v: %+v", a, got)
			}
		}
		if _, err := m.Admit(ctx, Admission{Model: "zz"}); err == nil {
			t.Error("a model that nobody declares was admitted")
		}
	})
}

// TestAdmit_ACrashedWorkersReservationExpires and is not charged.
func TestAdmit_ACrashedWorkersReservationExpires(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := lua.NewStore(rdb, rdb, lua.Options{})
		m := manager(t, s, false, withC(func(s *ModelSpec) { s.Limits = Limits{Concurrent: 1} }))
		dead := admit(t, m, Admission{Model: "c", Key: "dead", Cost: 1, For: 30 * time.Millisecond})
		if !dead.OK {
			t.Fatalf("%+v", dead)
		}
		if got := admit(t, m, Admission{Model: "c", Key: "x", Cost: 0}); got.OK {
			t.Logf("the lease was over before it was looked at")
		}
		until(t, "the reservation expires", func() bool { return admit(t, m, Admission{Model: "c", Key: "next", Cost: 1}).OK })
		// The dead one's late end charges what it cost, and takes nothing back twice.
		record(t, m, Outcome{Model: "c", Key: "dead", Reservation: dead.Reservation, CostUSD: 0.5})
		if v := model(t, m, "c"); v.BudgetUsed != 0.5 || v.CostUSD != 0.5 {
			t.Errorf("used %v, cost %v", v.BudgetUsed, v.CostUSD)
		}
		if n := must[int64](t)(s.Running(ctx, "c")); n != 1 {
			t.Errorf("%d running", n)
		}
	})
}

// TestAdmit_APeriodRollsOver: what a period before has used does not count, and
// survives until then in absolute time.
func TestAdmit_APeriodRollsOver(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		m := manager(t, lua.NewStore(rdb, rdb, lua.Options{}), false)
		now := m.Now()
		set := func(start time.Time) {
			rdb.HSet(ctx, "{lm:fleet}:model:c", "quota_used", 100, "quota_start", start.UnixMilli())
		}
		set(Monthly.Start(now))
		if got := admit(t, m, Admission{Model: "c", Key: "1"}); got.OK || got.Reason != ReasonQuota || !got.Until.Equal(Monthly.End(now)) {
			t.Errorf("used up: %+v", got)
		}
		if err := m.Load(ctx); err != nil {
			t.Fatal(err)
		}
		if v := model(t, m, "c"); v.Status != Standby || v.Reason != ReasonQuota || !v.Until.Equal(Monthly.End(now)) {
			t.Errorf("shown %+v", v)
		}
		set(Monthly.Start(now).Add(-time.Hour))
		if v := model(t, m, "c"); v.Status != Active {
			t.Errorf("shown %+v", v)
		}
		if got := admit(t, m, Admission{Model: "c", Key: "2"}); !got.OK {
			t.Errorf("a new period: %+v", got)
		}
		if v := model(t, m, "c"); v.QuotaUsed != 1 || !v.QuotaStart.Equal(Monthly.Start(now)) {
			t.Errorf("after it: %d since %s", v.QuotaUsed, v.QuotaStart)
		}
	})
}

// TestReasons_InTheirOrder: PARITY 84. Each model breaks one more reason, from the
// last to the first; the one in front is told.
func TestReasons_InTheirOrder(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		m := manager(t, lua.NewStore(rdb, rdb, lua.Options{}), false)
		key := "{lm:fleet}:model:c"
		now := m.Now()
		slot := slotOf(now.UnixMilli(), time.Minute)
		expect := func(admitted, shown Reason) {
			t.Helper()
			if err := m.Load(ctx); err != nil {
				t.Fatal(err)
			}
			if got := admit(t, m, Admission{Model: "c", Tokens: 10}); got.Reason != admitted {
				t.Errorf("admit says %q, want %q", got.Reason, admitted)
			}
			if v := model(t, m, "c"); v.Reason != shown {
				t.Errorf("shown %q, want %q", v.Reason, shown)
			}
		}
		if err := m.Operate(ctx, "c", lua.ModelDisable); err != nil {
			t.Fatal(err)
		}
		expect(ReasonManual, ReasonManual)
		rdb.HSet(ctx, key, fmt.Sprint("w", slot%13), fmt.Sprint(slot, " 6 0"))
		expect(ReasonRequestLimit, ReasonManual)
		rdb.HSet(ctx, key, fmt.Sprint("w", slot%13), fmt.Sprint(slot, " 6 1000"))
		expect(ReasonTokenLimit, ReasonManual)
		rdb.HSet(ctx, key, "circuit", "open", "open_until", now.Add(time.Minute).UnixMilli())
		expect(ReasonErrorThreshold, ReasonErrorThreshold)
		rdb.HSet(ctx, key, "quota_used", 100, "quota_start", Monthly.Start(now).UnixMilli())
		expect(ReasonQuota, ReasonQuota)
		rdb.HSet(ctx, key, "budget_used", 1_000_000_000, "budget_start", DailyUTC.Start(now).UnixMilli())
		expect(ReasonBudget, ReasonBudget)
		m.opts.Spec.Models[2].Maintenance = []Window{{Cron: "* * * * *", For: time.Hour}}
		m.lists.stock = nil
		expect(ReasonMaintenance, ReasonMaintenance)

		// A manual one never recovers by itself.
		if v := model(t, m, "c"); !v.Until.IsZero() {
			t.Errorf("it says that it recovers at %s", v.Until)
		}
	})
}

// TestAdmit_HalfOpenIsOneProbeInTheFleet, given back by a neutral ending, by its
// own result and by time.
func TestAdmit_HalfOpenIsOneProbeInTheFleet(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		brief := func(o *Options) { o.Breaker.Base = 20 * time.Millisecond }
		one, two := manager(t, lua.NewStore(rdb, rdb, lua.Options{}), false, brief), manager(t, lua.NewStore(rdb, rdb, lua.Options{}), false, brief, func(o *Options) { o.Owner = "w2" })
		fails(t, one, "a", 5)
		if st := one.Snapshot().Model("a").State; st.Circuit == CircuitClosed || st.CircuitEpoch != 1 || st.OpenUntil.IsZero() {
			t.Fatalf("after five failures: %+v", st)
		}
		var probe Admitted
		until(t, "half-open", func() bool {
			probe = admit(t, one, Admission{Model: "a", Key: "k1", For: time.Minute})
			return probe.OK
		})
		if !probe.Probe || probe.CircuitEpoch != 1 {
			t.Fatalf("%+v", probe)
		}
		if no := admit(t, two, Admission{Model: "a", Key: "k1", For: time.Minute}); no.OK || no.Reason != ReasonErrorThreshold {
			t.Errorf("a second probe of another owner: %+v", no)
		}
		// A result of before the opening, and one that is not the probe's.
		record(t, two, Outcome{Model: "a", Key: "late", CircuitEpoch: 0})
		record(t, two, Outcome{Model: "a", Key: "other", CircuitEpoch: 1, Probe: true})
		if v := model(t, one, "a"); v.Circuit != "half-open" || v.ProbeOwner != "w1" {
			t.Errorf("%+v", v)
		}
		record(t, one, Outcome{Model: "a", Key: "k1", CircuitEpoch: 1, Probe: true, Reservation: probe.Reservation, Neutral: true, Kind: lm.CallCancelled})
		second := admit(t, two, Admission{Model: "a", Key: "k2", For: time.Minute})
		if !second.Probe {
			t.Fatalf("after a neutral ending: %+v", second)
		}
		record(t, two, Outcome{Model: "a", Key: "k2", CircuitEpoch: 1, Probe: true, Reservation: second.Reservation})
		if v := model(t, one, "a"); v.Circuit != "closed" || v.Failures != 0 || v.CircuitEpoch != 2 {
			t.Errorf("after a good probe: %+v", v)
		}
	})
}
