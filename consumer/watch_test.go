package consumer

import (
	"strconv"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
	"github.com/redis/go-redis/v9"
)

// watcher is a watch whose turns the test takes, of a worker that listens and
// watches another that listens.
func (e *env) watcher() (w *watch, other string) {
	e.Helper()
	c := New(e.s, HandlerFunc(fine), quick(Options{}))
	for _, owner := range []string{c.owner, "other"} {
		l, err := e.s.Listen(ctx, owner, time.Minute)
		if err != nil {
			e.Fatal(err)
		}
		e.Cleanup(l.Close)
	}
	c.hearing.set(true)
	c.crew.set(muster{others: []string{"other"}, watchers: []string{c.owner}})
	return &watch{c: c, judge: newJudge(c.opts.Presence.Grace), heirs: make(map[string]bool), dead: make(chan string, maxHeirs)}, "other"
}

func TestWatch_ALateSampleIsNotTrusted(t *testing.T) {
	each(t, func(e *env) {
		w, _ := e.watcher()
		w.sampleAt = time.Now()
		w.sample(ctx)
		if w.judge.present() != 1 {
			e.Fatal("the other is not seen")
		}
		w.sampleAt = time.Now().Add(-time.Second) // it should have been taken then
		w.sample(ctx)
		if w.judge.present() != 0 {
			e.Error("a late sample was trusted")
		}
	})
}

func TestWatch_SamplesSoonWhileOthersAreBusyOrMissing(t *testing.T) {
	each(t, func(e *env) {
		w, other := e.watcher()
		ahead := func() time.Duration { e.Helper(); now := time.Now(); w.sampleAt = now; return w.sample(ctx).Sub(now) }
		if d := ahead(); d < 2*time.Second {
			e.Errorf("idle: the next sample is due in %s", d)
		}
		if err := e.s.MarkBusy(ctx, w.c.owner, time.Hour); err != nil {
			e.Fatal(err)
		}
		if d := ahead(); d < 2*time.Second {
			e.Errorf("only this one is busy: the next sample is due in %s", d)
		}
		if err := e.s.MarkBusy(ctx, other, time.Hour); err != nil {
			e.Fatal(err)
		}
		if d := ahead(); d > time.Second {
			e.Errorf("another is busy: the next sample is due in %s", d)
		}
		now := time.Now()
		w.judge.seen["gone"] = now.Add(-400 * time.Millisecond)
		if next := w.next(now, now.Add(time.Hour), nil, nil); next.Sub(now) != 100*time.Millisecond {
			e.Errorf("a verdict falls in 100 ms: the next sample is due in %s", next.Sub(now))
		}
		w.judge.seen["gone"] = now.Add(-200 * time.Millisecond)
		if next := w.next(now, now.Add(time.Hour), nil, nil); next.Sub(now) != 250*time.Millisecond {
			e.Errorf("a verdict falls in 300 ms: the next sample is due in %s", next.Sub(now))
		}
	})
}

func TestWatch_TheStaleLeaveTheRosterAndOldMarksTheBoard(t *testing.T) {
	each(t, func(e *env) {
		old := strconv.FormatInt(time.Now().Add(-time.Hour).UnixMilli(), 10)
		e.rdb.HSet(ctx, "{lm:fleet}:workers", "old", old+" {}")
		e.rdb.HSet(ctx, "{lm:fleet}:board", "busy old", old, "deaf old", old)
		w := e.mortal(fine, Options{})
		if err := e.s.Announce(ctx, lua.WorkerRecord{Owner: "young", Started: time.Now().Add(time.Hour)}); err != nil {
			e.Fatal(err)
		}
		e.until("the stale one is off the roster, the young one is not", func() bool {
			on := e.onRoster()
			return len(on) == 2 && on[0] != "old" && on[1] != "old"
		})
		e.until("the board is tidy", func() bool { return e.rdb.HLen(ctx, "{lm:fleet}:board").Val() == 0 })
		w.drain()
	})
}

// Who begins to hold something says so, and tells those who look after it; who
// starts tells them too.
func TestReport_BusyIsToldToTheWatchers(t *testing.T) {
	each(t, func(e *env) {
		l, err := e.s.Listen(ctx, "first", time.Minute)
		if err != nil {
			e.Fatal(err)
		}
		defer l.Close()
		if err := e.s.Announce(ctx, lua.WorkerRecord{Owner: "first"}); err != nil {
			e.Fatal(err)
		}
		words := make(chan string, 10)
		go func() {
			for {
				word, err := l.Next()
				if err != nil {
					return
				}
				words <- word
			}
		}()
		release := make(chan struct{})
		w := e.mortal(hang(release), Options{Announce: time.Hour})
		if word := received(e, "a word", words); word != lua.WordRoster {
			e.Errorf("heard %q of a start", word)
		}
		id := e.enqueue("0-a")
		if word := received(e, "a word", words); word != lua.WordBusy {
			e.Errorf("heard %q of a busy one", word)
		}
		if p, err := e.s.Presence(ctx, "first", []string{w.Owner()}); err != nil || !p.Busy[w.Owner()] || p.Deaf[w.Owner()] {
			e.Errorf("%+v, %v", p, err)
		}
		close(release)
		e.ended(id)
		w.drain()
	})
}

// A queue that neither this worker serves nor any count knows: a foreign entry
// that the dead one had read there.
func TestInherit_QueuesThatOnlyTheDeadOneServed(t *testing.T) {
	each(t, func(e *env) {
		e.groups("foreign")
		if err := e.rdb.XAdd(ctx, &redis.XAddArgs{Stream: "{lm:0}:stream:foreign", Values: []string{"body", "{}", "id", "f"}}).Err(); err != nil {
			e.Fatal(err)
		}
		if n := len(e.read("dead", lua.Stream{Queue: "foreign"})); n != 1 {
			e.Fatalf("read %d", n)
		}
		if err := e.s.Announce(ctx, lua.WorkerRecord{Owner: "dead", Queues: []string{"foreign"}}); err != nil {
			e.Fatal(err)
		}
		c := New(e.s, HandlerFunc(fine), quick(Options{}))
		c.crew.set(muster{queues: map[string][]string{"dead": {"foreign"}}})
		if !c.inherit(ctx, "dead") {
			e.Error("not done")
		}
		if r := e.record("0-f"); r.State != lm.Queued || r.Entry[:15] != "resume:foreign/" {
			e.Errorf("%s with entry %q", r.State, r.Entry)
		}
	})
}

// Whoever ended in good order, or was taken over by somebody else, is off the
// roster; nobody looks for what it left.
func TestInherit_NotFromWhoIsOffTheRoster(t *testing.T) {
	each(t, func(e *env) {
		e.groups()
		id := e.enqueue("0-a")
		e.die("gone", time.Hour)
		c := New(e.s, HandlerFunc(fine), quick(Options{}))
		if !c.inherit(ctx, "gone") || e.state(id) != lm.Claimed {
			e.Errorf("it is %s", e.state(id))
		}
	})
}
