package worker

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/lighterman/lighterman/config"
	"github.com/lighterman/lighterman/fleet"
)

// NamedDefaults are the default models that a configuration names, by kind.
func NamedDefaults(cfg *config.Config) map[fleet.Capability]string {
	return map[fleet.Capability]string{fleet.CanChat: cfg.Defaults.Chat, fleet.CanPrompt: cfg.Defaults.Prompt, fleet.CanEmbed: cfg.Defaults.Embed}
}

// defaults are the models of requests that name none: the named ones, else what the
// backends were found to have. It may be used concurrently.
type defaults struct {
	named    map[fleet.Capability]string
	snapshot func() *fleet.Snapshot
	real     bool // there are backends that are no simulation, for which none stands in

	mu     sync.Mutex
	of     *fleet.Snapshot // of which chosen is
	chosen map[fleet.Capability]string
}

// model is the default of a kind; empty: there is none.
func (d *defaults) model(kind string) string {
	return d.in(d.snapshot(), fleet.Capability(kind))
}

// in is the default of a kind by a snapshot.
func (d *defaults) in(snap *fleet.Snapshot, c fleet.Capability) string {
	if name := d.named[c]; name != "" {
		return name
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if snap != d.of {
		d.of, d.chosen = snap, make(map[fleet.Capability]string)
		for _, one := range snap.Defaults(d.named, time.Now()) {
			d.chosen[one.Kind] = cmp.Or(found(snap, one.Kind), d.declared(one.Model))
		}
	}
	return d.chosen[c]
}

// declared is a model that was chosen from the declared ones; empty where that is a
// simulation beside real backends.
func (d *defaults) declared(model string) string {
	if d.real && slices.Contains(config.SimModels(), model) {
		return ""
	}
	return model
}

// found is which of the discovered models serves a kind of request that names none:
// the cheapest, as far as is known; empty: none was discovered.
func found(snap *fleet.Snapshot, kind fleet.Capability) string {
	var best *fleet.ModelSpec
	for _, id := range snap.Discovered() {
		m := snap.Model(id)
		if m != nil && m.Spec.Capabilities.Serve(kind) && (best == nil || cheaper(&m.Spec, best) < 0) {
			best = &m.Spec
		}
	}
	if best == nil {
		return ""
	}
	return best.ID
}
