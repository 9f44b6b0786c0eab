package worker

import (
	"context"
	"slices"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/config"
	"github.com/lighterman/lighterman/fleet"
	"github.com/lighterman/lighterman/provider/sim"
	"github.com/lighterman/lighterman/router"
)

// ModelNames are the names that requests may use with a configuration: declared
// models, pools and the simulated models, sorted.
func ModelNames(cfg *config.Config) []string {
	names := config.SimModels()
	for i := range cfg.Models {
		names = append(names, cfg.Models[i].ID)
	}
	for i := range cfg.Pools {
		names = append(names, cfg.Pools[i].ID)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// servedSpec is the fleet's specification as this worker's providers are asked: a
// declared model of a simulated backend is a member of its own there, with its own
// prompt cache and faults.
func servedSpec(cfg *config.Config) fleet.Spec {
	spec := FleetSpec(cfg)
	for i := range cfg.Models {
		m := &spec.Models[i]
		if simulated(cfg, m.Backend) {
			m.Name = sim.Member(m.Name, m.ID)
		}
	}
	return spec
}

func simulated(cfg *config.Config, backend string) bool {
	return backend == config.SimBackend || slices.ContainsFunc(cfg.Backends, func(b config.Backend) bool {
		return b.ID == backend && b.Provider == config.SimBackend
	})
}

// simFaults are the configured faults, under the names by which models are called.
func simFaults(cfg *config.Config) []sim.Fault {
	var faults []sim.Fault
	for _, f := range cfg.Sim.Faults {
		for i := range cfg.Models {
			if m := &cfg.Models[i]; m.ID == f.Model {
				faults = append(faults, sim.Fault{
					Model: sim.Member(m.Name, m.ID), Kind: lm.Kind(f.Kind), After: f.After, Count: f.Count, Rate: f.Rate, RetryAfter: f.RetryAfter.Std(),
				})
			}
		}
	}
	return faults
}

// route makes the router. Where nothing is declared there is no shared state to
// keep, and no command of Redis is spent on it.
func (w *Worker) route(ctx context.Context) (*router.Router, error) {
	spec := servedSpec(w.cfg)
	o := router.Options{Owner: w.name(), Lease: w.cfg.Worker.Lease.Std(), Metrics: router.NewMetrics(w.metrics), Log: w.log, Providers: map[string]router.Provider{}}
	o.Providers[config.SimBackend] = w.sim
	for _, b := range w.cfg.Backends {
		if b.Provider == config.SimBackend {
			o.Providers[b.ID] = w.sim
		}
	}
	w.providers = o.Providers
	backends, err := Backends(ctx, w.cfg)
	if err != nil {
		return nil, err
	}
	for id, b := range backends {
		o.Providers[id] = b
	}
	listers, credentials := Listers(w.cfg, w.sim, backends)
	listers = remote(w.cfg, listers)
	if len(w.cfg.Models) == 0 && len(w.cfg.Pools) == 0 && len(listers) == 0 {
		snap := fleet.NewSnapshot(0, time.Time{}, spec, nil)
		o.Snapshot = func() *fleet.Snapshot { return snap }
		w.defaults = &defaults{named: NamedDefaults(w.cfg), snapshot: o.Snapshot}
		w.metrics.MustRegister(router.FleetCollector(o.Snapshot, time.Now))
		return router.New(o), nil
	}
	w.fleet, err = fleet.New(w.store, fleet.Options{
		Spec: spec, Policy: fleet.SyncPolicy(w.cfg.Fleet.SyncPolicy), Interval: w.cfg.Fleet.SyncInterval.Std(), LockWait: w.cfg.Fleet.LockWait.Std(), Owner: w.name(), Log: w.log,
		Credentials: credentials,
	})
	if err != nil {
		return nil, err
	}
	o.Snapshot, o.Now, o.Fresh = w.fleet.Snapshot, w.fleet.Now, w.fleet.Fresh
	w.metrics.MustRegister(router.SetAside{Snapshot: o.Snapshot, Now: o.Now}, router.FleetCollector(o.Snapshot, o.Now))
	o.Sessions, o.Outcomes = w.fleet, realOnly{w.fleet, builtIn(w.cfg)}
	w.defaults = &defaults{named: NamedDefaults(w.cfg), snapshot: o.Snapshot, real: len(backends) > 0}
	w.reconcile(listers)
	o.Missed, o.Freed = w.missed, w.freed
	return router.New(o), nil
}

// freed has one of those brought back that wait for a place of a model.
func (w *Worker) freed(m *fleet.ModelSpec) {
	w.consumer.Freed(m.Limits.Concurrent, w.fleet.Last().LimitTargets(m.ID)...)
}

// builtIn are the simulated models that are there without being declared.
func builtIn(cfg *config.Config) map[string]bool {
	models := make(map[string]bool)
	for _, name := range config.SimModels() {
		models[name] = true
	}
	for i := range cfg.Models {
		delete(models, cfg.Models[i].ID)
	}
	return models
}

// realOnly keeps the built-in simulated models, which nothing can be the matter
// with, out of the fleet's counters and breakers.
type realOnly struct {
	*fleet.Manager
	builtIn map[string]bool
}

// Record satisfies router.Outcomes.
func (d realOnly) Record(ctx context.Context, o fleet.Outcome) error {
	if d.builtIn[o.Model] {
		return nil
	}
	return d.Manager.Record(ctx, o)
}
