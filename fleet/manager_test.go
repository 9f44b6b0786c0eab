package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
	"github.com/redis/go-redis/v9"
)

// TestPolicies: what each does on load, change, sync, save and crash (PARITY 74).
// A crash is a Manager that is not asked again.
func TestPolicies(t *testing.T) {
	for _, row := range []struct {
		policy                            SyncPolicy
		change, sync, save, crash, failed int64 // requests of model a that another sees after it
		pending                           int64 // after the change
	}{
		{InMemory, 0, 0, 0, 0, 0, 0},
		{OnBoundary, 0, 0, 3, 3, 4, 3},
		{Periodic, 0, 0, 3, 3, 4, 3},
		{Immediate, 3, 3, 3, 3, 4, 0},
	} {
		t.Run(string(row.policy), func(t *testing.T) {
			redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
				s := lua.NewStore(rdb, rdb, lua.Options{})
				other := manager(t, s, false)
				m := manager(t, s, false, policy(row.policy)) // of nothing: empty, no error
				sees := func(what string, want int64) {
					t.Helper()
					if got := model(t, other, "a").Requests; got != want {
						t.Errorf("after %s another sees %d requests, want %d", what, got, want)
					}
				}
				if err := m.Save(ctx); err != nil { // of nothing
					t.Fatal(err)
				}
				for i := range 3 {
					record(t, m, Outcome{Model: "a", Key: fmt.Sprint(i), Usage: used100(i)})
				}
				record(t, m, Outcome{Model: "a", Key: "2", Usage: used100(2)}) // a repeat
				sees("the change", row.change)
				if st := m.Status(); st.PendingChanges != row.pending || st.Policy != row.policy {
					t.Errorf("status %+v, want %d pending", st, row.pending)
				}
				if err := m.Sync(ctx); err != nil {
					t.Fatal(err)
				}
				sees("a sync before its time", row.sync)
				for range 2 {
					if err := m.Save(ctx); err != nil {
						t.Fatal(err)
					}
				}
				sees("the save", row.save)
				if st := m.Status(); st.PendingChanges != 0 || st.LastSync.IsZero() {
					t.Errorf("status after the save: %+v", st)
				}
				if row.policy != Immediate {
					record(t, m, Outcome{Model: "a", Key: "lost with the process"})
				}
				sees("a crash", row.crash)
				// Deadlines are written at once whatever the policy, by whoever is left.
				survivor := manager(t, s, false, policy(row.policy))
				record(t, survivor, Outcome{Model: "a", Key: "f", Kind: lm.RateLimited, RetryAfter: time.Hour})
				sees("a failure", row.failed)
				if cold := model(t, other, "a").CooldownRemaining.Std() > 59*time.Minute; cold != (row.policy != InMemory) {
					t.Errorf("the cooldown is seen: %v", cold)
				}
				if mine := survivor.Snapshot().Model("a").State; !mine.CooldownUntil.After(survivor.Now()) {
					t.Errorf("its own snapshot: %+v", mine)
				}
			})
		})
	}
}

// TestPeriodic_SavesWhenItsIntervalHasPassed, with a fake clock (PARITY 75).
func TestPeriodic_SavesWhenItsIntervalHasPassed(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		now := time.Now()
		m := manager(t, lua.NewStore(rdb, rdb, lua.Options{}), false, policy(Periodic), func(o *Options) {
			o.Interval, o.clock = 5*time.Second, func() time.Time { return now }
		})
		if err := m.Save(ctx); err != nil {
			t.Fatal(err)
		}
		record(t, m, Outcome{Model: "a"})
		for _, step := range []struct {
			pass time.Duration
			want int64
		}{{0, 1}, {4999 * time.Millisecond, 1}, {time.Millisecond, 0}} {
			now = now.Add(step.pass)
			if err := m.Sync(ctx); err != nil {
				t.Fatal(err)
			}
			st := m.Status()
			if st.PendingChanges != step.want {
				t.Errorf("%s later: %+v", step.pass, st)
			}
			if step.want == 0 && (!st.LastSync.Equal(now) || !st.NextSync.Equal(now.Add(5*time.Second))) {
				t.Errorf("times: %+v at %s", st, now)
			}
		}
	})
}

// TestPeriodic_ASuccessEndsAStreak: of another worker, at once when it is known, and
// what was pending comes before a failure.
func TestPeriodic_ASuccessEndsAStreak(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		one, two := manager(t, lua.NewStore(rdb, rdb, lua.Options{}), false, policy(Periodic)), manager(t, lua.NewStore(rdb, rdb, lua.Options{}), false, policy(Periodic))
		fails(t, one, "a", 4)
		if err := two.Fresh(ctx); err != nil {
			t.Fatal(err)
		}
		until(t, "two sees the failures", func() bool {
			_ = two.poll(ctx, false)
			return two.Snapshot().Model("a").State.Failures > 0
		})
		record(t, two, Outcome{Model: "a"})
		fails(t, one, "a", 4)
		if v := model(t, one, "a"); v.Circuit != "closed" || v.Failures != 4 {
			t.Errorf("%+v", v)
		}
		// Its own: 20 pending successes and then failures are not half of 20.
		for range 20 {
			record(t, one, Outcome{Model: "b"})
		}
		fails(t, one, "b", 4)
		if v := model(t, one, "b"); v.Requests != 24 || v.ErrorRate != 4.0/24 || v.Circuit != "closed" {
			t.Errorf("%+v", v)
		}
	})
}

