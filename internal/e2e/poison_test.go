package e2e

import (
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
)

// TestPoison_DeadLetteredOnceAndInnocentsSurvive (31): an operation kills every
// worker that runs it, until the crash limit; its neighbours succeed.
func TestPoison_DeadLetteredOnceAndInnocentsSurvive(t *testing.T) {
	for range rounds(1, 4) {
		f := newFleet(t, time.Second)
		c := crew{slots: 12, latency: 2500 * time.Millisecond, own: true}
		workers := []*worker{f.start(c), f.start(c), f.start(c)}
		killer := f.enqueue(1, poison)[0]
		f.enqueue(20, plain, twoStep)
		deaths := 0
		for deadline := time.Now().Add(patience); f.ended(f.all()) < 21; time.Sleep(20 * time.Millisecond) {
			for i, w := range workers {
				select {
				case <-w.done:
					deaths++
					workers[i] = f.start(c)
				default:
				}
			}
			if time.Now().After(deadline) {
				f.tell()
				t.Fatalf("not all have ended after %s and %d deaths", patience, deaths)
			}
		}
		f.check()
		letters, err := f.store.Dead(t.Context(), 0, 10)
		if err != nil {
			t.Fatal(err)
		}
		if len(letters) != 1 || letters[0].ID != killer || letters[0].Reason != string(lm.CrashLimit) {
			t.Errorf("dead letters %+v, want one of %s for crash_limit", letters, killer)
		}
		alone := 0
		for i, a := range f.died() {
			if _, ran := a.held[killer]; !ran {
				t.Errorf("death %d: the poison was not there: %v", i+1, a)
			}
			if i == 3 {
				alone = len(a.held)
			}
		}
		starts := f.readLedger()[killer]["poison"].starts
		t.Logf("%d workers killed, the last with %d operation in it; the poison ran %d times", deaths, alone, starts)
		if deaths != 4 || starts != 4 || alone != 1 {
			t.Errorf("%d workers died of %d runs, the last one with %d operations in it, want 4 of 4 and 1 (crash limit 3)", deaths, starts, alone)
		}
	}
}
