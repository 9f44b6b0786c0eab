package lua

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
)

func (e *env) accept(op Operation) Accepted {
	e.Helper()
	return e.s.Enqueue(ctx, []Operation{op})[0]
}

func TestEnqueue_LeavesTraceRequestAndEntry(t *testing.T) {
	each(t, func(e *env) {
		e.enqueue("0-a", func(r *lm.Request) {
			r.Tenant, r.Thread, r.Timeout, r.Reply, r.Deadline = "acme", "t1", time.Second, "me", time.UnixMilli(4102444800000)
		})
		e.want("0-a", "state", "QUEUED", "queue", "default", "kind", "chat", "tenant", "acme", "thread", "t1", "timeout", "1000", "reply", "me",
			"deadline", "4102444800000", "size", "7", "epoch", "-", "owner", "-", "request_hash", "-", "hn", "1")
		if got := e.rdb.Get(ctx, e.s.keys.request("0-a")).Val(); got != `{"n":1}` {
			e.Errorf("request %q", got)
		}
		m := e.rdb.XRange(ctx, e.s.keys.stream(queue), "-", "+").Val()
		if len(m) != 1 || len(m[0].Values) != 1 || m[0].Values["t"] != "0-a" {
			e.Errorf("stream: %v", m)
		}
		e.want("0-a", "entry", "stream:default/"+m[0].ID)
		if at, ok := e.score(e.s.keys.deadlines(0), "0-a"); !ok || at != 4102444800000 {
			e.Errorf("deadline %v %v", at, ok)
		}
		e.counts("waiting:default=1")
		if h := e.record("0-a").History; len(h) != 1 || len(h[0].Path) != 2 || h[0].Path[1] != lm.Queued {
			e.Errorf("history %+v", h)
		}
	})
}

// TestEnqueue_RepeatFindsTheFirst: a minted ID sent again, a named one with the
// same and with another body, while it waits, runs, and has ended.
func TestEnqueue_RepeatFindsTheFirst(t *testing.T) {
	each(t, func(e *env) {
		minted := Operation{ID: "0-01JD3ZK8Q9W", Request: request(`{"n":1}`)}
		named := Operation{ID: "0-order-42", Request: request(`{"n":1}`), Named: true}
		other := Operation{ID: "0-order-42", Request: request(`{"n":2}`), Named: true}
		for _, op := range []Operation{minted, named} {
			if a := e.accept(op); a.Err != nil || a.Existing {
				e.Fatalf("first: %+v", a)
			}
		}
		repeats := func(when string) {
			before := e.snapshot()
			for _, op := range []Operation{minted, named} {
				if a := e.accept(op); a.Err != nil || !a.Existing || a.ID != op.ID {
					e.Errorf("%s, the same again: %+v", when, a)
				}
			}
			if a := e.accept(other); !errors.Is(a.Err, ErrKeyConflict) || a.ID != other.ID {
				e.Errorf("%s, another body: %+v", when, a)
			}
			e.unchanged("a repeat while it "+when, before)
		}
		repeats("waits")
		for _, entry := range e.read("w1") {
			c := e.take("w1", entry, ClaimOK).Claim
			defer e.finish(c)
		}
		repeats("runs")
	})
	each(t, func(e *env) {
		named := Operation{ID: "0-order-42", Request: request(`{"n":1}`), Named: true}
		e.accept(named)
		e.finish(e.claimNext("w1"))
		before := e.snapshot()
		if a := e.accept(named); a.Err != nil || !a.Existing {
			e.Errorf("after the end: %+v", a)
		}
		named.Request = request(`{"n":3}`)
		if a := e.accept(named); !errors.Is(a.Err, ErrKeyConflict) {
			e.Errorf("another body after the end: %+v", a)
		}
		e.unchanged("a repeat after the end", before)
	})
}

