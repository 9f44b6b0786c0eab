package router

import (
	"time"

	"github.com/lighterman/lighterman/fleet"
)

// Reason is why a member was chosen, or was not.
type Reason string

// The reasons. Those of a member that is cold are fleet's.
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
	ColdProbe       Reason = Reason(fleet.ReasonProbe)          // half-open, and another call is its probe
	ColdCooldown    Reason = Reason(fleet.ReasonCooldown)
	ColdQuarantine  Reason = Reason(fleet.ReasonQuarantine)
	ColdManual      Reason = Reason(fleet.ReasonManual)

	NotThere     Reason = Reason(fleet.DriftMissing)      // its backend does not have it
	Unauthorized Reason = Reason(fleet.DriftUnauthorized) // its backend refuses the credential, for listing too
)

// standing is how a member stands for one call.
type standing struct {
	fleet.Usability
	refused bool // usable, but this call was not admitted: a limit is reached, or another call is its probe
}

// open reports whether the call can go there.
func (s *standing) open() bool { return s.Usable && !s.refused }

// of says how a member stands for a call that has met what it has.
func (t *Tried) of(m *fleet.Model, seat int, now time.Time) standing {
	s := standing{Usability: m.Usability(now)}
	if s.Usable && t.Refused.Has(seat) {
		s.refused, s.Until = true, t.Again
	}
	return s
}

// mayLeave reports whether a pool's policy lets a session leave a member that is
// not open: by any one of what holds. Where it is absent, or a window or an order
// holds, nobody is to be kept there.
func mayLeave(sw *fleet.Switch, s *standing, now time.Time) bool {
	has := s.All.Has
	circuit := has(fleet.ReasonErrorThreshold) || has(fleet.ReasonProbe) // of a half-open one a refusal is for its probe
	quota := has(fleet.ReasonCooldown) || has(fleet.ReasonQuota) || has(fleet.ReasonBudget) || s.refused && !circuit
	permanent := has(fleet.ReasonQuarantine)
	switch {
	case !circuit && !quota && !permanent, has(fleet.ReasonMaintenance), has(fleet.ReasonManual):
		return true
	case circuit && sw.OnCircuitOpen, permanent && sw.OnPermanent:
		return true
	default:
		return quota && sw.OnQuota && (sw.QuotaThreshold == nil || s.Until.IsZero() || s.Until.Sub(now) >= *sw.QuotaThreshold)
	}
}
