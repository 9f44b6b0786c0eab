package fleet

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lighterman/lighterman/lua"
)

// TestOlder_SaysInHowLongABackendIsDue, also after the server's clock was set back.
func TestOlder_SaysInHowLongABackendIsDue(t *testing.T) {
	now := time.Now()
	when := new(Reconciler).older(time.Minute)
	for _, c := range []struct {
		tried time.Time
		want  time.Duration
	}{
		{time.Time{}, 0}, {now, time.Minute}, {now.Add(-59 * time.Second), time.Second}, {now.Add(-time.Minute), 0}, {now.Add(-time.Hour), 0},
		{now.Add(time.Second), 61 * time.Second}, {now.Add(time.Hour), 0},
	} {
		if got := when("one", lua.Observation{Tried: c.tried}, now); got != c.want {
			t.Errorf("tried %s ago: in %s, want %s", now.Sub(c.tried), got, c.want)
		}
	}
}

// TestReconcile_AnEarlyQuestionIsPutOff: asked for once, right behind a listing, while
// the interval is far away.
func TestReconcile_AnEarlyQuestionIsPutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t, "one")
		y.spec.Observe = ObserveSpec{Interval: time.Hour}
		m, r := y.worker(nil, inMemoryWithout(nil))
		running, stop := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() { defer close(done); r.Run(running) }()
		synctest.Wait()
		y.shelves["one"].set(stocks("a b"))
		time.Sleep(time.Second)
		r.Nudge()
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if n := y.shelves["one"].looked(); n != 1 {
			t.Errorf("listed %d times within the 5 s", n)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := y.shelves["one"].looked(); n != 2 || drifts(m) != "a-one=ok one/b=model_undeclared" {
			t.Errorf("listed %d times after them: %s", n, drifts(m))
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if n := y.shelves["one"].looked(); n != 2 {
			t.Errorf("one question is answered once: listed %d times", n)
		}
		stop()
		<-done
	})
}
