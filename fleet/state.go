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

// Reason is why a model is standby, in the order in which they are told when
// several hold.
type Reason string

// The deactivation reasons.
const (
	ReasonMaintenance    Reason = "maintenance_window"
	ReasonBudget         Reason = "budget_exceeded"
	ReasonQuota          Reason = "quota_exhausted"
	ReasonErrorThreshold Reason = "error_threshold"
	ReasonTokenLimit     Reason = "token_limit"
	ReasonRequestLimit   Reason = "request_limit"
	ReasonManual         Reason = "manual"
	ReasonMissing        Reason = Reason(DriftMissing)      // its backend does not have it
	ReasonUnauthorized   Reason = Reason(DriftUnauthorized) // its backend refuses the credential for listing too
)

// ModelState is what the fleet has recorded of one model. Times are the server's;
// zero times mean never. Deadlines are absolute, so they survive a restart.
type ModelState struct {
	Disabled bool // by an operator, until enabled

	Failures     int // consecutive
	Opened       int // times in a row that the circuit opened; doubles the open time
	Circuit      Circuit
	CircuitEpoch int64     // grows with every opening and closing; a late result of an older one is ignored
	OpenUntil    time.Time // of an open circuit
	ProbeOwner   string    // who holds the probe
	ProbeUntil   time.Time

	CooldownUntil   time.Time
	QuarantineUntil time.Time
	QuarantineKind  string // unauthorized or model_not_found

	Requests, Errors int64 // in all
	ErrorRate        float64
	Tokens           int64
	CostUSD          float64
	QuotaUsed        int64
	QuotaStart       time.Time
	BudgetUsed       float64
	BudgetStart      time.Time
	LastRequest      time.Time
	LastFailure      time.Time
}
