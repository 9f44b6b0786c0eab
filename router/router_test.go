package router

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/fleet"
)

var first = by(fleet.HomeFirstHealthy)

// times repeats an error.
func times(n int, err error) []error {
	list := make([]error, n)
	for i := range list {
		list[i] = err
	}
	return list
}

func TestRouter_WhatFollowsAnError(t *testing.T) {
	boom, limited := fails(lm.ProviderFailed, 0), fails(lm.RateLimited, 30*time.Second)
	cautious := switching(func(s *fleet.Switch) { minute := time.Minute; s.QuotaThreshold = &minute })
	never := switching(func(s *fleet.Switch) { *s = fleet.Switch{} })
	for _, c := range []struct {
		name  string
		spec  fleet.Spec
		fail  map[string][]error
		want  string
		calls string
	}{
		{"no error", pool("a b", first), nil, "a", "a"},
		{"a quota signal: another member at once", pool("a b", first), map[string][]error{"a": {limited}}, "b", "a b"},
		{"under the threshold: parked", pool("a b", first, cautious), map[string][]error{"a": {limited}}, "parked chat: rate_limited", "a"},
		{"a bad key: another member", pool("a b", first), map[string][]error{"a": {fails(lm.Unauthorized, 0)}}, "b", "a b"},
		{"a bad key, and no switch", pool("a b", first, never), map[string][]error{"a": {fails(lm.Unauthorized, 0)}}, "unauthorized", "a"},
		{"a 500: twice more in place", pool("a b", first), map[string][]error{"a": times(2, boom)}, "a", "a a a"},
		{"and then it is the operation's", pool("a b", first), map[string][]error{"a": times(9, boom)}, "provider", "a a a"},
		{"a short Retry-After without a switch: in place", pool("a b", first, never), map[string][]error{"a": {fails(lm.RateLimited, time.Second)}}, "a", "a a"},
		{"a bad request: nothing helps", pool("a b", first), map[string][]error{"a": {fails(lm.InvalidRequest, 0)}}, "invalid_request", "a"},
		{"too long: nothing helps", pool("a b", first), map[string][]error{"a": {fails(lm.ContextOverflow, 0)}}, "context_overflow", "a"},
		{"all limited: parked", pool("a b", first), map[string][]error{"a": {limited}, "b": {limited}}, "parked chat: all members cold", "a b"},
		{"all limited, and nobody says until when", pool("a b", first), map[string][]error{"a": {fails(lm.Overloaded, 0)}, "b": {fails(lm.Overloaded, 0)}}, "overloaded", "a b"},
		{"one bad key does not end what another could serve", pool("a b", first), map[string][]error{"a": {fails(lm.Overloaded, 0)}, "b": {fails(lm.Unauthorized, 0)}}, "overloaded", "a b"},
		{"all keys bad", pool("a b", first), map[string][]error{"a": {fails(lm.Unauthorized, 0)}, "b": {fails(lm.Unauthorized, 0)}}, "unauthorized", "a b"},
		{"each member once", pool("a b c d!", first), map[string][]error{"a": {limited}, "b": {limited}, "c": {limited}}, "d", "a b c d"},
		{"a model's own name: in place", pool("a b", first), map[string][]error{"a": {boom}}, "a", "a a"},
		{"a model's own name: parked", pool("a b", first), map[string][]error{"a": {limited}}, "parked a: rate_limited", "a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, c.spec, nil)
				b.script = c.fail
				got := b.call(t, func(call *lm.Call) {
					if strings.HasPrefix(c.name, "a model's own name") {
						call.Model = "a"
					}
				})
				if got != c.want || b.called() != c.calls {
					t.Errorf("%s by %s, want %s by %s", got, b.called(), c.want, c.calls)
				}
				if len(b.outcomes) != len(b.calls) {
					t.Errorf("%d outcomes of %d calls", len(b.outcomes), len(b.calls))
				}
				keys := map[string]bool{}
				for _, o := range b.outcomes {
					keys[o.Key] = true
				}
				if len(keys) != len(b.outcomes) {
					t.Errorf("%d replay keys of %d calls", len(keys), len(b.outcomes))
				}
			})
		})
	}
}