// TestSave_ALostReplyIsNotCountedTwice: the batch goes again under its own keys.
func TestSave_ALostReplyIsNotCountedTwice(t *testing.T) {
	server := redistest.Start(t, redistest.WithTCP())
	proxy := redistest.NewProxy(t, server)
	rdb := proxy.Client()
	m := manager(t, lua.NewStore(rdb, rdb, lua.Options{}), false, policy(Periodic))
	warm := func(n int) {
		for range n {
			record(t, m, Outcome{Model: "a", Op: "0-x", Tenant: "t", CostUSD: 1})
		}
	}
	warm(1)
	if err := m.Save(ctx); err != nil {
		t.Fatal(err)
	}
	warm(2)
	proxy.LoseReply("evalsha")
	if err := m.Save(ctx); err == nil {
		t.Fatal("the reply was not lost")
	}
	warm(4)
	if st := m.Status(); st.PendingChanges != 6 {
		t.Errorf("%+v", st)
	}
	if err := m.Save(ctx); err != nil {
		t.Fatal(err)
	}
	if v := model(t, m, "a"); v.Requests != 7 || v.CostUSD != 7 {
		t.Errorf("%d requests, cost %v", v.Requests, v.CostUSD)
	}
	s := storeOn(t, server)
	for _, who := range [][2]string{{"op", "0-x"}, {"tenant", "t"}} {
		if c := must[map[string]string](t)(s.Costs(ctx, who[0], who[1])); c["requests"] != "7" || c["cost"] != "7000000000" {
			t.Errorf("%s: %v", who, c)
		}
	}
}

// TestCounts_FourProcessesAddUp: 10,000 concurrent records, every tenth sent twice,
// under both policies that share counters (PARITY 79).
func TestCounts_FourProcessesAddUp(t *testing.T) {
	const processes, each = 4, 2500
	for _, p := range []SyncPolicy{Immediate, Periodic} {
		t.Run(string(p), func(t *testing.T) {
			server := redistest.Start(t, redistest.WithTCP())
			var all sync.WaitGroup
			began := time.Now()
			for i := range processes {
				cmd := helper(t, server, "records", p, i, each)
				all.Go(func() {
					if err := cmd.Run(); err != nil {
						t.Errorf("process %d: %v", i, err)
					}
				})
			}
			all.Wait()
			t.Logf("%d records from %d processes in %s", processes*each, processes, time.Since(began))
			s := storeOn(t, server)
			m := manager(t, s, false)
			v := model(t, m, "a")
			const n = processes * each
			if v.Requests != n || v.Errors != 0 || v.Tokens != 110*n || nano(v.CostUSD) != 700*n || v.Cached != 0.4 {
				t.Errorf("requests %d errors %d tokens %d cost %v cached %v", v.Requests, v.Errors, v.Tokens, v.CostUSD, v.Cached)
			}
			if c := must[map[string]string](t)(s.Costs(ctx, "tenant", "t")); c["requests"] != fmt.Sprint(n) || c["input"] != fmt.Sprint(100*n) {
				t.Errorf("tenant: %v", c)
			}
			sum := 0
			for i := range 7 {
				var k int
				_, _ = fmt.Sscan(must[map[string]string](t)(s.Costs(ctx, "op", string(opID(i))))["requests"], &k)
				sum += k
			}
			if sum != n {
				t.Errorf("operations: %d", sum)
			}
			if st := must[SystemState](t)(m.System(ctx)); nano(st.Providers[0].TotalCost) != 700*n {
				t.Errorf("provider: %+v", st.Providers[0])
			}
		})
	}
}

// TestScripts_PerCall: at most two under immediate, one without limits, none for a
// success under periodic.
func TestScripts_PerCall(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		for _, row := range []struct {
			policy SyncPolicy
			model  string
			want   int64
		}{{Immediate, "a", 1}, {Immediate, "c", 2}, {Periodic, "a", 0}, {Periodic, "c", 2}, {OnBoundary, "a", 0}} {
			s := lua.NewStore(rdb, rdb, lua.Options{})
			m := manager(t, s, false, policy(row.policy), withC(func(s *ModelSpec) { s.Limits = Limits{Concurrent: 2} }))
			for i := range 10 {
				o := Outcome{Model: row.model, Key: fmt.Sprint(row, i), Tenant: "t", Op: "0-x", CostUSD: 0.01}
				before := s.ScriptRuns()
				if row.model == "c" {
					o.Reservation = admit(t, m, Admission{Model: "c", Key: o.Key, Tokens: 10}).Reservation
				}
				record(t, m, o)
				if got := s.ScriptRuns() - before; got != row.want {
					t.Errorf("%+v: %d scripts", row, got)
				}
			}
		}
	})
}

// TestManager_WithoutRedis: reads and records fail, and the snapshot stays.
func TestManager_WithoutRedis(t *testing.T) {
	server := redistest.Start(t)
	m := manager(t, storeOn(t, server), false)
	record(t, m, Outcome{Model: "a", Kind: lm.RateLimited, RetryAfter: time.Hour})
	before := m.Snapshot()
	server.Kill()
	if err := m.Record(ctx, Outcome{Model: "a", Backend: "one"}); err == nil || !errors.Is(err, lm.ErrUnavailable) {
		t.Errorf("record: %v", err)
	}
	if err := m.Load(ctx); err == nil {
		t.Error("load: no error")
	}
	if m.Snapshot() != before {
		t.Error("the snapshot went")
	}
	none, err := New(nil, Options{Policy: InMemory, Spec: testSpec()})
	if err != nil {
		t.Fatal(err)
	}
	c, cancel := context.WithCancel(ctx)
	cancel()
	if err := none.Run(c); err != nil {
		t.Error(err)
	}
	if _, err := New(nil, Options{}); err == nil {
		t.Error("immediate without Redis was accepted")
	}
	if _, err := New(nil, Options{Policy: "sometimes"}); err == nil {
		t.Error("an unknown policy was accepted")
	}
}