// TestEnqueue_IdempotencyKey: one operation per (tenant, thread, key), whatever
// ID the repeat has; another body is a conflict (PARITY 36).
func TestEnqueue_IdempotencyKey(t *testing.T) {
	each(t, func(e *env) {
		keyed := func(id lm.TraceID, tenant, body string) Operation {
			return Operation{ID: id, Request: request(body, func(r *lm.Request) { r.Key, r.Tenant = "k", tenant })}
		}
		if a := e.accept(keyed("0-a", "x", `1`)); a.Err != nil || a.Existing {
			e.Fatalf("first: %+v", a)
		}
		before := e.snapshot()
		if a := e.accept(keyed("0-b", "x", `1`)); a.Err != nil || !a.Existing || a.ID != "0-a" {
			e.Errorf("same body: %+v", a)
		}
		if a := e.accept(keyed("0-c", "x", `2`)); !errors.Is(a.Err, ErrKeyConflict) || a.ID != "0-a" {
			e.Errorf("another body: %+v", a)
		}
		e.unchanged("a repeated key", before)
		if a := e.accept(keyed("0-d", "y", `1`)); a.Err != nil || a.Existing {
			e.Errorf("another tenant: %+v", a)
		}
		// In one batch the repeat sees the first.
		got := e.s.Enqueue(ctx, []Operation{keyed("0-e", "z", `1`), keyed("0-f", "z", `1`), keyed("0-g", "z", `2`)})
		if got[0].Existing || got[1].ID != "0-e" || !got[1].Existing || !errors.Is(got[2].Err, ErrKeyConflict) {
			e.Errorf("batch: %+v", got)
		}
		e.counts("waiting:default=3")
	})
}

func TestEnqueue_KeyIsFreeAfterTheRetention(t *testing.T) {
	eachWith(t, Options{Retention: 30 * time.Millisecond}, func(e *env) {
		op := func(id lm.TraceID, body string) Operation {
			return Operation{ID: id, Request: request(body, func(r *lm.Request) { r.Key = "k" })}
		}
		e.accept(op("0-a", `1`))
		if e.rdb.PTTL(ctx, e.s.keys.unique(0, op("", `1`).Request.KeyHash())).Val() > 0 {
			e.Error("the key of a waiting operation has a lifetime")
		}
		e.finish(e.claimNext("w1"))
		e.eventually("the trace is gone", func() bool { return e.rdb.Exists(ctx, e.s.keys.trace("0-a")).Val() == 0 })
		e.eventually("the key is free", func() bool { a := e.accept(op("0-b", `2`)); return a.Err == nil && !a.Existing })
		e.lax = true // what ended has no trace any more
	})
}

// eventually waits for a condition.
func (e *env) eventually(what string, ok func() bool) {
	e.Helper()
	for until := time.Now().Add(5 * time.Second); !ok(); {
		if time.Now().After(until) {
			e.Fatalf("never: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func TestEnqueue_AHundredAtOnceMakeOne(t *testing.T) {
	each(t, func(e *env) {
		const n = 100
		got := make([]Accepted, n)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				got[i] = e.accept(Operation{ID: lm.TraceID(fmt.Sprintf("0-%d", i)), Request: request(`1`, func(r *lm.Request) { r.Key = "k" })})
			})
		}
		wg.Wait()
		made := 0
		for _, a := range got {
			if a.Err != nil || a.ID != got[0].ID {
				e.Errorf("%+v, the first answer %s", a, got[0].ID)
			}
			if !a.Existing {
				made++
			}
		}
		e.streams("queue 1/0 resume 0/0")
		e.counts("waiting:default=1")
		if traces := e.rdb.Keys(ctx, e.s.keys.in(0, "trace:*")).Val(); made != 1 || len(traces) != 1 {
			e.Errorf("%d made, traces %v", made, traces)
		}
	})
}

// TestEnqueue_QueueFull: the door counts per queue and partition, what waits for
// a worker and what waits for a time apart, within one batch too.
func TestEnqueue_QueueFull(t *testing.T) {
	eachWith(t, Options{QueueLimit: 3}, func(e *env) {
		op := func(id, queue string, due time.Time) Operation {
			return Operation{ID: lm.TraceID(id), Request: request(`1`, func(r *lm.Request) { r.Queue, r.NotBefore = queue, due })}
		}
		now, later := time.Time{}, time.Now().Add(time.Hour)
		ops := []Operation{op("0-a", "default", now), op("0-b", "default", now), op("0-c", "default", now), op("0-d", "default", now),
			op("0-e", "other", now), op("0-f", "default", later)}
		got := e.s.Enqueue(ctx, ops)
		for i, a := range got {
			if full := errors.Is(a.Err, ErrQueueFull); full != (i == 3) || (a.Err != nil) != full {
				e.Errorf("%s: %+v", ops[i].ID, a)
			}
		}
		before := e.snapshot()
		if a := e.accept(op("0-g", "default", now)); !errors.Is(a.Err, ErrQueueFull) {
			e.Errorf("%+v", a)
		}
		e.unchanged("a refused one", before)
		if a := e.accept(ops[0]); !a.Existing {
			e.Errorf("a repeat at a full queue: %+v", a)
		}
		e.counts("delayed:default=1 waiting:default=3 waiting:other=1")
		entries := e.read("w1")
		e.take("w1", entries[0], ClaimOK) // one that runs makes room
		if a := e.accept(op("0-g", "default", now)); a.Err != nil {
			e.Errorf("with room: %+v", a)
		}
	})
}

