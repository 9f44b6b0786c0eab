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
		c := crew{slots: 12, latency: 3 * time.Second, own: true}
		workers := []*worker{f.start(c), f.start(c), f.start(c)}
		f.enqueue(10, plain)
		killer := f.enqueue(1, poison)[0]
		f.enqueue(10, plain, twoStep)
		deaths := 0
		for deadline := time.Now().Add(patience); f.ended(f.all()) < len(f.all()); time.Sleep(20 * time.Millisecond) {
			for i, w := range workers {
				select {
				case <-w.done:
					if deaths++; deaths == 3 { // so that somebody is at work wherever it runs for the last time
						f.enqueue(18, plain)
					}
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
		var neighbours []int
		for i, a := range f.died() {
			if _, ran := a.held[killer]; !ran {
				t.Errorf("death %d: the poison was not there: %v", i+1, a)
			}
			neighbours = append(neighbours, len(a.held)-1)
		}
		starts := f.readLedger()[killer]["poison"].starts
		t.Logf("%d workers killed in %d runs of the poison, with so many neighbours: %v", deaths, starts, neighbours)
		if deaths != 4 || starts != 4 || neighbours[len(neighbours)-1] != 0 {
			t.Errorf("%d workers died of %d runs with %v neighbours, want 4 of 4, the last one alone (crash limit 3)", deaths, starts, neighbours)
		}
		if neighbours[0]+neighbours[1]+neighbours[2] == 0 {
			t.Error("nobody was near: void")
		}
	}
}
