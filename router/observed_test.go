package router

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/fleet"
)

// shown is a backend's list as a test says it: names, or how it fails.
type shown struct {
	names string
	err   error
	can   map[lm.Capability]bool
	size  int
}

func (s shown) List(context.Context) ([]lm.Offering, error) {
	var list []lm.Offering
	for name := range strings.FieldsSeq(s.names) {
		list = append(list, lm.Offering{Name: name, Can: s.can, Window: s.size})
	}
	return list, s.err
}

// observe is a snapshot in which backends were listed twice, as a fleet has it.
func observe(t *testing.T, spec fleet.Spec, backends map[string]shown) *fleet.Manager {
	t.Helper()
	listers := map[string]fleet.Lister{}
	for b, s := range backends {
		spec.Backends = append(spec.Backends, fleet.BackendSpec{ID: b, Provider: "openai"})
		listers[b] = s
	}
	m, err := fleet.New(nil, fleet.Options{Spec: spec, Policy: fleet.InMemory})
	if err != nil {
		t.Fatal(err)
	}
	r := fleet.NewReconciler(m, fleet.ReconcilerOptions{Listers: listers})
	for range 2 {
		if _, err := r.Now(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

var refuses, hangs = shown{err: &lm.Error{Kind: lm.Unauthorized}}, shown{err: &lm.Error{Kind: lm.TimedOut}}

// TestPick_WhatWasSeenComesFirst: a member that is not there, or whose backend
// refuses us, is not chosen, before anything else is asked; one of which nothing
// is known is.
func TestPick_WhatWasSeenComesFirst(t *testing.T) {
	none := shown{names: "other"}
	for _, c := range []struct {
		name    string
		words   string
		change  func(*fleet.PoolSpec)
		seen    map[string]shown
		session fleet.Session
		tried   Tried
		want    string
		leaves  bool
	}{
		{name: "there", words: "a b", change: first, seen: map[string]shown{"b-a": {names: "a"}}, want: "a home"},
		{name: "not there", words: "a b", change: first, seen: map[string]shown{"b-a": none}, want: "b home"},
		{name: "refused", words: "a b", change: first, seen: map[string]shown{"b-a": refuses}, want: "b home"},
		{name: "not reachable for listing", words: "a b", change: first, seen: map[string]shown{"b-a": hangs}, want: "a home"},
		{name: "an empty list says nothing", words: "a b", change: first, seen: map[string]shown{"b-a": {}}, want: "a home"},
		{name: "the session's member is not there", words: "a b", seen: map[string]shown{"b-a": none}, session: session("a", "a"), want: "b failover", leaves: true},
		{name: "no policy keeps it there", words: "a b", change: switching(func(s *fleet.Switch) { *s = fleet.Switch{} }), seen: map[string]shown{"b-a": none}, session: session("a", "a"), want: "b failover", leaves: true},
		{name: "without a budget it goes around", words: "a b", change: upTo(0), seen: map[string]shown{"b-a": none}, session: session("a", "a"), want: "b failover"},
		{name: "its home is not there", words: "a b", seen: map[string]shown{"b-a": none}, session: session("a", "b"), want: "b session"},
		{name: "failover_only where no member is there", words: "a b!", seen: map[string]shown{"b-a": none}, want: "b failover"},
		{name: "nobody is there", words: "a b", seen: map[string]shown{"b-a": none, "b-b": refuses}, want: ErrNoHealthyMember.Error()},
		{name: "who is there was tried", words: "a b", seen: map[string]shown{"b-a": none}, tried: Tried{Failed: 2}, want: ErrPoolExhausted.Error()},
	} {
		change := c.change
		if change == nil {
			change = func(*fleet.PoolSpec) {}
		}
		m := observe(t, pool(c.words, change), c.seen)
		snap := m.Snapshot()
		d, err := Pick(snap, snap.Pool("chat"), &Ask{Key: "k"}, c.session, c.tried, m.Now())
		if got := picked(d, err); got != c.want || d.Switch != c.leaves || err != nil && !d.Until.IsZero() {
			t.Errorf("%s: %s, leaves %v; want %s, %v", c.name, got, d.Switch, c.want, c.leaves)
		}
	}
}

// TestExplain_SaysWhatWasSeen, of every member, as pools and notes show it.
func TestExplain_SaysWhatWasSeen(t *testing.T) {
	m := observe(t, pool("a b c", first), map[string]shown{"b-a": {names: "x"}, "b-b": refuses})
	snap := m.Snapshot()
	e := Explain(snap, snap.Pool("chat"), &Ask{}, fleet.Session{}, Tried{}, m.Now())
	var got []string
	for i, v := range e.Members {
		got = append(got, v.Member+" "+string(v.Reason))
		if health, until := ModelHealth(&snap.Models[i], m.Now()); v.Reason != ByHome && health != v.Reason || !until.IsZero() {
			t.Errorf("%s is %s until %s", v.Member, health, until)
		}
	}
	if want := "a model_missing, b unauthorized, c home"; strings.Join(got, ", ") != want || e.Member != "c" {
		t.Errorf("%s, want %s", strings.Join(got, ", "), want)
	}
}

// TestRouter_NobodyThere parks, for what was seen can change, and asks for another
// look; nobody is called.
func TestRouter_NobodyThere(t *testing.T) {
	m := observe(t, pool("a b", first), map[string]shown{"b-a": {names: "x"}, "b-b": {names: "x"}})
	served, looks := &models{script: map[string][]error{}}, 0
	r := New(Options{Snapshot: m.Snapshot, Now: m.Now, Providers: map[string]Provider{"b-a": served, "b-b": served}, Missed: func() { looks++ }})
	for _, c := range []struct{ model, want string }{{"chat", "parked chat: no healthy member"}, {"a", "parked a: model_missing"}, {"nobody", "unknown_model"}} {
		before := looks
		if got := said(r.Call(t.Context(), newCall(func(call *lm.Call) { call.Model = c.model }))); got != c.want || looks != before+1 {
			t.Errorf("%s: %s, want %s; %d looks", c.model, got, c.want, looks-before)
		}
	}
	if served.called() != "" {
		t.Errorf("called: %s", served.called())
	}
	m = observe(t, pool("a b", first), map[string]shown{"b-a": {names: "x"}})
	r.opts.Snapshot, r.opts.Now = m.Snapshot, m.Now
	looks = 0
	if got := said(r.Call(t.Context(), newCall())); got != "b" || looks != 0 {
		t.Errorf("%s, %d looks", got, looks)
	}
}

// TestRouter_LearnedVisionAndContext: what lists tell is held against calls (PARITY
// 96, 97), and an override wins.
func TestRouter_LearnedVisionAndContext(t *testing.T) {
	blind := shown{names: "a b", can: map[lm.Capability]bool{lm.CanVision: false, lm.CanChat: true}, size: 1000}
	image := func(c *lm.Call) {
		c.Body = []byte(`{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]}`)
	}
	long := func(c *lm.Call) {
		c.Body = []byte(`{"messages":[{"role":"user","content":"` + strings.Repeat("word ", 2000) + `"}]}`)
	}
	spec := pool("a b", first)
	m := observe(t, spec, map[string]shown{"b-a": blind, "b-b": blind})
	served := &models{script: map[string][]error{}}
	r := New(Options{Snapshot: m.Snapshot, Now: m.Now, Providers: map[string]Provider{"b-a": served, "b-b": served}})
	if _, err := r.Call(t.Context(), newCall(image)); lm.KindOf(err) != lm.InvalidRequest || !strings.Contains(err.Error(), "no model of it sees any") {
		t.Errorf("vision asked and none there: %v", err)
	}
	if _, err := r.Call(t.Context(), newCall(long)); lm.KindOf(err) != lm.ContextOverflow || !strings.Contains(err.Error(), "has 1000 available") || !strings.Contains(err.Error(), "at least 2500") {
		t.Errorf("context asked and too short: %v", err)
	}
	m = observe(t, spec, map[string]shown{"b-a": {names: "a", can: blind.can}, "b-b": {names: "b", can: blind.can}})
	r.opts.Snapshot, r.opts.Now = m.Snapshot, m.Now
	if _, err := r.Call(t.Context(), newCall(image)); lm.KindOf(err) != lm.InvalidRequest {
		t.Errorf("without a window: %v", err)
	}
	if served.called() != "" {
		t.Errorf("called: %s", served.called())
	}
	spec.Models[1].Capabilities, spec.Models[1].Window = fleet.Capabilities{fleet.CanVision: true}, 5000
	m = observe(t, spec, map[string]shown{"b-a": blind, "b-b": blind})
	r.opts.Snapshot, r.opts.Now = m.Snapshot, m.Now
	for _, change := range []func(*lm.Call){image, long} {
		if got := said(r.Call(t.Context(), newCall(change))); got != "b" {
			t.Errorf("with an override: %s", got)
		}
	}
	if got := said(r.Call(t.Context(), newCall(func(c *lm.Call) { c.Kind = "embed" }))); got != string(lm.InvalidRequest) {
		t.Errorf("an embed call of chat models: %s", got)
	}
}

// TestPick_SeenAllocatesNothing, as before.
func TestPick_SeenAllocatesNothing(t *testing.T) {
	m := observe(t, pool("a b c"), map[string]shown{"b-a": {names: "x"}, "b-b": {names: "b"}, "b-c": hangs})
	snap, now := m.Snapshot(), m.Now()
	p, ask := snap.Pool("chat"), &Ask{Key: "k"}
	if n := testing.AllocsPerRun(100, func() { _, _ = Pick(snap, p, ask, fleet.Session{}, Tried{}, now) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if d, err := Pick(snap, p, ask, fleet.Session{}, Tried{}, now.Add(time.Hour)); err != nil || errors.Is(err, ErrIneligible) || d.Model == nil {
		t.Errorf("an hour later nothing is known any more: %+v %v", d, err)
	}
}