// TestEnqueue_DelayedStart rests in RECEIVED and is promoted when due.
func TestEnqueue_DelayedStart(t *testing.T) {
	each(t, func(e *env) {
		due := time.Now().Add(150 * time.Millisecond)
		e.enqueue("0-a", func(r *lm.Request) { r.NotBefore = due })
		e.want("0-a", "state", "RECEIVED", "entry", "-", "not_before", fmt.Sprint(due.UnixMilli()))
		e.counts("delayed:default=1")
		e.streams("queue 0/0 resume 0/0")
		if n, err := e.s.Promote(ctx, 0, []lm.TraceID{"0-a"}); err != nil || n != 0 {
			e.Errorf("promoted early: %d %v", n, err)
		}
		e.eventually("it is due", func() bool {
			d, err := e.s.Tick(ctx, 0, time.Millisecond, time.Second, []Stream{queue})
			return err == nil && len(d.Delayed) == 1
		})
		if n, err := e.s.Promote(ctx, 0, []lm.TraceID{"0-a"}); err != nil || n != 1 {
			e.Fatalf("promote: %d %v", n, err)
		}
		e.again()
		e.counts("waiting:default=1")
		e.streams("queue 1/0 resume 0/0")
		e.want("0-a", "state", "QUEUED", "hn", "2")
		e.finish(e.claimNext("w1"))
	})
}

// TestEnqueue_PathsThatDoNotQueueAreRefused: an entry whose trace cannot be
// claimed would lie there for ever.
func TestEnqueue_PathsThatDoNotQueueAreRefused(t *testing.T) {
	each(t, func(e *env) {
		before := e.snapshot()
		for _, path := range [][]lm.State{{}, {lm.Queued}, {lm.Received}, {lm.Received, lm.Preprocessing}, {lm.Received, lm.Claimed},
			{lm.Received, lm.Errored}, {lm.Received, lm.Errored, lm.Completed}, {lm.Received, lm.Queued, lm.Claimed}, {lm.Received, lm.State(99)}} {
			if a := e.accept(Operation{ID: "0-a", Request: request(`1`), Path: path}); a.Err == nil {
				e.Errorf("path %v was accepted", path)
			}
			if d := difference(before, e.snapshot()); d != "" {
				e.Fatalf("path %v:\n%s", path, d)
			}
		}
		if a := e.accept(Operation{ID: "0-a", Request: request(`1`), Path: []lm.State{lm.Received, lm.Preprocessing, lm.Queued}}); a.Err != nil {
			e.Errorf("with preprocessing: %+v", a)
		}
	})
}

// TestEnqueue_TenThousandInAFewRoundTrips.
func TestEnqueue_TenThousandInAFewRoundTrips(t *testing.T) {
	onRedis(t, Options{}, func(e *env) {
		const n = 10_000
		e.enqueue("0-warm") // the script is known
		ops := make([]Operation, n)
		for i := range ops {
			ops[i] = Operation{ID: lm.TraceID(fmt.Sprintf("0-%d", i)), Request: request(`1`)}
		}
		before := e.rec.commands
		start := time.Now()
		for i, a := range e.s.Enqueue(ctx, ops) {
			if a.Err != nil || a.ID != ops[i].ID {
				e.Fatalf("%d: %+v", i, a)
			}
		}
		t.Logf("%d operations in %d round trips and %v", n, e.rec.commands-before, time.Since(start).Round(time.Millisecond))
		if trips := e.rec.commands - before; trips > 5 {
			e.Errorf("%d round trips", trips)
		}
		e.streams("queue 10001/0 resume 0/0")
		e.counts("waiting:default=10001")
		e.lax = true // looked at above; one by one takes seconds
	})
}

