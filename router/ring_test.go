package router

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/fleet"
)

func TestRouter_ACancelledCallIsNoFailure(t *testing.T) {
	b := newBench(t, pool("a b", first), nil)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the lease is gone")
	b.hold = func(context.Context, string) { cancel(why) }
	_, err := b.router.Call(ctx, newCall(thread("t")))
	if !errors.Is(err, why) {
		t.Errorf("%v, want the cause", err)
	}
	if len(b.outcomes) != 1 || !b.outcomes[0].Neutral || b.outcomes[0].Waste != fleet.WasteCancel || len(b.changes) != 0 {
		t.Errorf("outcomes %+v, session %v", b.outcomes, b.changes)
	}
}

func TestRouter_OutcomesCarryWhatTheFleetCounts(t *testing.T) {
	spec := pool("a", first)
	spec.Models[0].Price = fleet.Price{Input: 2, CachedInput: 1, Output: 10}
	b := newBench(t, spec, states{"a": {CircuitEpoch: 3}})
	b.call(t, func(c *lm.Call) { c.Tenant = "acme" })
	want := fleet.Outcome{
		Model: "a", Backend: "b-a", Op: "0-op", Tenant: "acme", Key: "0-op/turn:1/5/0", CircuitEpoch: 3,
		Usage: lm.Usage{Calls: 1, Input: 100, Cached: 50, Output: 10}, CostUSD: (50*2 + 50*1 + 10*10) / 1e6,
	}
	if len(b.outcomes) == 1 && time.Since(b.outcomes[0].Began) < time.Minute { // by the router's clock
		want.Began = b.outcomes[0].Began
	}
	if diff := cmp.Diff([]fleet.Outcome{want}, b.outcomes); diff != "" {
		t.Error(diff)
	}
	if len(b.admits) != 0 {
		t.Errorf("a model without limits was asked for admission: %+v", b.admits)
	}
}

// A call that may repeat one whose worker died tells so by the call that succeeds,
// and by no other.
func TestRouter_TheSuccessTellsOfLostCalls(t *testing.T) {
	b := newBench(t, pool("a b", first), nil)
	b.fail("a", fails(lm.Overloaded, 0))
	if got := b.call(t, func(c *lm.Call) { c.Lost = []lm.Epoch{2, 4} }); got != "b" {
		t.Fatal(got)
	}
	if diff := cmp.Diff([][]string{nil, {"0-op/turn:1/2", "0-op/turn:1/4"}}, [][]string{b.outcomes[0].Lost, b.outcomes[1].Lost}); diff != "" {
		t.Error(diff)
	}
}

