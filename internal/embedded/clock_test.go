package embedded

import (
	"testing"
	"time"
)

func TestPause_GrowsWithTheCostOfATick(t *testing.T) {
	for _, tc := range []struct{ cost, want time.Duration }{
		{0, minTick},
		{100 * time.Microsecond, minTick},
		{2 * time.Millisecond, 40 * time.Millisecond},
		{time.Second, maxTick},
	} {
		if got := pause(tc.cost); got != tc.want {
			t.Errorf("pause(%s) = %s, want %s", tc.cost, got, tc.want)
		}
	}
}
