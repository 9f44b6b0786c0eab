package consumer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
	"github.com/redis/go-redis/v9"
)

// PARITY 26.
func TestParity26_TakenOverAfterTheLeaseNotBefore(t *testing.T) {
	for _, partitions := range []int{1, 4} {
		t.Run(fmt.Sprintf("partitions=%d", partitions), func(t *testing.T) {
			eachWith(t, lua.Options{Partitions: partitions}, func(e *env) {
				const lease = 2 * brief
				e.groups()
				p := partitions - 1
				id := e.enqueue(lm.NewTraceID(p, "a"))
				began := time.Now()
				dead := e.die("dead", lease, lua.Stream{Partition: p, Queue: lm.DefaultQueue})[0]
				handled := make(chan time.Time, 1)
				metrics := NewMetrics(nil)
				w := e.worker(func(context.Context, lm.Claim) (lm.Result, error) {
					handled <- time.Now()
					return lm.Result{}, nil
				}, Options{Lease: lease, Metrics: metrics})
				if d := received(e, "the takeover", handled).Sub(began); d < lease {
					e.Errorf("taken over after %s, before the lease of %s was over", d, lease)
				}
				e.ended(id)
				e.want(id, "succeeded 1/1")
				for what, err := range map[string]error{
					"finish":  e.s.Finish(ctx, dead, endWell(dead)),
					"retry":   e.s.Retry(ctx, dead, lua.Aside{Path: []lm.State{lm.Errored, lm.Retrying}}),
					"release": e.s.Release(ctx, dead, "drain"),
				} {
					if !errors.Is(err, lm.ErrFenced) {
						e.Errorf("late %s of the dead worker: %v, want fenced", what, err)
					}
				}
				beats, err := e.s.Heartbeat(ctx, p, "dead", []lua.Renewal{{ID: id, Fence: dead.Fence}})
				if err != nil || beats[0] != lua.BeatLost {
					e.Errorf("late beat: %v %v", beats, err)
				}
				w.drain()
				e.want(id, "succeeded 1/1")
				if n := value(e, metrics.Takeovers.WithLabelValues("lease")); n != 1 {
					e.Errorf("%v takeovers counted, want 1", n)
				}
				e.quiet()
			})
		})
	}
}

func TestReclaim_ReadButNeverClaimedCountsNothing(t *testing.T) {
	each(t, func(e *env) {
		e.groups()
		id := e.enqueue("0-a")
		if n := len(e.read("dead")); n != 1 {
			e.Fatalf("read %d", n)
		}
		w := e.worker(fine, Options{Lease: brief})
		e.ended(id)
		w.drain()
		e.want(id, "succeeded 1/0")
		e.quiet()
	})
}

func TestReclaim_QueuesThatNobodyServesAreSweptToo(t *testing.T) {
	each(t, func(e *env) {
		e.groups("unserved")
		unserved := lua.Stream{Queue: "unserved"}
		id := e.enqueue("0-a", queue("unserved"))
		e.die("dead", brief, unserved)
		w := e.worker(fine, Options{Lease: brief})
		e.until("it is put back", func() bool { return e.state(id) == lm.Reclaimed })
		if r := e.record(id); r.CrashesTotal != 1 || !strings.HasPrefix(r.Entry, "resume:unserved/") {
			e.Errorf("crashes %d, entry %s", r.CrashesTotal, r.Entry)
		}
		e.until("the sweeper's consumer is gone from a queue that it does not serve", func() bool {
			cs, _ := e.s.Consumers(ctx, unserved)
			return len(cs) == 1 && cs[0].Name == "dead"
		})
		w.drain()
		served := e.worker(fine, Options{Lease: brief, Queues: []Queue{{Name: "unserved", Weight: 1}}})
		e.ended(id)
		served.drain()
		e.want(id, "succeeded 1/1")
		e.quiet()
	})
}

// A lost reply of XREADGROUP: entries are pending with this very worker, which
// does not know of them.
func TestReclaim_OwnLostReadIsPutBack(t *testing.T) {
	each(t, func(e *env) {
		var held atomic.Bool
		release := make(chan struct{})
		w := e.worker(func(ctx context.Context, c lm.Claim) (lm.Result, error) {
			if c.ID == "0-first" {
				held.Store(true)
				select {
				case <-release:
				case <-ctx.Done():
				}
			}
			return lm.Result{}, ctx.Err()
		}, Options{Lease: 2 * brief, Concurrency: 1})
		first := e.enqueue("0-first")
		e.until("the worker is busy", held.Load)
		id := e.enqueue("0-lost")
		if n := len(e.read(w.Owner())); n != 1 {
			e.Fatalf("read %d behind its back", n)
		}
		e.until("it is put back", func() bool {
			r, _ := e.s.Records(ctx, []lm.TraceID{id})
			return len(r) == 1 && strings.HasPrefix(r[0].Entry, "resume:")
		})
		if w.Running() != 1 || e.state(first) != lm.Claimed {
			e.Errorf("the sweep touched what the worker holds: running %d, %s", w.Running(), e.state(first))
		}
		close(release)
		e.ended(first, id)
		w.drain()
		e.want(first, "succeeded 1/0")
		e.want(id, "succeeded 1/0")
		e.quiet()
	})
}

