package router

import (
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/fleet"
	"github.com/prometheus/client_golang/prometheus"
)

// gathered is what a registry holds: values by name and labels, a histogram by how
// many observations it has.
func gathered(t *testing.T, r *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			name := f.GetName()
			for _, l := range m.Label {
				name += " " + l.GetValue()
			}
			values[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return values
}

// TestMetrics_TokensCostAndTimesOfEachModel: of the calls that were made, the failed
// one included, and of no other model.
func TestMetrics_TokensCostAndTimesOfEachModel(t *testing.T) {
	spec := pool("a b", by(fleet.HomeFirstHealthy))
	spec.Models[1].Price = fleet.Price{Input: 2, Output: 10}
	b := newBench(t, spec, nil)
	r := prometheus.NewRegistry()
	b.router.opts.Metrics = NewMetrics(r)
	b.fail("a", fails(lm.ModelNotFound, 0))
	b.frames["b"] = "one two"
	if got := b.call(t, func(c *lm.Call) { c.Stream = func(lm.Frame) {} }); got != "b" {
		t.Fatalf("answered by %s", got)
	}
	got := gathered(t, r)
	for name, want := range map[string]float64{
		"lighterman_model_calls_total model_not_found a": 1, "lighterman_model_calls_total ok b": 1,
		"lighterman_model_call_seconds a": 1, "lighterman_model_call_seconds b": 1,
		"lighterman_model_first_token_seconds a": 0, "lighterman_model_first_token_seconds b": 1,
		"lighterman_model_tokens_total input b": 100, "lighterman_model_tokens_total output b": 10, "lighterman_model_tokens_total input a": 0,
		"lighterman_model_cached_tokens_total b": 50,
		"lighterman_model_cost_usd_total b":      (100*2 + 10*10) / 1e6,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
}

// TestFleetCollector_CircuitsAndCooldownsOfEveryModel as the snapshot has them.
func TestFleetCollector_CircuitsAndCooldownsOfEveryModel(t *testing.T) {
	snap, _ := snapshot(pool("a b c"), states{"b": openFor(time.Minute), "c": coolFor(90 * time.Second)})
	r := prometheus.NewRegistry()
	r.MustRegister(FleetCollector(func() *fleet.Snapshot { return snap }, func() time.Time { return noon }))
	got := gathered(t, r)
	for name, want := range map[string]float64{
		"lighterman_model_circuit_state a closed": 1, "lighterman_model_circuit_state a open": 0,
		"lighterman_model_circuit_state b closed": 0, "lighterman_model_circuit_state b open": 1, "lighterman_model_circuit_state b half_open": 0,
		"lighterman_model_cooldown_seconds a": 0, "lighterman_model_cooldown_seconds c": 90,
	} {
		if value, there := got[name]; !there || value != want {
			t.Errorf("%s is %v (%t), want %v", name, value, there, want)
		}
	}
}
