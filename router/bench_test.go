package router

import (
	"context"
	"sync"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/fleet"
)

// calm is a provider that answers at once, and a fleet in which nothing happens:
// what is measured over it is the router's own.
type calm struct{ session fleet.Session }

func (c *calm) Call(context.Context, lm.Call) (lm.Answer, error) {
	return lm.Answer{Usage: lm.Usage{Calls: 1, Input: 100, Output: 10}}, nil
}

func (c *calm) Session(context.Context, fleet.SessionKey) (fleet.Session, error) {
	return c.session, nil
}

func (c *calm) ChangeSession(context.Context, fleet.SessionKey, fleet.SessionChange) (fleet.Session, error) {
	return c.session, nil
}

func (c *calm) Turn(context.Context, string) (uint64, error) { return 0, nil }

func (c *calm) Admit(context.Context, fleet.Admission) (fleet.Admitted, error) {
	return fleet.Admitted{OK: true, Reservation: "r"}, nil
}

func (c *calm) Hold(context.Context, fleet.Holding) (bool, error) { return true, nil }

func (c *calm) Record(context.Context, fleet.Outcome) error { return nil }

// routed is a router over calm, and what calls it.
type routed struct {
	name string
	opts Options
	call lm.Call
	most float64 // allocations; 0: not bounded
}

// costly are the ways of a call that its costs depend on.
func costly() []routed {
	now := time.Now()
	c := &calm{fleet.Session{Home: "b", Active: "b", Exists: true, IdleSince: now.Add(time.Hour), Gen: 1}}
	serve := func(spec fleet.Spec, shared bool) Options {
		snap := fleet.NewSnapshot(1, now, spec, nil)
		o := Options{Snapshot: func() *fleet.Snapshot { return snap }, Providers: map[string]Provider{}, Owner: "w1", Lease: time.Minute}
		for _, m := range spec.Models {
			o.Providers[m.Backend] = c
		}
		if shared {
			o.Sessions, o.Outcomes, o.Fresh = c, c, func(context.Context) error { return nil }
		}
		return o
	}
	limited := pool("a b c")
	limited.Models[0].Limits = fleet.Limits{RPM: 1e6, TPM: 1e9}
	return []routed{
		{"alone", serve(pool("a b c"), false), newCall(asking("a")), 3},
		{"alone, recorded", serve(pool("a b c"), true), newCall(asking("a")), 0},
		{"alone, with limits", serve(limited, true), newCall(asking("a")), 0},
		{"pool, by operation", serve(pool("a b c"), false), newCall(asking("chat")), 3},
		{"pool, with a session", serve(pool("a b c"), true), newCall(asking("chat"), thread("t")), 0},
	}
}

func asking(model string) func(*lm.Call) {
	return func(c *lm.Call) {
		c.Model, c.Body = model, []byte(`{"messages":[{"role":"user","content":"Why do rivers bend?"}],"max_tokens":100}`)
	}
}

// BenchmarkCall is what the router costs a call, beside the provider and Redis.
// Every call is of a claim of its own, whose memo is counted.
func BenchmarkCall(b *testing.B) {
	for _, way := range costly() {
		b.Run(way.name, func(b *testing.B) {
			r := New(way.opts)
			b.ReportAllocs()
			for b.Loop() {
				way.call.Memo = new(sync.Map)
				if _, err := r.Call(b.Context(), way.call); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestCall_PlainCallsStayCheap: a call that nobody is told of costs one allocation,
// its Ask; the trip stays on the stack. The bound leaves two more, to a compiler that
// sees less.
func TestCall_PlainCallsStayCheap(t *testing.T) {
	for _, way := range costly() {
		if way.most == 0 {
			continue
		}
		r := New(way.opts)
		got := testing.AllocsPerRun(1000, func() {
			if _, err := r.Call(t.Context(), way.call); err != nil {
				t.Fatal(err)
			}
		})
		if got > way.most {
			t.Errorf("%s: %g allocations a call, want at most %g", way.name, got, way.most)
		}
	}
}
