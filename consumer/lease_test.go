package consumer

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

// PARITY 27.
func TestParity27_HeartbeatsKeepAJobOfManyLeases(t *testing.T) {
	each(t, func(e *env) {
		const lease = 500 * time.Millisecond
		var c calls
		causes := make(chan error, 1)
		w := e.worker(c.of(func(ctx context.Context, _ lm.Claim) (lm.Result, error) {
			select {
			case <-time.After(5 * lease):
			case <-ctx.Done():
			}
			causes <- context.Cause(ctx)
			return lm.Result{}, nil
		}), Options{Lease: lease, Concurrency: 1})
		id := e.enqueue("0-a")
		e.until("the claim", func() bool { return w.Running() == 1 })
		other := e.worker(c.of(fine), Options{Lease: lease})
		e.ended(id)
		if err := received(e, "the handler", causes); err != nil {
			e.Errorf("its context ended: %v", err)
		}
		other.drain()
		w.drain()
		e.want(id, "succeeded 1/0")
		if c.get(id) != 1 {
			e.Errorf("%d calls", c.get(id))
		}
		e.quiet()
	})
}

// F3: the heartbeat stalls, Redis and the handler are well.
func TestLease_EndsByItselfWhenOnlyTheHeartbeatStalls(t *testing.T) {
	each(t, func(e *env) {
		causes := make(chan error, 1)
		var again atomic.Bool
		w := e.worker(func(ctx context.Context, c lm.Claim) (lm.Result, error) {
			if again.Swap(true) {
				return lm.Result{}, nil
			}
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return lm.Result{}, ctx.Err()
		}, Options{Lease: brief, Beat: time.Hour, Tick: time.Hour})
		id := e.enqueue("0-a")
		if err := received(e, "the end of the lease", causes); !errors.Is(err, ErrLeaseEnded) {
			e.Errorf("cause %v, want %v", err, ErrLeaseEnded)
		}
		e.ended(id)
		w.drain()
		e.want(id, "succeeded 1/0")
		if h := path(e.record(id)); !strings.Contains(h, "L(contact)") {
			e.Errorf("history %s, want it put back with reason contact", h)
		}
		e.quiet()
	})
}

// PARITY 39. Redis stands still for longer than a lease: the workers end their
// work by themselves, put it back on contact, and take nothing from one another.
func TestParity39_RedisStopped(t *testing.T) {
	onRedis(t, func(e *env) {
		const lease = 1500 * time.Millisecond
		causes := make(chan error, 100)
		var second atomic.Bool
		h := func(ctx context.Context, c lm.Claim) (lm.Result, error) {
			if second.Load() {
				return lm.Result{}, nil
			}
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return lm.Result{}, ctx.Err()
		}
		metrics := NewMetrics(nil)
		a := e.worker(h, Options{Name: "a", Lease: lease, Concurrency: 6, Metrics: metrics})
		b := e.worker(h, Options{Name: "b", Lease: lease, Concurrency: 6, Metrics: metrics})
		ids := e.many(12)
		e.until("both are full", func() bool { return a.Running() == 6 && b.Running() == 6 })
		e.srv.Stop()
		for range ids {
			if err := received(e, "the end of a lease", causes); !errors.Is(err, ErrLeaseEnded) {
				e.Errorf("cause %v, want %v", err, ErrLeaseEnded)
			}
		}
		second.Store(true)
		e.srv.Cont()
		e.ended(ids...)
		a.drain()
		b.drain()
		for _, id := range ids {
			e.want(id, "succeeded 1/0")
			if h := path(e.record(id)); !strings.Contains(h, "L(contact)") {
				e.Errorf("history %s, want it put back by its own claim", h)
			}
		}
		if n := value(e, metrics.Takeovers.WithLabelValues("lease")); n != 0 {
			e.Errorf("%v takeovers in an outage that was nobody's crash", n)
		}
		e.quiet()
	})
}

// The sit-out by itself: a worker that holds nothing, so no heartbeat of its own
// tells it of the outage, and whose reply comes late but comes.
func TestParity39_IdleWorkerTakesNothingOverAfterAnOutage(t *testing.T) {
	onRedis(t, func(e *env) {
		const lease = time.Second
		e.groups()
		id := e.enqueue("0-a")
		claim := e.die("partitioned", lease)[0]
		w := e.worker(fine, Options{Lease: lease})
		e.until("the worker ticks", func() bool { return w.commands.Load() > 12 })
		e.srv.Stop()
		<-time.After(lease + lease/5) // the outage itself
		e.srv.Cont()
		back := time.Now()
		beats := 0
		for time.Since(back) < lease*6/10 { // the claim's owner is heard of again soon, but not at once
			e.rdb.Ping(ctx)
			if time.Since(back) > lease*3/10 && beats == 0 {
				beats++
				got, err := e.s.Heartbeat(ctx, 0, "partitioned", []lua.Renewal{{ID: claim.ID, Fence: claim.Fence}})
				if err != nil || got[0] != lua.BeatOK {
					e.Fatalf("its beat after the outage: %v %v; it was taken over", got, err)
				}
			}
		}
		if err := e.s.Finish(ctx, claim, endWell(claim)); err != nil {
			e.Errorf("finish after the outage: %v", err)
		}
		e.ended(id)
		w.drain()
		e.want(id, "succeeded 1/0")
		e.rdb.XGroupDelConsumer(ctx, "{lm:0}:stream:default", lua.Group, "partitioned")
		e.quiet()
	})
}

