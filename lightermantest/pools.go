package lightermantest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/config"
	"github.com/lighterman/lighterman/fleet"
	"github.com/lighterman/lighterman/pipeline"
	"github.com/lighterman/lighterman/provider/sim"
	"github.com/lighterman/lighterman/router"
	"github.com/lighterman/lighterman/worker"
)

// declared are the models and pools of Options.Config. Nil: there are none, and
// calls go straight to the simulator.
type declared struct {
	spec     fleet.Spec
	played   map[string]string // a declared model: what plays it
	faults   []sim.Fault
	defaults config.Defaults
}

// declare reads a configuration's models and pools. Every declared model is
// played by a simulated member of its own, whatever its backend.
func declare(text string) (*declared, error) {
	if text == "" {
		return nil, nil
	}
	cfg, err := config.Parse("Options.Config", []byte(text))
	if err != nil {
		return nil, err
	}
	d := &declared{spec: worker.FleetSpec(cfg), played: make(map[string]string), defaults: cfg.Defaults}
	for i := range cfg.Models {
		m := &d.spec.Models[i]
		base := m.Name
		if !slices.Contains(config.SimModels(), base) {
			base = sim.Plain
		}
		m.Name = sim.Member(base, m.ID)
		d.played[m.ID] = m.Name
	}
	for _, f := range cfg.Sim.Faults {
		d.faults = append(d.faults, sim.Fault{Model: f.Model, Kind: lm.Kind(f.Kind), After: f.After, Count: f.Count, Rate: f.Rate, RetryAfter: f.RetryAfter.Std()})
	}
	return d, nil
}

// simulator is what plays the models, with scripts and faults by the names that
// the test knows.
func (d *declared) simulator(o sim.Options) *sim.Sim {
	if d == nil {
		return sim.New(o)
	}
	script := make(map[string][]sim.Reply, len(o.Script))
	for model, replies := range o.Script {
		script[d.name(model)] = replies
	}
	o.Script, o.Faults = script, slices.Concat(o.Faults, d.faults)
	for i := range o.Faults {
		o.Faults[i].Model = d.name(o.Faults[i].Model)
	}
	if latency := o.Latency; latency != nil {
		o.Latency = func(model string) time.Duration { return latency(d.member(model)) }
	}
	return sim.New(o)
}

// name is what the simulator calls a model.
func (d *declared) name(model string) string {
	if d != nil && d.played[model] != "" {
		return d.played[model]
	}
	return model
}

// member is what the test calls a model of the simulator.
func (d *declared) member(model string) string {
	if _, id, ok := strings.Cut(model, "@"); ok && d != nil && d.played[id] == model {
		return id
	}
	return model
}

// caller is how a worker calls models: as in production through a router, where
// models are declared.
func (w *Worker) caller() (pipeline.Caller, error) {
	d := w.fleet.declared
	if d == nil {
		return modelCaller{w}, nil
	}
	var err error
	w.truth, err = fleet.New(w.store, fleet.Options{Spec: d.spec, Owner: w.name, Poll: pollFor, Log: w.fleet.opts.Log})
	if err != nil {
		return nil, err
	}
	providers := make(map[string]router.Provider)
	for _, m := range d.spec.Models {
		providers[m.Backend] = modelCaller{w}
	}
	return router.New(router.Options{
		Snapshot: w.truth.Snapshot, Now: w.truth.Now, Fresh: w.truth.Fresh, Sessions: w.truth, Outcomes: declaredOnly{w.truth, d},
		Providers: providers, Owner: w.name, Lease: w.fleet.opts.Lease, Log: w.fleet.opts.Log,
	}), nil
}

// pollFor is how often a worker looks for changes of the fleet's state.
const pollFor = 20 * time.Millisecond

// declaredOnly keeps the built-in simulated models out of breakers and counters,
// as in production.
type declaredOnly struct {
	*fleet.Manager
	declared *declared
}

// Record satisfies router.Outcomes.
func (o declaredOnly) Record(ctx context.Context, out fleet.Outcome) error {
	if o.declared.played[out.Model] == "" {
		return nil
	}
	return o.Manager.Record(ctx, out)
}

// watch keeps the fleet's state fresh until stop is called, which waits for it.
func (w *Worker) watch(ctx context.Context) (stop func()) {
	if w.truth == nil {
		return func() {}
	}
	if err := w.truth.Load(ctx); err != nil && !w.dead.Load() {
		w.fleet.t.Errorf("lightermantest: worker %s: %v", w.name, err)
	}
	watching, end := context.WithCancel(context.WithoutCancel(ctx))
	var watch sync.WaitGroup
	watch.Go(func() {
		if err := w.truth.Run(watching); err != nil && !w.dead.Load() {
			w.fleet.t.Errorf("lightermantest: worker %s: %v", w.name, err)
		}
	})
	return func() { end(); watch.Wait() }
}

// Operate does to a declared model what `lighterman models` does: what is
// "disable", "enable" or "reset". When it returns, every worker knows.
func (f *Fleet) Operate(model, what string) {
	f.t.Helper()
	f.mu.Lock()
	workers := slices.Clone(f.workers)
	f.mu.Unlock()
	err := f.operate(model, what)
	for _, w := range workers {
		if err == nil && !w.dead.Load() {
			if err = w.truth.Load(f.ending); w.dead.Load() {
				err = nil
			}
		}
	}
	if err != nil {
		f.t.Fatalf("lightermantest: %s %s: %v", what, model, err)
	}
}

func (f *Fleet) operate(model, what string) error {
	if f.declared == nil {
		return errors.New("no models are declared; see Options.Config")
	}
	truth, err := fleet.New(f.store, fleet.Options{Spec: f.declared.spec, Owner: "test"})
	if err != nil {
		return err
	}
	return truth.Operate(f.ending, model, what)
}
