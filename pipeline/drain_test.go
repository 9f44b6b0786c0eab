package pipeline_test

import (
	"context"
	"errors"
	"testing"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/pipeline"
)

// A worker that drains hands over before the next stage begins, with everything
// saved that was finished.
func TestHandle_ADrainingWorkerHandsOverAtTheNextStage(t *testing.T) {
	for _, f := range []struct {
		name string
		next func(ctx context.Context, r *rig, op *pipeline.Op) (any, error)
	}{
		{"a step", func(ctx context.Context, r *rig, op *pipeline.Op) (any, error) { return r.step(ctx, op, "2") }},
		{"an ask", func(ctx context.Context, _ *rig, op *pipeline.Op) (any, error) { return op.Ask(ctx, "2", "x") }},
	} {
		t.Run(f.name, func(t *testing.T) {
			each(t, func(w *world) {
				draining := make(chan struct{})
				program := func(ctx context.Context, r *rig, op *pipeline.Op) (any, error) {
					if _, err := r.step(ctx, op, "1"); err != nil {
						return nil, err
					}
					if len(r.calls.all()) == 1 {
						select {
						case <-draining:
						default:
							close(draining)
						}
					}
					return f.next(ctx, r, op)
				}
				r := w.rig(nil)
				r.register(program)
				id := w.enqueue(kindRequest("test"))
				claim := w.claim(id)
				claim.Draining = draining
				if _, err := r.Handle(ctx, claim); !errors.Is(err, lm.ErrHandOver) {
					w.Fatalf("%v, want hand over", err)
				}
				if n := len(r.calls.all()); n != 1 {
					w.Errorf("%d calls before the hand over", n)
				}
				if err := w.store.Release(ctx, claim, "drain"); err != nil {
					w.Fatal(err)
				}
				claim = w.claim(id)
				if claim.Attempts != 0 || claim.CrashesTotal != 0 {
					w.Errorf("counted: %d attempts, %d crashes", claim.Attempts, claim.CrashesTotal)
				}
				w.finish(r, claim)
				for name, n := range r.calls.all() {
					if n != 1 {
						w.Errorf("%s was called %d times", name, n)
					}
				}
			})
		})
	}
}

// A cancel is answered by the next write, and ends the work.
func TestHandle_ACancelEndsItAtTheNextWrite(t *testing.T) {
	each(t, func(w *world) {
		id := w.enqueue(kindRequest("test"))
		r := w.programmed(twoSteps(goOn))
		claim := w.claim(id)
		w.rdb.HSet(ctx, "{lm:0}:trace:"+string(id), "cancel_requested", "1")
		if _, err := r.Handle(ctx, claim); !errors.Is(err, lm.ErrCancelRequested) {
			w.Errorf("%v", err)
		}
		if n := r.calls.all(); len(n) != 0 {
			w.Errorf("called %v", n)
		}
		cancelled, cancel := context.WithCancelCause(ctx)
		cancel(lm.ErrCancelRequested) // by the heartbeat
		if _, err := r.Handle(cancelled, claim); !errors.Is(err, lm.ErrCancelRequested) {
			w.Errorf("%v", err)
		}
	})
}
