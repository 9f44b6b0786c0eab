package pipeline_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/checkpoint"
	"github.com/lighterman/lighterman/tool"
)

// programs are what is killed at every write.
var programs = []struct {
	name string
	run  program
}{
	{"step", run([2]string{"s", "1"})},
	{"step ask step ask", run([2]string{"s", "1"}, [2]string{"a", "2"}, [2]string{"s", "3"}, [2]string{"a", "4"})},
	{"step tools step", run([2]string{"s", "1"}, [2]string{"t", "2"}, [2]string{"s", "3"})},
	{"parallel tools", parallelTools},
}

// A worker that dies at any of its writes, before or after it happened, costs at
// most what was not saved: the next one calls nothing that was (PARITY 23).
func TestHandle_KilledAtAnyWriteRepeatsNothingThatWasSaved(t *testing.T) {
	for _, p := range programs {
		t.Run(p.name, func(t *testing.T) {
			each(t, func(w *world) {
				want := uncut(w, p.run)
				for _, after := range []bool{false, true} {
					for n := 1; ; n++ {
						w.Logf("write %d, after %t", n, after)
						if !killedAt(w, p.run, n, after, want) {
							break
						}
						if n > 50 {
							w.Fatal("no end")
						}
					}
				}
			})
		})
	}
}

// uncut is the result of a program that nobody kills.
func uncut(w *world, f program) string {
	w.Helper()
	return string(w.finish(w.programmed(f), w.claim(w.enqueue(kindRequest("test")))).Body)
}

func (w *world) programmed(f program) *rig {
	w.Helper()
	r := w.rig(func(r *rig) { lookups(w, r.tools, tool.Hidden()) })
	r.register(f)
	return r
}

// killedAt runs a program whose worker dies at its nth write and one that goes
// on. It reports false when there was no nth write.
func killedAt(w *world, f program, n int, after bool, want string) bool {
	w.Helper()
	id := w.enqueue(kindRequest("test"))
	first := w.programmed(f)
	first.blade.at, first.blade.after = n, after
	claim := w.claim(id)
	result, err := first.Handle(ctx, claim)
	if !first.blade.fallen() {
		w.end(claim, result, err)
		return false
	}
	if !errors.Is(err, errKilled) {
		w.Fatalf("write %d: %v", n, err)
	}
	before := first.calls.all()

	claim = w.takeover(id)
	saved := stepsIn(w, claim)
	second := w.after(first, func(r *rig) { r.register(f) })
	if got := string(w.finish(second, claim).Body); got != want {
		w.Errorf("write %d: result %s, want %s", n, got, want)
	}
	for name, calls := range second.calls.all() {
		switch {
		case saved[name] && calls != before[name]:
			w.Errorf("write %d (after %t): %s was saved and called again", n, after, name)
		case calls > 2:
			w.Errorf("write %d (after %t): %s was called %d times", n, after, name, calls)
		}
	}
	return true
}

// stepsIn are the names that a claim's checkpoint holds.
func stepsIn(w *world, claim lm.Claim) map[string]bool {
	w.Helper()
	book, err := codec(w, checkpoint.Options{}).Open(claim.ID, claim.Checkpoint)
	if err != nil {
		w.Fatal(err)
	}
	names := make(map[string]bool)
	for _, s := range book.Steps() {
		names[s.Name] = true
	}
	return names
}

// An operation whose workers all die at their second write, after it happened,
// still ends, and everything was called once.
func TestHandle_EveryWorkerDiesAndAllIsCalledOnce(t *testing.T) {
	each(t, func(w *world) {
		f := programs[2].run
		id := w.enqueue(kindRequest("test"))
		r := w.programmed(f)
		claim := w.claim(id)
		deaths := 0
		for ; ; deaths++ {
			r.blade.at, r.blade.after = 2, true
			result, err := r.Handle(ctx, claim)
			if !r.blade.fallen() {
				w.end(claim, result, err)
				break
			}
			if deaths > 50 {
				w.Fatal("no end")
			}
			claim = w.takeover(id)
			r = w.after(r, func(r *rig) { r.register(f) })
		}
		if deaths < 8 {
			w.Errorf("%d deaths", deaths)
		}
		want := map[string]int{"step/1": 1, "step/3": 1}
		for i := 1; i <= 4; i++ {
			want[fmt.Sprintf("chat/2/turn:%d", i)] = 1
		}
		got := r.calls.all()
		tools := 0
		for name, n := range got {
			if len(name) > 12 && name[:12] == "chat/2/tool:" {
				tools += n
				delete(got, name)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" || tools != 3 {
			w.Errorf("%d tool calls, %s", tools, diff)
		}
	})
}

// A worker that was taken over can write nothing, and is told so.
func TestHandle_TheOldClaimIsFenced(t *testing.T) {
	each(t, func(w *world) {
		id := w.enqueue(kindRequest("test"))
		r := w.programmed(programs[1].run)
		old := w.claim(id)
		claim := w.takeover(id)
		if _, err := r.Handle(ctx, old); !errors.Is(err, lm.ErrFenced) {
			w.Errorf("%v, want fenced", err)
		}
		if len(r.calls.all()) != 0 {
			w.Errorf("the old one called %v", r.calls.all())
		}
		w.finish(r, claim)
	})
}
