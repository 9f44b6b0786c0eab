package fleet

import (
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

// What a budget or a limit refuses shows on the model until it ends, or a call is
// admitted; it keeps no call from being asked for.
func TestLimited_ARefusalByALimitShows(t *testing.T) {
	wide := func(s *ModelSpec) { s.Limits.TPM = 1_000_000 }
	eachTruth(t, func(t *testing.T, s *lua.Store) {
		m := manager(t, s, false, withC(wide), inMemoryWithout(s))
		standing := func(what string, why Reason, ends bool) {
			t.Helper()
			v := model(t, m, "c")
			if v.SetAside != why || v.LimitedBy != why || v.Status != Active || v.Until.IsZero() == ends || (v.Scope == AsideBudget) != (why != "") {
				t.Errorf("%s: %+v", what, v)
			}
			if err := m.Load(ctx); err != nil {
				t.Fatal(err)
			}
			if u := m.Snapshot().Model("c").Usability(m.Now()); !u.Usable || u.Reason != why || u.Limited != (why != "") {
				t.Errorf("%s: %+v", what, u)
			}
		}
		refused := func(key string, a Admission) {
			t.Helper()
			a.Model, a.Key = "c", key
			if got := admit(t, m, a); got.OK {
				t.Fatalf("%s is admitted: %+v", key, got)
			}
		}
		record(t, m, Outcome{Model: "c", CostUSD: 0.9, Key: "spent"})
		standing("nothing refused", "", false)
		refused("dear", Admission{Cost: 0.2})
		standing("the budget's rest is too small", ReasonBudget, true)
		if v := model(t, m, "c"); !v.Until.Equal(DailyUTC.End(m.Now())) {
			t.Errorf("until %s, want the period's end", v.Until)
		}
		small := admit(t, m, Admission{Model: "c", Key: "small", Cost: 0.05})
		if !small.OK {
			t.Fatalf("%+v", small)
		}
		standing("a smaller call is admitted", "", false)
		refused("dearer", Admission{Cost: 2})
		standing("a call beyond the whole budget", ReasonBudget, false)
		if err := m.Operate(ctx, "c", lua.ModelReset); err != nil {
			t.Fatal(err)
		}
		standing("reset", "", false)
		record(t, m, Outcome{Model: "c", Kind: lm.RateLimited, RetryAfter: time.Hour, Key: "small", Reservation: small.Reservation})
		if v := model(t, m, "c"); v.SetAside != ReasonCooldown || v.Status != Standby {
			t.Errorf("a cooldown says more: %+v", v)
		}
	})
}

func TestLimited_IsForgottenWithItsTime(t *testing.T) {
	now := time.Now()
	m := Model{State: ModelState{LimitedBy: ReasonRequestLimit, LimitedUntil: now, LimitedShown: now}}
	if u := m.Usability(now); u.Reason != "" || u.Limited || !u.Usable {
		t.Errorf("over: %+v", u)
	}
	if u := m.Usability(now.Add(-1)); u.Reason != ReasonRequestLimit || !u.Limited || !u.Usable || !u.Until.Equal(now) {
		t.Errorf("before: %+v", u)
	}
	for _, note := range []string{"", "x", "budget_exceeded 1", "budget_exceeded a b"} {
		if n := parseLimited(note); n != (limited{}) {
			t.Errorf("%q is read as %+v", note, n)
		}
	}
}
