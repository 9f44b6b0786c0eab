package worker

import (
	"context"
	"maps"
	"slices"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/config"
	"github.com/lighterman/lighterman/fleet"
	"github.com/lighterman/lighterman/lua"
	"github.com/lighterman/lighterman/provider/sim"
	"github.com/rs/zerolog"
)

// Listers are the backends of a configuration as the reconciler asks them, and a
// hash of each one's credential. backends are those that Backends opened; s may be
// nil.
func Listers(cfg *config.Config, s *sim.Sim, backends map[string]Backend) (listers map[string]fleet.Lister, credentials map[string]string) {
	if s == nil {
		s = sim.New(sim.Options{})
	}
	listers, credentials = make(map[string]fleet.Lister), make(map[string]string)
	for _, b := range FleetSpec(cfg).Backends {
		if simulated(cfg, b.ID) {
			listers[b.ID] = simLister{sim: s, cfg: cfg, backend: b.ID}
		}
	}
	for id, b := range backends {
		listers[id], credentials[id] = b, b.Credential
	}
	return listers, credentials
}

// remote are those that are no simulation: those that are worth a cycle.
func remote(cfg *config.Config, listers map[string]fleet.Lister) map[string]fleet.Lister {
	listers = maps.Clone(listers)
	maps.DeleteFunc(listers, func(backend string, _ fleet.Lister) bool { return simulated(cfg, backend) })
	return listers
}

// simLister lists a simulated backend: its models, and as further ones the declared
// models that are members of their own there.
type simLister struct {
	sim     *sim.Sim
	cfg     *config.Config
	backend string
}

// List satisfies fleet.Lister.
func (l simLister) List(ctx context.Context) ([]lm.Offering, error) {
	list, err := l.sim.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range l.cfg.Models {
		if i := slices.IndexFunc(list, func(o lm.Offering) bool { return o.Name == m.Name }); i >= 0 && m.Backend == l.backend {
			list = append(list, lm.Offering{Name: sim.Member(m.Name, m.ID), Can: list[i].Can})
		}
	}
	return list, nil
}

// keeper runs the reconciler of a worker, and tells what comes of it.
type keeper struct {
	*fleet.Reconciler
	probe     bool
	store     *lua.Store
	named     map[fleet.Capability]string // default models
	log       zerolog.Logger
	published []string
	told      map[fleet.Capability]string // problems of default models
	fleet     *fleet.Manager
}

// missed has the backends looked at, because a call found no model that is there.
func (w *Worker) missed() {
	if w.keeper != nil {
		w.keeper.Nudge()
	}
}

// reconcile makes the keeper of what backends have, where there is one to list.
func (w *Worker) reconcile(listers map[string]fleet.Lister) {
	if len(listers) == 0 || w.cfg.Fleet.ReconcileInterval == 0 {
		return
	}
	w.keeper = &keeper{probe: w.cfg.Fleet.ProbeOnStart, store: w.store, log: w.log, fleet: w.fleet, told: make(map[fleet.Capability]string), named: NamedDefaults(w.cfg)}
	w.keeper.Reconciler = fleet.NewReconciler(w.fleet, fleet.ReconcilerOptions{Listers: hear(listers, w.log), Timeout: w.cfg.Fleet.BackendTimeout.Std(), After: w.keeper.after})
}

// start looks at the backends before anything is claimed, where that is asked for.
func (k *keeper) start(ctx context.Context) {
	if !k.probe {
		return
	}
	if err := k.Probe(ctx); err != nil {
		k.log.Warn().Err(err).Msg("backends not probed")
	}
}

// after publishes the names of models that were discovered, and tells of default
// models that cannot serve. It is called by one cycle after the other.
func (k *keeper) after(snap *fleet.Snapshot) {
	if found := snap.Discovered(); !slices.Equal(found, k.published) {
		if err := k.store.PublishNames(context.Background(), found); err != nil {
			k.log.Warn().Err(err).Msg("publish model names")
		} else {
			k.published = found
		}
	}
	for _, d := range snap.Defaults(k.named, k.fleet.Now()) {
		if k.told[d.Kind] != d.Problem && d.Problem != "" {
			k.log.Warn().Str("kind", string(d.Kind)).Str("model", d.Named).Str("reason", d.Problem).Str("instead", d.Model).Msg("the default model cannot serve")
		}
		k.told[d.Kind] = d.Problem
	}
}
