package fleet

import (
	"testing"
	"time"

	"github.com/lighterman/lighterman/lua"
)

func TestUsability_ByState(t *testing.T) {
	noon := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	hour, minute := noon.Add(time.Hour), noon.Add(time.Minute)
	spec := ModelSpec{Budget: Budget{USD: 20, Period: DailyUTC}, Quota: Quota{Requests: 10, Period: Monthly}}
	window := []Span{{From: noon.Add(-time.Hour), Until: noon}, {From: noon, Until: hour}}
	seen := func(s sighting, r lua.Observation) *sighting {
		s.record, s.interval = r, time.Minute
		return &s
	}
	good := lua.Observation{Tried: noon, Listed: noon}
	open := func(d time.Duration) ModelState {
		return ModelState{Circuit: CircuitOpen, OpenUntil: noon.Add(d), CircuitEpoch: 3}
	}
	cool := func(d time.Duration) ModelState { return ModelState{CooldownUntil: noon.Add(d)} }
	for _, c := range []struct {
		name   string
		m      Model
		why    Reason
		told   Reason // its deactivation reason
		whose  AsideScope
		until  time.Time
		soft   bool // usable all the same
		probe  bool
		active bool // and active
	}{
		{name: "nobody used it", m: Model{Spec: spec}},
		{name: "open", m: Model{State: open(time.Minute)}, why: ReasonErrorThreshold, told: ReasonErrorThreshold, whose: AsideModel, until: minute},
		{name: "its time is over", m: Model{State: open(0)}, why: ReasonErrorThreshold, told: ReasonErrorThreshold, whose: AsideModel, until: noon, soft: true, probe: true},
		{name: "half-open", m: Model{State: ModelState{Circuit: CircuitHalfOpen}}, why: ReasonErrorThreshold, told: ReasonErrorThreshold, whose: AsideModel, soft: true, probe: true},
		{name: "being probed", m: Model{State: ModelState{Circuit: CircuitHalfOpen, ProbeOwner: "w1", ProbeUntil: minute}}, why: ReasonProbe, told: ReasonErrorThreshold, whose: AsideModel, until: minute},
		{name: "a probe that ran out", m: Model{State: ModelState{Circuit: CircuitHalfOpen, ProbeOwner: "w1", ProbeUntil: noon}}, why: ReasonErrorThreshold, told: ReasonErrorThreshold, whose: AsideModel, soft: true, probe: true},
		{name: "half-open and cooling", m: Model{State: ModelState{Circuit: CircuitHalfOpen, CooldownUntil: minute}}, why: ReasonCooldown, told: ReasonQuota, whose: AsideModel, until: minute, probe: true},
		{name: "cooling down", m: Model{State: cool(time.Minute)}, why: ReasonCooldown, told: ReasonQuota, whose: AsideModel, until: minute},
		{name: "its backend is paused", m: Model{State: ModelState{CooldownUntil: minute, CooldownScope: AsideBackend}}, why: ReasonCooldown, told: ReasonQuota, whose: AsideBackend, until: minute},
		{name: "cooled down", m: Model{State: cool(0)}},
		{name: "quarantine", m: Model{State: ModelState{QuarantineUntil: minute}}, why: ReasonQuarantine, told: ReasonErrorThreshold, whose: AsideModel, until: minute},
		{name: "its backend's", m: Model{State: ModelState{QuarantineUntil: minute, QuarantineScope: AsideBackend}}, why: ReasonQuarantine, told: ReasonErrorThreshold, whose: AsideBackend, until: minute},
		{name: "cooldown before quarantine", m: Model{State: ModelState{QuarantineUntil: minute, CooldownUntil: hour}}, why: ReasonCooldown, told: ReasonQuota, whose: AsideModel, until: hour},
		{name: "open, and cooling down for longer", m: Model{State: ModelState{Circuit: CircuitOpen, OpenUntil: minute, CooldownUntil: hour}}, why: ReasonCooldown, told: ReasonQuota, whose: AsideModel, until: hour},
		{name: "disabled", m: Model{State: ModelState{Disabled: true}}, why: ReasonManual, told: ReasonManual, whose: AsideOperator},
		{name: "disabled and cooling", m: Model{State: ModelState{Disabled: true, CooldownUntil: hour}}, why: ReasonCooldown, told: ReasonQuota, whose: AsideModel},
		{name: "maintenance", m: Model{Maintenance: window}, why: ReasonMaintenance, told: ReasonMaintenance, whose: AsideOperator, until: hour},
		{name: "maintenance to come", m: Model{Maintenance: []Span{{From: minute, Until: hour}}}},
		{name: "budget", m: Model{Spec: spec, State: ModelState{BudgetUsed: 20, BudgetStart: noon}}, why: ReasonBudget, told: ReasonBudget, whose: AsideBudget, until: noon.Add(12 * time.Hour)},
		{name: "a budget without a period is daily", m: Model{Spec: ModelSpec{Budget: Budget{USD: 1}}, State: ModelState{BudgetUsed: 1, BudgetStart: noon}}, why: ReasonBudget, told: ReasonBudget, whose: AsideBudget, until: noon.Add(12 * time.Hour)},
		{name: "budget of yesterday", m: Model{Spec: spec, State: ModelState{BudgetUsed: 20, BudgetStart: noon.Add(-12*time.Hour - 1)}}},
		{name: "nearly", m: Model{Spec: spec, State: ModelState{BudgetUsed: 19.99, BudgetStart: noon, QuotaUsed: 9, QuotaStart: noon}}},
		{name: "quota", m: Model{Spec: spec, State: ModelState{QuotaUsed: 10, QuotaStart: noon}}, why: ReasonQuota, told: ReasonQuota, whose: AsideBudget, until: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)},
		{name: "a limit refused a call", m: Model{State: ModelState{LimitedBy: ReasonBudget, LimitedUntil: hour, LimitedShown: hour}}, why: ReasonBudget, told: ReasonBudget, whose: AsideBudget, until: hour, soft: true, active: true},
		{name: "and it cools down", m: Model{State: ModelState{LimitedBy: ReasonBudget, LimitedUntil: hour, LimitedShown: hour, CooldownUntil: minute}}, why: ReasonCooldown, told: ReasonQuota, whose: AsideModel, until: minute},
		{name: "missing", m: Model{seen: seen(sighting{listed: true}, good), State: open(time.Minute)}, why: ReasonMissing, told: ReasonMissing, whose: AsideModel},
		{name: "its backend's credential is refused", m: Model{seen: seen(sighting{}, lua.Observation{Tried: noon, Strikes: 2, Kind: "unauthorized"})}, why: ReasonUnauthorized, told: ReasonUnauthorized, whose: AsideBackend},
	} {
		got := c.m.Usability(noon)
		if got.Reason != c.why || got.Scope != c.whose || !got.Until.Equal(c.until) || got.Usable != (c.soft || c.why == "") || got.Probe != c.probe {
			t.Errorf("%s: %+v", c.name, got)
		}
		if c.why != "" && !got.All.Has(c.why) || c.why == "" && got.All != 0 {
			t.Errorf("%s: in all %b", c.name, got.All)
		}
		if reason, until := c.m.Standby(noon); reason != c.told || !until.Equal(c.until) || (got.Status() == Active) != (c.told == "" || c.active) {
			t.Errorf("%s: told as %s until %s, %s", c.name, reason, until, got.Status())
		}
	}
}

