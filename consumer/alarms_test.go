package consumer

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
)

// Asked for 100, 200 and 400 ms, what happened was 750, 990 and 2,012: the backoff's
// jitter came on top, and then the wait for the tick.
func TestRetryAfter_OfAHandlerIsWhatHappens(t *testing.T) {
	each(t, func(e *env) {
		delays := map[lm.TraceID]time.Duration{"0-a": 100 * time.Millisecond, "0-b": 200 * time.Millisecond, "0-c": 400 * time.Millisecond}
		again := make(chan lm.Claim, len(delays))
		e.worker(func(_ context.Context, c lm.Claim) (lm.Result, error) {
			if c.Attempts == 0 {
				return lm.Result{}, lm.RetryAfter(delays[c.ID], errors.New("not yet"))
			}
			again <- c
			return lm.Result{}, nil
		}, Options{Tick: time.Hour, Backoff: Backoff{First: time.Hour, Cap: time.Hour}})
		for id := range delays {
			e.enqueue(id)
		}
		for range delays {
			c := received(e, "the second try", again)
			h := e.record(c.ID).History
			var aside time.Time
			for _, hop := range h {
				if hop.Path[len(hop.Path)-1] == lm.Retrying {
					aside = hop.At
				}
			}
			// Both are server time. The bound allows for a machine that is busy.
			if waited := c.ClaimedAt.Sub(aside); waited < delays[c.ID] || waited > delays[c.ID]+5*time.Second {
				e.Errorf("%s waited %s, asked for %s", c.ID, waited, delays[c.ID])
			} else {
				e.Logf("asked for %s, waited %s", delays[c.ID], waited)
			}
		}
		e.ended("0-a", "0-b", "0-c")
		e.quiet()
	})
}

// A short backoff and a short park end at their time as well.
func TestAlarms_ShortWaitsNeedNoTick(t *testing.T) {
	each(t, func(e *env) {
		var n calls
		e.worker(n.of(func(_ context.Context, c lm.Claim) (lm.Result, error) {
			switch {
			case c.ID == "0-park" && n.get(c.ID) == 1:
				return lm.Result{}, lm.Park(time.Now().Add(150*time.Millisecond), "busy")
			case c.ID == "0-fails" && c.Attempts < 3:
				return lm.Result{}, errors.New("not yet")
			}
			return lm.Result{}, nil
		}), Options{Tick: time.Hour})
		e.enqueue("0-fails")
		e.enqueue("0-park")
		e.ended("0-fails", "0-park")
		e.want("0-fails", "succeeded 4/0")
		e.quiet()
	})
}

func TestAlarms_AreBoundedAndInOrder(t *testing.T) {
	a := newAlarms(1)[0]
	a.set("0-long", alarmsDelay+1)
	for i := range alarmsMost + 10 {
		a.set(lm.TraceID(fmt.Sprintf("0-%d", i)), time.Duration(alarmsMost-i%alarmsMost)*time.Millisecond)
	}
	if n := len(a.pending); n != alarmsMost {
		t.Errorf("%d remembered, want %d", n, alarmsMost)
	}
	if ids, next := a.due(time.Now()); len(ids) > 0 && next > 0 {
		t.Errorf("due at once: %v, next in %s", ids, next)
	}
	var all []lm.TraceID
	for range alarmsMost/alarmsPage + 2 {
		ids, _ := a.due(time.Now().Add(time.Minute))
		if len(ids) > alarmsPage {
			t.Errorf("a page of %d", len(ids))
		}
		all = append(all, ids...)
	}
	if len(all) == 0 || all[0] == "0-0" || all[len(all)-1] != "0-0" {
		t.Errorf("%d in the order %v", len(all), all)
	}
}
