package fleet

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
	"github.com/redis/go-redis/v9"
)

const lockLifeOfHelper = 400 * time.Millisecond

func lockOptions(owner string, life, wait time.Duration) func(*Options) {
	return func(o *Options) { o.Owner, o.LockLife, o.LockWait = owner, life, wait }
}

// TestLock_IsExclusiveWaitsAndTimesOut.
func TestLock_IsExclusiveWaitsAndTimesOut(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := lua.NewStore(rdb, rdb, lua.Options{})
		one, two := manager(t, s, false, lockOptions("one", time.Minute, time.Minute)), manager(t, s, false, lockOptions("two", time.Minute, 100*time.Millisecond))
		h := must[*LockHandle](t)(one.AcquireLock(ctx))
		if !h.Held() || h.Owner != "one" || h.Fence == 0 || h.AcquiredAt.IsZero() {
			t.Errorf("%+v", h)
		}
		if _, err := two.AcquireLock(ctx); !errors.Is(err, ErrLockTimeout) {
			t.Errorf("a second holder: %v", err)
		}
		if st := two.Status(); st.Locked || st.LockOwner != "one" {
			t.Errorf("%+v", st)
		}
		if st := one.Status(); !st.Locked || st.LockOwner != "one" {
			t.Errorf("%+v", st)
		}
		if err := one.ReleaseLock(ctx, h); err != nil || h.Held() || h.Context().Err() == nil {
			t.Errorf("released: %v, held %v", err, h.Held())
		}
		if err := one.ReleaseLock(ctx, h); err != nil {
			t.Errorf("again: %v", err)
		}
		next := must[*LockHandle](t)(two.AcquireLock(ctx))
		if next.Fence <= h.Fence {
			t.Errorf("fence %d after %d", next.Fence, h.Fence)
		}
		// Only the owner releases: the old handle's token does nothing.
		if ok := must[bool](t)(s.ReleaseLock(ctx, h.ID, h.Fence)); ok || !must[lua.Lock](t)(s.LockHolder(ctx)).Held {
			t.Error("another's lock was released")
		}
		if err := two.ReleaseLock(ctx, next); err != nil {
			t.Error(err)
		}
	})
}

// TestLock_IsTakenOverAfterExpiryWhileWaiting, and the old holder's writes are
// refused although it still thinks it holds.
func TestLock_IsTakenOverAfterExpiryWhileWaiting(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := lua.NewStore(rdb, rdb, lua.Options{})
		one, two := manager(t, s, false, lockOptions("one", time.Minute, time.Minute)), manager(t, s, false, lockOptions("two", time.Minute, time.Minute))
		dead := must[*LockHandle](t)(one.AcquireLock(ctx))
		if err := dead.SetSystem(ctx, map[string]string{"a": "1"}); err != nil {
			t.Fatal(err)
		}
		got := make(chan *LockHandle)
		go func() {
			h, err := two.AcquireLock(ctx)
			if err != nil {
				t.Error(err)
			}
			got <- h
		}()
		rdb.PExpire(ctx, "{lm:fleet}:lock", time.Millisecond)
		h := <-got
		if h == nil {
			t.Fatal("not taken over")
		}
		if !dead.Held() {
			t.Error("it cannot know yet")
		}
		if err := dead.SetSystem(ctx, map[string]string{"a": "2"}); !errors.Is(err, ErrLockLost) {
			t.Errorf("a guarded write of the old holder: %v", err)
		}
		if v := rdb.HGet(ctx, "{lm:fleet}:system", "a").Val(); v != "1" || dead.Held() {
			t.Errorf("it wrote %q, held %v", v, dead.Held())
		}
		if err := dead.Renew(ctx); !errors.Is(err, ErrLockLost) {
			t.Errorf("renew after loss: %v", err)
		}
		if err := one.ReleaseLock(ctx, dead); err != nil || !must[lua.Lock](t)(s.LockHolder(ctx)).Held {
			t.Errorf("release of a lost lock: %v", err)
		}
		// Token and fence are both compared.
		if must[bool](t)(s.SetUnderLock(ctx, h.ID, h.Fence-1, "", map[string]string{"a": "3"})) || must[bool](t)(s.SetUnderLock(ctx, "x", h.Fence, "", map[string]string{"a": "3"})) {
			t.Error("half a proof was enough")
		}
		if err := two.ReleaseLock(ctx, h); err != nil {
			t.Error(err)
		}
	})
}

