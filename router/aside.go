package router

import (
	"time"

	"github.com/lighterman/lighterman/fleet"
	"github.com/prometheus/client_golang/prometheus"
)

var (
	asideLabels = []string{"model", "reason", "scope"}
	asideDesc   = prometheus.NewDesc("lighterman_model_set_aside",
		"1 for each model that takes no calls, or not all: why, and whose matter that is (model, backend, operator, budget).", asideLabels, nil)
	asideUntilDesc = prometheus.NewDesc("lighterman_model_set_aside_until_timestamp_seconds",
		"When what sets the model aside ends, in unix time by the server's clock; 0: not by itself.", asideLabels, nil)
)

// SetAside tells metrics which models are set aside, as fleet.Usability has it at
// the moment of a scrape. A model that takes all calls has no sample.
type SetAside struct {
	Snapshot func() *fleet.Snapshot
	Now      func() time.Time // the server's
}

// Describe satisfies prometheus.Collector.
func (SetAside) Describe(to chan<- *prometheus.Desc) {
	to <- asideDesc
	to <- asideUntilDesc
}

// Collect satisfies prometheus.Collector.
func (a SetAside) Collect(to chan<- prometheus.Metric) {
	snap, now := a.Snapshot(), a.Now()
	for i := range snap.Models {
		u := snap.Models[i].Usability(now)
		if u.Reason == "" {
			continue
		}
		until := 0.0
		if !u.Until.IsZero() {
			until = float64(u.Until.UnixMilli()) / 1000
		}
		labels := []string{snap.Models[i].Spec.ID, string(u.Reason), string(u.Scope)}
		to <- prometheus.MustNewConstMetric(asideDesc, prometheus.GaugeValue, 1, labels...)
		to <- prometheus.MustNewConstMetric(asideUntilDesc, prometheus.GaugeValue, until, labels...)
	}
}
