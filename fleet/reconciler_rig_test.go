package fleet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

// shelf is a backend's model list that a test changes, and counts the looks at.
type shelf struct {
	mu     sync.Mutex
	names  string
	err    error
	hangs  bool // until its context ends
	deaf   bool // hangs, and does not hear its context
	panics bool
	gate   chan struct{} // waits for it
	looks  int
	left   time.Duration // that the last look was given
	probes int
	probe  error
	over   chan struct{} // ends the deaf
}

var (
	_ Lister = (*shelf)(nil)
	_ Prober = (*shelf)(nil)
)

func (s *shelf) List(ctx context.Context) ([]lm.Offering, error) {
	s.mu.Lock()
	s.looks++
	if until, bounded := ctx.Deadline(); bounded {
		s.left = time.Until(until)
	}
	names, err, hangs, deaf, panics, gate := s.names, s.err, s.hangs, s.deaf, s.panics, s.gate
	s.mu.Unlock()
	switch {
	case panics:
		panic("a lister's own fault")
	case deaf:
		<-s.over
	case hangs:
		<-ctx.Done()
		return nil, fmt.Errorf("list: %w", ctx.Err())
	case gate != nil:
		select {
		case <-gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return offers(names), err
}

func (s *shelf) Probe(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.probes++
	return s.probe
}

func (s *shelf) set(change func(*shelf)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *shelf) looked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.looks
}

func stocks(names string) func(*shelf) {
	return func(s *shelf) { s.names, s.err, s.hangs = names, nil, false }
}

func broken(err error) func(*shelf) { return func(s *shelf) { s.err = err } }

// yard is a fleet of backends named one, two ... each with its shelf, and a
// declared model a, b ... on each.
type yard struct {
	testing.TB
	shelves map[string]*shelf
	spec    Spec
}

func newYard(t testing.TB, backends ...string) *yard {
	y := &yard{TB: t, shelves: make(map[string]*shelf)}
	for i, b := range backends {
		name := string(rune('a' + i%26))
		y.spec.Backends = append(y.spec.Backends, BackendSpec{ID: b, Provider: "openai", URL: "http://" + b})
		y.spec.Models = append(y.spec.Models, ModelSpec{ID: name + "-" + b, Backend: b, Name: name})
		y.shelves[b] = &shelf{names: name, over: make(chan struct{})}
		t.Cleanup(func() { close(y.shelves[b].over) })
	}
	return y
}

func (y *yard) listers() map[string]Lister {
	all := make(map[string]Lister)
	for b, s := range y.shelves {
		all[b] = s
	}
	return all
}

// worker is a Manager and its Reconciler, as one process has them.
func (y *yard) worker(s *lua.Store, change ...func(*Options)) (*Manager, *Reconciler) {
	y.Helper()
	o := Options{Spec: y.spec, Owner: "w1"}
	for _, c := range change {
		c(&o)
	}
	m, err := New(s, o)
	if err != nil {
		y.Fatal(err)
	}
	if err := m.Load(ctx); err != nil {
		y.Fatal(err)
	}
	return m, NewReconciler(m, ReconcilerOptions{Listers: y.listers(), Timeout: 5 * time.Second})
}

// now lists backends whether they are due or not.
func (y *yard) now(r *Reconciler, backends ...string) Report {
	y.Helper()
	got, err := r.Now(ctx, backends...)
	if err != nil {
		y.Fatal(err)
	}
	return got
}

// drifts says how each model of a Manager's snapshot drifts.
func drifts(m *Manager) string {
	var words []string
	for _, d := range m.Snapshot().Drifts(m.Now()) {
		words = append(words, d.ID+"="+string(d.Drift))
	}
	return strings.Join(words, " ")
}

func (y *yard) expect(m *Manager, want string) {
	y.Helper()
	if got := drifts(m); got != want {
		y.Errorf("%s\nwant %s", got, want)
	}
}

// total is how often all shelves were looked at.
func (y *yard) total() int {
	n := 0
	for _, s := range y.shelves {
		n += s.looked()
	}
	return n
}

func provided(t testing.TB, m *Manager, backend string) ProviderState {
	t.Helper()
	s := must[SystemState](t)(m.System(ctx))
	i := slices.IndexFunc(s.Providers, func(p ProviderState) bool { return p.ID == backend })
	if i < 0 {
		t.Fatalf("no backend %s in %+v", backend, s.Providers)
	}
	return s.Providers[i]
}

func failure(kind lm.Kind) error { return &lm.Error{Kind: kind, Err: errors.New("as scripted")} }

// diesAtTheWrite ends its process when an answer is to be recorded.
type diesAtTheWrite struct{ truth }

func (diesAtTheWrite) Observe(context.Context, string, int64, lua.Listing) (bool, error) {
	os.Exit(7)
	return false, nil
}
