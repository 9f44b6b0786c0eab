package worker

import (
	"context"
	"sync"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/fleet"
	"github.com/rs/zerolog"
)

// heard is a lister that tells the log when its backend begins to fail, with what
// it says, and when it is listed again: the fleet's records keep only the kind. What
// fails on in the same way is told once. It may be used concurrently.
type heard struct {
	fleet.Lister
	backend string
	log     zerolog.Logger

	mu   sync.Mutex
	kind lm.Kind // of the last failure; empty: the last listing was good
}

// List satisfies fleet.Lister.
func (h *heard) List(ctx context.Context) ([]lm.Offering, error) {
	list, err := h.Lister.List(ctx)
	h.tell(err)
	return list, err
}

func (h *heard) tell(err error) {
	var kind lm.Kind
	if err != nil {
		kind = lm.AsError(err).Kind
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case kind == h.kind || kind == lm.CallCancelled: // cancelled: this worker ends
		return
	case err != nil:
		h.log.Warn().Str("backend", h.backend).Str("reason", string(kind)).Err(err).Msg("backend not listed")
	default:
		h.log.Info().Str("backend", h.backend).Msg("backend listed again")
	}
	h.kind = kind
}

// heardProber is heard of a lister that can be probed.
type heardProber struct {
	*heard
	prober fleet.Prober
}

// Probe satisfies fleet.Prober. A good one says nothing: what counts is the listing.
func (p heardProber) Probe(ctx context.Context) error {
	err := p.prober.Probe(ctx)
	if err != nil {
		p.tell(err)
	}
	return err
}

// hear has listers tell a log how they do.
func hear(listers map[string]fleet.Lister, log zerolog.Logger) map[string]fleet.Lister {
	all := make(map[string]fleet.Lister, len(listers))
	for id, l := range listers {
		h := &heard{Lister: l, backend: id, log: log}
		all[id] = h
		if p, ok := l.(fleet.Prober); ok {
			all[id] = heardProber{heard: h, prober: p}
		}
	}
	return all
}