// The worker's own sweep meets what it holds when its beat is late: it must not
// put it back, whatever the script would say.
func TestReclaim_SweepSkipsWhatTheSweeperHolds(t *testing.T) {
	each(t, func(e *env) {
		e.groups()
		id := e.enqueue("0-a")
		c := New(e.s, HandlerFunc(fine), quick(Options{Lease: time.Millisecond}))
		claims := e.die(c.Owner(), time.Millisecond)
		h := &hold{claim: claims[0]}
		c.held.add(h)
		defer c.held.remove(h)
		e.until("it is stalled", func() bool {
			taken, _, err := e.s.Idle(ctx, c.Owner(), stream, 2*time.Millisecond, "0")
			if err != nil {
				e.Fatal(err)
			}
			if len(taken) == 0 {
				return false
			}
			if err := c.putBackIdle(ctx, "lease", "", taken); err != nil {
				e.Fatal(err)
			}
			return true
		})
		if r := e.record(id); r.State != lm.Claimed || r.Owner != c.Owner() || r.CrashesTotal != 0 {
			e.Errorf("%s, owner %q, %d crashes: the sweeper took its own claim over", r.State, r.Owner, r.CrashesTotal)
		}
		if err := e.s.Finish(ctx, claims[0], endWell(claims[0])); err != nil {
			e.Error(err)
		}
		e.quiet()
	})
}

// push adds a foreign producer's entry and returns its ID.
func (e *env) push(fields ...string) string {
	e.Helper()
	id, err := e.rdb.XAdd(ctx, &redis.XAddArgs{Stream: "{lm:0}:stream:default", Values: fields}).Result()
	if err != nil {
		e.Fatal(err)
	}
	return id
}

// PARITY 35, 43.
func TestParity35_ForeignEntries(t *testing.T) {
	each(t, func(e *env) {
		metrics := NewMetrics(nil)
		var c calls
		w := e.worker(c.of(func(_ context.Context, claim lm.Claim) (lm.Result, error) {
			return lm.Result{Body: claim.Request.Body}, nil
		}), Options{Metrics: metrics})
		e.until("the group", func() bool { return e.rdb.Exists(ctx, "{lm:0}:stream:default").Val() == 1 })
		e.push("v", "1", "kind", "chat", "id", "order-42", "body", `{"messages":[]}`)
		e.ended("0-order-42")
		e.push("body", `{"n":1}`, "id", "same")
		e.push("body", `{"n":1}`, "id", "same")
		e.push("body", `{"n":2}`, "id", "same")
		e.push("v", "9", "body", "{}")
		e.push("hello", "world")
		e.push("t", "not a trace ID")
		e.push("t", "0-never-was")
		e.push("id", "bad name/", "body", "{}")
		e.ended("0-same")
		e.until("all entries are gone", func() bool { return e.rdb.XLen(ctx, "{lm:0}:stream:default").Val() == 0 })
		w.drain()
		for _, id := range []lm.TraceID{"0-order-42", "0-same"} {
			e.want(id, "succeeded 1/0")
			if c.get(id) != 1 {
				e.Errorf("%s: %d calls", id, c.get(id))
			}
		}
		if got := e.deadReasons(); got != "conflict=1 invalid_field=1 no_body=2 trace_lost=1 unknown_version=1" {
			e.Errorf("dead letters %s", got)
		}
		if n := value(e, metrics.DeadLetters.WithLabelValues("malformed")) + value(e, metrics.DeadLetters.WithLabelValues("trace_lost")); n != 6 {
			e.Errorf("%v dead letters counted, want 6", n)
		}
		e.quiet()
	})
}

// PARITY 43b: between reading and adopting, between adopting and claiming, and
// after the claim.
func TestParity43b_ForeignEntryOfADeadWorkerIsAdoptedAgain(t *testing.T) {
	for _, at := range []string{"read", "adopted", "claimed"} {
		t.Run("died="+at, func(t *testing.T) {
			each(t, func(e *env) {
				e.groups()
				e.push("body", `{"n":1}`, "x_note", "mine")
				entries := e.read("dead")
				id := lua.Derive(entries[0]).ID
				if at != "read" {
					if a, err := e.s.Adopt(ctx, "dead", entries); err != nil || a[0] != lua.Adopted {
						e.Fatalf("adopt: %v %v", a, err)
					}
				}
				crashes := 0
				if at == "claimed" {
					if a, err := e.s.Claim(ctx, "dead", brief, entries); err != nil || a[0].Verdict != lua.ClaimOK {
						e.Fatalf("claim: %v %v", a, err)
					}
					crashes = 1
				}
				var c calls
				w := e.worker(c.of(fine), Options{Lease: brief})
				e.ended(id)
				w.drain()
				e.want(id, fmt.Sprintf("succeeded 1/%d", crashes))
				if c.get(id) != 1 || c.all() != 1 {
					e.Errorf("%d calls of it, %d in all", c.get(id), c.all())
				}
				e.quiet()
			})
		})
	}
}

func TestReclaim_AbandonedWorkerUnderLoad(t *testing.T) {
	each(t, func(e *env) {
		hang := make(chan struct{})
		defer close(hang)
		dead := e.worker(func(ctx context.Context, c lm.Claim) (lm.Result, error) {
			select {
			case <-ctx.Done():
			case <-hang:
			}
			return lm.Result{}, ctx.Err()
		}, Options{Name: "dead", Lease: 2 * brief, Concurrency: 5})
		ids := e.many(20)
		e.until("it is full", func() bool { return dead.Running() == 5 })
		claimed := 0
		dead.abandon()
		for _, id := range ids {
			if e.state(id) == lm.Claimed {
				claimed++
			}
		}
		other := e.worker(fine, Options{Name: "other", Lease: 2 * brief})
		e.ended(ids...)
		other.drain()
		crashes := 0
		for _, id := range ids {
			crashes += e.record(id).CrashesTotal
		}
		if claimed != 5 || crashes != 5 {
			e.Errorf("%d claims were abandoned, %d crashes counted; want 5 and 5", claimed, crashes)
		}
		e.quiet()
	})
}
