package consumer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
	"github.com/rs/zerolog"
)

// The lease is an hour where presence must do it.
func TestPresence_KilledWorkerIsTakenOverWithinTheGrace(t *testing.T) {
	eachMortal(t, func(e *env) {
		release := make(chan struct{})
		defer close(release)
		victim := e.mortal(hang(release), Options{Name: "victim", Lease: time.Hour, Concurrency: 20})
		ids := e.many(20)
		e.until("it is full", func() bool { return victim.Running() == 20 })
		var mu sync.Mutex
		var last time.Time
		heir := e.mortal(func(context.Context, lm.Claim) (lm.Result, error) {
			mu.Lock()
			defer mu.Unlock()
			last = time.Now()
			return lm.Result{}, nil
		}, Options{Name: "heir", Lease: time.Hour})
		e.sees(heir, 1)
		killed := victim.kill()
		e.ended(ids...)
		mu.Lock()
		e.Logf("the last of 20 runs again %s after the kill", last.Sub(killed))
		mu.Unlock()
		for _, id := range ids {
			e.want(id, "succeeded 1/1")
			if h := path(e.record(id)); !strings.Contains(h, "L(presence)") {
				e.Errorf("history %s, want it taken over by presence", h)
			}
		}
		if n := value(e, heir.metrics.Takeovers.WithLabelValues("presence")); n != 20 {
			e.Errorf("%v takeovers counted, want 20", n)
		}
		e.until("the dead one is off the roster", func() bool { return slices.Equal(e.onRoster(), []string{heir.Owner()}) })
		heir.drain()
		if left := e.onRoster(); len(left) != 0 {
			e.Errorf("on the roster after the end: %v", left)
		}
		e.quiet()
	})
}

// What is on the roster and was never seen listening is left to its lease; so is
// everything where presence is off.
func TestPresence_WhoWasNotSeenIsLeftToTheLease(t *testing.T) {
	for _, how := range []string{"never listened", "presence off"} {
		t.Run(how, func(t *testing.T) {
			each(t, func(e *env) {
				const lease = 3 * time.Second
				var killed time.Time
				off := how == "presence off"
				heir := e.mortal(fine, Options{Name: "heir", Lease: lease, Queues: []Queue{{Name: "other", Weight: 1}}, Presence: Presence{Off: off}})
				e.groups()
				id := e.enqueue("0-a")
				if off {
					victim := e.mortal(hang(nil), Options{Name: "victim", Lease: lease})
					e.until("it runs", func() bool { return victim.Running() == 1 })
					killed = victim.kill()
				} else {
					if err := e.s.Announce(ctx, lua.WorkerRecord{Owner: "victim"}); err != nil {
						e.Fatal(err)
					}
					killed = time.Now()
					e.die("victim", lease)
				}
				e.until("it is put back", func() bool { return e.state(id) == lm.Reclaimed })
				if d := time.Since(killed); d < lease*3/4 {
					e.Errorf("put back %s after the death, with a lease of %s", d, lease)
				}
				if h := path(e.record(id)); !strings.Contains(h, "L(lease)") {
					e.Errorf("history %s", h)
				}
				if off && heir.Presence() {
					e.Error("presence is off and said to be on")
				}
			})
		})
	}
}

// A watcher that cannot see itself sees nobody: its own subscription is gone and
// refused, while a worker dies.
func TestPresence_WhoDoesNotHearItselfJudgesNobody(t *testing.T) {
	onRedis(t, func(e *env) {
		const lease = 4 * time.Second
		heir := e.mortal(fine, Options{Name: "heir", Lease: lease, Queues: []Queue{{Name: "other", Weight: 1}}})
		e.until("it listens", func() bool { return heir.hearing.now() != 0 })
		own := e.listeners()
		victim := e.mortal(hang(nil), Options{Name: "victim", Lease: lease})
		id := e.enqueue("0-a")
		e.until("it runs", func() bool { return victim.Running() == 1 })
		e.sees(heir, 1)
		e.subscribing(false)
		e.killListeners(own)
		killed := victim.kill()
		e.until("it is put back", func() bool { return e.state(id) == lm.Reclaimed })
		if h := path(e.record(id)); !strings.Contains(h, "L(lease)") {
			e.Errorf("history %s %s after the kill: judged without hearing itself", h, time.Since(killed))
		}
		if heir.Presence() {
			e.Error("it says that it listens")
		}
	})
}

