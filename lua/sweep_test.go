package lua

import (
	"errors"
	"fmt"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/redis/go-redis/v9"
)

// TestSweep_FindsOneIdleEntryBehind100000YoungOnes (PARITY 34): the tick names
// the first idle ID, and XAUTOCLAIM from there follows its cursor to the end,
// no more than 100 at a time.
func TestSweep_FindsOneIdleEntryBehind100000YoungOnes(t *testing.T) {
	n := 100_000
	if testing.Short() {
		n = 20_000
	}
	onRedis(t, Options{}, func(e *env) {
		e.lax = true
		key := e.s.keys.stream(queue)
		young := e.rdb.Pipeline()
		for i := range n {
			young.XAdd(ctx, &redis.XAddArgs{Stream: key, Values: []string{"t", fmt.Sprintf("0-y%d", i)}})
			if (i+1)%10_000 == 0 {
				if _, err := young.Exec(ctx); err != nil {
					e.Fatal(err)
				}
			}
		}
		e.enqueue("0-old")
		if err := e.rdb.Do(ctx, "xreadgroup", "group", Group, "w1", "count", n+1, "streams", key, ">").Err(); err != nil {
			e.Fatal(err)
		}
		st, id, _ := streamOf(0, e.trace("0-old")["entry"])
		e.rdb.Do(ctx, "xclaim", key, Group, "w1", 0, id, "idle", 3_600_000)
		start := time.Now()
		due, err := e.s.Tick(ctx, 0, time.Second, 30*time.Minute, []Stream{resume, st})
		if err != nil || len(due.Stalled) != 1 || due.Stalled[0].From != id || due.Stalled[0].Stream != st {
			e.Fatalf("%+v %v", due, err)
		}
		took := time.Since(start)
		taken, next, err := e.s.Idle(ctx, "w2", st, 30*time.Minute, due.Stalled[0].From)
		if err != nil || len(taken) != 1 || taken[0].Record.ID != "0-old" || next != "" {
			e.Fatalf("%v %q %v", taken, next, err)
		}
		t.Logf("tick over %d pending entries: %v", n, took)
		e.takeover("w2", true, taken, PutBack)
	})
}

// TestSweep_CursorIsFollowedToTheEnd: more idle entries than one page, with
// deleted ones between, which use the page up too.
func TestSweep_CursorIsFollowedToTheEnd(t *testing.T) {
	each(t, func(e *env) {
		const n = 230
		var ops []Operation
		for i := range n {
			ops = append(ops, Operation{ID: lm.TraceID(fmt.Sprintf("0-%d", i)), Request: request(`1`)})
		}
		e.s.Enqueue(ctx, ops)
		for range 3 {
			e.read("w1")
		}
		pages, back := 0, 0
		from := "0-0"
		for {
			taken, next, err := e.s.Idle(ctx, "w2", queue, 0, from)
			if err != nil || len(taken) > maxBatch {
				e.Fatalf("%d %v", len(taken), err)
			}
			if len(taken) > 0 {
				got, err := e.s.Takeover(ctx, "w2", "lease", true, taken)
				if err != nil {
					e.Fatal(err)
				}
				for _, g := range got {
					if g == PutBack {
						back++
					}
				}
			}
			pages++
			if next == "" {
				break
			}
			from = next
		}
		if back != n || pages < 3 {
			e.Errorf("%d put back in %d pages", back, pages)
		}
		e.streams(fmt.Sprintf("queue 0/0 resume %d/0", n))
	})
}

func TestTick_OncePerInterval(t *testing.T) {
	each(t, func(e *env) {
		e.enqueue("0-later", func(r *lm.Request) {
			r.NotBefore = time.Now().Add(time.Hour)
			r.Deadline = time.Now().Add(2 * time.Hour)
		})
		c := e.claimed("w1", "0-retry", func(r *lm.Request) { r.Deadline = time.Now().Add(time.Hour) })
		e.rdb.ZAdd(ctx, e.s.keys.deadlines(0), redis.Z{Score: 1, Member: "0-retry"})
		must(e, e.s.Retry(ctx, c, aside(0)))
		streams := []Stream{resume, queue, {Queue: "nowhere"}}
		first, err := e.s.Tick(ctx, 0, time.Minute, time.Minute, streams)
		if err != nil || !first.Ran || fmt.Sprint(first.Delayed) != "[0-retry]" || fmt.Sprint(first.Deadlines) != "[0-retry]" || len(first.Stalled) != 0 {
			e.Errorf("%+v %v", first, err)
		}
		if first.Counts["delayed:default"] != 2 || first.Counts.Sum("delayed") != 2 || fmt.Sprint(first.Counts.Queues()) != "[default]" {
			e.Errorf("counts %v", first.Counts)
		}
		for range 5 {
			if d, err := e.s.Tick(ctx, 0, time.Minute, time.Minute, streams); err != nil || d.Ran || len(d.Delayed) != 0 {
				e.Errorf("within the interval: %+v %v", d, err)
			}
		}
		if ttl := e.rdb.PTTL(ctx, e.s.keys.tick(0)).Val(); ttl <= 0 || ttl > time.Minute {
			e.Errorf("the interval lasts %v", ttl)
		}
	})
}

