package router

import (
	"time"

	"github.com/lighterman/lighterman/fleet"
)

// Reason is why a member was chosen, or was not.
type Reason string

// The reasons. Those of a member that is cold begin as fleet's deactivation
// reasons do.
const (
	BySession  Reason = "session"  // the session's member
	ByHome     Reason = "home"     // the session's home
	ByFailover Reason = "failover" // another one, because the session's or the home cannot
	ByFailback Reason = "failback" // home again
	Healthy    Reason = "healthy"  // it could have been chosen

	NoCapability Reason = "capability" // it cannot do what the call needs
	NoRoom       Reason = "context"    // the call does not fit its context window
	WasTried     Reason = "tried"      // by this call
	WasRefused   Reason = "refused"    // its limit is reached, or another call is its probe

	ColdMaintenance Reason = Reason(fleet.ReasonMaintenance)
	ColdBudget      Reason = Reason(fleet.ReasonBudget)
	ColdQuota       Reason = Reason(fleet.ReasonQuota)
	ColdCircuit     Reason = Reason(fleet.ReasonErrorThreshold) // its circuit is open
	ColdProbe       Reason = "probe"                            // half-open, and another call is its probe
	ColdCooldown    Reason = "cooldown"
	ColdQuarantine  Reason = "quarantine"
	ColdManual      Reason = Reason(fleet.ReasonManual)

	NotThere     Reason = Reason(fleet.DriftMissing)      // its backend does not have it
	Unauthorized Reason = Reason(fleet.DriftUnauthorized) // its backend refuses the credential, for listing too
)

// absent says why a model cannot be called by what its backend was seen to have:
// Healthy, where that is no reason.
func absent(m *fleet.Model, now time.Time) Reason {
	if d := m.Drift(now); d.Excludes() {
		return Reason(d)
	}
	return Healthy
}

// health is how a model stands at a moment.
type health struct {
	cold  Reason    // empty: it takes calls
	until time.Time // when that may end; zero with cold: when a person says so
	probe bool      // its circuit is half-open: a call needs the fleet's admission as its probe
}

// healthOf reads a model's health off its record. Where several reasons hold the
// first in fleet's order is told, and the last of their deadlines.
func healthOf(m *fleet.Model, now time.Time) health {
	var h health
	s := &m.State
	for i := range m.Maintenance {
		if m.Maintenance[i].Covers(now) {
			h.add(ColdMaintenance, m.Maintenance[i].Until)
		}
	}
	if b := &m.Spec.Budget; b.USD > 0 && s.BudgetUsed >= b.USD {
		h.addUntil(ColdBudget, periodEnd(b.Period, s.BudgetStart), now)
	}
	if q := &m.Spec.Quota; q.Requests > 0 && s.QuotaUsed >= q.Requests {
		h.addUntil(ColdQuota, periodEnd(q.Period, s.QuotaStart), now)
	}
	if s.Circuit != fleet.CircuitClosed {
		h.circuit(s, now)
	}
	h.addUntil(ColdCooldown, s.CooldownUntil, now)
	h.addUntil(ColdQuarantine, s.QuarantineUntil, now)
	if s.Disabled {
		if h.cold == "" {
			h.cold = ColdManual
		}
		h.until = time.Time{}
	}
	return h
}

// circuit: an open one is half-open when its time is over, and then one call is
// its probe.
func (h *health) circuit(s *fleet.ModelState, now time.Time) {
	switch {
	case s.Circuit == fleet.CircuitOpen && now.Before(s.OpenUntil):
		h.add(ColdCircuit, s.OpenUntil)
	case s.ProbeOwner != "" && now.Before(s.ProbeUntil):
		h.add(ColdProbe, s.ProbeUntil)
	default:
		h.probe = true
	}
}

func (h *health) add(cold Reason, until time.Time) {
	if h.cold == "" {
		h.cold = cold
	}
	if until.After(h.until) {
		h.until = until
	}
}

func (h *health) addUntil(cold Reason, until, now time.Time) {
	if now.Before(until) {
		h.add(cold, until)
	}
}

// periodEnd is when a period that began at start is over; zero for one that never
// began.
func periodEnd(p fleet.Period, start time.Time) time.Time {
	if start.IsZero() {
		return time.Time{}
	}
	return p.End(start)
}

// mayLeave reports whether a pool's policy lets a session leave a member that is
// cold for a reason until a time.
func mayLeave(sw *fleet.Switch, cold Reason, until, now time.Time) bool {
	switch cold {
	case ColdCircuit, ColdProbe:
		return sw.OnCircuitOpen
	case ColdCooldown, ColdQuota, ColdBudget, WasRefused:
		return sw.OnQuota && (sw.QuotaThreshold == nil || until.IsZero() || until.Sub(now) >= *sw.QuotaThreshold)
	case ColdQuarantine:
		return sw.OnPermanent
	default: // a window, an order: nobody is to be kept there
		return true
	}
}
