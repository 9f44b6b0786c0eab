package fleet

import "time"

// Usability says how a model stands at a server time: whether calls may be sent
// to it, and what holds against it. Router, commands, metrics and pool records all
// read it, so that they never tell different things.
type Usability struct {
	// Usable: calls may be sent. With a Reason not all of them: a half-open circuit
	// takes one probe, a limit what is left of it.
	Usable bool
	// Probe: its circuit is half-open, and a call needs the fleet's admission as its
	// probe.
	Probe bool
	// Limited: a limit, a budget or a quota refused the last call that asked. It holds
	// against no other call: a later or smaller one may be admitted.
	Limited bool
	// Reason is what holds against it, the first in the order of the reasons; empty:
	// nothing, it takes all calls.
	Reason Reason
	Scope  AsideScope
	// Until is when the last of all that holds ends; zero with a Reason: not by
	// itself, but by a person or a listing.
	Until time.Time
	All   Reasons // all that holds
}

// AsideScope says whose matter it is that a model is set aside.
type AsideScope string

// The scopes.
const (
	AsideModel    AsideScope = "model"    // its own calls: circuit, cooldown, quarantine, or its backend does not have it
	AsideBackend  AsideScope = "backend"  // all models of its backend: a pause, a refused credential
	AsideOperator AsideScope = "operator" // a person's order, or a declared window
	AsideBudget   AsideScope = "budget"   // what is declared is used up: money, requests, tokens or places
)

// Absent reports whether the model is not there to be called at all: then no
// pool's policy keeps a session at it.
func (u Usability) Absent() bool { return u.Reason == ReasonMissing || u.Reason == ReasonUnauthorized }

// Status is whether the model takes all calls, as far as its limits leave room.
func (u Usability) Status() Status {
	if u.Reason == "" || u.Limited {
		return Active
	}
	return Standby
}

// Usability is a pure function of the model's record and the time. Of limits it tells
// what refused the last call that asked; whether the next one passes Admit alone tells.
func (m *Model) Usability(now time.Time) Usability {
	if d := m.Drift(now); d.Excludes() {
		return absentBy(d)
	}
	u := Usability{Usable: true}
	s := &m.State
	for i := range m.Maintenance {
		if m.Maintenance[i].Covers(now) {
			u.bar(ReasonMaintenance, AsideOperator, m.Maintenance[i].Until)
		}
	}
	if b := &m.Spec.Budget; b.USD > 0 && s.BudgetUsed >= b.USD {
		u.barPeriod(ReasonBudget, b.Period.orDaily(), s.BudgetStart, now)
	}
	if q := &m.Spec.Quota; q.Requests > 0 && s.QuotaUsed >= q.Requests {
		u.barPeriod(ReasonQuota, q.Period.orDaily(), s.QuotaStart, now)
	}
	if s.CooldownUntil.After(now) {
		u.bar(ReasonCooldown, s.CooldownScope.orModel(), s.CooldownUntil)
	}
	if s.QuarantineUntil.After(now) {
		u.bar(ReasonQuarantine, s.QuarantineScope.orModel(), s.QuarantineUntil)
	}
	u.barCircuit(s, now)
	if s.Disabled {
		u.bar(ReasonManual, AsideOperator, time.Time{})
		u.Until = time.Time{}
	}
	if u.Probe && u.Reason == "" {
		u.Reason, u.Scope, u.Until, u.All = ReasonErrorThreshold, AsideModel, s.OpenUntil, u.All.with(ReasonErrorThreshold)
	}
	if u.Reason == "" && s.LimitedBy != "" && s.LimitedShown.After(now) {
		u.Limited, u.Reason, u.Scope, u.Until, u.All = true, s.LimitedBy, AsideBudget, s.LimitedUntil, u.All.with(s.LimitedBy)
	}
	return u
}

func absentBy(d Drift) Usability {
	u := Usability{Reason: Reason(d), Scope: AsideModel, All: Reasons(0).with(Reason(d))}
	if d == DriftUnauthorized {
		u.Scope = AsideBackend
	}
	return u
}

// bar adds something that holds. Bars come in the order of the reasons.
func (u *Usability) bar(why Reason, whose AsideScope, until time.Time) {
	if u.Reason == "" {
		u.Reason, u.Scope = why, whose
	}
	if until.After(u.Until) {
		u.Until = until
	}
	u.Usable, u.All = false, u.All.with(why)
}

// barPeriod adds what is used up, where it was used in the running period.
func (u *Usability) barPeriod(why Reason, p Period, start, now time.Time) {
	if !start.Before(p.Start(now)) {
		u.bar(why, AsideBudget, p.End(now))
	}
}

// barCircuit: an open one is half-open when its time is over, and then one call is
// its probe.
func (u *Usability) barCircuit(s *ModelState, now time.Time) {
	switch {
	case s.Circuit == CircuitClosed:
	case s.Circuit == CircuitOpen && s.OpenUntil.After(now):
		u.bar(ReasonErrorThreshold, AsideModel, s.OpenUntil)
	case s.ProbeUntil.After(now):
		u.bar(ReasonProbe, AsideModel, s.ProbeUntil)
	default:
		u.Probe = true
	}
}

func (s AsideScope) orModel() AsideScope {
	if s == "" {
		return AsideModel
	}
	return s
}

// Standby is why a model takes no calls, or not all, as it is recorded: one of the
// deactivation reasons; empty: it takes all calls. Until is as Usability's.
func (m *Model) Standby(now time.Time) (reason Reason, until time.Time) {
	u := m.Usability(now)
	return u.Reason.Deactivation(), u.Until
}
