package fleet

import (
	"time"

	lm "github.com/lighterman/lighterman"
)

// Outcome is how one call of a model ended.
type Outcome struct {
	Model, Backend string
	Kind           lm.Kind       // empty: it succeeded
	RetryAfter     time.Duration // as the provider said; 0: it did not
	Usage          lm.Usage
	CostUSD        float64
	Op             lm.TraceID
	Tenant         string
	// Key is the call's replay key, operation/step/epoch/try: one that was recorded
	// before is not counted again. Empty: never compared.
	Key string
	// CircuitEpoch is that of the snapshot or admission under which the call
	// began; a result of an older circuit moves no breaker. It counts all the same.
	CircuitEpoch int64
	// Began is when the call began, by the server's clock: a failure of a call that was
	// under way when the last one of its kind was counted is of the same moment, and
	// counts as one with it. Zero: unknown, it counts.
	Began time.Time
	Probe bool   // it was the half-open circuit's probe, admitted with Owner
	Owner string // of the probe
	// Neutral is an ending that says nothing of the model: a cancelled or dropped
	// call, whatever its Kind. It gives a probe back.
	Neutral     bool
	Waste       string // what its cost was wasted by: "", WasteRetry, WasteCrash or WasteCancel
	Reservation string // of the admission that this settles; empty: none
	// Lost are calls that a success repeats, because their workers died before an
	// answer was saved: each the beginning of their replay keys, operation/step/epoch.
	// Each counts once, by the usage of this call, as waste by a crash; see Manager.Record.
	Lost []string
}

// The causes of waste.
const (
	WasteRetry  = "retry"
	WasteCrash  = "crash"
	WasteCancel = "cancel"
)
