package fleet

import "time"

// Circuit is the state of a model's circuit breaker.
type Circuit string

// The circuit's states; the zero value is closed.
const (
	CircuitClosed   Circuit = ""
	CircuitOpen     Circuit = "open"
	CircuitHalfOpen Circuit = "half-open" // open, and its time is over: one probe in the whole fleet
)

// Reason is why a model is set aside.
type Reason string

// The reasons. Cooldown, quarantine and probe are finer than the deactivation
// reasons, see Deactivation.
const (
	ReasonMaintenance    Reason = "maintenance_window"
	ReasonBudget         Reason = "budget_exceeded"
	ReasonQuota          Reason = "quota_exhausted"
	ReasonCooldown       Reason = "cooldown"        // its provider said when to come back
	ReasonQuarantine     Reason = "quarantine"      // a refusal that no wait mends, see ModelState.QuarantineKind
	ReasonErrorThreshold Reason = "error_threshold" // its circuit is open or half-open
	ReasonProbe          Reason = "probe"           // half-open, and a call of somebody is its probe
	ReasonTokenLimit     Reason = "token_limit"
	ReasonRequestLimit   Reason = "request_limit"
	ReasonManual         Reason = "manual"
	ReasonMissing        Reason = Reason(DriftMissing)      // its backend does not have it
	ReasonUnauthorized   Reason = Reason(DriftUnauthorized) // its backend refuses the credential for listing too
)

// Deactivation is the reason as it is recorded and told to operators, who see a
// cooldown as a quota that the provider keeps, and a quarantine and a probe as
// errors.
func (r Reason) Deactivation() Reason {
	switch r {
	case ReasonCooldown:
		return ReasonQuota
	case ReasonQuarantine, ReasonProbe:
		return ReasonErrorThreshold
	default:
		return r
	}
}

// reasons is their order: the first that holds is told.
var reasons = [...]Reason{
	ReasonMissing, ReasonUnauthorized, ReasonMaintenance, ReasonBudget, ReasonQuota, ReasonCooldown, ReasonQuarantine, ReasonErrorThreshold,
	ReasonProbe, ReasonTokenLimit, ReasonRequestLimit, ReasonManual,
}

// Reasons is a set of them.
type Reasons uint16

// Has reports whether a reason is in the set.
func (s Reasons) Has(r Reason) bool { return s&Reasons(0).with(r) != 0 }

func (s Reasons) with(r Reason) Reasons {
	for i := range reasons {
		if reasons[i] == r {
			return s | 1<<i
		}
	}
	return s
}

// ModelState is what the fleet has recorded of one model. Times are the server's;
// zero times mean never. Deadlines are absolute, so they survive a restart.
type ModelState struct {
	Disabled bool `json:"disabled,omitempty"` // by an operator, until enabled

	Failures     int       `json:"failures"` // consecutive
	Opened       int       `json:"opened"`   // times in a row that the circuit opened; doubles the open time
	Circuit      Circuit   `json:"circuit,omitempty"`
	CircuitEpoch int64     `json:"circuit_epoch"`         // grows with every opening and closing; a late result of an older one is ignored
	OpenUntil    time.Time `json:"open_until,omitzero"`   // of an open circuit
	ProbeOwner   string    `json:"probe_owner,omitempty"` // who holds the probe
	ProbeUntil   time.Time `json:"probe_until,omitzero"`

	CooldownUntil   time.Time  `json:"cooldown_until,omitzero"`
	CooldownScope   AsideScope `json:"cooldown_scope,omitempty"` // the model's own, or its backend's
	QuarantineUntil time.Time  `json:"quarantine_until,omitzero"`
	QuarantineScope AsideScope `json:"quarantine_scope,omitempty"` // the same
	QuarantineKind  string     `json:"quarantine_kind,omitempty"`  // unauthorized or model_not_found

	// LimitedBy is why a limit, a budget or a quota refused a call when none was admitted
	// since; until when, zero: that call fits never; and until when that is told.
	LimitedBy    Reason    `json:"limited_by,omitempty"`
	LimitedUntil time.Time `json:"limited_until,omitzero"`
	LimitedShown time.Time `json:"-"`

	Requests    int64     `json:"requests"` // in all
	Errors      int64     `json:"errors"`   // of them
	ErrorRate   float64   `json:"error_rate"`
	Tokens      int64     `json:"tokens"`
	CostUSD     float64   `json:"cost_usd"`
	QuotaUsed   int64     `json:"quota_used"`
	QuotaStart  time.Time `json:"quota_start,omitzero"`
	BudgetUsed  float64   `json:"budget_used_usd"`
	BudgetStart time.Time `json:"budget_start,omitzero"`
	LastRequest time.Time `json:"last_request,omitzero"`
	LastFailure time.Time `json:"last_failure,omitzero"`
}
