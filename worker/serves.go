package worker

import (
	"context"
	"slices"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/config"
	"github.com/lighterman/lighterman/consumer"
	"github.com/lighterman/lighterman/fleet"
)

// serves is what this worker can run, as it tells the others: its kinds, and the models
// and pools of which it has a backend open.
func (w *Worker) serves() consumer.Serves {
	snap := w.last()
	s := consumer.Serves{Kinds: w.pipeline.Kinds(), Real: w.isReal(snap, w.defaults.in(snap, fleet.CanChat))}
	for i := range snap.Models {
		if m := &snap.Models[i].Spec; w.providers[m.Backend] != nil {
			s.Models = append(s.Models, m.ID)
		}
	}
	for i := range snap.Pools {
		if slices.ContainsFunc(snap.Pools[i].Members, func(at int) bool { return w.providers[snap.Models[at].Spec.Backend] != nil }) {
			s.Models = append(s.Models, snap.Pools[i].Spec.ID)
		}
	}
	slices.Sort(s.Models)
	return s
}

// last is the newest snapshot, which is not asked for by it: an idle worker stays idle.
func (w *Worker) last() *fleet.Snapshot {
	if w.fleet != nil {
		return w.fleet.Last()
	}
	return w.defaults.snapshot()
}

// isReal reports whether a model or pool is no simulation.
func (w *Worker) isReal(snap *fleet.Snapshot, name string) bool {
	pool := snap.Find(name)
	return pool != nil && slices.ContainsFunc(pool.Members, func(at int) bool { return !simulated(w.cfg, snap.Models[at].Spec.Backend) })
}

// defaultModel is the model of a request that names none; empty where there is none, or
// where only the built-in simulation would answer, of which nobody has said that it
// should, and another worker has a model: then noModel says what is waited for.
func (w *Worker) defaultModel(kind string) string {
	name := w.defaults.model(kind)
	if w.standsIn(kind, name) && w.consumer.RealElsewhere() {
		return ""
	}
	return name
}

// standsIn reports whether a default model is a simulation that nobody has named.
func (w *Worker) standsIn(kind, name string) bool {
	return slices.Contains(config.SimModels(), name) && w.cfg.Origin("defaults."+kind).Source == config.FromDefault
}

// noModel says what a request that names no model waits for; nil: nobody has one.
func (w *Worker) noModel(kind string) error {
	if !w.consumer.Elsewhere(context.Background(), lm.WaitReal+kind) {
		return nil
	}
	err := lm.Errorf(lm.UnknownModel, "the request names no model; this worker has only simulated ones, and another one has a model")
	err.For = lm.WaitReal + kind
	return err
}