// TestLock_ALostReplyIsTheSameHolding: the lock was taken, and nobody heard it.
func TestLock_ALostReplyIsTheSameHolding(t *testing.T) {
	server := redistest.Start(t, redistest.WithTCP())
	proxy := redistest.NewProxy(t, server)
	rdb := proxy.Client()
	m := manager(t, lua.NewStore(rdb, rdb, lua.Options{}), false, lockOptions("one", time.Minute, 10*time.Second))
	first := must[*LockHandle](t)(m.AcquireLock(ctx)) // so that the script is known
	if err := m.ReleaseLock(ctx, first); err != nil {
		t.Fatal(err)
	}
	proxy.LoseReply("evalsha")
	h := must[*LockHandle](t)(m.AcquireLock(ctx))
	if proxy.Lost() != 1 {
		t.Fatalf("%d replies were lost", proxy.Lost())
	}
	if minted := server.Client().Get(ctx, "{lm:fleet}:fence").Val(); minted != fmt.Sprint(h.Fence) || !h.Held() {
		t.Errorf("fence %d, minted %s", h.Fence, minted)
	}
	if err := m.ReleaseLock(ctx, h); err != nil {
		t.Error(err)
	}
}

// TestLock_ARenewalFindsTheLoss and cancels the work with its cause.
func TestLock_ARenewalFindsTheLoss(t *testing.T) {
	server := redistest.Start(t)
	m := manager(t, storeOn(t, server), false, lockOptions("one", 600*time.Millisecond, time.Minute))
	h := must[*LockHandle](t)(m.AcquireLock(ctx))
	rdb := server.Client()
	first := h.ExpiresAt()
	until(t, "it renews", func() bool { return h.ExpiresAt().After(first) })
	rdb.Del(ctx, "{lm:fleet}:lock")
	<-h.Context().Done()
	if st := m.Status(); h.Held() || st.Locked {
		t.Errorf("held %v, %+v", h.Held(), st)
	}
	if err := m.ReleaseLock(ctx, h); err != nil {
		t.Error(err)
	}
	// Not by its end, but by the answer.
	long := manager(t, storeOn(t, server), false, lockOptions("one", time.Hour, time.Minute))
	h = must[*LockHandle](t)(long.AcquireLock(ctx))
	rdb.Del(ctx, "{lm:fleet}:lock")
	if err := h.Renew(ctx); !errors.Is(err, ErrLockLost) || h.Held() || !errors.Is(context.Cause(h.Context()), ErrLockLost) {
		t.Errorf("renew: %v, held %v, cause %v", err, h.Held(), context.Cause(h.Context()))
	}
	if err := long.ReleaseLock(ctx, h); err != nil {
		t.Error(err)
	}
}

// TestLock_CouldNotCheckIsNotLost until its end by our own clock has passed.
func TestLock_CouldNotCheckIsNotLost(t *testing.T) {
	server := redistest.Start(t)
	m := manager(t, storeOn(t, server), false, lockOptions("one", 3*time.Second, 300*time.Millisecond))
	h := must[*LockHandle](t)(m.AcquireLock(ctx))
	server.Kill()
	if err := h.Renew(ctx); !errors.Is(err, ErrLockUnknown) || errors.Is(err, ErrLockLost) {
		t.Errorf("renew without Redis: %v", err)
	}
	if time.Now().Before(h.ExpiresAt()) && !h.Held() {
		t.Error("given up before its end")
	}
	ends := h.ExpiresAt()
	<-h.Context().Done()
	if time.Now().Before(ends) {
		t.Errorf("given up %s before its end", time.Until(ends))
	}
	if _, err := m.AcquireLock(ctx); !errors.Is(err, ErrLockUnknown) {
		t.Errorf("acquire without Redis: %v", err)
	}
	if err := m.ReleaseLock(ctx, h); err != nil {
		t.Errorf("release of a lost lock: %v", err)
	}
}

