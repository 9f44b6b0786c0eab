package lua

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/redis/go-redis/v9"
)

// TestPutBack_FromEachState: where an operation goes when its worker is gone, by
// a sweep and by its own worker, and what is counted (design, section 4).
func TestPutBack_FromEachState(t *testing.T) {
	rows := []struct {
		from, to lm.State
		path     string
		crashes  string
	}{
		{lm.Claimed, lm.Reclaimed, "L", "1"},
		{lm.Gathering, lm.Reclaimed, "L", "1"},
		{lm.Inferring, lm.Reclaimed, "L", "1"},
		{lm.ToolExecuting, lm.Reclaimed, "L", "1"},
		{lm.Postprocessing, lm.Reclaimed, "L", "1"},
		{lm.Delivering, lm.Queued, "EWQ", "1"},
	}
	for _, row := range rows {
		t.Run(row.from.String(), func(t *testing.T) {
			each(t, func(e *env) {
				c := e.in("w1", "0-a", row.from)
				e.sweep("w2", c.Fence.Entry, PutBack)
				e.want("0-a", "state", row.to.String(), "owner", "-", "started", "-", "lease", "-", "beat", "-", "crashes", row.crashes,
					"crashes_total", row.crashes, "attempts", "-", "epoch", fmt.Sprint(int64(c.Fence.Epoch)), "token", c.Fence.Token)
				h := e.record("0-a").History
				if last := h[len(h)-1]; letters(last.Path) != row.path || last.Reason != "lease" {
					e.Errorf("hop %+v", last)
				}
				e.streams("queue 0/0 resume 1/0")
				e.counts("waiting:default=1")
				before := e.snapshot()
				e.again()
				e.unchanged("a replayed takeover", before)

				c = e.claimNext("w2")
				if c.Crashes != 1 {
					e.Errorf("%d crashes", c.Crashes)
				}
				e.advance(c, wayTo(lm.Claimed, row.from)...)
				must(e, e.s.Release(ctx, c, "drain"))
				e.want("0-a", "state", row.to.String(), "owner", "-", "crashes", "1", "crashes_total", "1")
				e.streams("queue 0/0 resume 1/0")
				before = e.snapshot()
				if got := words(e.again()); got[0] != "OK" {
					e.Errorf("replayed release: %v", got)
				}
				e.unchanged("a replayed release", before)
				c = e.claimNext("w3")
				e.finish(c)
				e.counts("succeeded=1")
			})
		})
	}
}

// TestPutBack_NotYetClaimed: what was read and not claimed goes back unchanged.
func TestPutBack_NotYetClaimed(t *testing.T) {
	each(t, func(e *env) {
		e.enqueue("0-a")
		before := e.record("0-a")
		e.takeover("w1", true, e.taken(e.read("w1")...), PutBack)
		after := e.record("0-a")
		if after.State != lm.Queued || len(after.History) != len(before.History) || after.Crashes+after.CrashesTotal+after.Attempts != 0 || after.Entry == before.Entry {
			e.Errorf("%+v", after)
		}
		e.streams("queue 0/0 resume 1/0")
		c := e.claimNext("w1")
		must(e, e.s.Release(ctx, c, "drain"))
		hops := len(e.record("0-a").History)
		e.takeover("w2", true, e.taken(e.read("w2")...), PutBack)
		if r := e.record("0-a"); r.State != lm.Reclaimed || len(r.History) != hops || r.Crashes != 0 {
			e.Errorf("%+v", r)
		}
		e.streams("queue 0/0 resume 1/0")
		e.counts("waiting:default=1")
	})
}

