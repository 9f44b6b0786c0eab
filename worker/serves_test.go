package worker

import (
	"encoding/json"
	"testing"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/config"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/provider/sim"
)

// A worker with the older configuration sets aside what only the newer one declares
// (issue: 20 of 20 dead in 0.3 s).
func TestServes_AModelOfTheNewerConfigurationWaitsForAWorkerThatHasIt(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	old := settings(server)
	old.Models = []config.Model{{ID: "m", Backend: "sim", Name: sim.Plain}}
	run(t, newWorker(t, old))
	s := separate(t, server)
	ids := parkedBy(t, s, "new", 20)
	newer := settings(server)
	newer.Models = append([]config.Model{{ID: "new", Backend: "sim", Name: sim.Plain}}, old.Models...)
	run(t, newWorker(t, newer))
	ended(t, s, ids)
	records, err := s.Records(t.Context(), ids)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if r.Attempts != 1 || r.CrashesTotal != 0 || r.SchemaWaits > 3 {
			t.Errorf("%s: %d attempts, %d crashes, %d waits", r.ID, r.Attempts, r.CrashesTotal, r.SchemaWaits)
		}
	}
}

// A worker that has only the simulation leaves requests that name no model to one that
// has a model (issue: 2 of 6 were answered by sim).
func TestServes_NoSimulationAnswersForAFleetThatHasAModel(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	simulated := newWorker(t, settings(server))
	run(t, simulated)
	s := separate(t, server)
	c := client(t, s)
	chat := json.RawMessage(`{"messages":[{"role":"user","content":"who are you?"}]}`)
	if got := ask(t, c, lm.Request{Body: chat}); got.Outcome != lm.Succeeded {
		t.Fatalf("alone: %+v", got)
	}
	real := shelved(t, server)
	real.Defaults.Chat, real.Fleet.ReconcileInterval = "there", 0 // what is declared is there
	run(t, newWorker(t, real))
	eventually(t, "the one knows of the other", simulated.consumer.RealElsewhere)
	for range 12 {
		if got := ask(t, c, lm.Request{Body: chat}); got.Outcome != lm.Succeeded || got.Model != "there" {
			t.Errorf("answered by %q: %+v", got.Model, got)
		}
	}
	if got := ask(t, c, lm.Request{Body: chat, Model: "sim"}); got.Outcome != lm.Succeeded {
		t.Errorf("one that names the simulation: %+v", got)
	}
}