// TestTick_LooksIntoEveryStream: an idle entry of a resume stream and of a queue.
func TestTick_LooksIntoEveryStream(t *testing.T) {
	each(t, func(e *env) {
		a := e.claimed("w1", "0-a")
		must(e, e.s.Release(ctx, a, "drain"))
		e.enqueue("0-b")
		if entries := e.read("w1"); len(entries) != 2 {
			e.Fatal("read", entries)
		}
		e.eventually("both are idle", func() bool {
			d, err := e.s.Tick(ctx, 0, time.Millisecond, 5*time.Millisecond, []Stream{resume, queue})
			return err == nil && len(d.Stalled) == 2 && d.Stalled[0].Stream == resume && d.Stalled[1].Stream == queue
		})
	})
}

func TestRetry_SetsAside(t *testing.T) {
	rows := []struct {
		name    string
		aside   Aside
		counted string
	}{
		{"attempt", aside(time.Hour), "attempts"},
		{"park", Aside{Path: []lm.State{lm.Errored, lm.Retrying}, Delay: time.Hour, Reason: "all_cold"}, ""},
		{"newer schema", Aside{Path: []lm.State{lm.Errored, lm.Retrying}, Delay: time.Hour, Counted: CountSchemaWait, Reason: "schema_too_new"}, "schema_waits"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			each(t, func(e *env) {
				c := e.in("w1", "0-a", lm.Inferring)
				start := time.Now()
				must(e, e.s.Retry(ctx, c, row.aside))
				check := func() {
					e.Helper()
					want := map[string]string{"attempts": "-", "schema_waits": "-"}
					if row.counted != "" {
						want[row.counted] = "1"
					}
					e.want("0-a", "state", "RETRYING", "owner", "-", "started", "-", "entry", "", "reason", row.aside.Reason, "crashes", "-",
						"attempts", want["attempts"], "schema_waits", want["schema_waits"])
					e.streams("queue 0/0 resume 0/0")
					e.counts("delayed:default=1")
				}
				check()
				if at, _ := e.score(e.s.keys.delayed(0), "0-a"); at < float64(start.Add(time.Hour-time.Second).UnixMilli()) || at > float64(time.Now().Add(time.Hour+time.Second).UnixMilli()) {
					e.Errorf("due at %v", at)
				}
				before := e.snapshot()
				if got := words(e.again()); got[0] != "OK" {
					e.Errorf("replay: %v", got)
				}
				e.unchanged("a replayed retry", before)
				check()
				// Due: it becomes a new entry, once.
				e.rdb.ZAdd(ctx, e.s.keys.delayed(0), redis.Z{Score: 1, Member: "0-a"})
				if n, err := e.s.Promote(ctx, 0, []lm.TraceID{"0-a"}); err != nil || n != 1 {
					e.Fatalf("promote %d %v", n, err)
				}
				before = e.snapshot()
				if got := words(e.again()); got[0] != "EARLY" {
					e.Errorf("replayed promote: %v", got)
				}
				e.unchanged("a replayed promote", before)
				e.streams("queue 1/0 resume 0/0")
				next := e.claimNext("w1")
				if next.Attempts != flag(row.counted == "attempts") || next.SchemaWaits != flag(row.counted == "schema_waits") {
					e.Errorf("%+v", next)
				}
				e.finish(next)
			})
		})
	}
}

