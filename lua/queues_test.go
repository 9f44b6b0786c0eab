package lua

import (
	"errors"
	"fmt"
	"testing"

	lm "github.com/lighterman/lighterman"
)

// TestDoor_RefusesTheThousandAndFirstQueue: names that a producer makes up do not
// grow without end; the queues that are there go on as before.
func TestDoor_RefusesTheThousandAndFirstQueue(t *testing.T) {
	each(t, func(e *env) {
		e.lax = true // counts of queues that nothing was ever in
		fields := make([]any, 0, 6000)
		for i := range 1000 {
			for _, kind := range []string{"waiting", "running", "delayed"} {
				fields = append(fields, fmt.Sprintf("%s:q%d", kind, i), 0)
			}
		}
		e.rdb.HSet(ctx, e.s.keys.stats(0), fields...)
		before := e.snapshot()
		in := func(queue string) func(*lm.Request) { return func(r *lm.Request) { r.Queue = queue } }
		if a := e.accept(Operation{ID: "0-new", Request: request(`1`, in("one-more"))}); !errors.Is(a.Err, ErrTooManyQueues) {
			t.Errorf("a new queue: %+v, want ErrTooManyQueues", a)
		}
		if after := e.snapshot(); fmt.Sprint(after) != fmt.Sprint(before) {
			t.Errorf("the refused one left something: %v", after)
		}
		if a := e.accept(Operation{ID: "0-known", Request: request(`1`, in("q7"))}); a.Err != nil {
			t.Errorf("a known queue: %v", a.Err)
		}
	})
}

// TestRetireQueues_OnlyWhatIsEmptyAndUnread: a queue goes with its counts and
// streams when nothing is left of it; one with work, with a reader, or named as to
// be kept stays, and a name that went can be used again.
func TestRetireQueues_OnlyWhatIsEmptyAndUnread(t *testing.T) {
	each(t, func(e *env) {
		in := func(queue string) func(*lm.Request) { return func(r *lm.Request) { r.Queue = queue } }
		for _, q := range []string{"empty", "busy", "read", "kept"} {
			id := lm.TraceID("0-" + q)
			e.enqueue(id, in(q))
			if q == "busy" {
				continue
			}
			if _, err := e.s.Cancel(ctx, id); err != nil {
				t.Fatal(err)
			}
		}
		read := Stream{Queue: "read"}
		if err := e.s.EnsureGroups(ctx, []Stream{read}); err != nil {
			t.Fatal(err)
		}
		if err := e.rdb.XGroupCreateConsumer(ctx, e.s.keys.stream(read), Group, "w1").Err(); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"[empty]", "[]"} { // a repeat finds nothing
			gone, err := e.s.RetireQueues(ctx, 0, []string{"kept"})
			if err != nil || fmt.Sprint(gone) != want {
				t.Fatalf("gone %v, %v, want %s", gone, err, want)
			}
		}
		if n := e.rdb.Exists(ctx, e.s.keys.stream(Stream{Queue: "empty"})).Val(); n != 0 {
			t.Error("its stream is left")
		}
		counts, err := e.s.Counts(ctx, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, kind := range []string{"waiting", "running", "delayed"} {
			if _, there := counts[kind+":empty"]; there {
				t.Errorf("its count %s is left", kind)
			}
		}
		e.enqueue("0-again", in("empty"))
	})
}

// TestRecount_MendsWhatStoodStillAndLeavesWhatMoved: a drifted count becomes what
// the operations say; one that is not what was read any more is left alone, and so
// a repeat changes nothing.
func TestRecount_MendsWhatStoodStillAndLeavesWhatMoved(t *testing.T) {
	each(t, func(e *env) {
		e.enqueue("0-a")
		e.enqueue("0-b")
		stats := e.s.keys.stats(0)
		e.rdb.HIncrBy(ctx, stats, "waiting:default", 20)
		e.rdb.HSet(ctx, stats, "running:ghost", -252)
		drift := e.clean(false).Drift
		if len(drift) != 2 {
			t.Fatalf("drift %+v, want two counts", drift)
		}
		for _, want := range []int{2, 0} {
			if set, err := e.s.recount(ctx, drift); err != nil || set != want {
				t.Errorf("%d set, %v, want %d", set, err, want)
			}
		}
		e.counts("waiting:default=2")
		if set, err := e.s.recount(ctx, []Drift{{Field: "waiting:default", Counted: 22, Real: 1}}); err != nil || set != 0 {
			t.Errorf("one that had moved: %d set, %v", set, err)
		}
	})
}

// TestJanitor_AnIdempotencyKeyOutlivesNoLostTrace: somebody deletes a trace; the key
// that leads to it is given a lifetime, so that the request can be pushed again, and
// the operation leaves the count of what waits.
func TestJanitor_AnIdempotencyKeyOutlivesNoLostTrace(t *testing.T) {
	each(t, func(e *env) {
		keyed := func(r *lm.Request) { r.Key = "page-7" }
		e.enqueue("0-gone", keyed)
		e.enqueue("0-there", func(r *lm.Request) { r.Key = "page-8" })
		e.rdb.Del(ctx, e.s.keys.trace("0-gone"), e.s.keys.request("0-gone"))
		for _, entry := range e.read("w1") {
			if id, _ := entry.Own(); id == "0-gone" {
				e.take("w1", entry, ClaimLost)
			} else {
				e.take("w1", entry, ClaimOK)
			}
		}
		e.counts("failed=1 running:default=1 waiting:default=1")
		gone, there := e.s.keys.unique(0, request(`1`, keyed).KeyHash()), e.s.keys.unique(0, request(`1`, func(r *lm.Request) { r.Key = "page-8" }).KeyHash())
		if pass := e.clean(true); pass.Strays != 1 {
			t.Errorf("%d strays, want the key", pass.Strays)
		}
		e.counts("failed=1 running:default=1")
		if ttl := e.rdb.PTTL(ctx, gone).Val(); ttl <= 0 {
			t.Errorf("the lost one's key has lifetime %v", ttl)
		}
		if ttl := e.rdb.PTTL(ctx, there).Val(); ttl != -1 {
			t.Errorf("the other's key has lifetime %v", ttl)
		}
		e.dead("trace_lost")
	})
}

// TestJanitor_MendsDriftedCounts: a pass that acts sets right what it found twice; a
// pass that looks changes nothing.
func TestJanitor_MendsDriftedCounts(t *testing.T) {
	each(t, func(e *env) {
		e.enqueue("0-a")
		e.rdb.HIncrBy(ctx, e.s.keys.stats(0), "waiting:default", 20)
		if pass := e.clean(false); pass.Recounted != 0 || len(pass.Drift) != 1 {
			t.Errorf("a look: %+v", pass)
		}
		e.counts("waiting:default=21")
		if pass := e.clean(true); pass.Recounted != 1 {
			t.Errorf("a pass that acts: %+v", pass)
		}
		e.counts("waiting:default=1")
	})
}
