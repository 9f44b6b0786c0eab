package worker

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/lighterman/lighterman/config"
	"github.com/lighterman/lighterman/fleet"
)

func TestFleetSpec_SaysWhatTheConfigurationSays(t *testing.T) {
	no, secs, most := false, 30, 4
	cfg := config.Default()
	cfg.Models = []config.Model{{
		ID: "small", Backend: "sim", Name: "sim-slow", ContextWindow: 1000, Price: config.Price{Input: 1, CachedInput: 0.1, Output: 4},
		Limits: config.ModelLimits{RPM: 1, TPM: 2, Concurrent: 3}, Budget: config.Budget{USD: 5, Period: "weekly"}, Quota: config.Quota{Requests: 6, Period: "hourly"},
		Maintenance: []config.Window{{Cron: "0 3 * * 0", For: config.Duration(time.Hour)}}, Capabilities: config.Capabilities{Vision: &no},
	}, {ID: "sim-flaky", Backend: "sim", Name: "sim"}}
	cfg.Pools = []config.Pool{{
		ID: "chat", Members: []config.Member{{ModelID: "small", Weight: 3, Role: "member"}, {ModelID: "sim", Weight: 1, Role: "failover_only"}},
		Routing: config.Routing{Home: "round_robin", StickyScope: "run", FailbackAfter: config.Duration(time.Minute)},
		Switch:  config.Switch{OnQuota: true, Threshold: &secs, MaxSwitches: &most},
	}}
	got := FleetSpec(cfg)
	threshold := 30 * time.Second
	want := fleet.ModelSpec{
		ID: "small", Backend: "sim", Name: "sim-slow", Window: 1000, Price: fleet.Price{Input: 1, CachedInput: 0.1, Output: 4},
		Limits: fleet.Limits{RPM: 1, TPM: 2, Concurrent: 3}, Budget: fleet.Budget{USD: 5, Period: fleet.Weekly}, Quota: fleet.Quota{Requests: 6, Period: fleet.Hourly},
		Maintenance: []fleet.Window{{Cron: "0 3 * * 0", For: time.Hour}}, Capabilities: fleet.Capabilities{fleet.CanVision: false},
	}
	if diff := cmp.Diff(want, got.Models[0]); diff != "" {
		t.Error(diff)
	}
	pools := []fleet.PoolSpec{{
		ID: "chat", Members: []fleet.Member{{Model: "small", Weight: 3, Role: fleet.RoleMember}, {Model: "sim", Weight: 1, Role: fleet.RoleFailoverOnly}},
		Routing: fleet.Routing{Home: fleet.HomeRoundRobin, Scope: fleet.ScopeRun, FailbackAfter: time.Minute},
		Switch:  fleet.Switch{OnQuota: true, QuotaThreshold: &threshold, MaxSwitches: &most},
	}}
	if diff := cmp.Diff(pools, got.Pools); diff != "" {
		t.Error(diff)
	}
	if n := len(got.Models); n != 1+len(config.SimModels()) || got.Models[1].Name != "sim" {
		t.Errorf("%d models: a declared one stands in for a simulated one, the others are there too", n)
	}
}
