package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/pipeline"
)

// A caller is told who answered last, also by a worker that goes on from the
// checkpoint, so that the calls of one operation stick to one member (PARITY 69);
// what it remembers lives as long as the claim; and the ways it went are the
// result's.
func TestCall_TellsWhoAnsweredLast(t *testing.T) {
	each(t, func(w *world) {
		id := w.enqueue(kindRequest("test"))
		var told []string
		stop := errors.New("the worker dies")
		worker := func(fail error) *rig {
			r := w.rig(func(r *rig) {
				r.opts.Caller = callerFunc(func(_ context.Context, c lm.Call) (lm.Answer, error) {
					n := 0
					if known, ok := c.Memo.Load("n"); ok {
						n, _ = known.(int)
					}
					c.Memo.Store("n", n+1)
					told = append(told, fmt.Sprintf("last %q memo %d epoch %v", c.Last, n, c.Epoch > 0))
					if len(told) == 3 && fail != nil {
						return lm.Answer{}, fail
					}
					return lm.Answer{Body: []byte(`{}`), Model: fmt.Sprintf("m%d", len(told)), Route: []string{fmt.Sprintf("way %d", len(told))}}, nil
				})
			})
			r.Register("test", func(ctx context.Context, op *pipeline.Op) (any, error) {
				for i := range 3 {
					if _, err := op.Chat(ctx, fmt.Sprint(i), []byte(`{"messages":[]}`)); err != nil {
						return nil, err
					}
				}
				return "done", nil
			})
			return r
		}
		if _, err := worker(stop).Handle(ctx, w.claim(id)); !errors.Is(err, stop) {
			w.Fatal(err)
		}
		result, err := worker(nil).Handle(ctx, w.takeover(id))
		if err != nil {
			w.Fatal(err)
		}
		want := []string{`last "" memo 0 epoch true`, `last "m1" memo 1 epoch true`, `last "m2" memo 2 epoch true`, `last "m2" memo 0 epoch true`}
		if diff := cmp.Diff(want, told); diff != "" {
			w.Error(diff)
		}
		if want := []string{"way 1", "way 2", "way 4"}; !cmp.Equal(result.Route, want) {
			w.Errorf("route %q, want %q", result.Route, want)
		}
	})
}

// The way of a call that failed is told with the error, the newest notes of it.
func TestHandle_TellsTheWayToAnError(t *testing.T) {
	each(t, func(w *world) {
		n := 0
		boom := errors.New("boom")
		r := w.rig(func(r *rig) {
			r.opts.Caller = callerFunc(func(context.Context, lm.Call) (lm.Answer, error) {
				if n++; n < 40 {
					return lm.Answer{Body: []byte(`{}`), Route: []string{fmt.Sprint("way ", n)}}, nil
				}
				return lm.Answer{Route: []string{"the last way"}}, boom
			})
		})
		r.Register("test", func(ctx context.Context, op *pipeline.Op) (any, error) {
			for i := range 40 {
				if _, err := op.Chat(ctx, fmt.Sprint(i), []byte(`{"messages":[]}`)); err != nil {
					return nil, err
				}
			}
			return "done", nil
		})
		result, err := r.Handle(ctx, w.claim(w.enqueue(kindRequest("test"))))
		if got := result.Route; !errors.Is(err, boom) || len(got) != 32 || got[0] != "way 9" || got[31] != "the last way" {
			w.Errorf("%v %q", err, got)
		}
	})
}