// TestLock_FortyContenders: 20 rounds each, never two holders (PARITY 81).
func TestLock_FortyContenders(t *testing.T) {
	server := redistest.Start(t)
	const contenders, rounds = 40, 20
	var inside, worst, total atomic.Int64
	var last int64 // only the holder touches it
	var all sync.WaitGroup
	began := time.Now()
	var stores [4]*lua.Store
	for i := range stores {
		stores[i] = storeOn(t, server)
	}
	for i := range contenders {
		m := manager(t, stores[i%4], false, lockOptions(fmt.Sprint("c", i), 30*time.Second, 5*time.Minute))
		all.Go(func() {
			for range rounds {
				h, err := m.AcquireLock(ctx)
				if err != nil {
					t.Error(err)
					return
				}
				if n := inside.Add(1); n > worst.Load() {
					worst.Store(n)
				}
				if h.Fence <= last {
					t.Errorf("fence %d after %d", h.Fence, last)
				}
				last = h.Fence
				total.Add(1)
				inside.Add(-1)
				if err := m.ReleaseLock(ctx, h); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	t.Logf("%d holdings in %s", total.Load(), time.Since(began))
	if worst.Load() != 1 || total.Load() != contenders*rounds {
		t.Errorf("%d holders at once, %d holdings", worst.Load(), total.Load())
	}
}

// TestLock_AStoppedHolderWritesNothing: a process stopped past the lock's life is
// refused every guarded write, whatever it believes.
func TestLock_AStoppedHolderWritesNothing(t *testing.T) {
	server := redistest.Start(t, redistest.WithTCP())
	cmd := helper(t, server, "holder")
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait() //nolint:errcheck // it ends with its standard input
	defer in.Close()
	lines := bufio.NewScanner(out)
	say := func() string {
		if !lines.Scan() {
			t.Fatal("the holder is gone")
		}
		return lines.Text()
	}
	if held := say(); held[:4] != "held" {
		t.Fatal(held)
	}
	fmt.Fprintln(in, "write")
	if got := say(); got != "wrote true <nil> believes true" {
		t.Fatal(got)
	}
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	rdb := server.Client()
	m := manager(t, storeOn(t, server), false, lockOptions("next", time.Minute, time.Minute))
	h := must[*LockHandle](t)(m.AcquireLock(ctx))
	if err := h.set(ctx, "p", map[string]string{"written_by": "next"}); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Process.Signal(syscall.SIGCONT)
	for range 3 {
		fmt.Fprintln(in, "write")
		if got := say(); got[:11] != "wrote false" {
			t.Errorf("the stopped holder: %s", got)
		}
	}
	if by := rdb.HGet(ctx, "{lm:fleet}:pool:p", "written_by").Val(); by != "next" {
		t.Errorf("written by %s", by)
	}
	if err := m.ReleaseLock(ctx, h); err != nil {
		t.Error(err)
	}
}

// TestRotate_CountsAndNeedsTheLock.
func TestRotate_CountsAndNeedsTheLock(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		m := manager(t, lua.NewStore(rdb, rdb, lua.Options{}), false)
		h := must[*LockHandle](t)(m.AcquireLock(ctx))
		rotate := func(because Trigger, want int64) {
			t.Helper()
			if _, err := m.Rotate(ctx, h, "p", because); err != nil {
				t.Fatal(err)
			}
			if p := must[SystemState](t)(m.System(ctx)).Pools[0]; p.RotationCount != want || p.LastRotation.IsZero() {
				t.Errorf("after %s: %+v", because, p)
			}
		}
		rotate(StartupProbe, 0)
		rotate(StartupProbe, 0)
		if err := m.Operate(ctx, "b", lua.ModelDisable); err != nil {
			t.Fatal(err)
		}
		rotate(Deactivated, 1)
		rotate(Deactivated, 1)
		p := must[SystemState](t)(m.System(ctx)).Pools[0]
		if fmt.Sprintln(p.ActiveModels, p.StandbyModels, p.LastTrigger) != "[a c] [b] deactivated\n" {
			t.Errorf("%+v", p)
		}
		if err := m.Operate(ctx, "b", lua.ModelEnable); err != nil {
			t.Fatal(err)
		}
		rotate("", 2)
		if p := must[SystemState](t)(m.System(ctx)).Pools[0]; p.LastTrigger != Manual {
			t.Errorf("enabled again: %+v", p)
		}
		// What brought a member back is found out.
		key := "{lm:fleet}:model:b"
		now := m.Now()
		later, before := now.Add(time.Hour).UnixMilli(), now.Add(-time.Hour).UnixMilli()
		for i, row := range []struct {
			fields []any
			back   []any
			want   Trigger
		}{
			{[]any{"cooldown_until", later}, []any{"cooldown_until", before}, CooldownExpired},
			{[]any{"quarantine_until", later}, []any{"quarantine_until", before}, CooldownExpired},
			{[]any{"circuit", "open", "open_until", before}, []any{"circuit", ""}, ProbeSuccess},
		} {
			rdb.HSet(ctx, key, row.fields...)
			rotate("", int64(3+2*i))
			if p := must[SystemState](t)(m.System(ctx)).Pools[0]; p.LastTrigger != Deactivated {
				t.Errorf("%v: %+v", row.fields, p)
			}
			rdb.HSet(ctx, key, row.back...)
			rotate("", int64(4+2*i))
			if p := must[SystemState](t)(m.System(ctx)).Pools[0]; p.LastTrigger != row.want {
				t.Errorf("%v: %s, want %s", row.back, p.LastTrigger, row.want)
			}
		}
		rdb.HSet(ctx, "{lm:fleet}:model:c", "quota_used", 100, "quota_start", Monthly.Start(now).UnixMilli())
		rotate("", 9)
		rdb.HSet(ctx, "{lm:fleet}:model:c", "quota_used", 0)
		rotate("", 10)
		if p := must[SystemState](t)(m.System(ctx)).Pools[0]; p.LastTrigger != QuotaReset {
			t.Errorf("a new period: %+v", p)
		}
		if err := m.Operate(ctx, "b", lua.ModelDisable); err != nil {
			t.Fatal(err)
		}
		rdb.Del(ctx, "{lm:fleet}:lock")
		if _, err := m.Rotate(ctx, h, "p", Manual); !errors.Is(err, ErrLockLost) {
			t.Errorf("without the lock: %v", err)
		}
		_ = m.ReleaseLock(ctx, h)
	})
}