func TestRouter_BoundsOfOneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pool("a b c d e f", first), nil)
		for _, m := range []string{"a", "b", "c", "d", "e", "f"} {
			b.fail(m, fails(lm.ProviderFailed, 0), fails(lm.ProviderFailed, 0), fails(lm.Overloaded, 0))
		}
		if got := b.call(t); got != "provider" || b.called() != "a a a b b b c c" {
			t.Errorf("%s by %s, want 8 failed calls at most", got, b.called())
		}
		_, err := b.router.Call(t.Context(), newCall(func(c *lm.Call) { c.Model = "nobody" }))
		if lm.KindOf(err) != lm.UnknownModel {
			t.Errorf("a model that nobody declares: %v", err)
		}
		if a, err := b.router.Call(t.Context(), newCall(func(c *lm.Call) { c.Model = "C:latest" })); err != nil || a.Model != "c" {
			t.Errorf("a model's name with :latest: %q %v, want c", a.Model, err)
		}
	})
}

func TestRouter_AnOpenCircuitMovesACallThatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pool("a b", first), states{"a": {Failures: 4}})
		b.fail("a", times(9, fails(lm.ProviderFailed, 0))...)
		if got := b.call(t, thread("t")); got != "b" || b.called() != "a b" {
			t.Errorf("%s by %s: the fifth failure opens the circuit, and b stands in", got, b.called())
		}
	})
}

func TestRouter_NoHealthyMember_CallsNobodyAndParksUntilTheEarliest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		b := newBench(t, pool("a b c", first), states{
			"a": {CooldownUntil: now.Add(time.Hour)}, "b": {Circuit: fleet.CircuitOpen, OpenUntil: now.Add(20 * time.Second)}, "c": {Disabled: true},
		})
		_, err := b.router.Call(t.Context(), newCall(thread("t")))
		var p *lm.Parked
		if !errors.As(err, &p) || p.Reason != "chat: no healthy member" {
			t.Fatalf("%v, want a park", err)
		}
		if wait := p.Until.Sub(now); wait < 20*time.Second || wait > 25*time.Second {
			t.Errorf("parked for %s, want until the earliest deadline in 20 s and a little more", wait)
		}
		if b.called() != "" || len(b.changes) > 0 {
			t.Errorf("called %q, session %v, want nothing", b.called(), b.changes)
		}
	})
}

func TestRouter_PoolExhaustedIsInTheChain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pool("a b", first), nil)
		b.fail("a", fails(lm.Overloaded, 0))
		b.fail("b", fails(lm.Overloaded, 0))
		_, err := b.router.Call(t.Context(), newCall())
		if !errors.Is(err, ErrPoolExhausted) || !errors.Is(err, errBoom) {
			t.Errorf("%v, want ErrPoolExhausted and the provider's", err)
		}
	})
}

func TestRouter_Ineligible(t *testing.T) {
	spec := pool("a b", first)
	spec.Models[0].Window, spec.Models[1].Window = 100, 200
	spec.Models[1].Capabilities = fleet.Capabilities{fleet.CanVision: false}
	b := newBench(t, spec, nil)
	text := func(n int) func(*lm.Call) {
		return func(c *lm.Call) {
			c.Body = []byte(`{"messages":[{"role":"user","content":"` + strings.Repeat("x", 4*n) + `"}]}`)
		}
	}
	if got := b.call(t, text(150)); got != "b" {
		t.Errorf("150 tokens went to %s, whose window is 100", got)
	}
	_, err := b.router.Call(t.Context(), newCall(text(300)))
	if lm.KindOf(err) != lm.ContextOverflow || !strings.Contains(err.Error(), "300 tokens") || !strings.Contains(err.Error(), "model b, has 200 available") {
		t.Errorf("%v, want needed, model and available", err)
	}
	image := func(c *lm.Call) {
		c.Body = []byte(`{"messages":[{"role":"user","content":[{"type":"text","text":"what is it?"},{"type":"image_url","image_url":{"url":"data:,` + strings.Repeat("x", 4000) + `"}}]}]}`)
	}
	if got := b.call(t, image); got != "a" {
		t.Errorf("an image went to %s, which is blind", got)
	}
	_, err = b.router.Call(t.Context(), newCall(image, func(c *lm.Call) { c.Model = "b" }))
	if lm.KindOf(err) != lm.InvalidRequest || !strings.Contains(err.Error(), "images") || !strings.Contains(err.Error(), "no declared model") {
		t.Errorf("%v, want an error that names what is missing", err)
	}
}

