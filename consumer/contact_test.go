package consumer

import (
	"testing"
	"time"
)

// A server's clock that goes ahead makes everybody look idle: nothing is taken over for a
// lease. One that goes back, or ahead by little, changes nothing.
func TestContact_AServerClockThatJumpsAheadSitsOut(t *testing.T) {
	const lease, hour = 10 * time.Second, time.Hour
	for name, c := range map[string]struct {
		server, here time.Duration // how far both clocks go between two answers
		may          bool
	}{
		"together":        {hour, hour, true},
		"ahead":           {hour + time.Second, time.Second, false},
		"ahead by little": {5 * time.Second, time.Second, true},
		"back":            {time.Second - hour, time.Second, true},
	} {
		k, now := newContact(lease), time.Now().Add(-time.Hour)
		if c.here < hour {
			now = time.Now()
		}
		k.clock(24*hour, now)
		k.clock(24*hour+c.server, now.Add(c.here))
		if k.mayTakeOver() != c.may {
			t.Errorf("%s: takeovers %v, want %v", name, k.mayTakeOver(), c.may)
		}
	}
}