func TestRetry_IllegalPathsChangeNothing(t *testing.T) {
	each(t, func(e *env) {
		c := e.in("w1", "0-a", lm.Inferring)
		before := e.snapshot()
		for _, path := range [][]lm.State{nil, {lm.Retrying}, {lm.Errored}, {lm.Errored, lm.Completed}, {lm.Errored, lm.Retrying, lm.Queued}} {
			if err := e.s.Retry(ctx, c, Aside{Path: path}); !errors.Is(err, lm.ErrIllegal) {
				e.Errorf("%v: %v", path, err)
			}
		}
		for _, path := range [][]lm.State{nil, {lm.Completed}, {lm.Errored}, {lm.Errored, lm.Retrying}, {lm.Postprocessing, lm.Delivering, lm.Completed}} {
			if err := e.s.Finish(ctx, c, Ending{Path: path, Result: lm.Result{Outcome: lm.Succeeded}}); !errors.Is(err, lm.ErrIllegal) {
				e.Errorf("%v: %v", path, err)
			}
		}
		e.unchanged("an illegal ending", before)
		if c.Fence.State() != lm.Inferring {
			e.Errorf("the fence is in %s", c.Fence.State())
		}
	})
}

// TestPromote_ChecksAgain: what ended or waits no longer leaves the set and gets
// no entry; a due one of a batch is not held up.
func TestPromote_ChecksAgain(t *testing.T) {
	each(t, func(e *env) {
		a := e.claimed("w1", "0-a")
		b := e.claimed("w1", "0-b")
		must(e, e.s.Retry(ctx, b, aside(0)))
		e.rdb.ZAdd(ctx, e.s.keys.delayed(0), redis.Z{Score: 1, Member: "0-a"}, redis.Z{Score: 1, Member: "0-gone"})
		if n, err := e.s.Promote(ctx, 0, []lm.TraceID{"0-a", "0-gone", "0-b", "0-b"}); err != nil || n != 1 {
			e.Errorf("%d %v", n, err)
		}
		if left := e.rdb.ZCard(ctx, e.s.keys.delayed(0)).Val(); left != 0 {
			e.Errorf("%d left", left)
		}
		e.want("0-a", "state", "CLAIMED", "owner", "w1")
		e.want("0-b", "state", "QUEUED")
		e.streams("queue 2/1 resume 0/0")
		e.finish(a)
	})
}

// TestForget_NeverOneWithPendingEntries (PARITY 38).
func TestForget_NeverOneWithPendingEntries(t *testing.T) {
	each(t, func(e *env) {
		c := e.claimed("busy", "0-a")
		e.read("idle")
		key := e.s.keys.stream(queue)
		if n, err := e.s.Forget(ctx, queue, []string{"idle", "busy"}); err != nil || n != 1 {
			e.Errorf("%d %v", n, err)
		}
		got, err := e.s.Consumers(ctx, queue)
		if err != nil || len(got) != 1 || got[0].Name != "busy" || got[0].Pending != 1 {
			e.Errorf("%+v %v", got, err)
		}
		e.streams("queue 1/1 resume 0/0")
		e.finish(c)
		if n, err := e.s.Forget(ctx, queue, []string{"busy"}); err != nil || n != 1 {
			e.Errorf("%d %v", n, err)
		}
		if n, err := e.s.Forget(ctx, Stream{Queue: "nowhere"}, []string{"busy"}); err != nil || n != 0 {
			e.Errorf("no such stream: %d %v", n, err)
		}
		if e.rdb.Exists(ctx, e.s.keys.stream(Stream{Queue: "nowhere"})).Val() != 0 {
			e.Error("the stream was made")
		}
		if got, err := e.s.Consumers(ctx, Stream{Queue: "nowhere"}); err != nil || len(got) != 0 {
			e.Errorf("consumers of nothing: %v %v", got, err)
		}
		e.rdb.XGroupDestroy(ctx, key, Group)
		if n, err := e.s.Forget(ctx, queue, []string{"busy"}); err != nil || n != 0 {
			e.Errorf("no such group: %d %v", n, err)
		}
		must(e, e.s.EnsureGroups(ctx, []Stream{queue}))
	})
}

