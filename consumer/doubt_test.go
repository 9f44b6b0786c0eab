package consumer

import (
	"context"
	"encoding/json"
	"testing"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

// TestEnd_AfterAWriteOfUnknownOutcome: a handler's advance happened and its reply
// never came, so that the worker thinks the claim in an earlier state. The result
// that the handler returns is recorded all the same, and no crash is counted.
func TestEnd_AfterAWriteOfUnknownOutcome(t *testing.T) {
	each(t, func(e *env) {
		id := e.enqueue("0-a")
		var c calls
		e.worker(c.of(func(ctx context.Context, claim lm.Claim) (lm.Result, error) {
			f := claim.Fence
			same := claim
			same.Fence = lm.NewFence(f.Owner, f.Epoch, f.Token, f.Entry, f.State())
			if _, err := e.s.Advance(ctx, same, lua.Advance{Path: []lm.State{lm.Gathering, lm.Inferring}}); err != nil {
				return lm.Result{}, err
			}
			_ = f.Write(func(lm.Attempt) (lm.State, error) { return lm.Inferring, lm.ErrUnavailable })
			return lm.Result{Body: json.RawMessage(`"paid"`)}, nil
		}), Options{})
		e.ended(id)
		e.want(id, "succeeded 1/0")
		if n := c.get(id); n != 1 {
			e.Errorf("it was handled %d times, want once", n)
		}
	})
}