// TestPutBack_DeliveredIsOnlyAcknowledged: the result was stored; by a sweep and
// by the worker itself, whose lost reply is asked for again (PARITY 30).
func TestPutBack_DeliveredIsOnlyAcknowledged(t *testing.T) {
	each(t, func(e *env) {
		for i, mine := range []bool{false, true} {
			id := lm.TraceID(fmt.Sprintf("0-%d", i))
			c := e.in("w1", id, lm.Delivered)
			e.rdb.HSet(ctx, e.s.keys.result(id), "outcome", "succeeded", "body", `"kept"`)
			e.rdb.HSet(ctx, e.s.keys.trace(id), "crashes", 3, "crashes_total", 29) // over the limit, it is still no failure
			if mine {
				must(e, e.s.Release(ctx, c, "drain"))
			} else {
				e.sweep("w2", c.Fence.Entry, PutBackEnded)
			}
			e.want(id, "state", "COMPLETED", "outcome", "succeeded", "owner", "-", "entry", "")
			if r, _ := e.s.Results(ctx, []lm.TraceID{id}); r[0].Text() != "kept" {
				e.Errorf("result %+v", r[0])
			}
			if e.rdb.PTTL(ctx, e.s.keys.result(id)).Val() <= 0 || e.rdb.Exists(ctx, e.s.keys.request(id)).Val() != 0 {
				e.Error("lifetimes")
			}
			before := e.snapshot()
			got := words(e.again())
			if mine && got[0] != "OK" && got[0] != "ENDED" {
				e.Errorf("the same release again: %v", got)
			}
			e.unchanged("a replay", before)
		}
		e.streams("queue 0/0 resume 0/0")
		e.counts("succeeded=2")
		e.dead()
	})
}

// TestPutBack_OverTheCrashLimit: the fourth crash since a checkpoint, and the
// thirtieth in all, is the end, with one dead letter (PARITY 31).
func TestPutBack_OverTheCrashLimit(t *testing.T) {
	for _, state := range []lm.State{lm.Claimed, lm.Gathering, lm.Inferring, lm.ToolExecuting, lm.Postprocessing, lm.Delivering} {
		t.Run(state.String(), func(t *testing.T) {
			each(t, func(e *env) {
				c := e.in("w1", "0-a", state, func(r *lm.Request) { r.Reply, r.Key = "me", "k" })
				e.rdb.HSet(ctx, e.s.keys.trace("0-a"), "crashes", 3, "crashes_total", 7, "attempts", 2)
				e.sweep("w2", c.Fence.Entry, PutBackEnded)
				e.want("0-a", "state", "COMPLETED", "outcome", "failed", "reason", "crash_limit", "crashes", "4", "crashes_total", "8", "attempts", "2", "entry", "", "owner", "-")
				l := e.dead("crash_limit")[0]
				if l.State != state.String() || l.Worker != "w1" || l.ID != "0-a" {
					e.Errorf("%+v", l)
				}
				r, _ := e.s.Results(ctx, []lm.TraceID{"0-a"})
				if r[0].Outcome != lm.Failed || r[0].Err == nil || r[0].Err.Kind != lm.CrashLimit || r[0].Crashes != 8 {
					e.Errorf("result %+v", r[0])
				}
				for _, key := range []string{e.s.keys.trace("0-a"), e.s.keys.request("0-a"), e.s.keys.result("0-a"), e.s.keys.unique(0, c.KeyHash)} {
					if ttl := e.rdb.PTTL(ctx, key).Val(); ttl < 29*24*time.Hour {
						e.Errorf("%s lives for %v", key, ttl)
					}
				}
				e.streams("queue 0/0 resume 0/0")
				e.counts("failed=1")
				before := e.snapshot()
				e.again()
				e.unchanged("a replay", before)
			})
		})
	}
}

