package consumer

import (
	"strings"
	"sync"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

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
		c.contacts.fleet.note(lm.ErrUnavailable)
		if c.inherit(ctx, "dead") || e.state(id) != lm.Claimed || len(e.onRoster()) != 1 {
			e.Errorf("taken over without contact: %s", e.state(id))
		}
	})
}
