package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/lighterman/lighterman/config"
)

const routed = `backends:
  - {id: local, provider: sim}
models:
  - {id: claude-a, backend: local, name: sim, context_window: 32768, price: {input: 0.1, output: 0.4},
     limits: {rpm: 600, tpm: 200000, concurrent: 16}, budget: {usd: 20, period: daily_utc}, quota: {requests: 100000, period: monthly},
     maintenance: [{cron: "0 3 * * 0", for: 1h}], capabilities: {vision: false}}
  - {id: gpt-b, backend: sim, name: sim}
pools:
  - id: chat
    members:
      - {model_id: claude-a, weight: 3}
      - {model_id: gpt-b}
      - {model_id: sim-slow, role: failover_only}
    routing: {home: round_robin, sticky_scope: run, failback_after: 5m}
    switch:
      on_circuit_open: false
      quota_retry_after_threshold_secs: 30
      max_switches_per_session: 0
  - {id: plain, members: [{model_id: gpt-b}]}
`

func ptr[T any](v T) *T { return &v }

func TestParse_Routing(t *testing.T) {
	c, err := config.Parse("f", []byte(routed))
	if err != nil {
		t.Fatal(err)
	}
	model := config.Model{
		ID: "claude-a", Backend: "local", Name: "sim", ContextWindow: 32768, Price: config.Price{Input: 0.1, Output: 0.4},
		Limits: config.ModelLimits{RPM: 600, TPM: 200000, Concurrent: 16}, Budget: config.Budget{USD: 20, Period: "daily_utc"},
		Quota: config.Quota{Requests: 100000, Period: "monthly"}, Maintenance: []config.Window{{Cron: "0 3 * * 0", For: config.Duration(time.Hour)}},
		Capabilities: config.Capabilities{Vision: ptr(false)},
	}
	if diff := cmp.Diff(model, c.Models[0]); diff != "" {
		t.Error(diff)
	}
	want := []config.Pool{{
		ID:      "chat",
		Members: []config.Member{{ModelID: "claude-a", Weight: 3, Role: "member"}, {ModelID: "gpt-b", Weight: 1, Role: "member"}, {ModelID: "sim-slow", Weight: 1, Role: "failover_only"}},
		Routing: config.Routing{Home: "round_robin", StickyScope: "run", FailbackAfter: config.Duration(5 * time.Minute)},
		Switch:  config.Switch{OnQuota: true, OnPermanent: true, Threshold: ptr(30), MaxSwitches: ptr(0)},
	}, {
		ID: "plain", Members: []config.Member{{ModelID: "gpt-b", Weight: 1, Role: "member"}},
		Routing: config.Routing{Home: "deterministic", StickyScope: "thread", FailbackAfter: config.Duration(10 * time.Minute)},
		Switch:  config.Switch{OnCircuitOpen: true, OnQuota: true, OnPermanent: true},
	}}
	if diff := cmp.Diff(want, c.Pools); diff != "" {
		t.Error(diff)
	}
}