func TestPutBack_CrashesAreCountedOneByOne(t *testing.T) {
	eachWith(t, Options{CrashLimit: 3, CrashBound: 5}, func(e *env) {
		e.enqueue("0-a")
		crash := func(want Returned, checkpoint bool) {
			e.Helper()
			got := e.take("w1", e.read("w1")[0], ClaimOK)
			if !got.Started {
				if _, err := e.s.Advance(ctx, got.Claim, Advance{Start: true}); err != nil {
					e.Fatal(err)
				}
			}
			if checkpoint {
				if _, err := e.s.Advance(ctx, got.Claim, Advance{Steps: []lm.Step{{Name: "a", Data: []byte("b")}}}); err != nil {
					e.Fatal(err)
				}
			}
			e.sweep("w2", got.Claim.Fence.Entry, want)
		}
		for range 3 {
			crash(PutBack, false)
		}
		e.want("0-a", "crashes", "3", "crashes_total", "3")
		crash(PutBack, true) // progress: since the last checkpoint it is the first
		e.want("0-a", "crashes", "1", "crashes_total", "4")
		crash(PutBackEnded, true) // the fifth in all
		e.want("0-a", "crashes_total", "5", "outcome", "failed")
		e.dead("crash_limit")
	})
}

// TestPutBack_ManySweepsEndItOnce: many sweepers take the same entry in turn and
// put it back at once; one dead letter.
func TestPutBack_ManySweepsEndItOnce(t *testing.T) {
	each(t, func(e *env) {
		for _, crashes := range []int{0, 3} {
			id := lm.TraceID(fmt.Sprintf("0-%d", crashes))
			c := e.in("w1", id, lm.Inferring)
			e.rdb.HSet(ctx, e.s.keys.trace(id), "crashes", crashes)
			var mu sync.Mutex
			answers := make(map[Returned]int)
			var wg sync.WaitGroup
			for i := range 12 {
				wg.Go(func() {
					name := fmt.Sprintf("s%d", i%4) // some share a name: the same call twice
					st, entry, _ := streamOf(0, c.Fence.Entry)
					taken := e.taken(Entry{Stream: st, ID: entry, Fields: []string{"t", string(id)}})
					e.rdb.XClaim(ctx, &redis.XClaimArgs{Stream: e.s.keys.stream(st), Group: Group, Consumer: name, Messages: []string{entry}})
					got, err := e.s.Takeover(ctx, name, "lease", false, taken)
					if err != nil {
						e.Error(err)
						return
					}
					mu.Lock()
					answers[got[0]]++
					mu.Unlock()
				})
			}
			wg.Wait()
			if answers[PutBack]+answers[PutBackEnded] != 1 {
				e.Errorf("answers %v", answers)
			}
			e.want(id, "crashes", fmt.Sprint(crashes+1))
			for _, x := range e.read("w9") {
				e.finish(e.take("w9", x, ClaimOK).Claim)
			}
		}
		e.dead("crash_limit")
		e.counts("failed=1 succeeded=1")
		e.streams("queue 0/0 resume 0/0")
	})
}

// TestPutBack_RefusesWhatIsNotAsRead: the lease runs, the owner's heartbeat took
// the entry back, another claim came, somebody else holds the entry (PARITY 28).
func TestPutBack_RefusesWhatIsNotAsRead(t *testing.T) {
	each(t, func(e *env) {
		c := e.in("w1", "0-a", lm.Inferring) // lease of a minute
		taken := e.grab("w2", c.Fence.Entry)
		before := e.snapshot()
		e.takeover("w2", true, taken, PutBackLive)
		e.unchanged("a takeover within the lease", before)
		if beats, err := e.s.Heartbeat(ctx, 0, "w1", []Renewal{{c.ID, c.Fence}}); err != nil || beats[0] != BeatOK {
			e.Fatalf("beat: %v %v", beats, err)
		}
		if _, pending := e.entries(0); pending[c.Fence.Entry] != "w1" {
			e.Errorf("after its heartbeat the entry is with %q", pending[c.Fence.Entry])
		}
		before = e.snapshot()
		e.takeover("w2", false, taken, PutBackSkip)
		e.takeover("w2", true, taken, PutBackSkip)
		e.unchanged("a takeover after the heartbeat", before)

		// Read in another state, of another owner or epoch.
		taken = e.grab("w2", c.Fence.Entry)
		for what, change := range map[string]func(*Record){
			"state": func(r *Record) { r.State = lm.Gathering },
			"owner": func(r *Record) { r.Owner = "w7" },
			"none":  func(r *Record) { r.Owner = "" },
			"epoch": func(r *Record) { r.Epoch-- },
		} {
			other := taken[0]
			change(&other.Record)
			before = e.snapshot()
			e.takeover("w2", false, []Taken{other}, PutBackSkip)
			e.unchanged("a takeover with another "+what, before)
		}
		e.rdb.HSet(ctx, e.s.keys.trace("0-a"), "lease", 0)
		e.takeover("w2", true, taken, PutBack)

		// A late heartbeat of the old owner does not take it back.
		before = e.snapshot()
		if beats, err := e.s.Heartbeat(ctx, 0, "w1", []Renewal{{c.ID, c.Fence}}); err != nil || beats[0] != BeatLost {
			e.Errorf("late beat: %v %v", beats, err)
		}
		e.unchanged("a late heartbeat", before)
		if err := e.s.Release(ctx, c, "drain"); !errors.Is(err, lm.ErrFenced) {
			e.Errorf("late release: %v", err)
		}
		e.unchanged("a late release", before)
		e.finish(e.claimNext("w2"))
	})
}

