package fleet

import (
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

// Drift is how what is declared of a model and what its backend is seen to have
// go together. The empty one: nobody looks at that backend.
type Drift string

// The kinds of drift.
const (
	DriftOK           Drift = "ok"
	DriftUnreachable  Drift = "unreachable"         // its backend could not be listed, twice in a row
	DriftUnauthorized Drift = "unauthorized"        // its backend refuses the credential, twice in a row
	DriftMissing      Drift = "model_missing"       // its backend is there and does not have it
	DriftUndeclared   Drift = "model_undeclared"    // an offering that nobody declares
	DriftCapability   Drift = "capability_mismatch" // it is declared to do what its API says otherwise of; the declaration wins
	DriftStale        Drift = "stale"               // nothing recent is known: neither good nor bad
	DriftDisabled     Drift = "disabled"            // by an operator
)

// Excludes reports whether a model is not to be called for it. What is not known,
// or only not reachable for listing, is: its breaker judges that by its calls.
func (d Drift) Excludes() bool { return d == DriftMissing || d == DriftUnauthorized }

// bad reports whether somebody may want to do something about it.
func (d Drift) bad() bool {
	return d.Excludes() || d == DriftUnreachable || d == DriftCapability
}

// sighting is what is known of one model by its backend's listings.
type sighting struct {
	record     lua.Observation
	listed     bool // there is a good list
	found      bool // it is in the list
	mismatch   []Capability
	discovered bool // not declared, found there

	interval time.Duration // of the listings
	keep     time.Duration // of a good list
}

// Drift is the model's at a server time.
func (m *Model) Drift(now time.Time) Drift {
	if m.State.Disabled {
		return DriftDisabled
	}
	if m.seen == nil {
		return ""
	}
	return m.seen.drift(&m.State, now)
}

// drift is a pure function of what is declared (by which the sighting was made),
// what was observed, and the time.
func (s *sighting) drift(state *ModelState, now time.Time) Drift {
	r := &s.record
	fresh := func(t time.Time) bool { return !t.IsZero() && now.Sub(t) <= 2*s.interval }
	switch {
	case !fresh(r.Tried): // nobody has looked for long
		return DriftStale
	case r.Strikes >= strikes && r.Kind == lm.Unauthorized && !servedSince(state, r.Since):
		return DriftUnauthorized
	case r.Strikes >= strikes && r.Kind != lua.EmptyList && r.Kind != lm.Unauthorized:
		return DriftUnreachable
	case !s.listed || !fresh(r.Listed):
		return DriftStale
	case !s.found:
		return DriftMissing
	case len(s.mismatch) > 0:
		return DriftCapability
	default:
		return DriftOK
	}
}

// unlisted reports whether a backend's last listing was refused for its credential,
// not long ago.
func (s *Snapshot) unlisted(backend string, now time.Time) bool {
	r, looked := s.records[backend]
	return looked && r.Kind == lm.Unauthorized && now.Sub(r.Tried) <= 2*s.stock.spec.Observe.withDefaults().Interval
}

// servedSince reports whether the model has served a call since a time: then its
// credential is good for that, whatever a listing says.
func servedSince(s *ModelState, t time.Time) bool {
	return s.LastRequest.After(t) && s.LastRequest.After(s.LastFailure)
}

// Class says whether a failure of a listing may pass by itself.
func Class(kind lm.Kind) string {
	switch {
	case kind == "":
		return ""
	case kind.Permanent():
		return "lasting"
	default:
		return "passing"
	}
}
