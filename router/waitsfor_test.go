package router

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/fleet"
)

// What a parked call waits for is what brings it back: never a pool whose other
// members it may not have.
func TestRouter_AParkedCallNamesWhatItWaitsFor(t *testing.T) {
	hour := func() fleet.ModelState { return fleet.ModelState{CooldownUntil: time.Now().Add(time.Hour)} }
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pool("a b", first), states{"a": hour(), "b": hour()})
		b.wantsFor(t, newCall(), "model/chat")
		b.wantsFor(t, newCall(func(c *lm.Call) { c.Model = "a" }), "model/a")
	})
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pool("a b", first, switching(func(s *fleet.Switch) { s.OnQuota = false })), nil)
		b.fail("a", fails(lm.RateLimited, time.Hour))
		b.wantsFor(t, newCall(thread("t")), "model/a")
	})
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pool("a"), states{"a": {Circuit: fleet.CircuitOpen, OpenUntil: time.Now().Add(-1)}})
		b.refuse = func(a fleet.Admission) (fleet.Admitted, bool) {
			return fleet.Admitted{Until: time.Now().Add(time.Minute), Reason: fleet.ReasonRequestLimit}, true
		}
		b.wantsFor(t, newCall(func(c *lm.Call) { c.Model = "a" }), "limit/a")
	})
}

func (b *bench) wantsFor(t *testing.T, call lm.Call, want string) {
	t.Helper()
	_, err := b.router.Call(t.Context(), call)
	var p *lm.Parked
	if !errors.As(err, &p) || p.For != want {
		t.Errorf("%v: waits for %+v, want %s", err, p, want)
	}
}
