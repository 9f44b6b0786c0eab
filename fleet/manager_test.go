package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
				if cold := model(t, other, "a").CooldownRemaining > 59*time.Minute; cold != (row.policy != InMemory) {
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

// TestSnapshot_ACooldownReachesEveryWorkerWithinASecond: four Managers with clients
// of their own, each in use; p99 over all of them.
func TestSnapshot_ACooldownReachesEveryWorkerWithinASecond(t *testing.T) {
	server := redistest.Start(t)
	const workers = 4
	rounds := 6
	if full {
		rounds = 40
	}
	var ms []*Manager
	for i := range workers {
		ms = append(ms, manager(t, storeOn(t, server), true, func(o *Options) { o.Owner = fmt.Sprint("w", i) }))
	}
	var took []time.Duration
	for round := range rounds {
		by := ms[round%workers]
		record(t, by, Outcome{Model: "a", Kind: lm.RateLimited, RetryAfter: time.Duration(round+2) * time.Minute})
		set := time.Now()
		want := by.Snapshot().Model("a").State.CooldownUntil
		if !want.After(by.Now().Add(time.Duration(round+1) * time.Minute)) {
			t.Fatalf("its own snapshot says %s", want)
		}
		for _, m := range ms {
			if m == by {
				continue
			}
			until(t, "the cooldown is seen", func() bool { return !m.Snapshot().Model("a").State.CooldownUntil.Before(want) })
			took = append(took, time.Since(set))
		}
		// And so does an operator's word, from a process that only gives it.
		disabled := round%2 == 0
		word := map[bool]string{true: lua.ModelDisable, false: lua.ModelEnable}[disabled]
		if err := manager(t, storeOn(t, server), false).Operate(ctx, "b", word); err != nil {
			t.Fatal(err)
		}
		set = time.Now()
		for _, m := range ms {
			until(t, word+" is seen", func() bool { return m.Snapshot().Model("b").State.Disabled == disabled })
			took = append(took, time.Since(set))
		}
	}
	slices.Sort(took)
	p99 := took[len(took)*99/100]
	t.Logf("p50 %s p99 %s of %d", took[len(took)/2], p99, len(took))
	bound := 5 * time.Second
	if full {
		bound = time.Second
	}
	if p99 > bound {
		t.Errorf("p99 %s", p99)
	}
}

// TestSnapshot_AnIdleManagerAsksLittleAndIsFreshWhenAsked.
func TestSnapshot_AnIdleManagerAsksLittleAndIsFreshWhenAsked(t *testing.T) {
	server := redistest.Start(t)
	m := manager(t, storeOn(t, server), true, func(o *Options) { o.Poll = 2 * time.Millisecond })
	rdb := server.Client()
	commands := func() int64 {
		var n int64
		for _, line := range []string{"get", "hgetall"} {
			n += redisCalls(t, rdb, line)
		}
		return n
	}
	var quiet int64
	until(t, "it has become quiet", func() bool {
		time.Sleep(20 * time.Millisecond)
		now := commands()
		defer func() { quiet = now }()
		return now == quiet && now > 10
	})
	other := manager(t, storeOn(t, server), false)
	if err := other.Operate(ctx, "a", lua.ModelDisable); err != nil {
		t.Fatal(err)
	}
	m.base.Store(&reading{server: m.Now(), local: time.Now(), checked: time.Now().Add(-2 * time.Second)})
	if err := m.Fresh(ctx); err != nil || !m.snapshot.Load().Model("a").State.Disabled {
		t.Errorf("after Fresh: %v", err)
	}
	before := commands()
	for range 100 {
		if err := m.Fresh(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if n := commands() - before; n > 60 {
		t.Errorf("100 times Fresh cost %d commands", n)
	}
	// A session read brings news too.
	if err := other.Operate(ctx, "b", lua.ModelDisable); err != nil {
		t.Fatal(err)
	}
	must[Session](t)(m.Session(ctx, "p:x"))
	if !m.snapshot.Load().Model("b").State.Disabled {
		t.Error("a session read brought no news")
	}
}

// TestSnapshot_InHeavyUseAsksOncePerPoll: a question is no reason to ask Redis.
func TestSnapshot_InHeavyUseAsksOncePerPoll(t *testing.T) {
	server := redistest.Start(t)
	m := manager(t, storeOn(t, server), true, func(o *Options) { o.Poll = 100 * time.Millisecond })
	rdb := server.Client()
	before, began := redisCalls(t, rdb, "get"), time.Now()
	for time.Since(began) < 500*time.Millisecond {
		m.Snapshot()
	}
	polls := redisCalls(t, rdb, "get") - before
	if most := int64(time.Since(began)/(100*time.Millisecond)) + 2; polls > most || polls == 0 {
		t.Errorf("%d polls, want at most %d", polls, most)
	}
}

func redisCalls(t *testing.T, rdb redis.UniversalClient, command string) (n int64) {
	t.Helper()
	info := rdb.Info(ctx, "commandstats").Val()
	for line := range slices.Values(splitLines(info)) {
		var rest string
		if _, err := fmt.Sscanf(line, "cmdstat_"+command+":calls=%d,%s", &n, &rest); err == nil {
			return n
		}
	}
	return 0
}

func splitLines(s string) (lines []string) {
	start := 0
	for i := range len(s) {
		if s[i] == '\n' {
			lines = append(lines, s[start:i])
			start = i + 1
		}
	}
	return lines
}

// TestProbe_OnePerOpening: a fleet of 8 workers asks at once, over many openings.
func TestProbe_OnePerOpening(t *testing.T) {
	openings := 25
	if full {
		openings = 100
	}
	server := redistest.Start(t)
	brief := func(o *Options) {
		o.Breaker = BreakerSpec{Base: 2 * time.Millisecond, Cap: 2 * time.Millisecond}
	}
	var ms []*Manager
	for i := range 8 {
		ms = append(ms, manager(t, storeOn(t, server), false, brief, func(o *Options) { o.Owner = fmt.Sprint("w", i) }))
	}
	fails(t, ms[0], "a", 5)
	for opening := range openings {
		probes := make(chan int, 8*3)
		var got [8]Admitted
		until(t, "somebody is admitted", func() bool {
			var all sync.WaitGroup
			for i, m := range ms {
				all.Go(func() {
					for try := range 3 {
						a, err := m.Admit(ctx, Admission{Model: "a", Key: fmt.Sprint(opening, " ", try), For: time.Minute})
						if err != nil {
							t.Error(err)
						}
						if a.OK {
							got[i] = a
							probes <- i
							return
						}
					}
				})
			}
			all.Wait()
			return len(probes) > 0
		})
		if len(probes) != 1 {
			t.Fatalf("opening %d: %d probes", opening, len(probes))
		}
		i := <-probes
		record(t, ms[i], Outcome{Model: "a", Key: fmt.Sprint("r", opening), Kind: lm.ProviderFailed, Probe: true, CircuitEpoch: got[i].CircuitEpoch, Reservation: got[i].Reservation})
	}
	if v := model(t, ms[0], "a"); v.Opened != openings+1 || v.CircuitEpoch != int64(openings+1) {
		t.Errorf("opened %d times, epoch %d", v.Opened, v.CircuitEpoch)
	}
}

// TestVerdicts: which kind counts, cools and quarantines whom.
func TestVerdicts_SetAsideWhomTheTableSays(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := lua.NewStore(rdb, rdb, lua.Options{})
		for _, row := range []struct {
			kind     lm.Kind
			after    time.Duration
			failures int
			cold     time.Duration // of a, about
			backend  bool          // b is set aside with it
			barred   bool
		}{
			{"", 0, 0, 0, false, false},
			{lm.RateLimited, time.Minute, 1, time.Minute, false, false},
			{lm.RateLimited, 0, 1, 0, false, false},
			{lm.RateLimited, 90 * time.Hour, 1, 24 * time.Hour, false, false},
			{lm.Overloaded, time.Minute, 1, time.Minute, false, false},
			{lm.QuotaExhausted, time.Hour, 0, time.Hour, true, false},
			{lm.QuotaExhausted, 0, 0, 15 * time.Minute, true, false},
			{lm.ProviderFailed, 0, 1, 0, false, false},
			{lm.TimedOut, 0, 1, 0, false, false},
			{lm.StreamInterrupted, 0, 1, 0, false, false},
			{lm.Unauthorized, 0, 0, 15 * time.Minute, true, true},
			{lm.ModelNotFound, 0, 0, 15 * time.Minute, false, true},
			{lm.ContextOverflow, 0, 0, 0, false, false},
			{lm.InvalidRequest, 0, 0, 0, false, false},
			{lm.ContentFiltered, 0, 0, 0, false, false},
			{lm.CallCancelled, 0, 0, 0, false, false},
		} {
			rdb.FlushAll(ctx)
			m := manager(t, s, false, func(o *Options) { o.Credentials = map[string]string{"one": "k1"} })
			record(t, m, Outcome{Model: "a", Kind: row.kind, RetryAfter: row.after})
			a, b := m.Snapshot().Model("a").State, m.Snapshot().Model("b").State
			left := func(st ModelState) time.Duration {
				if row.barred {
					return max(st.QuarantineUntil.Sub(m.Now()), 0)
				}
				return max(st.CooldownUntil.Sub(m.Now()), 0)
			}
			near := func(d, want time.Duration) bool { return d <= want+time.Second && d >= want-10*time.Second }
			wantB := time.Duration(0)
			if row.backend {
				wantB = row.cold
			}
			if a.Failures != row.failures || !near(left(a), row.cold) || !near(left(b), wantB) {
				t.Errorf("%q %s: failures %d, a %s, b %s", row.kind, row.after, a.Failures, left(a), left(b))
			}
			if row.kind == lm.Unauthorized {
				other := manager(t, s, false, func(o *Options) { o.Credentials = map[string]string{"one": "k2"} })
				if !other.Snapshot().Model("a").State.QuarantineUntil.IsZero() {
					t.Error("a new credential is quarantined")
				}
				if got := must[SystemState](t)(m.System(ctx)); got.Providers[0].AuthValid {
					t.Errorf("%+v", got.Providers[0])
				}
			}
			if err := m.Operate(ctx, "a", lua.ModelReset); err != nil {
				t.Fatal(err)
			}
			if r, _ := m.Snapshot().Model("a").Standby(m.Now()); r != "" {
				t.Errorf("%q: after a reset %s", row.kind, r)
			}
		}
	})
}

// TestCooldown_OnlyGrowsAndSurvivesARestart (PARITY 65, 82).
func TestCooldown_OnlyGrowsAndSurvivesARestart(t *testing.T) {
	server := redistest.Start(t, redistest.WithAppendOnly())
	m := manager(t, storeOn(t, server), false)
	record(t, m, Outcome{Model: "a", Kind: lm.RateLimited, RetryAfter: time.Hour})
	long := m.Snapshot().Model("a").State.CooldownUntil
	record(t, m, Outcome{Model: "a", Kind: lm.RateLimited, RetryAfter: time.Minute})
	record(t, m, Outcome{Model: "a"})
	server.Restart()
	again := manager(t, storeOn(t, server), false)
	if got := again.Snapshot().Model("a").State.CooldownUntil; !got.Equal(long) {
		t.Errorf("cooldown until %s, was %s", got, long)
	}
}

// TestWaste_IsCountedByCause per model and tenant.
func TestWaste_IsCountedByCause(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		s := lua.NewStore(rdb, rdb, lua.Options{})
		m := manager(t, s, false)
		for i, cause := range []string{"", WasteRetry, WasteCrash, WasteCancel, WasteRetry} {
			record(t, m, Outcome{Model: "a", Key: fmt.Sprint(i), Waste: cause, CostUSD: 0.1, Tenant: "t"})
		}
		v := model(t, m, "a")
		if v.CostUSD != 0.5 || v.Waste[WasteRetry] != 0.2 || v.Waste[WasteCrash] != 0.1 || v.Waste[WasteCancel] != 0.1 {
			t.Errorf("cost %v, waste %v", v.CostUSD, v.Waste)
		}
		if c := must[map[string]string](t)(s.Costs(ctx, "tenant", "t")); c["waste_retry"] != "200000000" {
			t.Errorf("tenant %v", c)
		}
	})
}

