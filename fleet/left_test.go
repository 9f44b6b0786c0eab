package fleet

import (
	"context"
	"testing"
	"time"

	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
	"github.com/redis/go-redis/v9"
)

// TestAdmit_TheSameCallAnewHoldsAgain: its expired reservation has the same name.
func TestAdmit_TheSameCallAnewHoldsAgain(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := lua.NewStore(rdb, rdb, lua.Options{})
		m := manager(t, s, false)
		if got := admit(t, m, Admission{Model: "c", Key: "k", Tokens: 1, For: time.Millisecond}); !got.OK {
			t.Fatal(got)
		}
		until(t, "it expires", func() bool { return must[int64](t)(s.Running(ctx, "c")) == 0 })
		if got := admit(t, m, Admission{Model: "c", Key: "k", Tokens: 1, For: time.Minute}); !got.OK {
			t.Fatal(got)
		}
		if n := must[int64](t)(s.Running(ctx, "c")); n != 1 {
			t.Errorf("%d running", n)
		}
	})
}

// TestSave_WhatRedisDidNotHearIsKept, beside what comes meanwhile.
func TestSave_WhatRedisDidNotHearIsKept(t *testing.T) {
	server := redistest.Start(t, redistest.WithAppendOnly())
	m := manager(t, storeOn(t, server), false, policy(Periodic))
	server.Kill()
	record(t, m, Outcome{Model: "a"})
	record(t, m, Outcome{Model: "b"})
	for range 2 {
		if err := m.Save(ctx); err == nil {
			t.Fatal("saved without Redis")
		}
		record(t, m, Outcome{Model: "a"})
	}
	if st := m.Status(); st.PendingChanges != 4 {
		t.Errorf("%+v", st)
	}
	server.Restart()
	if err := m.Save(ctx); err != nil {
		t.Fatal(err)
	}
	if a, b := model(t, m, "a").Requests, model(t, m, "b").Requests; a != 3 || b != 1 {
		t.Errorf("a %d, b %d", a, b)
	}
}

// TestRun_LeavesNothingBehind: it saves what is pending and gives up the lock.
func TestRun_LeavesNothingBehind(t *testing.T) {
	server := redistest.Start(t)
	s := storeOn(t, server)
	m := manager(t, s, false, policy(OnBoundary))
	running, stop := context.WithCancel(ctx)
	done := make(chan error)
	go func() { done <- m.Run(running) }()
	h := must[*LockHandle](t)(m.AcquireLock(ctx))
	record(t, m, Outcome{Model: "a"})
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if l := must[lua.Lock](t)(s.LockHolder(ctx)); l.Held || h.Held() {
		t.Errorf("the lock is held: %+v", l)
	}
	if v := model(t, m, "a"); v.Requests != 1 {
		t.Errorf("%d requests", v.Requests)
	}
}