// The watcher's own subscription breaks as the other dies: what it saw before is
// worth nothing.
func TestPresence_OwnBreakForgetsSightings(t *testing.T) {
	onRedis(t, func(e *env) {
		const lease = 4 * time.Second
		heir := e.mortal(fine, Options{Name: "heir", Lease: lease, Queues: []Queue{{Name: "other", Weight: 1}}})
		e.until("it listens", func() bool { return heir.hearing.now() != 0 })
		own := e.listeners()
		victim := e.mortal(hang(nil), Options{Name: "victim", Lease: lease})
		id := e.enqueue("0-a")
		e.until("it runs", func() bool { return victim.Running() == 1 })
		e.sees(heir, 1)
		before := heir.hearing.now()
		e.killListeners(own)
		victim.kill()
		e.until("it listens again", func() bool { now := heir.hearing.now(); return now != 0 && now != before })
		e.until("it is put back", func() bool { return e.state(id) == lm.Reclaimed })
		if h := path(e.record(id)); !strings.Contains(h, "L(lease)") {
			e.Errorf("history %s: judged by what it saw before its own break", h)
		}
	})
}

// A worker whose subscription is broken and refused, and which lives.
func TestPresence_DeafWorkerKeepsItsWork(t *testing.T) {
	onRedis(t, func(e *env) {
		release := make(chan struct{})
		heir := e.mortal(fine, Options{Name: "heir", Queues: []Queue{{Name: "other", Weight: 1}}})
		e.until("it listens", func() bool { return heir.hearing.now() != 0 })
		own := e.listeners()
		deaf := e.mortal(hang(release), Options{Name: "deaf"})
		id := e.enqueue("0-a")
		e.until("it runs", func() bool { return deaf.Running() == 1 })
		e.sees(heir, 1)
		e.subscribing(false)
		e.killListeners(e.listeners(own...))
		e.until("nobody is seen", func() bool { return gaugeOf(e, heir.metrics) == 0 })
		<-time.After(4 * deaf.opts.Presence.Grace) // in which it would be judged
		e.subscribing(true)
		e.until("it listens again", func() bool { return deaf.hearing.now() != 0 })
		close(release)
		e.ended(id)
		e.want(id, "succeeded 1/0")
		if n := value(e, heir.metrics.Takeovers.WithLabelValues("presence")); n != 0 {
			e.Errorf("%v takeovers from a deaf worker", n)
		}
		deaf.drain()
		heir.drain()
		e.quiet()
	})
}

// Subscriptions are killed over and over, with Redis standing still in between;
// nobody dies and nobody is taken over.
func TestPresence_KilledSubscriptionsAreNobodysDeath(t *testing.T) {
	onRedis(t, func(e *env) {
		rounds, calm := 12, 4 // every so many rounds all are seen again before
		if full {
			rounds, calm = 1000, 20
		}
		const lease = 2 * time.Second // for as long one is left alone after it was deaf
		release := make(chan struct{})
		metrics := NewMetrics(nil)
		var fleet []*mortal
		for i := range 4 {
			fleet = append(fleet, e.mortal(hang(release), Options{Name: fmt.Sprint("w", i), Concurrency: 4, Lease: lease, Metrics: metrics}))
		}
		ids := e.many(16)
		e.until("all run", func() bool {
			n := 0
			for _, w := range fleet {
				n += w.Running()
			}
			return n == len(ids)
		})
		killed := 0
		for round := range rounds {
			e.until("all listen", func() bool { return len(e.listeners()) == len(fleet) })
			if round%calm == 0 {
				e.until("they look after each other", func() bool { return gaugeOf(e, metrics) == 3 })
			}
			n, err := e.rdb.ClientKillByFilter(ctx, "TYPE", "pubsub").Result()
			if err != nil {
				e.Fatal(err)
			}
			killed += int(n)
			if round%4 == 0 {
				e.srv.Stop()
				<-time.After(400 * time.Millisecond)
				e.srv.Cont()
			}
		}
		<-time.After(1500 * time.Millisecond) // in which the last would be judged
		e.Logf("%d rounds, %d subscriptions killed", rounds, killed)
		if killed < 4*rounds {
			e.Errorf("%d subscriptions were killed in %d rounds: void", killed, rounds)
		}
		close(release)
		e.ended(ids...)
		for _, id := range ids {
			e.want(id, "succeeded 1/0")
		}
		if n := value(e, metrics.Takeovers.WithLabelValues("presence")); n != 0 {
			e.Errorf("%v takeovers from living workers", n)
		}
		for _, w := range fleet {
			w.drain()
		}
		e.quiet()
	})
}

