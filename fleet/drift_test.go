package fleet

import (
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

// TestDrift_IsAFunctionOfWhatIsDeclaredWhatWasSeenAndTheTime.
func TestDrift_IsAFunctionOfWhatIsDeclaredWhatWasSeenAndTheTime(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	ago := func(s int) time.Time { return now.Add(-time.Duration(s) * time.Second) }
	good := lua.Observation{Tried: ago(10), Listed: ago(10), Etag: "e"}
	failing := func(kind lm.Kind, n int) lua.Observation {
		return lua.Observation{Tried: ago(10), Listed: ago(10 + 60*n), Since: ago(10 + 60*(n-1)), Strikes: n, Kind: kind, Etag: "e"}
	}
	there := sighting{listed: true, found: true}
	gone := sighting{listed: true}
	none := sighting{}
	for _, c := range []struct {
		what     string
		seen     sighting
		record   lua.Observation
		state    ModelState
		want     Drift
		excluded bool
	}{
		{what: "there", seen: there, record: good, want: DriftOK},
		{what: "not there", seen: gone, record: good, want: DriftMissing, excluded: true},
		{what: "disabled before all else", seen: gone, record: good, state: ModelState{Disabled: true}, want: DriftDisabled},
		{what: "declared otherwise than told", seen: sighting{listed: true, found: true, mismatch: []Capability{CanVision}}, record: good, want: DriftCapability},
		{what: "one failure is none yet", seen: there, record: failing(lm.TimedOut, 1), want: DriftOK},
		{what: "two are", seen: there, record: failing(lm.TimedOut, 2), want: DriftUnreachable},
		{what: "with no list ever", seen: none, record: lua.Observation{Tried: ago(10), Strikes: 2, Since: ago(70), Kind: lm.ProviderFailed}, want: DriftUnreachable},
		{what: "missing when it was last listed", seen: gone, record: failing(lm.TimedOut, 2), want: DriftUnreachable},
		{what: "one refusal", seen: there, record: failing(lm.Unauthorized, 1), want: DriftOK},
		{what: "two refusals", seen: there, record: failing(lm.Unauthorized, 2), want: DriftUnauthorized, excluded: true},
		{what: "a call was served since", seen: there, record: failing(lm.Unauthorized, 2), state: ModelState{LastRequest: ago(5)}, want: DriftStale},
		{what: "one was served before", seen: there, record: failing(lm.Unauthorized, 2), state: ModelState{LastRequest: ago(71)}, want: DriftUnauthorized, excluded: true},
		{what: "one failed since", seen: there, record: failing(lm.Unauthorized, 2), state: ModelState{LastRequest: ago(5), LastFailure: ago(5)}, want: DriftUnauthorized, excluded: true},
		{what: "empty lists say nothing", seen: there, record: failing(lua.EmptyList, 2), want: DriftStale},
		{what: "one of them neither", seen: there, record: failing(lua.EmptyList, 1), want: DriftOK},
		{what: "never listed, one failure", seen: none, record: lua.Observation{Tried: ago(10), Strikes: 1, Kind: lm.TimedOut}, want: DriftStale},
		{what: "two intervals old", seen: there, record: lua.Observation{Tried: ago(120), Listed: ago(120)}, want: DriftOK},
		{what: "older", seen: there, record: lua.Observation{Tried: ago(121), Listed: ago(121)}, want: DriftStale},
		{what: "missing long ago is unknown", seen: gone, record: lua.Observation{Tried: ago(121), Listed: ago(121)}, want: DriftStale},
		{what: "refused long ago is unknown", seen: there, record: lua.Observation{Tried: ago(121), Strikes: 9, Kind: lm.Unauthorized}, want: DriftStale},
		{what: "its list has outlived its time", seen: none, record: lua.Observation{Tried: ago(1), Listed: ago(1)}, want: DriftStale},
	} {
		s := c.seen
		s.record, s.interval = c.record, time.Minute
		m := Model{State: c.state, seen: &s}
		if got := m.Drift(now); got != c.want || got.Excludes() != c.excluded {
			t.Errorf("%s: %s, excluded %v; want %s, %v", c.what, got, got.Excludes(), c.want, c.excluded)
		}
		reason, until := m.Standby(now)
		if (reason != "" && reason != ReasonManual) != c.excluded || !until.IsZero() {
			t.Errorf("%s: standby for %q until %s", c.what, reason, until)
		}
	}
	if got := (&Model{}).Drift(now); got != "" || got.Excludes() {
		t.Errorf("a model of a backend that nobody looks at: %q", got)
	}
	for kind, want := range map[lm.Kind]string{"": "", lm.TimedOut: "passing", lm.Overloaded: "passing", lm.Unauthorized: "lasting", lua.EmptyList: "passing"} {
		if got := Class(kind); got != want {
			t.Errorf("%s is %q, want %q", kind, got, want)
		}
	}
}