func TestUsability_AllThatHoldsIsKept(t *testing.T) {
	now := time.Now()
	m := Model{State: ModelState{Circuit: CircuitOpen, OpenUntil: now.Add(1), CooldownUntil: now.Add(2), QuarantineUntil: now.Add(3), Disabled: true}}
	all := m.Usability(now).All
	for _, r := range reasons {
		want := r == ReasonErrorThreshold || r == ReasonCooldown || r == ReasonQuarantine || r == ReasonManual
		if all.Has(r) != want {
			t.Errorf("%s holds: %v", r, all.Has(r))
		}
	}
}

func TestUsability_AllocatesNothing(t *testing.T) {
	now := time.Now()
	m := Model{State: ModelState{Circuit: CircuitOpen, OpenUntil: now.Add(1), CooldownUntil: now.Add(2)}}
	if n := testing.AllocsPerRun(100, func() { m.Usability(now) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestPeriod_EndsAtItsBorder(t *testing.T) {
	noon := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	for p, want := range map[Period]string{Hourly: "2026-11-21 13:00", DailyUTC: "2026-11-22 00:00", Weekly: "2026-11-23 00:00", Monthly: "2026-12-01 00:00"} {
		if got := p.End(noon).Format("2006-01-02 15:04"); got != want {
			t.Errorf("%s: %s, want %s", p, got, want)
		}
	}
	if sunday := time.Date(2026, 11, 22, 23, 0, 0, 0, time.UTC); Weekly.End(sunday).Day() != 23 {
		t.Error("a week ends with Sunday")
	}
	if monday := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC); Weekly.End(monday).Day() != 30 {
		t.Error("a week begins with Monday")
	}
}
