package router

import "github.com/prometheus/client_golang/prometheus"

// Metrics count what a router does. Labels come from the configuration and fixed
// sets.
type Metrics struct {
	Calls    *prometheus.CounterVec // of models, by model and kind of error, or ok
	Switches *prometheus.CounterVec // to another member, by pool and reason
	Parked   *prometheus.CounterVec // operations set aside because no member could be had, by pool
	Troubles *prometheus.CounterVec // reads and writes of shared state that failed, by what
}

// NewMetrics makes the metrics and registers them; nil registers nowhere.
func NewMetrics(r prometheus.Registerer) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "lighterman", Name: name, Help: help}, labels)
	}
	m := &Metrics{
		Calls:    counter("model_calls_total", "Calls of models that ended, by kind of error or ok.", "model", "kind"),
		Switches: counter("pool_switches_total", "Calls that went to another member than their session's.", "pool", "reason"),
		Parked:   counter("pool_parked_total", "Operations set aside because no member could be had.", "pool"),
		Troubles: counter("routing_state_errors_total", "Reads and writes of shared routing state that failed.", "what"),
	}
	if r != nil {
		r.MustRegister(m.Calls, m.Switches, m.Parked, m.Troubles)
	}
	return m
}