// TestKeys_OutliveTheLongestOpenTime, and a disabled model has no lifetime at all.
func TestKeys_OutliveTheLongestOpenTime(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		m := manager(t, lua.NewStore(rdb, rdb, lua.Options{}), false)
		fails(t, m, "a", 5)
		record(t, m, Outcome{Model: "a", Kind: lm.QuotaExhausted, RetryAfter: 30 * time.Hour, Tenant: "t", Op: "0-x", Key: "k"})
		a := admit(t, m, Admission{Model: "c", Key: "c"})
		if !a.OK {
			t.Fatal(a)
		}
		forever := map[string]bool{"{lm:fleet}:version": true}
		for _, key := range rdb.Keys(ctx, "*").Val() {
			ttl := rdb.PTTL(ctx, key).Val()
			if forever[key] || ttl > 0 {
				continue
			}
			t.Errorf("%s has no lifetime", key)
		}
		for _, key := range []string{"{lm:fleet}:model:a", "{lm:fleet}:backend:one"} {
			if ttl := rdb.PTTL(ctx, key).Val(); ttl < 40*24*time.Hour {
				t.Errorf("%s lives %s", key, ttl)
			}
		}
		if err := m.Operate(ctx, "a", lua.ModelDisable); err != nil {
			t.Fatal(err)
		}
		record(t, m, Outcome{Model: "a"})
		if ttl := rdb.PTTL(ctx, "{lm:fleet}:model:a").Val(); ttl != -1 {
			t.Errorf("a disabled model is forgotten in %s", ttl)
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
