package fleet

import (
	"testing"
	"time"

	"github.com/lighterman/lighterman/lua"
)

// TestOlder_SaysInHowLongABackendIsDue, also after the server's clock was set back.
func TestOlder_SaysInHowLongABackendIsDue(t *testing.T) {
	now := time.Now()
	when := new(Reconciler).older(time.Minute)
	for _, c := range []struct {
		tried time.Time
		want  time.Duration
	}{
		{time.Time{}, 0}, {now, time.Minute}, {now.Add(-59 * time.Second), time.Second}, {now.Add(-time.Minute), 0}, {now.Add(-time.Hour), 0},
		{now.Add(time.Second), 61 * time.Second}, {now.Add(time.Hour), 0},
	} {
		if got := when("one", lua.Observation{Tried: c.tried}, now); got != c.want {
			t.Errorf("tried %s ago: in %s, want %s", now.Sub(c.tried), got, c.want)
		}
	}
}
