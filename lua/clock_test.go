package lua

import (
	"testing"
	"time"
)

// A server's clock that is set back by an hour makes every key that expires live an
// hour longer; that is what these tests do to the keys that hold others up.

func TestTick_AClockSetBackHoldsUpNoTickForLong(t *testing.T) {
	each(t, func(e *env) {
		const interval = 50 * time.Millisecond
		tick := func() bool {
			d, err := e.s.Tick(ctx, 0, interval, time.Minute, []Stream{queue})
			must(e, err)
			return d.Ran
		}
		if !tick() {
			e.Fatal("the first tick did not run")
		}
		e.rdb.PExpire(ctx, e.s.keys.tick(0), time.Hour)
		e.eventually("the next tick", tick)
	})
}

func TestLock_AClockSetBackLeavesNoMoreThanItsLife(t *testing.T) {
	each(t, func(e *env) {
		const life = 2 * time.Second
		first, err := e.s.AcquireLock(ctx, "dead", "token1", life)
		if err != nil || !first.Held {
			e.Fatalf("%+v %v", first, err)
		}
		e.rdb.PExpire(ctx, e.s.keys.fleet("lock"), time.Hour)
		got, err := e.s.AcquireLock(ctx, "next", "token2", time.Minute)
		if err != nil || got.Held || got.Left > life {
			e.Errorf("%+v %v, want it held for no more than the holder's %v", got, err, life)
		}
		if ok, err := e.s.RenewLock(ctx, "token1", first.Fence, life); !ok || err != nil {
			e.Errorf("the holder renews: %v %v", ok, err)
		}
		_, _ = e.s.ReleaseLock(ctx, "token1", first.Fence)
	})
}

func TestJanitor_AClockSetBackHoldsItUpForOneInterval(t *testing.T) {
	each(t, func(e *env) {
		mine, err := e.s.LeaseJanitor(ctx, "dead", time.Minute, time.Minute)
		if err != nil || len(mine) == 0 {
			e.Fatal(mine, err)
		}
		e.rdb.PExpire(ctx, e.s.keys.janitor(0), time.Hour)
		e.eventually("the next janitor", func() bool {
			mine, err := e.s.LeaseJanitor(ctx, "next", time.Minute, 50*time.Millisecond)
			return err == nil && len(mine) > 0
		})
	})
}
