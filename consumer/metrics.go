package consumer

import (
	"strconv"
	"strings"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
	"github.com/prometheus/client_golang/prometheus"
)

// Metrics count what a worker does. Labels come from fixed sets or the
// configuration, never from requests or providers' texts.
type Metrics struct {
	Claims      *prometheus.CounterVec   // by queue
	Wait        *prometheus.HistogramVec // from an entry's place in its stream to its claim, by queue
	Handle      *prometheus.HistogramVec // of a handler, by queue
	Endings     *prometheus.CounterVec   // by outcome
	Retries     *prometheus.CounterVec   // by reason
	DeadLetters *prometheus.CounterVec   // by reason
	Takeovers   *prometheus.CounterVec   // by cause
	Woken       prometheus.Counter       // parked operations that came back because what they waited for is there again
	Watched     prometheus.Gauge         // workers whose death this one would notice at once
	Fenced      prometheus.Counter
	Leaked      prometheus.Gauge       // handlers that run on after their claim was ended without them
	Repairs     *prometheus.CounterVec // by what the janitor found
	Drift       prometheus.Gauge       // counts that disagree, at the last pass
	Operations  *prometheus.GaugeVec   // in Redis, by partition, queue and state: waiting, running, delayed
}

// seconds are the buckets of durations: model calls run from milliseconds to
// tens of minutes.
var seconds = []float64{.001, .005, .025, .1, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800}

// NewMetrics makes the metrics and registers them; nil registers nowhere.
func NewMetrics(r prometheus.Registerer) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "lighterman", Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: "lighterman", Name: name, Help: help, Buckets: seconds}, labels)
	}
	m := &Metrics{
		Claims:      counter("claims_total", "Operations claimed.", "queue"),
		Wait:        histogram("wait_seconds", "From when an operation became ready, its entry's place in its stream, to its claim; once per claim.", "queue"),
		Handle:      histogram("handle_seconds", "Time in the handler.", "queue"),
		Endings:     counter("endings_total", "Operations ended here.", "outcome"),
		Retries:     counter("retries_total", "Operations set aside to be tried again.", "reason"),
		DeadLetters: counter("dead_letters_total", "Operations set aside for people.", "reason"),
		Takeovers:   counter("takeovers_total", "Claims taken over from other workers.", "cause"),
		Woken:       prometheus.NewCounter(prometheus.CounterOpts{Namespace: "lighterman", Name: "woken_total", Help: "Parked operations brought back because what they waited for is there again."}),
		Watched:     prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "lighterman", Name: "watched_workers", Help: "Workers whose death this one would notice at once."}),
		Fenced:      prometheus.NewCounter(prometheus.CounterOpts{Namespace: "lighterman", Name: "fenced_writes_total", Help: "Writes refused because another claim holds the operation."}),
		Leaked:      prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "lighterman", Name: "leaked_handlers", Help: "Handlers that ignored the end of their context, and still run though their claim was ended."}),
		Repairs:     counter("janitor_repairs_total", "What the janitor repaired or ended.", "what"),
		Drift:       prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "lighterman", Name: "count_drift", Help: "Counts that disagreed with the operations at this worker's last pass of the janitor."}),
		Operations: prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "lighterman", Name: "operations", Help: "Operations in Redis, as of the last tick of this worker."},
			[]string{"partition", "queue", "state"}),
	}
	if r != nil {
		r.MustRegister(m.Claims, m.Wait, m.Handle, m.Endings, m.Retries, m.DeadLetters, m.Takeovers, m.Woken, m.Watched, m.Fenced, m.Leaked, m.Repairs, m.Drift, m.Operations)
	}
	return m
}

func (m *Metrics) claimed(queue string, claim *lm.Claim) {
	m.Claims.WithLabelValues(queue).Inc()
	if ready, ok := lua.EntryTime(claim.Fence.Entry); ok {
		m.Wait.WithLabelValues(queue).Observe(max(0, claim.ClaimedAt.Sub(ready)).Seconds())
	}
}

func (m *Metrics) ended(d decision) {
	switch d.kind {
	case finishSucceeded:
		m.Endings.WithLabelValues(string(lm.Succeeded)).Inc()
	case finishFailed:
		m.Endings.WithLabelValues(string(d.outcome)).Inc()
		if d.outcome == lm.Failed {
			m.DeadLetters.WithLabelValues(d.reason).Inc()
		}
	case retry:
		reason := d.reason
		if d.counted == lua.CountNothing {
			reason = "parked" // a person's reason is no label
		}
		m.Retries.WithLabelValues(reason).Inc()
	case putBack, drop: // counted by the takeover and the fence
	}
}

func (m *Metrics) adopted(a lua.Adoption) {
	if a == lua.AdoptedDead {
		m.DeadLetters.WithLabelValues(string(lm.Malformed)).Inc()
	}
}

func (m *Metrics) refused(v lua.Verdict) {
	if v == lua.ClaimLost {
		m.DeadLetters.WithLabelValues(string(lm.TraceLost)).Inc()
	}
}

// takenOver counts what came of putting an entry back whose trace was from.
func (m *Metrics) takenOver(cause string, from lua.Record, r lua.Returned) {
	switch {
	case r == lua.PutBackLost:
		m.DeadLetters.WithLabelValues(string(lm.TraceLost)).Inc()
	case r == lua.PutBackEnded && from.State == lm.Delivered: // only its acknowledgement was lost
		m.Endings.WithLabelValues(string(lm.Succeeded)).Inc()
	case r == lua.PutBackEnded:
		m.Endings.WithLabelValues(string(lm.Failed)).Inc()
		m.DeadLetters.WithLabelValues(string(lm.CrashLimit)).Inc()
	}
	if from.Owner != "" && (r == lua.PutBack || r == lua.PutBackEnded) {
		m.Takeovers.WithLabelValues(cause).Inc()
	}
}

// otherQueues is the label of all queues that a worker does not serve together: a
// producer may make up names, and each label value is a series for ever.
const otherQueues = "(other)"

func (m *Metrics) depths(partition int, counts lua.Counts, served []Queue) {
	for _, state := range []string{"waiting", "running", "delayed"} {
		rest := counts.Sum(state)
		for _, q := range served {
			n := counts[state+":"+q.Name]
			rest -= n
			m.Operations.WithLabelValues(strconv.Itoa(partition), q.Name, state).Set(float64(n))
		}
		m.Operations.WithLabelValues(strconv.Itoa(partition), otherQueues, state).Set(float64(rest))
	}
}

// expired counts what a deadline ended while it waited; what runs is counted by
// its own end.
func (m *Metrics) expired(e lua.Ended) {
	if e == lua.CancelDone {
		m.Endings.WithLabelValues(string(lm.Expired)).Inc()
	}
}

// cleaned counts what a pass of the janitor did.
func (m *Metrics) cleaned(p *lua.Pass) {
	for what, n := range p.Repairs {
		m.Repairs.WithLabelValues(strings.ToLower(string(what))).Add(float64(n))
	}
	for what, n := range map[string]int{"expired": p.Expired, "asked": p.Asked, "stray": p.Strays} {
		m.Repairs.WithLabelValues(what).Add(float64(n))
	}
	m.Drift.Set(float64(len(p.Drift)))
}
