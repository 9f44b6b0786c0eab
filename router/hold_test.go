package router

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/fleet"
)

// shared is two workers' routers over one truth, which is the rules of the scripts in
// memory. The model's calls take 10 minutes.
func shared(t *testing.T, spec fleet.Spec) (one, two *Router, truth *fleet.Manager, m *models) {
	t.Helper()
	truth, err := fleet.New(nil, fleet.Options{Spec: spec, Policy: fleet.InMemory, Breaker: fleet.BreakerSpec{Streak: 1}})
	if err != nil {
		t.Fatal(err)
	}
	if err := truth.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	m = &models{hold: func(ctx context.Context, _ string) { _ = pause(ctx, 10*time.Minute) }}
	router := func(owner string) *Router {
		return New(Options{Snapshot: truth.Snapshot, Now: truth.Now, Sessions: truth, Outcomes: truth, Providers: map[string]Provider{"b-a": m}, Owner: owner})
	}
	return router("w1"), router("w2"), truth, m
}

func op(name string) func(*lm.Call) {
	return func(c *lm.Call) { c.ID, c.Key = lm.TraceID(name), name+"/turn:1" }
}

// A call of 10 minutes keeps its place of one, and its half-open circuit's probe, for as
// long as it takes: no other call is made meanwhile, and the next one right afterwards.
func TestRouter_ALongCallKeepsItsPlace(t *testing.T) {
	for name, prepare := range map[string]func(*fleet.Spec, *fleet.Manager){
		"concurrent": func(s *fleet.Spec, _ *fleet.Manager) { s.Models[0].Limits.Concurrent = 1 },
		"probe": func(_ *fleet.Spec, truth *fleet.Manager) {
			if truth != nil {
				_ = truth.Record(context.Background(), fleet.Outcome{Model: "a", Backend: "b-a", Kind: lm.ProviderFailed})
				time.Sleep(time.Minute) // until it is half-open
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				spec := pool("a")
				prepare(&spec, nil)
				one, two, truth, m := shared(t, spec)
				prepare(&spec, truth)
				first := make(chan string)
				go func() { first <- said(one.Call(t.Context(), newCall(op("0-one")))) }()
				synctest.Wait()
				for at := range 19 { // to 9.5 min
					time.Sleep(30 * time.Second)
					calling, stop := context.WithTimeout(t.Context(), time.Second)
					if got := said(two.Call(calling, newCall(op("0-two")))); got[:6] != "parked" {
						t.Errorf("after %s: %s", time.Duration(at+1)*30*time.Second, got)
					}
					stop()
				}
				if got := <-first; got != "a" {
					t.Errorf("the first: %s", got)
				}
				if got := said(two.Call(t.Context(), newCall(op("0-two")))); got != "a" || m.called() != "a a" {
					t.Errorf("the next: %s, calls %s", got, m.called())
				}
			})
		})
	}
}

// A call that dies with its worker gives its place back within a minute and a third, and
// so does one whose context has ended.
func TestRouter_ADeadWorkersPlaceIsFreeWithinAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		spec := pool("a")
		spec.Models[0].Limits.Concurrent = 1
		one, two, _, m := shared(t, spec)
		stuck := make(chan struct{})
		var calls atomic.Int32
		m.hold = func(context.Context, string) {
			if calls.Add(1) == 1 {
				<-stuck // it does not look at its context
			}
		}
		dying, die := context.WithCancel(t.Context())
		first := make(chan string)
		go func() { first <- said(one.Call(dying, newCall(op("0-one")))) }()
		time.Sleep(5 * time.Minute)
		die()
		time.Sleep(holdFor + time.Second)
		if got := said(two.Call(t.Context(), newCall(op("0-two")))); got != "a" {
			t.Errorf("a minute after the death: %s", got)
		}
		close(stuck)
		<-first
	})
}

// A call of less than 20 s costs no round trip more, a longer one one in 20 s.
func TestRouter_AShortCallHoldsWithoutARoundTrip(t *testing.T) {
	for took, want := range map[time.Duration]int{19 * time.Second: 0, time.Minute + time.Second: 3} {
		synctest.Test(t, func(t *testing.T) {
			spec := pool("a")
			spec.Models[0].Limits.Concurrent = 1
			b := newBench(t, spec, nil)
			b.hold = func(ctx context.Context, _ string) { _ = pause(ctx, took) }
			if got := b.call(t); got != "a" || len(b.holds) != want {
				t.Errorf("a call of %s: %s, held %d times, want %d", took, got, len(b.holds), want)
			}
			for _, h := range b.holds {
				if a := b.admits[0]; h.Model != "a" || h.Key != a.Key || h.Reservation != "r-"+a.Key || h.For != a.For {
					t.Errorf("%+v", h)
				}
			}
		})
	}
}
