package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/config"
	"github.com/lighterman/lighterman/fleet"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
	"github.com/lighterman/lighterman/provider/sim"
)

func TestSimModels_AreTheSimulators(t *testing.T) {
	want := sim.New(sim.Options{}).Models()
	if got := config.SimModels(); !slices.Equal(got, want) {
		t.Errorf("config knows %v, the simulator has %v", got, want)
	}
}

// pooled declares a pool of three simulated members: limited is rate-limited for a
// while, breaking starts to fail for good, spare is only for failover.
func pooled(s *redistest.Server) *config.Config {
	cfg := settings(s)
	for _, id := range []string{"limited", "breaking", "spare"} {
		cfg.Models = append(cfg.Models, config.Model{ID: id, Backend: "sim", Name: sim.Plain})
	}
	cfg.Pools = []config.Pool{{
		ID:      "chat",
		Members: []config.Member{{ModelID: "limited", Weight: 1, Role: "member"}, {ModelID: "breaking", Weight: 1, Role: "member"}, {ModelID: "spare", Weight: 1, Role: "failover_only"}},
		Routing: config.Routing{Home: "deterministic", StickyScope: "thread", FailbackAfter: config.Duration(10 * time.Minute)},
		Switch:  config.Switch{OnCircuitOpen: true, OnQuota: true, OnPermanent: true},
	}}
	cfg.Sim.Faults = []config.Fault{
		{Model: "limited", Kind: "rate_limited", After: 5, Count: 1, Rate: 1, RetryAfter: config.Duration(2 * time.Second)},
		{Model: "breaking", Kind: "provider", After: 10, Rate: 1},
	}
	return cfg
}

// Two workers with one pool complete everything, whatever its members do, and a
// result tells of every switch (issue: done when).
func TestRoute_APoolCompletesEverythingAndTellsOfSwitches(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for range 2 {
		run(t, newWorker(t, pooled(server)))
	}
	c := client(t, separate(t, server))
	const operations = 120
	ids := make([]lm.TraceID, operations)
	for i := range ids {
		body := json.RawMessage(fmt.Sprintf(`{"messages":[{"role":"user","content":"question %d?"}]}`, i))
		a, err := c.Enqueue(t.Context(), lm.Request{Model: "chat", Thread: fmt.Sprint("t", i%40), Body: body})
		if err != nil {
			t.Fatal(err)
		}
		ids[i] = a.ID
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	switched := ""
	for _, id := range ids {
		r, err := c.Wait(ctx, id)
		if err != nil || r.Outcome != lm.Succeeded {
			t.Fatalf("%s: %+v %v", id, r, err)
		}
		switched += strings.Join(r.Route, "\n") + "\n"
	}
	for _, want := range []string{"chat: limited rate_limited, breaking failover, spare healthy", "breaking error_threshold, spare"} {
		if !strings.Contains(switched, want) {
			t.Errorf("no result tells of %q:\n%s", want, switched)
		}
	}
}

// A worker is told of changes over the one subscription that it holds anyway, and
// over the next one when that breaks.
func TestRoute_ChangesAreHeardOnTheWorkersOneSubscription(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	w := newWorker(t, pooled(server))
	run(t, w)
	rdb := server.Client()
	operator, err := fleet.New(separate(t, server), fleet.Options{Spec: FleetSpec(w.cfg)})
	if err != nil {
		t.Fatal(err)
	}
	// listener is the one connection that listens, to two channels.
	listener := func() (id string) {
		n := 0
		for line := range strings.Lines(rdb.ClientList(t.Context()).Val()) {
			if !strings.Contains(line, " sub=0 ") || !strings.Contains(line, " ssub=0 ") {
				n++
				if strings.Contains(line, " sub=2 ") {
					id, _, _ = strings.Cut(line, " ")
				}
			}
		}
		if n > 1 {
			t.Errorf("%d connections listen", n)
		}
		return id
	}
	last := ""
	for _, word := range []string{lua.ModelDisable, lua.ModelEnable} {
		until(t, "it hears", func() bool { id := listener(); return id != "" && id != last })
		last = listener()
		until(t, "it says so", func() bool { return w.fleet.Status().Hearing })
		if err := operator.Operate(t.Context(), "spare", word); err != nil {
			t.Fatal(err)
		}
		until(t, word+" is seen", func() bool { return w.fleet.Snapshot().Model("spare").State.Disabled == (word == lua.ModelDisable) })
		if err := rdb.Do(t.Context(), "client", "kill", "type", "pubsub").Err(); err != nil {
			t.Fatal(err)
		}
	}
}

func until(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); <-time.After(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still not: %s", what)
		}
	}
}

// Where nothing is declared the shared state costs nothing: no key of it is there.
func TestRoute_NothingDeclaredKeepsNoState(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	w := newWorker(t, settings(server))
	run(t, w)
	if got := ask(t, client(t, separate(t, server)), lm.Request{Thread: "t", Body: json.RawMessage(`{"messages":[{"role":"user","content":"Why?"}]}`)}); got.Outcome != lm.Succeeded {
		t.Fatalf("%+v", got)
	}
	if keys := server.Client().Keys(t.Context(), "*model*").Val(); w.fleet != nil || len(keys) > 0 {
		t.Errorf("manager %v, keys %v", w.fleet, keys)
	}
}

// A declared model's calls are counted for the fleet, those of a built-in one are
// not.
func TestRoute_CountsDeclaredModels(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	cfg := settings(server)
	cfg.Models = []config.Model{{ID: "mine", Backend: "sim", Name: sim.Plain}}
	w := newWorker(t, cfg)
	run(t, w)
	c := client(t, separate(t, server))
	for _, model := range []string{sim.Plain, "mine"} {
		if got := ask(t, c, lm.Request{Model: model, Body: json.RawMessage(`{"messages":[{"role":"user","content":"Why?"}]}`)}); got.Outcome != lm.Succeeded {
			t.Fatalf("%+v", got)
		}
	}
	if err := w.fleet.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	snap := w.fleet.Snapshot()
	if mine, builtin := snap.Model("mine").State.Requests, snap.Model(sim.Plain).State.Requests; mine != 1 || builtin != 0 {
		t.Errorf("counted %d calls of a declared model and %d of a built-in one, want 1 and 0", mine, builtin)
	}
}

// Under a policy that saves now and then, what a worker has counted is saved when
// it stops.
func TestRoute_StoppingSavesWhatWasCounted(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	cfg := settings(server)
	cfg.Models = []config.Model{{ID: "mine", Backend: "sim", Name: sim.Plain}}
	cfg.Fleet.SyncPolicy, cfg.Fleet.SyncInterval = "periodic", config.Duration(time.Hour)
	w := newWorker(t, cfg)
	stop := run(t, w)
	if got := ask(t, client(t, separate(t, server)), lm.Request{Model: "mine", Body: json.RawMessage(`{"messages":[{"role":"user","content":"Why?"}]}`)}); got.Outcome != lm.Succeeded {
		t.Fatalf("%+v", got)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	m, err := fleet.New(separate(t, server), fleet.Options{Spec: FleetSpec(cfg)})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := m.Snapshot().Model("mine").State.Requests; n != 1 {
		t.Errorf("%d calls in Redis after the worker stopped, want 1", n)
	}
}
