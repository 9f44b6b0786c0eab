package worker

import (
	"slices"
	"time"

	"github.com/lighterman/lighterman/config"
	"github.com/lighterman/lighterman/fleet"
)

// FleetSpec is what a configuration declares of backends, models, pools and groups,
// the simulated models that are always there included.
func FleetSpec(cfg *config.Config) fleet.Spec {
	var spec fleet.Spec
	for i := range cfg.Models {
		spec.Models = append(spec.Models, modelSpec(&cfg.Models[i]))
	}
	for _, name := range config.SimModels() {
		if !slices.ContainsFunc(spec.Models, func(m fleet.ModelSpec) bool { return m.ID == name }) {
			spec.Models = append(spec.Models, fleet.ModelSpec{ID: name, Backend: config.SimBackend, Name: name})
		}
	}
	for i := range cfg.Pools {
		spec.Pools = append(spec.Pools, poolSpec(&cfg.Pools[i]))
	}
	for _, b := range cfg.Backends {
		spec.Backends = append(spec.Backends, fleet.BackendSpec{ID: b.ID, Provider: b.Provider, URL: b.BaseURL})
	}
	if !slices.ContainsFunc(spec.Backends, func(b fleet.BackendSpec) bool { return b.ID == config.SimBackend }) {
		spec.Backends = append(spec.Backends, fleet.BackendSpec{ID: config.SimBackend, Provider: config.SimBackend})
	}
	for _, g := range cfg.Groups {
		spec.Groups = append(spec.Groups, fleet.GroupSpec{ID: g.ID, Backends: g.Backends, Models: g.Models})
	}
	spec.Observe = fleet.ObserveSpec{Interval: cfg.Fleet.ReconcileInterval.Std(), Keep: cfg.Fleet.ListCache.Std(), Discover: cfg.Fleet.AutoDiscover}
	return spec
}

func modelSpec(m *config.Model) fleet.ModelSpec {
	s := fleet.ModelSpec{
		ID: m.ID, Backend: m.Backend, Name: m.Name, Window: m.ContextWindow, MaxOutput: m.MaxOutput,
		Price:        fleet.Price{Input: m.Price.Input, CachedInput: m.Price.CachedInput, Output: m.Price.Output},
		Limits:       fleet.Limits{RPM: m.Limits.RPM, TPM: m.Limits.TPM, Concurrent: m.Limits.Concurrent},
		Budget:       fleet.Budget{USD: m.Budget.USD, Period: fleet.Period(m.Budget.Period)},
		Quota:        fleet.Quota{Requests: m.Quota.Requests, Period: fleet.Period(m.Quota.Period)},
		Capabilities: fleet.Capabilities{},
	}
	for _, w := range m.Maintenance {
		s.Maintenance = append(s.Maintenance, fleet.Window{Cron: w.Cron, For: time.Duration(w.For)})
	}
	c := &m.Capabilities
	for name, said := range map[fleet.Capability]*bool{
		fleet.CanChat: c.Chat, fleet.CanPrompt: c.Prompt, fleet.CanEmbed: c.Embed, fleet.CanStream: c.Stream, fleet.CanTools: c.Tools, fleet.CanThink: c.Think, fleet.CanVision: c.Vision,
	} {
		if said != nil {
			s.Capabilities[name] = *said
		}
	}
	return s
}

func poolSpec(p *config.Pool) fleet.PoolSpec {
	s := fleet.PoolSpec{
		ID:      p.ID,
		Routing: fleet.Routing{Home: fleet.Home(p.Routing.Home), Scope: fleet.Scope(p.Routing.StickyScope), FailbackAfter: time.Duration(p.Routing.FailbackAfter)},
		Switch:  fleet.Switch{OnCircuitOpen: p.Switch.OnCircuitOpen, OnQuota: p.Switch.OnQuota, OnPermanent: p.Switch.OnPermanent, MaxSwitches: p.Switch.MaxSwitches},
	}
	if secs := p.Switch.Threshold; secs != nil {
		d := time.Duration(*secs) * time.Second
		s.Switch.QuotaThreshold = &d
	}
	for _, m := range p.Members {
		s.Members = append(s.Members, fleet.Member{Model: m.ModelID, Weight: m.Weight, Role: fleet.Role(m.Role)})
	}
	return s
}