// TestPutBack_StaleAndLost: an entry that the trace does not name is removed; one
// whose trace is gone is dead-lettered once.
func TestPutBack_StaleAndLost(t *testing.T) {
	each(t, func(e *env) {
		c := e.claimed("w1", "0-a")
		must(e, e.s.Retry(ctx, c, aside(time.Hour)))
		e.rdb.XAdd(ctx, &redis.XAddArgs{Stream: e.s.keys.stream(queue), Values: []string{"t", "0-a"}})
		trace := e.contents(e.s.keys.trace("0-a"))
		e.takeover("w2", false, e.taken(e.read("w2")...), PutBackStale)
		if e.contents(e.s.keys.trace("0-a")) != trace {
			e.Error("the trace was changed")
		}
		e.streams("queue 0/0 resume 0/0")
		e.rdb.XAdd(ctx, &redis.XAddArgs{Stream: e.s.keys.stream(queue), Values: []string{"t", "0-gone"}})
		taken := e.taken(e.read("w2")...)
		e.takeover("w2", true, taken, PutBackLost)
		e.takeover("w2", true, taken, PutBackSkip)
		if l := e.dead("trace_lost")[0]; l.ID != "0-gone" || l.Queue != "default" {
			e.Errorf("%+v", l)
		}
		e.streams("queue 0/0 resume 0/0")
		if e.rdb.Exists(ctx, e.s.keys.trace("0-gone")).Val() != 0 {
			e.Error("the trace was made again")
		}
	})
}

// TestPutBack_ABatchIsCountedExactly: many of each kind in one call.
func TestPutBack_ABatchIsCountedExactly(t *testing.T) {
	each(t, func(e *env) {
		var entries []Entry
		for i := range 40 {
			id := lm.TraceID(fmt.Sprintf("0-%d", i))
			c := e.in("w1", id, []lm.State{lm.Claimed, lm.Inferring, lm.Delivering, lm.Delivered}[i%4])
			if i%8 == 1 {
				e.rdb.HSet(ctx, e.s.keys.trace(id), "crashes", 3)
			}
			entries = append(entries, e.grab("w2", c.Fence.Entry)[0].Entry)
		}
		got, err := e.s.Takeover(ctx, "w2", "lease", false, e.taken(entries...))
		if err != nil {
			e.Fatal(err)
		}
		n := map[Returned]int{}
		for _, g := range got {
			n[g]++
		}
		if n[PutBack] != 25 || n[PutBackEnded] != 15 {
			e.Errorf("%v", n)
		}
		e.counts("failed=5 succeeded=10 waiting:default=25")
		e.streams("queue 0/0 resume 25/0")
	})
}