func TestEnqueue_SpreadsOverPartitions(t *testing.T) {
	eachWith(t, Options{Partitions: 4}, func(e *env) {
		var ops []Operation
		for i := range 250 {
			ops = append(ops, Operation{ID: lm.NewTraceID(i%4, fmt.Sprint(i)), Request: request(`1`)})
		}
		for i, a := range e.s.Enqueue(ctx, ops) {
			if a.Err != nil || a.ID != ops[i].ID {
				e.Errorf("%d: %+v", i, a)
			}
		}
		for p := range 4 {
			if n := e.rdb.XLen(ctx, e.s.keys.stream(Stream{Partition: p, Queue: "default"})).Val(); n != 62 && n != 63 {
				e.Errorf("partition %d holds %d", p, n)
			}
		}
	})
}

// TestEnqueue_ReusedIDRestoresNothing: what an earlier operation of the same ID
// left behind, whose trace is gone, is removed.
func TestEnqueue_ReusedIDRestoresNothing(t *testing.T) {
	each(t, func(e *env) {
		c := e.in("w1", "0-a", lm.Inferring)
		if _, err := e.s.Advance(ctx, c, Advance{Steps: []lm.Step{{Name: "step:gather", Data: []byte("old")}}}); err != nil {
			e.Fatal(err)
		}
		must(e, e.s.Frames(ctx, c, []lm.Frame{{Seq: 1, Type: lm.FrameToken, Data: "old"}}))
		must(e, e.s.Finish(ctx, c, failed(c)))
		e.rdb.Del(ctx, e.s.keys.trace("0-a")) // its lifetime is over before the others'
		e.rdb.XTrimMaxLen(ctx, e.s.keys.done(0), 0)
		e.rdb.HDel(ctx, e.s.keys.stats(0), "failed")
		if a := e.s.Enqueue(ctx, []Operation{{ID: "0-a", Request: request(`"new"`), Named: true}})[0]; a.Err != nil || a.Existing {
			e.Fatalf("enqueue: %+v", a)
		}
		for _, key := range []string{e.s.keys.checkpoint("0-a"), e.s.keys.result("0-a"), e.s.keys.out("0-a")} {
			if e.rdb.Exists(ctx, key).Val() != 0 {
				e.Errorf("%s is still there", key)
			}
		}
		if e.rdb.PTTL(ctx, e.s.keys.request("0-a")).Val() > 0 {
			e.Error("the new request expires")
		}
		next := e.claimNext("w1")
		if string(next.Request.Body) != `"new"` || len(next.Checkpoint) != 0 || next.Attempts != 0 {
			e.Errorf("claim: %+v", next)
		}
		if next.Fence.Epoch < c.Fence.Epoch {
			e.Errorf("epoch %d after %d", next.Fence.Epoch, c.Fence.Epoch)
		}
	})
}

// TestEnqueue_OneBadNeighbour: an operation whose key holds another type is
// refused and leaves nothing; the others of its batch are accepted, and the
// counts are exact.
func TestEnqueue_OneBadNeighbour(t *testing.T) {
	each(t, func(e *env) {
		e.rdb.Set(ctx, e.s.keys.trace("0-bad"), "a string", 0)
		e.rdb.LPush(ctx, e.s.keys.unique(0, request(`1`, func(r *lm.Request) { r.Key = "k" }).KeyHash()), "a list")
		ops := []Operation{
			{ID: "0-a", Request: request(`1`)}, {ID: "0-bad", Request: request(`1`)}, {ID: "0-b", Request: request(`1`)},
			{ID: "0-key", Request: request(`1`, func(r *lm.Request) { r.Key = "k" })}, {ID: "0-c", Request: request(`1`)},
		}
		got := e.s.Enqueue(ctx, ops)
		for i, a := range got {
			if bad := i == 1 || i == 3; (a.Err != nil) != bad {
				e.Errorf("%s: %+v", ops[i].ID, a)
			}
		}
		e.counts("waiting:default=3")
		e.streams("queue 3/0 resume 0/0")
		for _, key := range []string{e.s.keys.request("0-bad"), e.s.keys.request("0-key"), e.s.keys.trace("0-key")} {
			if e.rdb.Exists(ctx, key).Val() != 0 {
				e.Errorf("the refused one left %s", key)
			}
		}
		e.rdb.Del(ctx, e.s.keys.trace("0-bad"))
	})
}

