package fleet

import (
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

const (
	// quarantined is how long a model or backend is unusable after a refusal that
	// only a person or a new credential mends.
	quarantined = 15 * time.Minute
	// longestWait caps what a provider may ask us to wait.
	longestWait = 24 * time.Hour
)

// verdict is what an ending means to the fleet, by the table of the errors: does
// it count for the breaker, and whom does it set aside for how long.
type verdict struct {
	class      lua.Class
	faulty     bool          // counts as an error
	cooldown   time.Duration // of the model
	pause      time.Duration // of its backend
	quarantine time.Duration // of the model
	bar        time.Duration // of its backend, if the refusal is not the model's alone
}

// judge is a pure function of the outcome.
func judge(o Outcome) verdict {
	v := verdict{class: lua.ClassNeutral, faulty: o.Kind != "" && o.Kind != lm.CallCancelled}
	if o.Neutral {
		v.faulty = false
		return v
	}
	wait := min(max(o.RetryAfter, 0), longestWait)
	switch o.Kind { //nolint:exhaustive // every kind that says nothing of the model is neutral
	case "":
		v.class = lua.ClassOK
	case lm.RateLimited, lm.Overloaded:
		v.class, v.cooldown = lua.ClassFail, wait
	case lm.ProviderFailed, lm.TimedOut, lm.StreamInterrupted:
		v.class = lua.ClassFail
	case lm.QuotaExhausted:
		v.pause = wait
		if wait == 0 { // the provider did not say when
			v.pause = quarantined
		}
	case lm.Unauthorized:
		v.quarantine, v.bar = quarantined, quarantined
	case lm.ModelNotFound:
		v.quarantine = quarantined
	}
	return v
}
