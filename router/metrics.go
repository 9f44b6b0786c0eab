package router

import (
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/prometheus/client_golang/prometheus"
)

// Metrics count what a router does. Labels come from the configuration and fixed
// sets.
type Metrics struct {
	Calls      *prometheus.CounterVec   // of models, by model and kind of error, or ok
	CallTime   *prometheus.HistogramVec // of one call, by model
	FirstToken *prometheus.HistogramVec // of a streamed call, by model
	Tokens     *prometheus.CounterVec   // by model and direction: input, output
	Cached     *prometheus.CounterVec   // of the input tokens, by model
	Cost       *prometheus.CounterVec   // in USD at the declared prices, by model
	Switches   *prometheus.CounterVec   // to another member, by pool and reason
	Parked     *prometheus.CounterVec   // operations set aside because no member could be had, by pool
	Troubles   *prometheus.CounterVec   // reads and writes of shared state that failed, by what
}

// The buckets of model calls: an answer takes from tens of milliseconds to the
// attempt's 10 minutes, its first token up to a few minutes behind a long prompt.
var (
	callSeconds  = []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320, 640}
	tokenSeconds = []float64{.025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20, 40, 80, 160}
)

// NewMetrics makes the metrics and registers them; nil registers nowhere.
func NewMetrics(r prometheus.Registerer) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "lighterman", Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "lighterman", Name: name, Help: help, Buckets: buckets}, []string{"model"})
	}
	m := &Metrics{
		Calls:      counter("model_calls_total", "Calls of models that ended, by kind of error or ok.", "model", "kind"),
		CallTime:   histogram("model_call_seconds", "Time of one call of a model, failed ones included.", callSeconds),
		FirstToken: histogram("model_first_token_seconds", "Time to the first token or piece of reasoning of a streamed call.", tokenSeconds),
		Tokens:     counter("model_tokens_total", "Tokens that calls consumed, by direction input or output.", "model", "direction"),
		Cached:     counter("model_cached_tokens_total", "Input tokens that the provider read from its prompt cache.", "model"),
		Cost:       counter("model_cost_usd_total", "Cost of calls in USD at the declared prices.", "model"),
		Switches:   counter("pool_switches_total", "Calls that went to another member than their session's.", "pool", "reason"),
		Parked:     counter("pool_parked_total", "Operations set aside because no member could be had.", "pool"),
		Troubles:   counter("routing_state_errors_total", "Reads and writes of shared routing state that failed.", "what"),
	}
	if r != nil {
		r.MustRegister(m.Calls, m.CallTime, m.FirstToken, m.Tokens, m.Cached, m.Cost, m.Switches, m.Parked, m.Troubles)
	}
	return m
}

// called counts one call that ended: kind is its error's, empty for none.
func (m *Metrics) called(model string, kind lm.Kind, took time.Duration, u lm.Usage, usd float64) {
	if kind == "" {
		kind = "ok"
	}
	m.Calls.WithLabelValues(model, string(kind)).Inc()
	m.CallTime.WithLabelValues(model).Observe(took.Seconds())
	m.Tokens.WithLabelValues(model, "input").Add(float64(u.Input))
	m.Tokens.WithLabelValues(model, "output").Add(float64(u.Output))
	if u.Cached > 0 {
		m.Cached.WithLabelValues(model).Add(float64(u.Cached))
	}
	if usd > 0 {
		m.Cost.WithLabelValues(model).Add(usd)
	}
}