// Every problem of backends, models and pools is told at once, with its place
// (PARITY 72, 73).
func TestParse_AllProblemsOfRoutingAtOnce(t *testing.T) {
	bad := `backends:
  - {id: o, provider: openai, base_url: "http://h"}
  - {id: s, provider: sim, api_key_env: KEY}
models:
  - {id: a, backend: s, name: sim, price: {input: -1}, wieght: 1}
  - {id: b, backend: y9, name: sim, maintenance: [{cron: "0 3 * *", for: 1h}, {cron: "0 0 30 2 *", for: 0s}]}
  - {id: "", backend: s, name: sim, capabilities: {vision: maybe}}
  - {id: c, backend: sim, name: sim, budget: {usd: 1, period: yearly}}
pools:
  - {id: a, members: [{model_id: a}]}
  - {id: sim, members: [{model_id: c, weight: 0}, {model_id: c}, {model_id: claud}]}
  - {id: p, members: [{model_id: a, role: failover_only}], routing: {home: random}}
  - {id: p, members: [], switch: {max_switches_per_session: -1, on_quota: sometimes}}
sim: {faults: [{model: nope, kind: rude, rate: 2}]}
`
	want := `3:41: backends[1].api_key_env: the provider sim has none
5:51: models[0].price.input: -1 is out of range; want 0 to 1000000
5:56: models[0].wieght: unknown
6:22: models[1].backend: "y9" is not declared (declared: o, s, sim)
6:58: models[1].maintenance[0].cron: not a cron expression of five fields, as in 0 3 * * 0: expected exactly 5 fields, found 4: [0 3 * *]
6:86: models[1].maintenance[1].cron: a day that no calendar has
6:105: models[1].maintenance[1].for: 0s is out of range; want 1s to 168h
7:10: models[2].id: missing
7:60: models[2].capabilities.vision: want true or false, got text
8:63: models[3].budget.period: "yearly": unknown; want hourly, daily_utc, weekly, monthly
10:10: pools[0].id: "a" is taken by models[0].id in line 5
11:10: pools[1].id: "sim" is the name of a simulated model
11:47: pools[1].members[0].weight: 0 is out of range; want 1 to 1000000
11:62: pools[1].members[1].model_id: "c" is taken by pools[1].members[0].model_id in line 11
11:77: pools[1].members[2].model_id: "claud" is not declared (declared: a, b, c, sim, sim-slow, sim-tools, sim-flaky, sim-limited, ...)
12:22: pools[2].members: all are failover_only; want at least one of role member
12:76: pools[2].routing.home: "random": unknown; want deterministic, round_robin, first_healthy
13:10: pools[3].id: "p" is taken by pools[2].id in line 12
13:22: pools[3].members: missing
13:61: pools[3].switch.max_switches_per_session: -1 is out of range; want 0 to 1000000
13:75: pools[3].switch.on_quota: want true or false, got text
14:24: sim.faults[0].model: "nope" is not declared (declared: a, c)
14:36: sim.faults[0].kind: "rude": unknown; want rate_limited, overloaded, quota_exhausted, provider, timeout, stream_interrupted, unauthorized, model_not_found, context_overflow, invalid_request, content_filtered
14:48: sim.faults[0].rate: 2 is out of range; want 0 to 1`
	_, err := config.Parse("f", []byte(bad))
	if err == nil {
		t.Fatal("accepted")
	}
	if diff := cmp.Diff(want, strings.ReplaceAll("\n"+err.Error(), "\nf:", "\n")[1:]); diff != "" {
		t.Error(diff)
	}
}

// A model in use by a pool cannot be removed (PARITY 72).
func TestParse_AModelInUseByAPoolStays(t *testing.T) {
	without := strings.Replace(routed, "  - {id: gpt-b, backend: sim, name: sim}\n", "", 1)
	_, err := config.Parse("f", []byte(without))
	if err == nil || !strings.Contains(err.Error(), `pools[0].members[1].model_id: "gpt-b" is not declared`) {
		t.Errorf("%v", err)
	}
}

// A configuration that was put together by hand is filled and held to the same
// rules, in lists within lists too.
func TestFillAndValidate_Routing(t *testing.T) {
	c := config.Default()
	c.Models = []config.Model{{ID: "m", Backend: "sim", Name: "sim"}}
	c.Pools = []config.Pool{{ID: "p", Members: []config.Member{{ModelID: "m"}}}}
	c.Fill()
	if m := c.Pools[0].Members[0]; m.Weight != 1 || m.Role != "member" || c.Pools[0].Routing.Home != "deterministic" || !c.Pools[0].Switch.OnQuota || c.Models[0].Budget.Period != "daily_utc" {
		t.Errorf("filled: %+v %+v", c.Pools[0], c.Models[0])
	}
	if err := c.Validate(); err != nil {
		t.Error(err)
	}
	c.Models[0].Price.Input = -1
	c.Pools[0].Members[0].Weight = -1
	for len(c.Pools[0].Members) <= 64 {
		c.Pools[0].Members = append(c.Pools[0].Members, config.Member{ModelID: "m", Weight: 1, Role: "member"})
	}
	err := c.Validate()
	for _, want := range []string{"models[0].price.input: -1 is out of range", "pools[0].members[0].weight: -1 is out of range", "pools[0].members: 65 members, at most 64"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}