// TestEnqueue_StreamOfAnotherType: a queue whose name somebody else uses. The
// refused operation must leave nothing, or a repeat would find it and believe it
// accepted.
func TestEnqueue_StreamOfAnotherType(t *testing.T) {
	each(t, func(e *env) {
		e.rdb.Set(ctx, e.s.keys.stream(Stream{Queue: "taken"}), "a string", 0)
		before := e.snapshot()
		op := Operation{ID: "0-a", Request: request(`1`, func(r *lm.Request) { r.Queue = "taken" })}
		for range 2 {
			if a := e.accept(op); a.Err == nil {
				e.Errorf("accepted: %+v", a)
			}
		}
		e.unchanged("an enqueue into a queue of another type", before)
		e.lax = true
	})
}

// TestMemory_PerWaitingOperation measures what one waiting operation costs.
func TestMemory_PerWaitingOperation(t *testing.T) {
	rdb := redistest.Start(t).Client()
	e := envOn(t, "redis", rdb, Options{})
	e.enqueue("0-warm")
	e.finish(e.claimNext("w1"))
	const n = 10_000
	body := `{"messages":[{"role":"user","content":"`
	body += string(bytes.Repeat([]byte("a"), 200-len(body)-4)) + `"}]}`
	before := usedMemory(e)
	ops := make([]Operation, n)
	for i := range ops {
		ops[i] = Operation{ID: lm.TraceID(fmt.Sprintf("0-01JD3ZK8Q9W%015d", i)), Request: request(body)}
	}
	for _, a := range e.s.Enqueue(ctx, ops) {
		if a.Err != nil {
			e.Fatal(a.Err)
		}
	}
	per := (usedMemory(e) - before) / n
	t.Logf("%d bytes per waiting operation with a request of %d bytes", per, len(body))
	if per > 750 {
		e.Errorf("%d bytes per waiting operation", per)
	}
	if enc := rdb.ObjectEncoding(ctx, e.s.keys.trace(ops[7].ID)).Val(); enc != "listpack" {
		e.Errorf("the trace is a %s", enc)
	}
}

func usedMemory(e *env) int64 {
	e.Helper()
	for range 3 {
		e.rdb.Do(ctx, "memory", "purge")
	}
	info, err := e.rdb.Info(ctx, "memory").Result()
	if err != nil {
		e.Fatal(err)
	}
	return number(readInfo(info)["used_memory"])
}

// TestMemory_EndedOperationsLeaveNothing: when the retention is over, no key of
// an ended operation is left, whatever it went through.
func TestMemory_EndedOperationsLeaveNothing(t *testing.T) {
	eachWith(t, Options{Retention: 40 * time.Millisecond, DeadRetention: 60 * time.Millisecond}, func(e *env) {
		for i := range 10 {
			c := e.in("w1", lm.TraceID(fmt.Sprintf("0-%d", i)), lm.Inferring, func(r *lm.Request) {
				r.Key, r.Reply, r.Deadline = fmt.Sprint(i), "me", time.Now().Add(time.Hour)
			})
			if _, err := e.s.Advance(ctx, c, Advance{Steps: []lm.Step{{Name: "a", Data: []byte("b")}}}); err != nil {
				e.Fatal(err)
			}
			must(e, e.s.Frames(ctx, c, []lm.Frame{{Seq: 1, Type: lm.FrameToken, Data: "x"}}))
			if i%2 == 0 {
				e.finish(c)
			} else {
				must(e, e.s.Finish(ctx, c, failed(c)))
			}
		}
		e.lax = true
		shared := map[string]bool{}
		for _, key := range []string{e.s.keys.stats(0), e.s.keys.done(0), e.s.keys.dead(0), e.s.keys.reply(0, "me"), e.s.keys.stream(queue), e.s.keys.stream(resume)} {
			shared[key] = true
		}
		var left []string
		e.eventually("all keys of ended operations are gone", func() bool {
			left = nil
			for _, key := range e.allKeys() {
				if !shared[key] {
					left = append(left, key)
				}
			}
			return len(left) == 0
		})
		if n := e.rdb.ZCard(ctx, e.s.keys.deadlines(0)).Val(); n != 0 {
			e.Errorf("%d deadlines left", n)
		}
		e.streams("queue 0/0 resume 0/0")
		if ttl := e.rdb.PTTL(ctx, e.s.keys.reply(0, "me")).Val(); ttl <= 0 || ttl > time.Hour {
			e.Errorf("the reply stream lives for %v", ttl)
		}
	})
}
