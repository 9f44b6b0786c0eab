package sim

import (
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"github.com/lighterman/lighterman"
)

// Member names a model of its own that behaves as a base model does: with its own
// script, faults, limit and prompt cache. A fleet's declared models are such.
func Member(base, id string) string { return base + "@" + id }

// base is the model as which a member behaves; a model without a member is its own.
func base(model string) string {
	b, _, _ := strings.Cut(model, "@")
	return b
}

func isMember(model string) bool { return strings.Contains(model, "@") }

// Fault makes calls of a model fail, counted in this process: after so many, for
// so many (0: for good), a share of them by a hash of the call.
type Fault struct {
	Model        string // as Call names it
	Kind         lighterman.Kind
	After, Count int
	Rate         float64 // 0: all
	RetryAfter   time.Duration
}

// fault is a Fault with the calls that it has seen.
type fault struct {
	Fault
	seen atomic.Int64
}

var errFault = errors.New("injected (simulated)")

// broken is the error of the first fault that a call meets, or nil. Every fault of
// its model counts it.
func (s *Sim) broken(model string, c *lighterman.Call) error {
	var err error
	for _, f := range s.faults {
		if f.Model != model {
			continue
		}
		n := int(f.seen.Add(1)) - 1 - f.After
		hit := n >= 0 && (f.Count == 0 || n < f.Count) && (f.Rate == 0 || share(c, n) < f.Rate)
		if hit && err == nil {
			err = &lighterman.Error{Kind: f.Kind, RetryAfter: f.RetryAfter, Err: errFault}
		}
	}
	return err
}

// share is a number from 0 to 1 that follows from a call's key and its number.
func share(c *lighterman.Call, n int) float64 {
	return float64(mix(hash(c.Key)+uint64(n)*0x9e3779b97f4a7c15)>>11) / (1 << 53)
}
