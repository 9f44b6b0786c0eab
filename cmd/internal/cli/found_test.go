package cli

import (
	"context"
	"strings"
	"testing"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/fleet"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/provider/providertest"
)

// listed is a backend's list, or why there is none.
type listed struct {
	names []string
	err   error
}

func (l listed) List(context.Context) ([]lm.Offering, error) {
	var list []lm.Offering
	for _, name := range l.names {
		list = append(list, lm.Offering{Name: name})
	}
	return list, l.err
}

// TestFound_CommandsShowWhatWorkersFoundByThemselves: in a terminal that has neither
// their keys nor their configuration.
func TestFound_CommandsShowWhatWorkersFoundByThemselves(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server, "LIGHTERMAN_FLEET_DETECT=true") // the tests' shell turns it off
	spec := fleet.Spec{Backends: []fleet.BackendSpec{{ID: "ollama", Provider: "ollama"}, {ID: "openai", Provider: "openai"}, {ID: "other", Provider: "vllm"}}}
	m, err := fleet.New(storeOf(t, server), fleet.Options{Spec: spec, Credentials: map[string]string{"openai": "hash"}})
	if err != nil {
		t.Fatal(err)
	}
	r := fleet.NewReconciler(m, fleet.ReconcilerOptions{Listers: map[string]fleet.Lister{
		"ollama": listed{names: []string{"llama3.2"}}, "openai": listed{err: lm.Errorf(lm.Unauthorized, "no such key")}, "other": listed{names: []string{"secret"}},
	}})
	if _, err := r.Now(background); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"models"}, {"models", "--observed"}} {
		out := s.run(append([]string{"lighterman"}, args...)...).ok()
		if !containsAll(out, []string{"\nollama/llama3.2 ", "backend openai: not listed for ", ": unauthorized;"}) || strings.Contains(out, "secret") {
			t.Errorf("%v:\n%s", args, out)
		}
	}
	if out := s.run("lighterman", "doctor").out; !strings.Contains(out, "not listed: openai: unauthorized") {
		t.Errorf("doctor:\n%s", out)
	}
	if out := s.run("lighterman", "models", "disable", "ollama/llama3.2").ok(); !strings.Contains(out, "disabled") {
		t.Errorf("%s", out)
	}
	for _, file := range []string{
		"backends: [{id: local, provider: sim}]", "models: [{id: small, backend: sim, name: sim}]", "pools: [{id: chat, members: [{model_id: sim}]}]",
	} {
		declared := s.with("LIGHTERMAN_CONFIG=" + s.file("fleet.yaml", file))
		if out := declared.run("lighterman", "models").ok(); strings.Contains(out, "llama") || strings.Contains(out, "not listed") {
			t.Errorf("%s shows others:\n%s", file, out)
		}
	}
	forbidden := s.with("LIGHTERMAN_FLEET_DETECT=false")
	if out := forbidden.run("lighterman", "models").ok(); strings.Contains(out, "llama") {
		t.Errorf("fleet.detect is off, and still:\n%s", out)
	}
}

// TestReconcile_SaysWhatABackendAnswered: beside the kind, its own words, and never
// the key.
func TestReconcile_SaysWhatABackendAnswered(t *testing.T) {
	t.Parallel()
	api := providertest.NewServer(providertest.OpenAI{})
	t.Cleanup(api.Close)
	api.Require("right")
	s := on(t, redistest.Start(t))
	s = s.with("WRONG=sk-canary-7", "LIGHTERMAN_CONFIG="+s.file("fleet.yaml", "backends: [{id: real, provider: openai, base_url: '"+api.URL+"/v1', api_key_env: WRONG}]"))
	for _, how := range []string{"table", "json"} {
		out := s.run("lighterman", "reconcile", "-o", how).ok()
		if !containsAll(out, []string{"unauthorized", "HTTP 401"}) || strings.Contains(out, "canary") {
			t.Errorf("%s:\n%s", how, out)
		}
	}
}

func TestDollars_NoExponents(t *testing.T) {
	t.Parallel()
	for usd, want := range map[float64]string{0: "$0", 0.5: "$0.5", 0.00002: "$0.00002", 0.000123456: "$0.0001235", 123456.7: "$123500", 12.3456: "$12.35"} {
		if got := dollars(usd); got != want {
			t.Errorf("%g: %s, want %s", usd, got, want)
		}
	}
}
