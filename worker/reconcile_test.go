package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/config"
	"github.com/lighterman/lighterman/fleet"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/provider/providertest"
	"github.com/lighterman/lighterman/provider/sim"
	"github.com/rs/zerolog"
)

// shelf is a backend's list that a test changes. Its calls are the simulator's.
type shelf struct {
	mu    sync.Mutex
	names string
	err   error
	looks int
}

func (s *shelf) List(context.Context) ([]lm.Offering, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looks++
	var list []lm.Offering
	for name := range strings.FieldsSeq(s.names) {
		list = append(list, lm.Offering{Name: name})
	}
	return list, s.err
}

func (s *shelf) show(names string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names = names
}

// shelved is a worker's configuration with a backend that is no simulation.
func shelved(t *testing.T, server *redistest.Server) *config.Config {
	t.Helper()
	api := providertest.NewServer(providertest.OpenAI{})
	t.Cleanup(api.Close)
	cfg := settings(server)
	cfg.Backends = []config.Backend{{ID: "real", Provider: "openai", BaseURL: api.URL}}
	cfg.Models = []config.Model{{ID: "there", Backend: "real", Name: sim.Plain}, {ID: "gone", Backend: "real", Name: sim.Slow}}
	cfg.Pools = []config.Pool{{
		ID:      "chat",
		Members: []config.Member{{ModelID: "gone", Weight: 1, Role: "member"}, {ModelID: "there", Weight: 1, Role: "member"}},
		Routing: config.Routing{Home: "first_healthy", StickyScope: "thread", FailbackAfter: config.Duration(10 * time.Minute)},
		Switch:  config.Switch{OnCircuitOpen: true, OnQuota: true, OnPermanent: true},
	}}
	cfg.Fleet.AutoDiscover, cfg.Fleet.ProbeOnStart = true, true
	cfg.Fleet.ReconcileInterval = config.Duration(time.Hour)
	cfg.Defaults.Chat = "gone"
	return cfg
}

// TestReconcile_AWorkerRoutesByWhatIsThere: from its start on, with probe_on_start,
// calls go to what the backend has, discovered models can be called and are told to
// producers, and a default that is missing is warned of.
func TestReconcile_AWorkerRoutesByWhatIsThere(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	w := newWorker(t, shelved(t, server))
	var log bytes.Buffer
	real := &shelf{names: "sim sim-tools"}
	w.reconcile(map[string]fleet.Lister{"real": real})
	w.keeper.log = zerolog.New(&log)
	stop := run(t, w)
	c := client(t, separate(t, server))
	until := time.Now().Add(20 * time.Second)
	for {
		names, err := w.store.Names(t.Context())
		if err == nil && slices.Contains(names, "real/sim-tools") {
			break
		}
		if time.Now().After(until) {
			t.Fatalf("not published: %v %v", names, err)
		}
		<-time.After(5 * time.Millisecond)
	}
	body := json.RawMessage(`{"messages":[{"role":"user","content":"why?"}]}`)
	r := ask(t, c, lm.Request{Model: "chat", Body: body})
	if served(r) != "sim" || r.Outcome != lm.Succeeded {
		t.Errorf("served by %q: %+v", served(r), r)
	}
	if r := ask(t, c, lm.Request{Model: "real/sim-tools", Body: body}); r.Outcome != lm.Succeeded || served(r) != "sim-tools" {
		t.Errorf("a discovered model: %+v", r)
	}
	state, err := w.fleet.System(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	counted := map[string]int64{}
	for _, v := range state.Models {
		counted[v.ID] = v.Requests
	}
	if counted["there"] == 0 || counted["real/sim-tools"] == 0 || counted["gone"] != 0 {
		t.Errorf("%v", counted)
	}
	if _, err := w.keeper.Now(t.Context()); err != nil { // the default is still missing, and that is told already
		t.Fatal(err)
	}
	// Nobody can serve this one: it waits, and its asking is what finds the model.
	real.show("sim sim-tools sim-slow")
	if _, err := c.Enqueue(t.Context(), lm.Request{Model: "gone", Body: body}); err != nil {
		t.Fatal(err)
	}
	until = time.Now().Add(20 * time.Second)
	for {
		snap := w.fleet.Snapshot()
		if m := snap.Model("gone"); m.Drift(w.fleet.Now()) == fleet.DriftOK {
			break
		}
		if time.Now().After(until) {
			t.Fatalf("still %s", snap.Model("gone").Drift(w.fleet.Now()))
		}
		w.missed() // as further calls would; the first may fall into the 5 s
		<-time.After(50 * time.Millisecond)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	if text := log.String(); strings.Count(text, "the default model cannot serve") != 1 || !strings.Contains(text, `"model":"gone","reason":"model_missing","instead":"there"`) {
		t.Errorf("%s", text)
	}
}

// TestReconcile_OnlySimulatedBackendsAreNotListed: nothing runs for them.
func TestReconcile_OnlySimulatedBackendsAreNotListed(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	cfg := pooled(server)
	cfg.Backends = []config.Backend{{ID: "local", Provider: "sim"}}
	w := newWorker(t, cfg)
	defer w.Close()
	if w.keeper != nil {
		t.Error("simulated backends are kept an eye on")
	}
	w.missed()
	w.cfg.Fleet.ReconcileInterval = 0
	if w.reconcile(map[string]fleet.Lister{"local": &shelf{}}); w.keeper != nil {
		t.Error("an interval of 0 is never")
	}
}

// TestListers_OfSimulatedBackends know what their models are called there.
func TestListers_OfSimulatedBackends(t *testing.T) {
	cfg := config.Default()
	cfg.Backends = []config.Backend{{ID: "local", Provider: "sim"}}
	cfg.Models = []config.Model{{ID: "a", Backend: "local", Name: sim.Embed}, {ID: "b", Backend: "sim", Name: sim.Plain}, {ID: "c", Backend: "local", Name: "none"}}
	listers, credentials := Listers(cfg, nil, nil)
	if len(listers) != 2 || len(credentials) != 0 || len(remote(cfg, listers)) != 0 {
		t.Errorf("%v %v", listers, credentials)
	}
	for backend, member := range map[string]string{"local": "sim-embed@a", "sim": "sim@b"} {
		list, err := listers[backend].List(t.Context())
		if err != nil || len(list) != len(config.SimModels())+1 || list[len(list)-1].Name != member {
			t.Errorf("%s: %+v %v", backend, list, err)
		}
	}
	// The same names as calls have.
	m, err := fleet.New(nil, fleet.Options{Policy: fleet.InMemory, Spec: servedSpec(cfg)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fleet.NewReconciler(m, fleet.ReconcilerOptions{Listers: listers}).Now(t.Context()); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]fleet.Drift{"a": fleet.DriftOK, "b": fleet.DriftOK, "c": fleet.DriftMissing} {
		if got := m.Snapshot().Model(id).Drift(m.Now()); got != want {
			t.Errorf("%s is %s, want %s", id, got, want)
		}
	}
}