func TestRouter_Admission(t *testing.T) {
	limited := func(id string) fleet.Spec {
		spec := pool("a b", first)
		for i := range spec.Models {
			if spec.Models[i].ID == id {
				spec.Models[i].Limits.RPM = 1
			}
		}
		return spec
	}
	until := time.Now().Add(20 * time.Second)
	no := func(models ...string) func(fleet.Admission) (fleet.Admitted, bool) {
		return func(a fleet.Admission) (fleet.Admitted, bool) {
			return fleet.Admitted{Until: until, Reason: fleet.ReasonRequestLimit}, strings.Contains(strings.Join(models, " "), a.Model)
		}
	}
	t.Run("a reservation is settled", func(t *testing.T) {
		b := newBench(t, limited("a"), nil)
		if got := b.call(t); got != "a" || len(b.admits) != 1 || b.outcomes[0].Reservation != "r-0-op/turn:1/5/0" || b.outcomes[0].CircuitEpoch != 9 {
			t.Errorf("%s, admissions %+v, outcomes %+v", got, b.admits, b.outcomes)
		}
	})
	t.Run("a refusal goes to another member and leaves the session unbound from it", func(t *testing.T) {
		b := newBench(t, limited("a"), nil)
		b.refuse = no("a")
		if got := b.call(t, thread("t")); got != "b" || b.called() != "b" || strings.Join(b.changes, "; ") != "bind >b true" {
			t.Errorf("%s by %s, session %v", got, b.called(), b.changes)
		}
	})
	t.Run("a limit that nobody declared moves no call", func(t *testing.T) {
		spec := pool("a b", first)
		spec.Models[0].Limits = fleet.Limits{Concurrent: 4, Assumed: true}
		b := newBench(t, spec, nil)
		b.refuse = no("a")
		_, err := b.router.Call(t.Context(), newCall(thread("t")))
		var p *lm.Parked
		if !errors.As(err, &p) || p.Until.Before(until) || p.Reason != "chat: request_limit" || p.For != lm.WaitLimit+"chat" || b.called() != "" || len(b.changes) != 0 {
			t.Errorf("%v, called %q, session %v", err, b.called(), b.changes)
		}
	})
	t.Run("who gives a place back says so", func(t *testing.T) {
		spec := pool("a b", first)
		spec.Models[0].Limits, spec.Models[1].Limits = fleet.Limits{Concurrent: 4}, fleet.Limits{RPM: 4}
		b := newBench(t, spec, nil)
		var freed []string
		b.router.opts.Freed = func(m *fleet.ModelSpec) { freed = append(freed, fmt.Sprint(m.ID, " ", len(b.outcomes))) }
		b.fail("a", fails(lm.Overloaded, 0))
		if got := b.call(t); got != "b" || strings.Join(freed, ", ") != "a 1" {
			t.Errorf("served by %s, freed after outcomes: %v", got, freed)
		}
	})
	t.Run("refused alone: parked until it says", func(t *testing.T) {
		b := newBench(t, limited("a"), nil)
		b.refuse = no("a")
		_, err := b.router.Call(t.Context(), newCall(func(c *lm.Call) { c.Model = "a" }))
		var p *lm.Parked
		if !errors.As(err, &p) || p.Until.Before(until) || p.Until.After(until.Add(5*time.Second)) || p.Reason != "a: request_limit" || b.called() != "" {
			t.Errorf("%v, called %q", err, b.called())
		}
	})
	t.Run("a half-open member is asked, and its probe marked", func(t *testing.T) {
		b := newBench(t, pool("a b", first), states{"a": {Circuit: fleet.CircuitOpen, OpenUntil: time.Now().Add(-1)}})
		if got := b.call(t); got != "a" || len(b.admits) != 1 || !b.outcomes[0].Probe || b.outcomes[0].Owner != b.admits[0].Owner {
			t.Errorf("%s, admissions %+v, outcomes %+v", got, b.admits, b.outcomes)
		}
	})
	t.Run("a probe of others is an open circuit", func(t *testing.T) {
		b := newBench(t, pool("a b", first), states{"a": {Circuit: fleet.CircuitOpen, OpenUntil: time.Now().Add(-1)}})
		b.refuse = no("a")
		if got := b.call(t); got != "b" || b.called() != "b" {
			t.Errorf("%s by %s", got, b.called())
		}
	})
	t.Run("without Redis a call goes on and a probe does not", func(t *testing.T) {
		b := newBench(t, limited("b"), states{"a": {Circuit: fleet.CircuitOpen, OpenUntil: time.Now().Add(-1)}})
		b.down = errBoom
		if got := b.call(t); got != "b" || b.called() != "b" {
			t.Errorf("%s by %s", got, b.called())
		}
	})
	t.Run("what is not called is given back", func(t *testing.T) {
		b := newBench(t, limited("b"), states{"a": {Disabled: true}})
		key := SessionOf(b.snap.Pool("chat"), &lm.Call{Thread: "t"})
		b.sessions[key] = fleet.Session{Home: "a", Active: "a", Exists: true, Gen: 1, IdleSince: time.Now()}
		b.refuse = func(fleet.Admission) (fleet.Admitted, bool) { // meanwhile the session ends up elsewhere
			s := b.sessions[key]
			s.Gen = 2
			b.sessions[key] = s
			return fleet.Admitted{}, false
		}
		if got := b.call(t, thread("t")); got != "b" {
			t.Errorf("served by %s", got)
		}
		if len(b.outcomes) != 2 || !b.outcomes[0].Neutral || b.outcomes[0].Reservation == "" || b.outcomes[0].Key == b.outcomes[1].Key {
			t.Errorf("outcomes %+v, want the first reservation given back", b.outcomes)
		}
	})
}

