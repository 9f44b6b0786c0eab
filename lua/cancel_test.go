package lua

import (
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
)

// TestCancel_FromEveryState: what waits ends at once, what runs is asked to end,
// what is being delivered goes on, what has ended stays.
func TestCancel_FromEveryState(t *testing.T) {
	each(t, func(e *env) {
		e.enqueue("0-queued")
		e.enqueue("0-later", func(r *lm.Request) { r.NotBefore = time.Now().Add(time.Hour) })
		for id, want := range map[lm.TraceID]Ended{"0-queued": CancelDone, "0-later": CancelDone} {
			if got, err := e.s.Cancel(ctx, id); err != nil || got != want {
				e.Errorf("%s: %s %v, want %s", id, got, err, want)
			}
			e.want(id, "state", "COMPLETED", "outcome", "cancelled", "entry", "", "reason", "cancelled")
			if ttl := e.rdb.PTTL(ctx, e.s.keys.trace(id)).Val(); ttl <= 0 || ttl > time.Hour {
				e.Errorf("%s lives for %s", id, ttl)
			}
			if got, err := e.s.Cancel(ctx, id); err != nil || got != CancelEnded {
				e.Errorf("%s again: %s %v", id, got, err)
			}
		}
		running := e.in("w1", "0-running", lm.Inferring)
		if got, err := e.s.Cancel(ctx, running.ID); err != nil || got != CancelRequested {
			e.Errorf("running: %s %v", got, err)
		}
		if beats, err := e.s.Heartbeat(ctx, 0, "w1", []Renewal{{running.ID, running.Fence}}); err != nil || beats[0] != BeatCancel {
			e.Errorf("beat: %v %v", beats, err)
		}
		e.want(running.ID, "state", "INFERRING", "cancel_requested", "cancelled")
		late := e.in("w1", "0-late", lm.Delivering)
		if got, err := e.s.Cancel(ctx, late.ID); err != nil || got != CancelLate {
			e.Errorf("late: %s %v", got, err)
		}
		if _, err := e.s.Cancel(ctx, "0-nobody"); err == nil {
			e.Error("cancelled what does not exist")
		}
		e.counts("cancelled=2 running:default=2")
	})
}

// TestCancel_RetryingAndReclaimed: both wait, one without an entry, one with an
// entry in the resume stream.
func TestCancel_RetryingAndReclaimed(t *testing.T) {
	each(t, func(e *env) {
		c := e.in("w1", "0-retry", lm.Inferring)
		must(e, e.s.Retry(ctx, c, Aside{Path: []lm.State{lm.Errored, lm.Retrying}, Delay: time.Hour, Counted: CountAttempt, Reason: "provider"}))
		d := e.in("w1", "0-back", lm.Inferring)
		must(e, e.s.Release(ctx, d, "drain"))
		for _, id := range []lm.TraceID{c.ID, d.ID} {
			if got, err := e.s.Cancel(ctx, id); err != nil || got != CancelDone {
				e.Errorf("%s: %s %v", id, got, err)
			}
		}
		if n := e.rdb.ZCard(ctx, e.s.keys.delayed(0)).Val() + e.rdb.XLen(ctx, e.s.keys.stream(resume)).Val(); n != 0 {
			e.Errorf("%d left in the delayed set and the resume stream", n)
		}
		e.counts("cancelled=2")
	})
}

// TestExpire_OnlyPastTheDeadline: a deadline is the server's to judge.
func TestExpire_OnlyPastTheDeadline(t *testing.T) {
	each(t, func(e *env) {
		e.enqueue("0-past", func(r *lm.Request) { r.Deadline = time.Now().Add(-time.Second) })
		e.enqueue("0-future", func(r *lm.Request) { r.Deadline = time.Now().Add(time.Hour) })
		e.enqueue("0-none")
		got, err := e.s.Expire(ctx, []lm.TraceID{"0-past", "0-future", "0-none"})
		if err != nil || got[0] != CancelDone || got[1] != CancelEarly || got[2] != CancelEarly {
			e.Fatalf("%v %v", got, err)
		}
		e.want("0-past", "state", "COMPLETED", "outcome", "expired")
		if n := e.rdb.ZCard(ctx, e.s.keys.deadlines(0)).Val(); n != 1 {
			e.Errorf("%d deadlines left, want 1", n)
		}
		e.counts("expired=1 waiting:default=2")
	})
}