// A worker that drains is there until it has nothing left, and then it is off the
// roster, so that nobody looks for what it left.
func TestPresence_DrainingWorkerIsNotTakenOver(t *testing.T) {
	each(t, func(e *env) {
		release := make(chan struct{})
		var log bytes.Buffer
		leaving := e.mortal(func(context.Context, lm.Claim) (lm.Result, error) { <-release; return lm.Result{}, nil }, Options{Name: "leaving"})
		heir := e.mortal(fine, Options{Name: "heir", Queues: []Queue{{Name: "other", Weight: 1}}, Log: zerolog.New(zerolog.SyncWriter(&log))})
		id := e.enqueue("0-a")
		e.until("it runs", func() bool { return leaving.Running() == 1 })
		e.sees(heir, 1)
		leaving.end()
		e.until("the roster says that it drains", func() bool {
			records, _, err := e.s.Roster(ctx)
			return err == nil && slices.ContainsFunc(records, func(r lua.WorkerRecord) bool { return r.Owner == leaving.Owner() && r.Draining && r.Presence })
		})
		<-time.After(4 * heir.opts.Presence.Grace)
		if gaugeOf(e, heir.metrics) != 1 {
			e.Error("it is not seen any more while it drains")
		}
		close(release)
		leaving.await()
		e.until("it is off the roster", func() bool { return slices.Equal(e.onRoster(), []string{heir.Owner()}) })
		e.until("it is not looked after any more", func() bool { return gaugeOf(e, heir.metrics) == 0 })
		e.want(id, "succeeded 1/0")
		heir.drain()
		if strings.Contains(log.String(), "worker is gone") {
			e.Errorf("the heir took it for dead:\n%s", log.String())
		}
		e.quiet()
	})
}

// A worker that could not give everything back stays on the roster when it ends.
func TestRetire_NotWithSomethingPending(t *testing.T) {
	each(t, func(e *env) {
		e.groups()
		c := New(e.s, HandlerFunc(fine), quick(Options{}))
		if err := e.s.Announce(ctx, lua.WorkerRecord{Owner: c.Owner()}); err != nil {
			e.Fatal(err)
		}
		e.enqueue("0-a")
		claim := e.die(c.Owner(), time.Hour)[0]
		c.retire()
		if len(e.onRoster()) != 1 {
			e.Error("off the roster with something pending")
		}
		if err := e.s.Finish(ctx, claim, endWell(claim)); err != nil {
			e.Fatal(err)
		}
		c.retire()
		if len(e.onRoster()) != 0 {
			e.Error("on the roster with nothing pending")
		}
	})
}