// A beat that gets no answer in time is lost contact as much as a refused one.
func TestHeartbeat_WithoutAnAnswerIsLostContact(t *testing.T) {
	onRedis(t, func(e *env) {
		e.groups()
		e.enqueue("0-a")
		c := New(e.s, HandlerFunc(fine), quick(Options{Lease: brief}))
		h := &hold{claim: e.die(c.Owner(), brief)[0]}
		e.srv.Stop()
		c.renew(ctx, map[int][]*hold{0: {h}})
		e.srv.Cont()
		if !c.contacts.fleet.isLost() {
			e.Error("the worker thinks that it has contact")
		}
		if h.renewed.Load() != 0 {
			e.Error("the lease was renewed without an answer")
		}
	})
}

// F2 in the small: the claim was taken over while its handler did not listen.
func TestReclaim_ZombieIsFencedAndLearnsOfIt(t *testing.T) {
	each(t, func(e *env) {
		metrics := NewMetrics(nil)
		started, taken := make(chan struct{}), make(chan struct{})
		zombie := e.worker(func(ctx context.Context, c lm.Claim) (lm.Result, error) {
			close(started)
			<-taken
			return lm.Result{Body: []byte(`"of the zombie"`)}, nil
		}, Options{Name: "zombie", Lease: brief, Beat: time.Hour, Concurrency: 1, Metrics: metrics})
		id := e.enqueue("0-a")
		e.come("the zombie's handler", started)
		other := e.worker(fine, Options{Name: "other", Lease: brief})
		e.ended(id)
		close(taken)
		e.until("the zombie's end", func() bool { return zombie.Running() == 0 })
		zombie.drain()
		other.drain()
		e.want(id, "succeeded 1/1")
		r, _ := e.s.Results(ctx, []lm.TraceID{id})
		if r[0].Text() != "fine" {
			e.Errorf("the result is %s", r[0].Text())
		}
		if n := value(e, metrics.Fenced); n != 1 {
			e.Errorf("%v fenced writes counted, want 1", n)
		}
		e.quiet()
	})
}

// PARITY 28, from the worker's side: a lost claim's context ends as fenced.
func TestParity28_LostClaimEndsAsFenced(t *testing.T) {
	each(t, func(e *env) {
		causes := make(chan error, 1)
		metrics := NewMetrics(nil)
		w := e.worker(func(ctx context.Context, c lm.Claim) (lm.Result, error) {
			<-ctx.Done()
			causes <- context.Cause(ctx)
			return lm.Result{}, lm.Permanent(ctx.Err())
		}, Options{Beat: 20 * time.Millisecond, Metrics: metrics})
		id := e.enqueue("0-a")
		e.until("the claim", func() bool { return w.Running() == 1 })
		r := e.record(id)
		_, name, _ := strings.Cut(r.Entry, "/")
		if n, err := e.rdb.Do(ctx, "XCLAIM", "{lm:0}:stream:default", lua.Group, "thief", 0, name).Slice(); err != nil || len(n) != 1 {
			e.Fatalf("xclaim: %v %v", n, err)
		}
		e.until("the entry is back with its owner", func() bool { // a beat takes the entry back: the thief has no claim
			p := e.pending("{lm:0}:stream:default")
			return len(p) == 1 && p[0].Consumer == w.Owner()
		})
		e.rdb.HSet(ctx, "{lm:0}:trace:0-a", "owner", "thief", "token", "x")
		if err := received(e, "the lost claim", causes); !errors.Is(err, lm.ErrFenced) {
			e.Errorf("cause %v, want fenced", err)
		}
		w.drain()
		if r := e.record(id); r.Owner != "thief" || r.State != lm.Claimed {
			e.Errorf("owner %s, state %s: the loser wrote", r.Owner, r.State)
		}
		if n := value(e, metrics.Fenced); n != 1 {
			e.Errorf("%v fenced, want 1", n)
		}
	})
}

func endWell(c lm.Claim) lua.Ending {
	return lua.Ending{Path: []lm.State{lm.Gathering, lm.Inferring, lm.Postprocessing, lm.Delivering, lm.Delivered, lm.Completed},
		Result: lm.Result{Outcome: lm.Succeeded, Body: []byte(`"by hand"`)}, Tried: true}
}
