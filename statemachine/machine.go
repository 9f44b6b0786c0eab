package statemachine

import (
	"context"
	"fmt"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

// Machine records a running claim's moves. It may be used concurrently; the
// writes of one claim take turns.
type Machine struct{ store *lua.Store }

// NewMachine makes a Machine over a store.
func NewMachine(store *lua.Store) *Machine { return &Machine{store} }

// Advance records that a claim went along a path, together with checkpoint
// fields: both or neither. An empty path records a checkpoint alone. The path
// stays between PRE_INFERENCE_GATHER and DELIVERED: the states before and after
// are the consumer's, whose scripts also move the entry. Errors:
// lighterman.ErrFenced, ErrNotFound, ErrIllegal (nothing was written),
// ErrCancelRequested, ErrExpired (written, and the work is to end), ErrOutOfMemory (the path
// was recorded and the steps were not; they go with the next write),
// ErrUnavailable (unknown; a later write still goes through).
func (m *Machine) Advance(ctx context.Context, claim lm.Claim, path []lm.State, steps ...lm.Step) error {
	for _, s := range path {
		if s < lm.Gathering || s > lm.Delivered {
			return fmt.Errorf("%w: %s is not a stage of a running claim", lm.ErrIllegal, s)
		}
	}
	stop, err := m.store.Advance(ctx, claim, lua.Advance{Path: path, Steps: steps})
	if err == nil {
		return stop
	}
	return err
}
