package fleet

import (
	"time"

	lm "github.com/lighterman/lighterman"
)

// Admission asks whether a call may be made now. It is needed only for models
// that are half-open or have limits, a budget or a quota.
type Admission struct {
	Model  string
	Op     lm.TraceID
	Key    string        // as Outcome.Key: the same key is admitted once and answered alike
	Tokens int           // the input's estimate and max_tokens together
	Cost   float64       // estimated USD; 0: Tokens at the dearer of the model's prices
	Owner  string        // who holds the probe: a worker, or a call of one
	For    time.Duration // how long probe and reservation hold without an outcome or a Hold; default 60 s
}

// Admitted is the answer.
type Admitted struct {
	OK    bool
	Probe bool // the call is the fleet's one probe of a half-open circuit
	// Until is when to ask again where it was refused, and when probe and
	// reservation expire where it was admitted.
	Until time.Time
	// Reason is why not: one of the deactivation reasons.
	Reason Reason
	// Reservation goes into the Outcome, which settles it; empty: nothing is reserved.
	Reservation string
	// CircuitEpoch goes into the Outcome.
	CircuitEpoch int64
}

// Holding is a call that still runs, with what it was admitted with.
type Holding struct {
	Model       string
	Key         string // of the Admission
	Reservation string // of the Admitted
	For         time.Duration
}
