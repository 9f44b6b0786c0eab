package fleet

import (
	"fmt"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
)

// TestRotation_RunKeepsTheRecord: with nobody asking, running Managers write down
// once what changed, and by what each model came back.
func TestRotation_RunKeepsTheRecord(t *testing.T) {
	server := redistest.Start(t)
	rdb := server.Client()
	// A model comes back by its probe within the test.
	swift := func(o *Options) { o.Poll, o.Breaker = 5*time.Millisecond, BreakerSpec{Base: 20 * time.Millisecond} }
	m := manager(t, storeOn(t, server), false, swift)
	for i := range 3 {
		other := manager(t, storeOn(t, server), true, swift, func(o *Options) { o.Owner = fmt.Sprint("w", i) })
		stop := make(chan struct{})
		t.Cleanup(func() { close(stop) })
		go func() { // in use
			for {
				select {
				case <-stop:
					return
				case <-time.After(2 * time.Millisecond):
					other.Snapshot()
				}
			}
		}()
	}
	expect := func(rotations int64, active string, because Trigger, of string) {
		t.Helper()
		var p PoolState
		until(t, fmt.Sprint(active, " by ", because), func() bool {
			p = must[SystemState](t)(m.System(ctx)).Pools[0]
			return p.RotationCount >= rotations && !p.LastRotation.IsZero() && rdb.HGet(ctx, "{lm:fleet}:pool:p", "active").Val() == active
		})
		if p.RotationCount != rotations || p.LastTrigger != because || of != "" && p.Recovered[of] != because {
			t.Errorf("%+v, want %d rotations, %s, of %q", p, rotations, because, of)
		}
	}
	expect(0, "a b c", StartupProbe, "")

	operate := func(model, what string) {
		t.Helper()
		if err := m.Operate(ctx, model, what); err != nil {
			t.Fatal(err)
		}
	}
	operate("b", lua.ModelDisable)
	expect(1, "a c", Deactivated, "")
	operate("b", lua.ModelEnable)
	expect(2, "a b c", Manual, "b")

	record(t, m, Outcome{Model: "a", Kind: lm.RateLimited, RetryAfter: 2500 * time.Millisecond})
	expect(3, "b c", Deactivated, "")
	expect(4, "a b c", CooldownExpired, "a")

	record(t, m, Outcome{Model: "a", Kind: lm.RateLimited, RetryAfter: time.Hour})
	expect(5, "b c", Deactivated, "")
	operate("a", lua.ModelReset)
	expect(6, "a b c", Manual, "a")

	if err := m.Load(ctx); err != nil {
		t.Fatal(err)
	}
	fails(t, m, "b", 5)
	expect(7, "a c", Deactivated, "")
	var probe Admitted
	until(t, "b is half-open", func() bool { probe = admit(t, m, Admission{Model: "b", Key: "probe"}); return probe.Probe })
	record(t, m, Outcome{Model: "b", Key: "probe", Probe: true, CircuitEpoch: probe.CircuitEpoch})
	expect(8, "a b c", ProbeSuccess, "b")

	quota := func(used int) {
		rdb.HSet(ctx, "{lm:fleet}:model:c", "quota_used", used, "quota_start", Monthly.Start(m.Now()).UnixMilli())
		rdb.Incr(ctx, "{lm:fleet}:version")
	}
	quota(100)
	expect(9, "a b", Deactivated, "")
	quota(0)
	expect(10, "a b c", QuotaReset, "c")
	if p := must[SystemState](t)(m.System(ctx)).Pools[0]; p.Recovered["a"] != Manual || p.Recovered["b"] != ProbeSuccess {
		t.Errorf("of the others: %+v", p)
	}
	// Nothing changes: nothing is written.
	before := rdb.Get(ctx, "{lm:fleet}:version").Val() + rdb.Get(ctx, "{lm:fleet}:fence").Val()
	<-time.After(1500 * time.Millisecond)
	if after := rdb.Get(ctx, "{lm:fleet}:version").Val() + rdb.Get(ctx, "{lm:fleet}:fence").Val(); after != before {
		t.Errorf("version and fence went from %s to %s by themselves", before, after)
	}
}

// TestRotation_WhoSeesItOtherwiseDoesNotInsist: two configurations, each of which
// would have the record its way, write it once each.
func TestRotation_WhoSeesItOtherwiseDoesNotInsist(t *testing.T) {
	server := redistest.Start(t)
	rdb := server.Client()
	clock := time.Now()
	one := manager(t, storeOn(t, server), false)
	two := manager(t, storeOn(t, server), false, withC(func(s *ModelSpec) { s.Maintenance = []Window{{Cron: "* * * * *", For: time.Hour}} }))
	seen := map[*Manager]*rotations{one: {settled: map[string]string{}}, two: {settled: map[string]string{}}}
	for i := range 10 {
		for _, m := range []*Manager{one, two} {
			// A second later, for all that keepRotations looks at.
			seen[m].tried = clock.Add(-time.Hour)
			if at := rdb.HGet(ctx, "{lm:fleet}:pool:p", "last_rotation").Val(); at != "" {
				rdb.HSet(ctx, "{lm:fleet}:pool:p", "last_rotation", 1)
			}
			if err := m.Load(ctx); err != nil {
				t.Fatal(err)
			}
			m.keepRotations(ctx, seen[m])
		}
		if n := rdb.HGet(ctx, "{lm:fleet}:pool:p", "rotation_count").Val(); n != "1" {
			t.Fatalf("round %d: %s rotations", i, n)
		}
	}
}

// TestRotation_OncePerSecondAndNotWithoutTheLock: what keeps it cheap.
func TestRotation_OncePerSecondAndNotWithoutTheLock(t *testing.T) {
	server := redistest.Start(t)
	rdb := server.Client()
	m, other := manager(t, storeOn(t, server), false), manager(t, storeOn(t, server), false)
	again := func(r *rotations) string {
		t.Helper()
		if err := m.Load(ctx); err != nil {
			t.Fatal(err)
		}
		m.keepRotations(ctx, r)
		return rdb.HGet(ctx, "{lm:fleet}:pool:p", "active").Val()
	}
	fresh := func() *rotations { return &rotations{settled: map[string]string{}} }
	h := must[*LockHandle](t)(other.AcquireLock(ctx))
	if got := again(fresh()); got != "" {
		t.Errorf("without the lock: %q", got)
	}
	if err := other.ReleaseLock(ctx, h); err != nil {
		t.Fatal(err)
	}
	r := fresh()
	if got := again(r); got != "a b c" {
		t.Errorf("with the lock: %q", got)
	}
	if err := m.Operate(ctx, "a", lua.ModelDisable); err != nil {
		t.Fatal(err)
	}
	// Neither this one nor another so soon, as their clocks say.
	rdb.HSet(ctx, "{lm:fleet}:pool:p", "last_rotation", m.Now().Add(time.Minute).UnixMilli())
	if got := again(fresh()); got != "a b c" {
		t.Errorf("another, within the second: %q", got)
	}
	rdb.HSet(ctx, "{lm:fleet}:pool:p", "last_rotation", 1)
	r.tried = time.Now().Add(time.Minute)
	if got := again(r); got != "a b c" {
		t.Errorf("the same, within the second: %q", got)
	}
	r.tried = time.Now().Add(-rotateEvery)
	if got := again(r); got != "b c" {
		t.Errorf("a second later: %q", got)
	}
}