// TestFrame_AppendsEachOnce: frames of a claim in order, a repeat is skipped, the
// next claim starts its own sequence.
func TestFrame_AppendsEachOnce(t *testing.T) {
	each(t, func(e *env) {
		c := e.in("w1", "0-a", lm.Inferring)
		must(e, e.s.Frames(ctx, c, []lm.Frame{{Seq: 1, Type: lm.FrameToken, Data: "he"}, {Seq: 2, Type: lm.FrameToken, Data: "llo"}}))
		before := e.snapshot()
		e.again()
		e.unchanged("replayed frames", before)
		must(e, e.s.Frames(ctx, c, []lm.Frame{{Seq: 2, Type: lm.FrameToken, Data: "llo"}, {Seq: 5, Type: lm.FrameUsage, Data: "{}"}}))
		e.want("0-a", "followed", "1", "frame", fmt.Sprintf("%d 5", c.Fence.Epoch))
		e.sweep("w2", c.Fence.Entry, PutBack)
		d := e.claimNext("w2")
		must(e, e.s.Frames(ctx, d, []lm.Frame{{Seq: 1, Type: lm.FrameReset, Data: ""}}))
		if err := e.s.Frames(ctx, c, []lm.Frame{{Seq: 6, Type: lm.FrameToken, Data: "zombie"}}); !errors.Is(err, lm.ErrFenced) {
			e.Errorf("zombie: %v", err)
		}
		got := ""
		for _, m := range e.rdb.XRange(ctx, e.s.keys.out("0-a"), "-", "+").Val() {
			got += fmt.Sprintf("%s%s=%s ", text(m.Values["type"]), text(m.Values["seq"]), text(m.Values["data"]))
			if m.Values["epoch"] != fmt.Sprint(int64(c.Fence.Epoch)) && m.Values["epoch"] != fmt.Sprint(int64(d.Fence.Epoch)) {
				e.Errorf("epoch %v", m.Values["epoch"])
			}
		}
		if got != "token1=he token2=llo usage5={} reset1= " {
			e.Errorf("frames: %s", got)
		}
		if e.rdb.PTTL(ctx, e.s.keys.out("0-a")).Val() > 0 {
			e.Error("the frames of a running operation expire")
		}
		e.finish(d)
		if ttl := e.rdb.PTTL(ctx, e.s.keys.out("0-a")).Val(); ttl <= 0 || ttl > time.Hour {
			e.Errorf("the frames of an ended operation live for %v", ttl)
		}
	})
}

// TestHeartbeat_RenewsOnlyItsOwn: in one call of many, over both streams.
func TestHeartbeat_RenewsOnlyItsOwn(t *testing.T) {
	each(t, func(e *env) {
		a := e.claimed("w1", "0-a")
		must(e, e.s.Release(ctx, a, "drain"))
		a = e.claimNext("w1")
		b := e.claimed("w1", "0-b")
		other := e.claimed("w2", "0-c")
		e.rdb.HSet(ctx, e.s.keys.trace("0-b"), "cancel_requested", "1")
		e.rdb.HSet(ctx, e.s.keys.trace("0-a"), "followed", "1")
		e.grab("w3", b.Fence.Entry)
		for _, id := range []lm.TraceID{"0-a", "0-b", "0-c"} {
			e.rdb.HSet(ctx, e.s.keys.trace(id), "beat", 1)
		}
		stolen := lm.NewFence("w1", other.Fence.Epoch, other.Fence.Token, other.Fence.Entry, lm.Claimed)
		beats, err := e.s.Heartbeat(ctx, 0, "w1", []Renewal{{"0-a", a.Fence}, {"0-b", b.Fence}, {"0-c", stolen}})
		if err != nil || fmt.Sprint(beats) != "[FOLLOWED CANCEL LOST]" {
			e.Errorf("%v %v", beats, err)
		}
		e.want("0-c", "beat", "1")
		for _, id := range []lm.TraceID{"0-a", "0-b"} {
			if r := e.record(id); time.Since(r.Beat) > time.Minute {
				e.Errorf("%s was not renewed: %v", id, r.Beat)
			}
		}
		if _, pending := e.entries(0); pending[a.Fence.Entry] != "w1" || pending[b.Fence.Entry] != "w1" || pending[other.Fence.Entry] != "w2" {
			e.Errorf("pending: %v", pending)
		}
		if e.kind == "redis" { // JUSTID: no delivery is counted, and the idle time starts anew
			st, id, _ := streamOf(0, a.Fence.Entry)
			x := e.rdb.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: e.s.keys.stream(st), Group: Group, Start: id, End: id, Count: 1}).Val()
			if x[0].RetryCount != 1 || x[0].Idle > time.Second {
				e.Errorf("%+v", x[0])
			}
		}
		if _, err := e.s.Heartbeat(ctx, 0, "w1", []Renewal{{"0-a", lm.NewFence("w1", 1, "t", "", lm.Claimed)}}); err == nil {
			e.Error("a claim without an entry was renewed")
		}
	})
}