// PARITY 96: images asked of blind models are refused with the names of those that
// see, of whatever pool, and are never sent to a text model.
func TestRouter_ImagesOfBlindModels(t *testing.T) {
	image := func(c *lm.Call) {
		c.Body = []byte(`{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://example.com/a.png?x=1&y=2"}}]}]}`)
	}
	spec := pool("a b", first)
	for i := range spec.Models {
		spec.Models[i].Capabilities = fleet.Capabilities{fleet.CanVision: false}
	}
	see := func(id string, c fleet.Capabilities, window int) {
		spec.Models = append(spec.Models, fleet.ModelSpec{ID: id, Backend: "b-" + id, Name: id, Capabilities: c, Window: window})
	}
	see("sees", fleet.Capabilities{fleet.CanVision: true}, 0)
	see("sees-too", fleet.Capabilities{fleet.CanVision: true, fleet.CanChat: true}, 0)
	see("embeds", fleet.Capabilities{fleet.CanVision: true, fleet.CanEmbed: true}, 0)
	see("unsaid", fleet.Capabilities{fleet.CanChat: true}, 0)
	b := newBench(t, spec, nil)
	_, err := b.router.Call(t.Context(), newCall(image))
	if lm.KindOf(err) != lm.InvalidRequest || !strings.HasSuffix(err.Error(), "these do: sees, sees-too") {
		t.Errorf("%v, want the names of the models that see", err)
	}
	if b.called() != "" {
		t.Errorf("called %s", b.called())
	}
	// What they cannot do anyway is not blamed on the images.
	spec.Models[0].Capabilities, spec.Models[1].Capabilities = fleet.Capabilities{fleet.CanVision: false, fleet.CanEmbed: true}, fleet.Capabilities{fleet.CanVision: false, fleet.CanEmbed: true}
	_, err = newBench(t, spec, nil).router.Call(t.Context(), newCall(image))
	if lm.KindOf(err) != lm.InvalidRequest || strings.Contains(err.Error(), "these do") || !strings.Contains(err.Error(), "chat, vision") {
		t.Errorf("%v, want what is needed", err)
	}
}

// A model that is declared not to stream is asked for its whole answer.
func TestRouter_AModelThatDoesNotStream(t *testing.T) {
	for _, can := range []fleet.Capabilities{nil, {fleet.CanStream: true}, {fleet.CanStream: false}} {
		spec := pool("a", first)
		spec.Models[0].Capabilities = can
		b := newBench(t, spec, nil)
		b.frames["a"] = "one two"
		frames := 0
		if got := b.call(t, func(c *lm.Call) { c.Stream = func(lm.Frame) { frames++ } }); got != "a" {
			t.Errorf("%v: %s", can, got)
		}
		if no := can != nil && !can[fleet.CanStream]; no != (frames == 0) {
			t.Errorf("%v: %d frames", can, frames)
		}
	}
}

func TestRouter_ACancelEndsAWaitInPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pool("a", first), nil)
		b.fail("a", fails(lm.ProviderFailed, 0))
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, lm.ErrHandOver)
		defer cancel()
		if _, err := b.router.Call(ctx, newCall()); !errors.Is(err, lm.ErrHandOver) {
			t.Errorf("%v, want the cause", err)
		}
	})
}

func TestRouter_ARouteSaysWhyOfEveryMember(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pool("a b c!", first), nil)
		b.fail("a", fails(lm.RateLimited, time.Hour))
		a, err := b.router.Call(t.Context(), newCall())
		if want := []string{"v2 chat: a rate_limited, b failover, c healthy"}; err != nil || !cmp.Equal(a.Route, want) {
			t.Errorf("%q %v, want %q", a.Route, err, want)
		}
		if a, err = b.router.Call(t.Context(), newCall()); err != nil || a.Route != nil {
			t.Errorf("the usual choice is noted as %q", a.Route)
		}
	})
}

