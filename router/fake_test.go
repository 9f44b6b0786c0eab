package router

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/fleet"
)

// truth is the fleet's shared truth in memory, as far as a router sees it: sessions
// by compare-and-set, cooldowns, a breaker that opens at 5 failures in a row.
type truth struct {
	mu       sync.Mutex
	spec     fleet.Spec
	states   states
	version  uint64
	snap     *fleet.Snapshot
	sessions map[fleet.SessionKey]fleet.Session
	changes  []string
	reads    int
	outcomes []fleet.Outcome
	admits   []fleet.Admission
	holds    []fleet.Holding
	refuse   func(fleet.Admission) (fleet.Admitted, bool) // false: it is admitted
	down     error                                        // of Redis
	turns    uint64
}

func newTruth(spec fleet.Spec, s states) *truth {
	f := &truth{spec: spec, states: states{}, sessions: map[fleet.SessionKey]fleet.Session{}}
	for id, state := range s {
		f.states[id] = state
	}
	f.publish()
	return f
}

func (f *truth) publish() {
	f.version++
	f.snap = fleet.NewSnapshot(f.version, time.Now(), f.spec, f.states)
}

func (f *truth) snapshot() *fleet.Snapshot {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.snap
}

func (f *truth) Turn(context.Context, string) (uint64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.turns++
	return f.turns - 1, f.down
}

func (f *truth) Session(_ context.Context, key fleet.SessionKey) (fleet.Session, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	return f.sessions[key], f.down
}

func (f *truth) ChangeSession(_ context.Context, key fleet.SessionKey, c fleet.SessionChange) (fleet.Session, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down != nil {
		return fleet.Session{}, f.down
	}
	s := f.sessions[key]
	s.Changed = false
	same := s.Exists && s.Active == c.From && (c.Gen == 0 || c.Gen == s.Gen)
	switch {
	case c.Kind == fleet.Bind && !s.Exists:
		s = fleet.Session{Home: c.Home, Active: c.To, Exists: true, Gen: s.Gen + 1, IdleSince: time.Now(), Changed: true}
	case c.Kind == fleet.Move && same && c.FailbackTo != "":
		s.Active, s.Gen, s.Changed = c.FailbackTo, s.Gen+1, true
	case c.Kind == fleet.Move && same && (c.MaxSwitches < 0 || s.Switches < c.MaxSwitches):
		s.Active, s.Switches, s.Gen, s.Changed = c.To, s.Switches+1, s.Gen+1, true
	case c.Kind == fleet.Served && same:
		s.Switches, s.IdleSince, s.Changed = 0, time.Now(), true
	case c.Kind == fleet.Drop && same:
		s = fleet.Session{Gen: s.Gen, Changed: true}
	}
	f.sessions[key] = s
	what := string(c.Kind)
	if c.FailbackTo != "" {
		what = "back"
	}
	f.changes = append(f.changes, fmt.Sprintf("%s %s>%s%s %v", what, c.From, c.To, c.FailbackTo, s.Changed))
	return s, nil
}

func (f *truth) Admit(_ context.Context, a fleet.Admission) (fleet.Admitted, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.admits = append(f.admits, a)
	if f.refuse != nil {
		if answer, refused := f.refuse(a); refused {
			return answer, f.down
		}
	}
	return fleet.Admitted{OK: true, Probe: f.states[a.Model].Circuit != "", Reservation: "r-" + a.Key, CircuitEpoch: 9}, f.down
}

func (f *truth) Hold(_ context.Context, h fleet.Holding) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.holds = append(f.holds, h)
	return true, f.down
}

func (f *truth) Record(ctx context.Context, o fleet.Outcome) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	f.outcomes = append(f.outcomes, o)
	s := f.states[o.Model]
	switch {
	case o.Neutral:
		return f.down
	case o.Kind == "":
		s.Failures, s.Circuit = 0, fleet.CircuitClosed
	case table[o.Kind].lasting:
		s.QuarantineUntil = time.Now().Add(15 * time.Minute)
	case table[o.Kind].retries > 0:
		if s.Failures++; s.Failures >= 5 {
			s.Circuit, s.OpenUntil = fleet.CircuitOpen, time.Now().Add(30*time.Second)
		}
		fallthrough
	default:
		if o.RetryAfter > 0 {
			s.CooldownUntil = time.Now().Add(o.RetryAfter)
		}
	}
	f.states[o.Model] = s
	f.publish()
	return f.down
}

// models are the members as providers: each answers with its name, or what its
// script says next.
type models struct {
	mu     sync.Mutex
	calls  []string
	script map[string][]error
	frames map[string]string // sent a frame a word before it answers or fails
	hold   func(ctx context.Context, model string)
}

var errBoom = errors.New("boom")

func fails(kind lm.Kind, after time.Duration) error {
	return &lm.Error{Kind: kind, RetryAfter: after, Err: errBoom}
}

func (m *models) Call(ctx context.Context, call lm.Call) (lm.Answer, error) {
	if m.hold != nil {
		m.hold(ctx, call.Model)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls = append(m.calls, call.Model)
	for word := range strings.FieldsSeq(m.frames[call.Model]) {
		if call.Stream != nil {
			call.Stream(lm.Frame{Type: lm.FrameToken, Data: word})
		}
	}
	if ctx.Err() != nil {
		return lm.Answer{}, &lm.Error{Kind: lm.CallCancelled, Err: context.Cause(ctx)}
	}
	if left := m.script[call.Model]; len(left) > 0 {
		m.script[call.Model] = left[1:]
		if left[0] != nil {
			return lm.Answer{}, left[0]
		}
	}
	return lm.Answer{Body: []byte(`"` + call.Model + `"`), Usage: lm.Usage{Calls: 1, Input: 100, Cached: 50, Output: 10}}, nil
}

func (m *models) called() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Join(m.calls, " ")
}

// bench is a router over fakes.
type bench struct {
	*truth
	*models
	router *Router
}

func newBench(t *testing.T, spec fleet.Spec, s states) *bench {
	t.Helper()
	b := &bench{truth: newTruth(spec, s), models: &models{script: map[string][]error{}, frames: map[string]string{}}}
	b.router = b.another()
	return b
}

// another is the router of another process.
func (b *bench) another() *Router {
	providers := map[string]Provider{}
	for _, m := range b.spec.Models {
		providers[m.Backend] = b.models
	}
	return New(Options{Snapshot: b.snapshot, Providers: providers, Sessions: b.truth, Outcomes: b.truth, Owner: "w1"})
}

func (b *bench) fail(model string, errs ...error) { b.script[model] = append(b.script[model], errs...) }

// call makes one call of the pool and says whom it was served by, or what the
// error was.
func (b *bench) call(t *testing.T, change ...func(*lm.Call)) string {
	t.Helper()
	return said(b.router.Call(t.Context(), newCall(change...)))
}

func newCall(change ...func(*lm.Call)) lm.Call {
	c := lm.Call{Kind: "chat", Model: "chat", Body: []byte(`{"messages":[]}`), ID: "0-op", Key: "0-op/turn:1", Attempt: 1, Epoch: 5}
	for _, f := range change {
		f(&c)
	}
	return c
}

func thread(name string) func(*lm.Call) { return func(c *lm.Call) { c.Thread = name } }

func said(a lm.Answer, err error) string {
	var p *lm.Parked
	switch {
	case errors.As(err, &p):
		return "parked " + p.Reason
	case err != nil:
		return string(lm.KindOf(err))
	}
	return a.Model
}