// Two watchers at once, more than a page, in the resume stream and in a queue that
// neither serves: each operation is moved once.
func TestInherit_TwoAtOnceMoveEachOnce(t *testing.T) {
	each(t, func(e *env) {
		e.groups("unserved")
		ids := e.many(250)
		ids = append(ids, e.enqueue("0-u", queue("unserved")))
		claims := e.die("dead", time.Hour)
		for len(claims) < 250 {
			claims = append(claims, e.die("dead", time.Hour)...)
		}
		if err := e.s.Release(ctx, claims[7], "drain"); err != nil { // into the resume stream
			e.Fatal(err)
		}
		e.die("dead", time.Hour)
		e.die("dead", time.Hour, lua.Stream{Queue: "unserved"})
		if err := e.s.Announce(ctx, lua.WorkerRecord{Owner: "dead"}); err != nil {
			e.Fatal(err)
		}
		var both sync.WaitGroup
		for range 2 {
			c := New(e.s, HandlerFunc(fine), quick(Options{}))
			both.Go(func() {
				for !c.inherit(ctx, "dead") {
					e.Error("not taken over to the end")
				}
			})
		}
		both.Wait()
		if len(e.onRoster()) != 0 {
			e.Errorf("on the roster: %v", e.onRoster())
		}
		for _, id := range ids {
			if r := e.record(id); r.State != lm.Reclaimed || r.CrashesTotal != 1 || r.Owner != "" {
				e.Errorf("%s is %s with %d crashes, owner %q: %s", id, r.State, r.CrashesTotal, r.Owner, path(r))
			}
		}
		w := e.worker(fine, Options{Queues: []Queue{{Name: lm.DefaultQueue, Weight: 1}, {Name: "unserved", Weight: 1}}})
		e.ended(ids...)
		w.drain()
		e.quiet()
	})
}

// One that died in the middle of a sweep has entries of a living worker pending.
func TestInherit_LeavesWhatALivingWorkerHolds(t *testing.T) {
	each(t, func(e *env) {
		e.groups()
		id := e.enqueue("0-a")
		claim := e.die("alive", time.Hour)[0]
		_, name, _ := strings.Cut(claim.Fence.Entry, "/")
		if taken, err := e.s.Inherit(ctx, "dead", stream, []string{name}); err != nil || len(taken) != 1 {
			e.Fatal(taken, err)
		}
		if err := e.s.Announce(ctx, lua.WorkerRecord{Owner: "dead"}); err != nil {
			e.Fatal(err)
		}
		c := New(e.s, HandlerFunc(fine), quick(Options{}))
		if !c.inherit(ctx, "dead") {
			e.Error("not done")
		}
		if r := e.record(id); r.State != lm.Claimed || r.Owner != "alive" {
			e.Errorf("%s, owner %q: taken from a living worker", r.State, r.Owner)
		}
		if b, err := e.s.Heartbeat(ctx, 0, "alive", []lua.Renewal{{ID: id, Fence: claim.Fence}}); err != nil || b[0] != lua.BeatOK {
			e.Errorf("its beat: %v %v", b, err)
		}
		if err := e.s.Finish(ctx, claim, endWell(claim)); err != nil {
			e.Error(err)
		}
	})
}

// Contact was lost a moment ago: nothing is taken over, and nobody is off the
// roster for it.
func TestInherit_NotAfterLostContact(t *testing.T) {
	each(t, func(e *env) {
		e.groups()
		id := e.enqueue("0-a")
		e.die("dead", time.Hour)
		if err := e.s.Announce(ctx, lua.WorkerRecord{Owner: "dead"}); err != nil {
			e.Fatal(err)
		}
		c := New(e.s, HandlerFunc(fine), quick(Options{}))
		c.contact.note(lm.ErrUnavailable)
		if c.inherit(ctx, "dead") || e.state(id) != lm.Claimed || len(e.onRoster()) != 1 {
			e.Errorf("taken over without contact: %s", e.state(id))
		}
	})
}

