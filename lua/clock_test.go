package lua

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
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

// A producer whose clock is off by an hour started what was to start in 4 s at once, or
// an hour late, and its deadlines likewise. What is given as a duration is counted by
// the server alone.
func TestEnqueue_DurationsAreCountedByTheServer(t *testing.T) {
	check := func(e *env) {
		e.enqueue("0-later", func(r *lm.Request) { r.In, r.DeadlineIn = 4*time.Second, time.Minute })
		e.enqueue("0-now", func(r *lm.Request) { r.DeadlineIn = 1500 * time.Microsecond })
		for id, want := range map[lm.TraceID]lm.Trace{"0-later": {State: lm.Received}, "0-now": {State: lm.Queued}} {
			if got, err := e.s.Trace(ctx, id); err != nil || got.State != want.State {
				e.Errorf("%s is %s %v, want %s", id, got.State, err, want.State)
			}
		}
		after := func(id lm.TraceID, field string) time.Duration {
			v := e.rdb.HMGet(ctx, e.s.keys.trace(id), field, "created").Val()
			at, _ := strconv.ParseInt(fmt.Sprint(v[0]), 10, 64)
			created, _ := strconv.ParseInt(fmt.Sprint(v[1]), 10, 64)
			return time.Duration(at-created) * time.Millisecond
		}
		if in, deadline, short := after("0-later", "not_before"), after("0-later", "deadline"), after("0-now", "deadline"); in != 4*time.Second || deadline != time.Minute || short != 2*time.Millisecond {
			e.Errorf("starts after %s, expires after %s and %s", in, deadline, short)
		}
		due := e.rdb.ZScore(ctx, e.s.keys.delayed(0), "0-later").Val()
		ends := e.rdb.ZScore(ctx, e.s.keys.deadlines(0), "0-later").Val()
		if ends-due != 56_000 {
			e.Errorf("due %v, deadline %v", due, ends)
		}
	}
	each(t, check)
	for name, off := range map[string]time.Duration{"an hour ahead": time.Hour, "an hour behind": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			m, rdb := redistest.MiniServer(t)
			m.SetTime(time.Now().Add(off))
			check(&env{T: t, kind: "miniredis", rdb: rdb, s: NewStore(rdb, rdb, Options{})})
		})
	}
}
