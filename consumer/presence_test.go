package consumer

import (
	"bytes"
	"context"
	"fmt"
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