// A server that does not count: one line, and the lease does it.
func TestPresence_RefusedFallsBackToTheLease(t *testing.T) {
	onRedis(t, func(e *env) {
		if err := e.rdb.Do(ctx, "acl", "setuser", "default", "-pubsub").Err(); err != nil {
			e.Fatal(err)
		}
		const lease = 2 * time.Second
		var log bytes.Buffer
		heir := e.mortal(fine, Options{Name: "heir", Lease: lease, Queues: []Queue{{Name: "other", Weight: 1}}, Log: zerolog.New(zerolog.SyncWriter(&log))})
		victim := e.mortal(hang(nil), Options{Name: "victim", Lease: lease})
		id := e.enqueue("0-a")
		e.until("it runs", func() bool { return victim.Running() == 1 })
		victim.kill()
		e.until("it is put back", func() bool { return e.state(id) == lm.Reclaimed })
		if h := path(e.record(id)); !strings.Contains(h, "L(lease)") {
			e.Errorf("history %s", h)
		}
		records, _, err := e.s.Roster(ctx)
		for _, r := range records {
			if r.Presence || err != nil {
				e.Errorf("the roster says of %s that presence is on", r.Owner)
			}
		}
		heir.drain()
		if n := strings.Count(log.String(), "presence is off"); n != 1 || heir.Presence() {
			e.Errorf("%d lines say that presence is off, want 1; Presence() %v\n%s", n, heir.Presence(), log.String())
		}
	})
}

// What looking after each other costs while nobody holds anything.
func TestPresence_IdleFleetIsQuiet(t *testing.T) {
	onRedis(t, func(e *env) {
		count := func() (n int) {
			e.Helper()
			for line := range strings.Lines(e.rdb.Info(ctx, "commandstats").Val()) {
				if _, err := fmt.Sscanf(line, "cmdstat_pubsub|numsub:calls=%d", &n); err == nil {
					return n
				}
			}
			return 0
		}
		var fleet []*mortal
		for i := range 2 {
			fleet = append(fleet, e.mortal(fine, Options{Name: fmt.Sprint("w", i), Announce: time.Hour}))
		}
		for _, w := range fleet {
			e.sees(w, 1)
		}
		before, began := count(), time.Now()
		<-time.After(4 * time.Second)
		n, most := count()-before, 2*(time.Since(began).Seconds()/2+1)
		e.Logf("2 idle workers: %d samples in %s", n, time.Since(began))
		if n == 0 || float64(n) > most {
			e.Errorf("%d samples, want 1 to %.0f", n, most)
		}
	})
}

// A cancel reaches the handler, and what it has called, at once: the heartbeat of
// an hour would tell it otherwise.
func TestCancel_AbortsTheUpstreamCall(t *testing.T) {
	onRedis(t, func(e *env) {
		rounds, bound := 5, 5*time.Second
		if full {
			rounds, bound = 100, 250*time.Millisecond
		}
		arrived, closed := make(chan struct{}, 1), make(chan time.Time, 1)
		upstream := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			arrived <- struct{}{}
			<-r.Context().Done()
			closed <- time.Now()
		}))
		defer upstream.Close()
		client := &http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{}).DialContext}}
		defer client.CloseIdleConnections()
		causes := make(chan error, 1)
		e.mortal(func(ctx context.Context, _ lm.Claim) (lm.Result, error) {
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, upstream.URL, nil)
			if err != nil {
				return lm.Result{}, err
			}
			answer, err := client.Do(r)
			if err == nil {
				_ = answer.Body.Close()
			}
			causes <- context.Cause(ctx)
			return lm.Result{}, err
		}, Options{Lease: 4 * time.Hour})
		var took []time.Duration
		for i := range rounds {
			id := e.enqueue(lm.NewTraceID(0, fmt.Sprint("c", i)))
			e.come("the call", arrived)
			asked := time.Now()
			if end, err := e.s.Cancel(ctx, id); err != nil || end != lua.CancelRequested {
				e.Fatal(end, err)
			}
			took = append(took, received(e, "the end of the connection", closed).Sub(asked))
			if err := received(e, "the handler", causes); !errors.Is(err, lm.ErrCancelRequested) {
				e.Errorf("cause %v", err)
			}
			e.ended(id)
			if r := e.record(id); r.Outcome != lm.Cancelled {
				e.Errorf("outcome %s", r.Outcome)
			}
		}
		slices.Sort(took)
		p99 := took[len(took)*99/100]
		e.Logf("%d cancels, from the asking to the end of the upstream connection: p50 %s, p99 %s, max %s", rounds, took[len(took)/2], p99, took[len(took)-1])
		if p99 > bound {
			e.Errorf("p99 %s, want at most %s", p99, bound)
		}
	})
}
