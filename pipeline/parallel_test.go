package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	lm "github.com/lighterman/lighterman"
)

// The second of three parallel tools fails while the others run: they finish and
// are saved, and only it runs again. Once its error cancelled them. Also for models that send no IDs, or one for all:
// once their calls shared one result.
func TestRunTools_ResumedInTheMiddleRunsOnlyTheRest(t *testing.T) {
	for _, ids := range [][]string{{"a", "b", "c"}, {"same", "same", "same"}, {"", "", ""}} {
		t.Run(strings.Join(ids, ","), func(t *testing.T) {
			each(t, func(w *world) {
				var mu sync.Mutex
				ran := map[int]int{}
				begun := make(chan struct{}, 3)
				failed := make(chan struct{})
				setup := func(r *rig) {
					asking(r, "numbered", ids...)
					if r.tools.Has("numbered") {
						return
					}
					numbered(w, r, func(ctx context.Context, i int) (string, error) {
						mu.Lock()
						ran[i]++
						n := ran[i]
						mu.Unlock()
						switch {
						case i == 1 && n == 1:
							<-begun
							<-begun
							close(failed)
							return "", lm.RetryAfter(1, errors.New("not now"))
						case i != 1:
							begun <- struct{}{}
							<-failed
							select { // the error has had its effect by then
							case <-ctx.Done():
								w.Errorf("tool %d was cancelled", i)
							case <-time.After(20 * time.Millisecond):
							}
						}
						return fmt.Sprint("answer ", i), nil
					})
				}
				r := w.rig(setup)
				r.register(parallelTools)
				id := w.enqueue(kindRequest("test"))
				if _, err := r.Handle(ctx, w.claim(id)); err == nil || !strings.Contains(err.Error(), "not now") {
					w.Fatalf("%v", err)
				}
				next := w.rig(func(n *rig) { n.sim, n.tools = r.sim, r.tools; setup(n) })
				next.register(parallelTools)
				if got := w.finish(next, w.takeover(id)).Text(); got != "said answer 0, answer 1, answer 2" {
					w.Errorf("answer %q", got)
				}
				if diff := cmp.Diff(map[int]int{0: 1, 1: 2, 2: 1}, ran); diff != "" {
					w.Error(diff)
				}
			})
		})
	}
}

// A drain in the middle of parallel tools lets those that run finish and saves
// them; once the first that was held back cancelled the rest.
func TestRunTools_ADrainLetsRunningOnesFinish(t *testing.T) {
	each(t, func(w *world) {
		ids := make([]string, 10)
		for i := range ids {
			ids[i] = fmt.Sprint("call_", i)
		}
		var mu sync.Mutex
		ran := map[int]int{}
		draining := make(chan struct{})
		setup := func(r *rig) {
			asking(r, "numbered", ids...)
			if !r.tools.Has("numbered") {
				numbered(w, r, func(_ context.Context, i int) (string, error) {
					mu.Lock()
					ran[i]++
					if len(ran) == 8 { // as many as run at once
						select {
						case <-draining:
						default:
							close(draining)
						}
					}
					mu.Unlock()
					<-draining
					return fmt.Sprint(i), nil
				})
			}
		}
		r := w.rig(setup)
		r.register(parallelTools)
		id := w.enqueue(kindRequest("test"))
		claim := w.claim(id)
		claim.Draining = draining
		if _, err := r.Handle(ctx, claim); !errors.Is(err, lm.ErrHandOver) {
			w.Fatalf("%v, want hand over", err)
		}
		next := w.rig(func(n *rig) { n.sim, n.tools = r.sim, r.tools; setup(n) })
		next.register(parallelTools)
		if got := w.finish(next, w.takeover(id)).Text(); got != "said 0, 1, 2, 3, 4, 5, 6, 7, 8, 9" {
			w.Errorf("answer %q", got)
		}
		for i, n := range ran {
			if n != 1 {
				w.Errorf("tool %d ran %d times", i, n)
			}
		}
	})
}