// The way is told also where it led to no answer, and how every member stood then;
// a model alone says it in its error.
func TestRouter_AWayWithoutAnAnswerIsTold(t *testing.T) {
	limited, refused := fails(lm.RateLimited, time.Hour), fails(lm.InvalidRequest, 0)
	for _, tt := range []struct {
		name, members string
		script        map[string]error
		states        states
		model         string
		said          string
		want          []string
	}{
		{"parked behind a switch", "a b c!", map[string]error{"a": limited, "b": limited, "c": limited}, nil, "", "parked chat: all members cold", []string{
			"v2 chat: a rate_limited, b failover, c healthy", "v3 chat: a rate_limited, b rate_limited, c failover", "v4 chat: a rate_limited, b rate_limited, c rate_limited",
		}},
		{"parked at once", "a b", nil, states{"a": {Disabled: true}, "b": {Disabled: true}}, "", "parked chat: no healthy member", []string{"v1 chat: a manual, b manual"}},
		{"refused by a stand-in", "a b", map[string]error{"a": limited, "b": refused}, nil, "", "invalid_request", []string{
			"v2 chat: a rate_limited, b failover", "v2 chat: a rate_limited, b invalid_request",
		}},
		{"a model alone fails", "a b", map[string]error{"a": refused}, nil, "a", "invalid_request", nil},
		{"a model alone is cold", "a b", nil, states{"a": {Disabled: true}}, "a", "parked a: manual", []string{"v1 a: a manual"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(t, pool(tt.members, first), tt.states)
				for member, err := range tt.script {
					b.fail(member, err)
				}
				a, err := b.router.Call(t.Context(), newCall(func(c *lm.Call) { c.Model = either(tt.model, c.Model) }))
				if got := said(a, err); got != tt.said || !cmp.Equal(a.Route, tt.want) || a.Body != nil || a.Model != "" {
					t.Errorf("%s, %+v\n%q, want %s\n%q", got, a, a.Route, tt.said, tt.want)
				}
			})
		})
	}
	b := newBench(t, pool("a b", first), nil)
	ctx, cancel := context.WithCancel(t.Context())
	b.hold = func(context.Context, string) { cancel() }
	if a, err := b.router.Call(ctx, newCall()); err == nil || a.Route != nil {
		t.Errorf("a cancelled call: %q %v", a.Route, err)
	}
}

// A member that a call has left because its circuit opened is not called again by
// it, though it may be well again.
func TestRouter_WhatACallHasLeftStaysLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, pool("a b", first), states{"a": {Failures: 4}})
		b.fail("a", fails(lm.ProviderFailed, 0))
		b.fail("b", fails(lm.RateLimited, time.Hour))
		b.hold = func(_ context.Context, model string) {
			if model == "b" {
				b.truth.mu.Lock()
				defer b.truth.mu.Unlock()
				b.states["a"] = fleet.ModelState{}
			}
		}
		if got := b.call(t); got != "parked chat: all members cold" || b.called() != "a b" {
			t.Errorf("%s by %s", got, b.called())
		}
	})
}

// Where Redis has lost the session meanwhile, the call goes on and binds it anew.
func TestSession_ThatEndsMeanwhileIsBoundAnew(t *testing.T) {
	b := newBench(t, pool("a b", first), nil)
	key := keyOf(b, "t")
	b.sessions[key] = fleet.Session{Home: "a", Active: "a", Exists: true, Gen: 1, IdleSince: time.Now()}
	b.hold = func(context.Context, string) {
		b.truth.mu.Lock()
		defer b.truth.mu.Unlock()
		if b.sessions[key].Active == "a" {
			delete(b.sessions, key)
		}
	}
	b.fail("a", fails(lm.Overloaded, 0))
	if got := b.call(t, thread("t")); got != "b" || b.sessions[key].Home != "a" || b.sessions[key].Active != "b" {
		t.Errorf("served by %s, session %+v", got, b.sessions[key])
	}
}

// The snapshot is looked at anew once per claim, and before every choice taken as
// it is by then.
func TestRouter_FreshOncePerClaim(t *testing.T) {
	b := newBench(t, pool("a b", first), nil)
	asked := 0
	b.router.opts.Fresh = func(context.Context) error { asked++; return errBoom }
	memo := new(sync.Map)
	for range 4 {
		if got := b.call(t, func(c *lm.Call) { c.Memo = memo }); got != "a" {
			t.Fatal(got)
		}
	}
	b.call(t, func(c *lm.Call) { c.Memo = new(sync.Map) })
	if asked != 2 {
		t.Errorf("asked %d times in 2 claims", asked)
	}
}

func either(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
