package fleet

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

// alone is a Manager of policy InMemory with a clock of the test's.
func alone(t *testing.T) (m *Manager, pass func(time.Duration)) {
	var now atomic.Pointer[time.Time]
	start := time.Now()
	now.Store(&start)
	m = manager(t, nil, false, policy(InMemory), lockOptions("one", time.Second, 50*time.Millisecond), func(o *Options) {
		o.clock = func() time.Time { return *now.Load() }
	})
	return m, func(d time.Duration) {
		later := now.Load().Add(d)
		now.Store(&later)
		if err := m.Load(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// TestInMemory_IsTheSameTruthForOneProcess: breaker, cooldown, limits, sessions.
func TestInMemory_IsTheSameTruthForOneProcess(t *testing.T) {
	m, pass := alone(t)
	fails(t, m, "a", 5)
	if v := model(t, m, "a"); v.Circuit != "open" || v.Status != Standby || v.ErrorRate != 1 {
		t.Fatalf("%+v", v)
	}
	if got := admit(t, m, Admission{Model: "a", Key: "k"}); got.OK || got.Reason != ReasonErrorThreshold {
		t.Errorf("open: %+v", got)
	}
	pass(40 * time.Second)
	probe := admit(t, m, Admission{Model: "a", Key: "k"})
	if !probe.Probe || admit(t, m, Admission{Model: "a", Key: "k2"}).OK {
		t.Errorf("half-open: %+v", probe)
	}
	record(t, m, Outcome{Model: "a", Key: "k", Probe: true, Reservation: probe.Reservation, CircuitEpoch: probe.CircuitEpoch})
	if v := model(t, m, "a"); v.Circuit != "closed" || v.Requests != 6 || v.Errors != 5 {
		t.Errorf("%+v", v)
	}
	record(t, m, Outcome{Model: "b", Kind: lm.QuotaExhausted, RetryAfter: time.Minute})
	if r, _ := m.Snapshot().Model("a").Standby(m.Now()); r != ReasonQuota {
		t.Errorf("its backend is paused: %q", r)
	}
	for i, want := range []bool{true, true, false} {
		if got := admit(t, m, Admission{Model: "c", Key: fmt.Sprint(i), Cost: 0.1, For: time.Minute}); got.OK != want {
			t.Errorf("call %d: %+v", i, got)
		}
	}
	pass(61 * time.Second)
	if got := admit(t, m, Admission{Model: "c", Key: "after", Cost: 0.1}); !got.OK {
		t.Errorf("reservations did not expire: %+v", got)
	}
	if err := m.Operate(ctx, "b", lua.ModelDisable); err != nil || !m.Snapshot().Model("b").State.Disabled {
		t.Errorf("disable: %v", err)
	}

	key := NewSessionKey("p", "", ScopeRun, "r")
	must[Session](t)(m.ChangeSession(ctx, key, SessionChange{Kind: Bind, To: "a", Home: "a", Lifetime: time.Minute}))
	if s := must[Session](t)(m.ChangeSession(ctx, key, SessionChange{Kind: Move, From: "a", To: "b", MaxSwitches: 1, Lifetime: time.Minute})); s.Active != "b" || s.Switches != 1 {
		t.Errorf("%+v", s)
	}
	pass(59 * time.Second)
	if s := must[Session](t)(m.Session(ctx, key)); !s.Exists || s.Home != "a" || s.Changed {
		t.Errorf("%+v", s)
	}
	pass(2 * time.Second)
	if s := must[Session](t)(m.Session(ctx, key)); s.Exists {
		t.Errorf("it never ends: %+v", s)
	}
	if n := must[uint64](t)(m.Turn(ctx, "p")); n != 0 {
		t.Errorf("turn %d", n)
	}
}

// TestInMemory_ForgetsWhatHasExpired: memory is bounded by time.
func TestInMemory_ForgetsWhatHasExpired(t *testing.T) {
	m, pass := alone(t)
	y := m.at.(*memory)
	for i := range 3000 {
		record(t, m, Outcome{Model: "a", Key: fmt.Sprint(i)})
		must[Session](t)(m.ChangeSession(ctx, SessionKey(fmt.Sprint("p:", i)), SessionChange{Kind: Bind, To: "a", Home: "a"}))
	}
	pass(2 * time.Hour)
	for i := range 2 * sweepEvery {
		record(t, m, Outcome{Model: "b", Key: fmt.Sprint("b", i)})
	}
	if n := len(y.models["a"].seen) + len(y.sessions); n != 0 {
		t.Errorf("%d are left", n)
	}
}

func TestInMemory_LockHoldsInTheProcess(t *testing.T) {
	m, pass := alone(t)
	h := must[*LockHandle](t)(m.AcquireLock(ctx))
	if _, err := m.Rotate(ctx, h, "p", ""); err != nil {
		t.Fatal(err)
	}
	if p := must[SystemState](t)(m.System(ctx)).Pools[0]; p.LastTrigger != StartupProbe || len(p.ActiveModels) != 3 {
		t.Errorf("%+v", p)
	}
	if err := h.Renew(ctx); err != nil {
		t.Error(err)
	}
	pass(2 * time.Second)
	if err := h.SetSystem(ctx, map[string]string{"a": "b"}); !errors.Is(err, ErrLockLost) {
		t.Errorf("past its end: %v", err)
	}
	if err := h.Renew(ctx); !errors.Is(err, ErrLockLost) {
		t.Errorf("renew: %v", err)
	}
	next := must[*LockHandle](t)(m.AcquireLock(ctx))
	if next.Fence <= h.Fence {
		t.Errorf("fence %d after %d", next.Fence, h.Fence)
	}
	if l, err := m.at.LockHolder(ctx); err != nil || !l.Held {
		t.Errorf("%+v %v", l, err)
	}
	if err := m.ReleaseLock(ctx, h); err != nil {
		t.Error(err)
	}
	if err := m.ReleaseLock(ctx, next); err != nil {
		t.Error(err)
	}
	if l, _ := m.at.LockHolder(ctx); l.Held {
		t.Errorf("%+v", l)
	}
}
