package fleet

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
	"github.com/redis/go-redis/v9"
)

// TestSnapshot_ACooldownReachesEveryWorkerWithinASecond: four Managers with clients
// of their own, each in use; p99 over all of them: with notices, of changes that
// come apart and of such that follow each other at once, and by the poll alone.
func TestSnapshot_ACooldownReachesEveryWorkerWithinASecond(t *testing.T) {
	t.Run("noticed", func(t *testing.T) { reachesEveryWorker(t, true, 2*noticeEvery, 100*time.Millisecond) })
	t.Run("noticed in a row", func(t *testing.T) { reachesEveryWorker(t, true, 0, 2*noticeEvery) })
	t.Run("polled", func(t *testing.T) { reachesEveryWorker(t, false, 0, time.Second) })
}

// reachesEveryWorker makes changes, at most apart from each other, and holds the
// median under p50 and p99 under a second.
func reachesEveryWorker(t *testing.T, noticed bool, apart, p50 time.Duration) {
	server := redistest.Start(t)
	const workers = 4
	rounds := 6
	if full {
		rounds = 40
	}
	var ms []*Manager
	for i := range workers {
		m := manager(t, storeOn(t, server), true, func(o *Options) { o.Owner = fmt.Sprint("w", i) })
		if noticed {
			hears(t, m, storeOn(t, server))
		}
		ms = append(ms, m)
	}
	var took []time.Duration
	for round := range rounds {
		<-time.After(apart/2 + rand.N(apart/2+1))
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
		<-time.After(apart/2 + rand.N(apart/2+1))
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
		if half := took[len(took)/2]; half > p50 {
			t.Errorf("p50 %s, want at most %s", half, p50)
		}
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
	until(t, "the first record of the pool is written", func() bool {
		return rdb.HExists(ctx, "{lm:fleet}:pool:p", "active").Val() && rdb.Exists(ctx, "{lm:fleet}:lock").Val() == 0
	})
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
