package pipeline

import (
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/checkpoint"
	"github.com/prometheus/client_golang/prometheus"
)

// Metrics count what stages do.
type Metrics struct {
	Operation   *prometheus.HistogramVec // time in a kind's Func per claim, by kind
	Stage       *prometheus.HistogramVec // time in a stage, by stage
	Tools       *prometheus.CounterVec   // calls of tools, by tool and outcome
	Restored    prometheus.Counter       // steps returned from a checkpoint
	Checkpoints *prometheus.CounterVec   // by event
	Bytes       *prometheus.CounterVec   // of saved checkpoints, by form: original, stored
}

// stages names the stages in labels.
var stages = map[lm.State]string{lm.Gathering: "gather", lm.Inferring: "infer", lm.ToolExecuting: "tool"}

// NewMetrics makes the metrics and registers them; nil registers nowhere.
func NewMetrics(r prometheus.Registerer) *Metrics {
	histogram := func(name, help, label string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "lighterman", Name: name, Help: help,
			Buckets: []float64{.001, .005, .025, .1, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800}}, []string{label})
	}
	m := &Metrics{
		Operation:   histogram("operation_seconds", "Time in the Func of a kind, per claim.", "kind"),
		Stage:       histogram("stage_seconds", "Time in a stage.", "stage"),
		Tools:       prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "lighterman", Name: "tool_calls_total", Help: "Calls of this worker's tools that ended, by outcome ok, failed or unknown."}, []string{"tool", "outcome"}),
		Restored:    prometheus.NewCounter(prometheus.CounterOpts{Namespace: "lighterman", Name: "steps_restored_total", Help: "Steps returned from a checkpoint."}),
		Checkpoints: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "lighterman", Name: "checkpoints_total", Help: "Checkpoint events."}, []string{"event"}),
		Bytes:       prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "lighterman", Name: "checkpoint_bytes_total", Help: "Bytes of saved checkpoints."}, []string{"form"}),
	}
	if r != nil {
		r.MustRegister(m.Operation, m.Stage, m.Tools, m.Restored, m.Checkpoints, m.Bytes)
	}
	return m
}

// Checkpoint counts an event of a checkpoint.Codec.
func (m *Metrics) Checkpoint(e checkpoint.Event) {
	m.Checkpoints.WithLabelValues(string(e.Kind)).Inc()
	if e.Kind == checkpoint.Saved {
		m.Bytes.WithLabelValues("original").Add(float64(e.Original))
		m.Bytes.WithLabelValues("stored").Add(float64(e.Stored))
	}
}

func (m *Metrics) stage(s lm.State, began time.Time) {
	m.Stage.WithLabelValues(stages[s]).Observe(time.Since(began).Seconds())
}
