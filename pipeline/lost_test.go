package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/pipeline"
)

// A call is told of the claims that may have died in it: those that begin before
// the heir has saved anything, and no call behind them. A call that was answered
// and saved is not made again.
func TestCall_IsToldOfTheClaimsThatDiedInIt(t *testing.T) {
	each(t, func(w *world) {
		id := w.enqueue(kindRequest("test"))
		var mu sync.Mutex
		var told []string
		dies := errors.New("the worker dies")
		worker := func(at string) *rig {
			r := w.rig(func(r *rig) {
				r.opts.Caller = callerFunc(func(_ context.Context, c lm.Call) (lm.Answer, error) {
					name := strings.TrimSuffix(strings.TrimPrefix(c.Key, string(id)+"/chat/"), "/turn:1")
					mu.Lock()
					defer mu.Unlock()
					told = append(told, fmt.Sprint(name, len(c.Lost)))
					if name == at {
						return lm.Answer{}, dies
					}
					return lm.Answer{Body: []byte(`{}`), Usage: lm.Usage{Calls: 1}}, nil
				})
			})
			r.Register("test", func(ctx context.Context, op *pipeline.Op) (any, error) {
				for _, name := range []string{"a", "b", "c"} {
					if _, err := op.Chat(ctx, name, []byte(`{"messages":[]}`)); err != nil {
						return nil, err
					}
				}
				return "done", nil
			})
			return r
		}
		claim := w.claim(id)
		for _, at := range []string{"a", "b", "b"} {
			if _, err := worker(at).Handle(ctx, claim); !errors.Is(err, dies) {
				w.Fatal(err)
			}
			claim = w.takeover(id)
		}
		w.finish(worker(""), claim)
		if diff := cmp.Diff([]string{"a0", "a1", "b0", "b1", "b2", "c0"}, told); diff != "" {
			w.Error(diff)
		}
	})
}
