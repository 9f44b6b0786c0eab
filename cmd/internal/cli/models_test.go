package cli

import (
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/fleet"
	"github.com/lighterman/lighterman/internal/redistest"
)

const modelsFile = `
models:
  - {id: small, backend: sim, name: sim-slow, quota: {requests: 10, period: monthly}, budget: {usd: 2, period: daily_utc}}
pools:
  - {id: chat, members: [{model_id: small}, {model_id: sim}]}
`

func TestModels_ShowAndChange(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server)
	s = s.with("LIGHTERMAN_CONFIG=" + s.file("fleet.yaml", modelsFile))
	row := func(model string) string {
		t.Helper()
		for _, line := range s.run("lighterman", "models").lines() {
			if strings.HasPrefix(line, model+" ") {
				return line
			}
		}
		t.Fatalf("no row of %s", model)
		return ""
	}
	if got := row("small"); !containsAll(got, []string{"sim", "active", "closed", "0/10", "$0/$2"}) {
		t.Errorf("unused: %q", got)
	}
	// Another process, as a worker is.
	m, err := fleet.New(storeOf(t, server), fleet.Options{Spec: fleet.Spec{Models: []fleet.ModelSpec{
		{ID: "small", Backend: "sim", Quota: fleet.Quota{Requests: 10, Period: fleet.Monthly}, Budget: fleet.Budget{USD: 2, Period: fleet.DailyUTC}}, {ID: "sim", Backend: "sim"}}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Load(background); err != nil {
		t.Fatal(err)
	}
	record := func(o fleet.Outcome) {
		t.Helper()
		o.Model, o.Backend = "small", "sim"
		if err := m.Record(background, o); err != nil {
			t.Fatal(err)
		}
	}
	record(fleet.Outcome{CostUSD: 0.5})
	for range 5 {
		record(fleet.Outcome{Kind: lm.ProviderFailed})
	}
	record(fleet.Outcome{Kind: lm.RateLimited, RetryAfter: 10 * time.Minute, CircuitEpoch: 1})
	if got := row("small"); !containsAll(got, []string{"standby", "quota_exhausted (", "open ", "9m", "7/10", "$0.5/$2", "$0.5"}) {
		t.Errorf("cold: %q", got)
	}
	state := decode[fleet.SystemState](t, s.run("lighterman", "models", "-o", "json").ok())
	if v := state.Models[0]; v.ID != "small" || v.Circuit != "open" || v.Reason != fleet.ReasonQuota || v.CooldownRemaining.Std() < 9*time.Minute || v.Errors != 6 || len(state.Pools) != 1 {
		t.Errorf("json: %+v", state)
	}
	if out := s.run("lighterman", "models", "reset", "small").ok(); out != "small  reset\n" {
		t.Errorf("reset: %q", out)
	}
	if got := row("small"); !containsAll(got, []string{"active", " closed "}) {
		t.Errorf("after reset: %q", got)
	}
	if out := s.run("lighterman", "models", "disable", "small", "sim").ok(); !containsAll(out, []string{"small  disabled", "sim  disabled"}) {
		t.Errorf("disable: %q", out)
	}
	if got := row("small"); !containsAll(got, []string{"standby", "manual"}) {
		t.Errorf("disabled: %q", got)
	}
	if err := m.Fresh(background); err != nil {
		t.Fatal(err)
	}
	until(t, "a worker sees it", func() bool {
		_, _ = m.Session(background, "p:x")
		return m.Snapshot().Model("small").State.Disabled
	})
	s.run("lighterman", "models", "enable", "small").ok()
	if got := row("small"); !strings.Contains(got, "active") {
		t.Errorf("enabled: %q", got)
	}
	s.run("lighterman", "models", "disable", "smal").refused(exitUsage, `disable: "smal" is no declared model; did you mean small?`)
	s.run("lighterman", "models", "disable").refused(exitUsage, "disable: want one model or more")
	s.run("lighterman", "models", "-o", "xml").refused(exitUsage, `--output "xml": want table, |json`)
}

func TestLock_SaysWhoHoldsIt(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server)
	if out := s.run("lighterman", "lock").ok(); out != "nobody holds the lock\n" {
		t.Errorf("%q", out)
	}
	m, err := fleet.New(storeOf(t, server), fleet.Options{Owner: "w7", LockLife: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	h, err := m.AcquireLock(background)
	if err != nil {
		t.Fatal(err)
	}
	if out := s.run("lighterman", "lock").ok(); !containsAll(out, []string{"OWNER", "w7", "FENCE"}) {
		t.Errorf("%q", out)
	}
	if v := decode[lockView](t, s.run("lighterman", "lock", "-o", "json").ok()); !v.Locked || v.Owner != "w7" || v.Fence != h.Fence || v.ExpiresAt.IsZero() {
		t.Errorf("%+v", v)
	}
	if err := m.ReleaseLock(background, h); err != nil {
		t.Fatal(err)
	}
	if v := decode[lockView](t, s.run("lighterman", "lock", "-o", "json").ok()); v.Locked {
		t.Errorf("%+v", v)
	}
}

// A person who looks has no credentials, and sees what the workers see.
func TestModels_ABarredBackendShows(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server)
	s = s.with("LIGHTERMAN_CONFIG=" + s.file("fleet.yaml", modelsFile))
	m, err := fleet.New(storeOf(t, server), fleet.Options{
		Spec:        fleet.Spec{Models: []fleet.ModelSpec{{ID: "small", Backend: "sim"}, {ID: "sim", Backend: "sim"}}},
		Credentials: map[string]string{"sim": "a hash"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Load(background); err != nil {
		t.Fatal(err)
	}
	for _, model := range []string{"small", "sim"} { // twice: of its models two are refused
		if err := m.Record(background, fleet.Outcome{Model: model, Backend: "sim", Kind: lm.Unauthorized}); err != nil {
			t.Fatal(err)
		}
	}
	for _, command := range [][]string{{"models"}, {"pools"}, {"pools", "explain", "chat"}, {"doctor"}} {
		r := s.run(append([]string{"lighterman"}, command...)...)
		if command[0] != "pools" && !containsAll(r.out, []string{"error_threshold (backend, unauthorized, 14m"}) || command[0] == "pools" && !containsAll(r.out, []string{"quarantine for 14m"}) {
			t.Errorf("%v: %s%s", command, r.out, r.err)
		}
	}
	state := decode[fleet.SystemState](t, s.run("lighterman", "models", "-o", "json").ok())
	if v := state.Models[0]; v.SetAside != fleet.ReasonQuarantine || v.Scope != fleet.AsideBackend || v.Until.Before(state.At.Add(14*time.Minute)) {
		t.Errorf("json: %+v", v)
	}
	s.run("lighterman", "models", "reset", "small").ok()
	if out := s.run("lighterman", "models").ok(); containsAll(out, []string{"unauthorized"}) && !containsAll(out, []string{"active"}) {
		t.Errorf("after reset: %s", out)
	}
}

// A budget whose rest no call fits in is neither used up nor invisible.
func TestModels_WhatABudgetRefusesShows(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server)
	budget := fleet.Budget{USD: 2, Period: fleet.Monthly}
	s = s.with("LIGHTERMAN_CONFIG=" + s.file("monthly.yaml", strings.Replace(modelsFile, "{usd: 2, period: daily_utc}", "{usd: 2, period: monthly}", 1)))
	m, err := fleet.New(storeOf(t, server), fleet.Options{Spec: fleet.Spec{Models: []fleet.ModelSpec{{ID: "small", Backend: "sim", Budget: budget}, {ID: "sim", Backend: "sim"}}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Load(background); err != nil {
		t.Fatal(err)
	}
	if err := m.Record(background, fleet.Outcome{Model: "small", Backend: "sim", CostUSD: 1.9}); err != nil {
		t.Fatal(err)
	}
	if got, err := m.Admit(background, fleet.Admission{Model: "small", Key: "1", Cost: 0.2}); err != nil || got.OK {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, command := range [][]string{{"models"}, {"pools"}, {"pools", "explain", "chat"}, {"pools", "explain", "small"}, {"doctor"}} {
		r := s.run(append([]string{"lighterman"}, command...)...)
		if !containsAll(r.out, []string{"budget_exceeded"}) {
			t.Errorf("%v: %s%s", command, r.out, r.err)
		}
	}
	state := decode[fleet.SystemState](t, s.run("lighterman", "models", "-o", "json").ok())
	if v := state.Models[0]; v.Status != fleet.Active || v.SetAside != fleet.ReasonBudget || !v.Until.Equal(fleet.Monthly.End(state.At)) {
		t.Errorf("json: %+v", v)
	}
}