func TestRouter_Frames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pool("a b", first), nil)
		b.frames = map[string]string{"a": "from a", "b": "from b"}
		b.fail("a", fails(lm.StreamInterrupted, 0), fails(lm.RateLimited, time.Hour))
		var got []string
		late := func(lm.Frame) {}
		call := newCall(func(c *lm.Call) {
			c.Stream = func(f lm.Frame) { got = append(got, string(f.Type)+" "+f.Data) }
		})
		b.router.opts.Providers = map[string]Provider{"b-a": keep{b.models, &late}, "b-b": keep{b.models, &late}}
		if a := said(b.router.Call(t.Context(), call)); a != "b" {
			t.Fatal(a)
		}
		late(lm.Frame{Type: lm.FrameToken, Data: "too late"})
		want := []string{"token from", "token a", "reset ", "token from", "token a", "reset ", "token from", "token b"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

// keep remembers where a call was to send its frames.
type keep struct {
	Provider
	late *func(lm.Frame)
}

func (k keep) Call(ctx context.Context, c lm.Call) (lm.Answer, error) {
	*k.late = c.Stream
	return k.Provider.Call(ctx, c)
}

type providerFunc func(context.Context, lm.Call) (lm.Answer, error)

func (f providerFunc) Call(ctx context.Context, c lm.Call) (lm.Answer, error) { return f(ctx, c) }

// Once its own side has ended a call nobody else is asked, whatever the provider
// said last.
func TestRouter_ACallThatHasEndedGoesNowhere(t *testing.T) {
	b := newBench(t, pool("a b", first), nil)
	ctx, cancel := context.WithCancel(t.Context())
	b.router.opts.Providers["b-a"] = providerFunc(func(context.Context, lm.Call) (lm.Answer, error) {
		cancel()
		return lm.Answer{}, fails(lm.Overloaded, 0)
	})
	if got := said(b.router.Call(ctx, newCall())); got != "overloaded" || b.called() != "" || !b.outcomes[0].Neutral {
		t.Errorf("%s, called %q, outcomes %+v", got, b.called(), b.outcomes)
	}
}

// A model that uses up the attempt's time has failed (PROVIDERS: timeout).
func TestRouter_TheAttemptsDeadlineIsTheModelsFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pool("a b", first), nil)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		b.router.opts.Providers["b-a"] = providerFunc(func(ctx context.Context, _ lm.Call) (lm.Answer, error) {
			<-ctx.Done()
			return lm.Answer{}, fails(lm.TimedOut, 0)
		})
		if got := said(b.router.Call(ctx, newCall())); got != "timeout" || b.called() != "" || len(b.outcomes) != 1 || b.outcomes[0].Neutral || b.outcomes[0].Kind != lm.TimedOut {
			t.Errorf("%s, called %q, outcomes %+v", got, b.called(), b.outcomes)
		}
	})
}

func TestRouter_AdmissionSaysWhatTheCallMayCost(t *testing.T) {
	spec := pool("a", first)
	spec.Models[0].Limits.TPM = 1000
	b := newBench(t, spec, nil)
	b.call(t, func(c *lm.Call) {
		c.Body = []byte(`{"max_tokens":70,"messages":[{"role":"user","content":"` + strings.Repeat("x", 118) + `"}]}`)
	})
	if len(b.admits) != 1 || b.admits[0].Tokens != 100 || b.admits[0].For != time.Minute || b.admits[0].Owner != "w1/0-op" {
		t.Errorf("%+v, want 120 bytes of input as 30 tokens, and 70", b.admits)
	}
}
