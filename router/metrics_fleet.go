package router

import (
	"time"

	"github.com/lighterman/lighterman/fleet"
	"github.com/prometheus/client_golang/prometheus"
)

// fleetCollector tells of the fleet's models as this worker's snapshot has them. It
// reads the snapshot when it is asked, so that nothing is counted between.
type fleetCollector struct {
	snapshot func() *fleet.Snapshot
	now      func() time.Time
	circuit  *prometheus.Desc
	cooldown *prometheus.Desc
}

// FleetCollector makes the collector of a snapshot at a server time. snapshot never
// returns nil.
func FleetCollector(snapshot func() *fleet.Snapshot, now func() time.Time) prometheus.Collector {
	return &fleetCollector{
		snapshot: snapshot, now: now,
		circuit:  prometheus.NewDesc("lighterman_model_circuit_state", "1 for the state that a model's circuit is in, else 0: closed, open, half_open.", []string{"model", "state"}, nil),
		cooldown: prometheus.NewDesc("lighterman_model_cooldown_seconds", "How long a model's cooldown still lasts; 0 without one.", []string{"model"}, nil),
	}
}

// Describe satisfies prometheus.Collector.
func (c *fleetCollector) Describe(to chan<- *prometheus.Desc) {
	to <- c.circuit
	to <- c.cooldown
}

// circuits names a circuit's states in labels.
var circuits = map[fleet.Circuit]string{fleet.CircuitClosed: "closed", fleet.CircuitOpen: "open", fleet.CircuitHalfOpen: "half_open"}

// Collect satisfies prometheus.Collector.
func (c *fleetCollector) Collect(to chan<- prometheus.Metric) {
	snap, now := c.snapshot(), c.now()
	for i := range snap.Models {
		id, state := snap.Models[i].Spec.ID, &snap.Models[i].State
		for circuit, name := range circuits {
			value := 0.0
			if state.Circuit == circuit {
				value = 1
			}
			to <- prometheus.MustNewConstMetric(c.circuit, prometheus.GaugeValue, value, id, name)
		}
		left := max(state.CooldownUntil.Sub(now), 0)
		to <- prometheus.MustNewConstMetric(c.cooldown, prometheus.GaugeValue, left.Seconds(), id)
	}
}
