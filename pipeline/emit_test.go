package pipeline_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync/atomic"
	"testing"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/pipeline"
)

func TestEmit_WritesOnlyWhatSomebodyWants(t *testing.T) {
	yes := &atomic.Bool{}
	yes.Store(true)
	for _, tt := range []struct {
		name     string
		followed *atomic.Bool
		body     string
		want     int
	}{
		{"nobody", nil, `{}`, 0},
		{"nobody yet", &atomic.Bool{}, `{"stream":false}`, 0},
		{"a follower", yes, `{}`, 2},
		{"the request", nil, `{"stream":true}`, 2},
		{"a body that is no object", nil, `[]`, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			each(t, func(w *world) {
				r := w.programmed(func(ctx context.Context, _ *rig, op *pipeline.Op) (any, error) {
					return nil, errors.Join(op.Emit(ctx, lm.FrameProgress, "half"), op.Emit(ctx, lm.FrameToken, "x"))
				})
				id := w.enqueue(lm.Request{Kind: "test", Body: json.RawMessage(tt.body)})
				claim := w.claim(id)
				claim.Followed = tt.followed
				if _, err := r.Handle(ctx, claim); err != nil {
					w.Fatal(err)
				}
				frames := w.rdb.XRange(ctx, "{lm:0}:out:"+string(id), "-", "+").Val()
				if len(frames) != tt.want {
					w.Fatalf("%d frames, want %d", len(frames), tt.want)
				}
				if tt.want > 0 && (frames[0].Values["type"] != "progress" || frames[0].Values["data"] != "half" || frames[1].Values["seq"] != "2") {
					w.Errorf("frames %v", frames)
				}
			})
		})
	}
}

func TestEmit_ALostClaimIsToldAndALostRedisIsNot(t *testing.T) {
	each(t, func(w *world) {
		id := w.enqueue(lm.Request{Kind: "test", Body: json.RawMessage(`{"stream":true}`)})
		emit := func(ctx context.Context, _ *rig, op *pipeline.Op) (any, error) {
			return nil, op.Emit(ctx, lm.FrameProgress, "x")
		}
		old := w.claim(id)
		claim := w.takeover(id)
		if _, err := w.programmed(emit).Handle(ctx, old); !errors.Is(err, lm.ErrFenced) {
			w.Errorf("%v, want fenced", err)
		}
		dead := w.programmed(emit)
		dead.blade.at = 1
		if _, err := dead.Handle(ctx, claim); err != nil {
			w.Errorf("a dropped frame: %v", err)
		}
		w.rdb.Del(ctx, "{lm:0}:trace:"+string(id))
		if _, err := w.programmed(emit).Handle(ctx, claim); !errors.Is(err, lm.ErrNotFound) {
			w.Errorf("%v, want not found", err)
		}
	})
}
