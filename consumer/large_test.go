package consumer

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
	"github.com/redis/go-redis/v9"
)

// TestSweep_OneStalledBehindManyYoungOnes: an entry whose worker is dead is put back
// within its lease and 1.5 s although 100,000 young pending ones lie before it, and
// looking for it costs Redis less than 2 % of its time (LIGHTERMAN_E2E=full; else a
// tenth, shorter and with loose bounds).
func TestSweep_OneStalledBehindManyYoungOnes(t *testing.T) {
	n, lease, tick, slack, share := 10_000, 4*time.Second, 250*time.Millisecond, patience, 0.03
	if os.Getenv("LIGHTERMAN_E2E") == "full" {
		n, lease, tick, slack, share = 100_000, 10*time.Second, time.Second, 1500*time.Millisecond, 0.02
	}
	onRedis(t, func(e *env) {
		id, key, claimedAt := e.stalledBehind(n, lease)
		e.until("the lease is half over", func() bool { return time.Since(claimedAt) > lease/2 })
		if left := e.rejuvenate(key, "live", n); left != n+1 {
			e.Fatalf("%d entries are pending, want %d: void", left, n+1)
		}
		if time.Since(claimedAt) > lease*9/10 {
			e.Fatal("the machine is too slow: the sweep began when the lease was over: void")
		}
		handled := make(chan time.Time, 1)
		e.rdb.ConfigResetStat(ctx)
		began := time.Now()
		e.worker(func(context.Context, lm.Claim) (lm.Result, error) {
			handled <- time.Now()
			return lm.Result{Body: []byte(`1`)}, nil
		}, Options{Lease: lease, Tick: tick, Block: 2 * time.Second, Concurrency: 64})
		late := received(e, "the takeover", handled).Sub(claimedAt) - lease
		wall := time.Since(began)
		spent, ticks := e.spent("xpending", "xautoclaim")
		t.Logf("behind %d young ones: taken over %s after its lease; %d XPENDING and XAUTOCLAIM in %s cost Redis %s, %.2f %% of its time",
			n, late.Round(time.Millisecond), ticks, wall.Round(time.Millisecond), spent, 100*spent.Seconds()/wall.Seconds())
		if late < 0 || late > slack {
			t.Errorf("taken over %s after its lease, want at most %s", late, slack)
		}
		if got := spent.Seconds() / wall.Seconds(); got > share {
			t.Errorf("the sweep took %.2f %% of Redis' time, want at most %.2f %%", 100*got, 100*share)
		}
		e.until("its end", func() bool { return e.state(id) == lm.Completed })
		if r := e.record(id); r.CrashesTotal != 1 {
			t.Errorf("%d crashes, want 1", r.CrashesTotal)
		}
		if left := e.rdb.XPending(ctx, key, lua.Group).Val().Count; left != int64(n) {
			t.Errorf("%d young ones are still pending, want %d", left, n)
		}
	})
}

// stalledBehind makes n entries that are pending, and behind them an operation that
// was claimed by a worker that will not be heard of again.
func (e *env) stalledBehind(n int, lease time.Duration) (id lm.TraceID, key string, claimedAt time.Time) {
	e.Helper()
	e.groups()
	key = "{lm:0}:stream:default"
	young := e.rdb.Pipeline()
	for i := range n {
		young.XAdd(ctx, &redis.XAddArgs{Stream: key, Values: []string{"t", fmt.Sprintf("0-y%d", i)}})
		if i%1000 == 999 {
			if _, err := young.Exec(ctx); err != nil {
				e.Fatal(err)
			}
		}
	}
	id = e.enqueue("0-stalled")
	e.rdb.Do(ctx, "xreadgroup", "group", lua.Group, "dead", "count", n, "streams", key, ">")
	st := lua.Stream{Queue: lm.DefaultQueue}
	entries, err := e.s.Read(ctx, "dead", []lua.Share{{Stream: st, Count: 1}}, 1)
	if err != nil || len(entries) != 1 {
		e.Fatalf("%v %v", entries, err)
	}
	claimedAt = time.Now()
	got, err := e.s.Claim(ctx, "dead", lease, entries)
	if err != nil || got[0].Verdict != lua.ClaimOK {
		e.Fatalf("%+v %v", got, err)
	}
	return id, key, claimedAt
}

// rejuvenate has a live worker renew the first n pending entries, and returns how
// many are pending.
func (e *env) rejuvenate(key, owner string, n int) int {
	e.Helper()
	renew := e.rdb.Pipeline()
	from := "-"
	for left := n; left > 0; {
		page, err := e.rdb.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: key, Group: lua.Group, Start: from, End: "+", Count: int64(min(left, 1000))}).Result()
		if err != nil || len(page) == 0 {
			e.Fatalf("%d entries left: %v", left, err)
		}
		ids := make([]string, len(page))
		for i, p := range page {
			ids[i] = p.ID
		}
		renew.XClaimJustID(ctx, &redis.XClaimArgs{Stream: key, Group: lua.Group, Consumer: owner, Messages: ids})
		from, left = "("+ids[len(ids)-1], left-len(page)
	}
	if _, err := renew.Exec(ctx); err != nil {
		e.Fatal(err)
	}
	return int(e.rdb.XPending(ctx, key, lua.Group).Val().Count)
}

// spent is how long Redis worked on commands since its statistics were reset, and
// how many there were.
func (e *env) spent(commands ...string) (all time.Duration, calls int) {
	e.Helper()
	for line := range strings.Lines(e.rdb.Info(ctx, "commandstats").Val()) {
		for _, c := range commands {
			if rest, ok := strings.CutPrefix(line, "cmdstat_"+c+":"); ok {
				for field := range strings.SplitSeq(rest, ",") {
					name, value, _ := strings.Cut(field, "=")
					number, _ := strconv.Atoi(value)
					switch name {
					case "calls":
						calls += number
					case "usec":
						all += time.Duration(number) * time.Microsecond
					}
				}
			}
		}
	}
	if calls == 0 {
		e.Error("no such command was run: void")
	}
	return all, calls
}
