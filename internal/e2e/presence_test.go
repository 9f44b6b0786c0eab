package e2e

import (
	"slices"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
)

// TestPresence_KilledWorkerRunsElsewhereWithinASecond: with the default lease of
// 10 s, what a killed worker held runs elsewhere about a second after the kill. It
// is a relay: every third time the victim is the one that has run longest, the
// first of those who look after the others.
func TestPresence_KilledWorkerRunsElsewhereWithinASecond(t *testing.T) {
	newFleet(t, 10*time.Second).relay(rounds(3, 50))
}

// TestCluster_KilledWorkerRunsElsewhereWithinASecond: there the channels are
// sharded, and what the victim held lies on three masters.
func TestCluster_KilledWorkerRunsElsewhereWithinASecond(t *testing.T) {
	if testing.Short() {
		t.Skip("process tests are not short")
	}
	newClusterFleet(t, 10*time.Second, redistest.StartShards(t, 3, 0)).relay(rounds(2, 20))
}

// relay kills n workers one after the other.
func (f *fleet) relay(n int) {
	f.Helper()
	const batch, size = 12, 3
	lease := f.lease
	next := func() *worker { return f.start(crew{slots: 64, latency: 400 * time.Millisecond, presence: true}) }
	var crew []*worker // the longest running first
	for range size {
		crew = append(crew, next())
	}
	first := 0
	var took []time.Duration
	for round := range n {
		at := round % size
		if at == 0 {
			first++
		}
		victim := crew[at]
		f.awaitWatched(crew, size-1)
		f.load(victim, batch)
		killed := victim.kill()
		f.awaitAll()
		took = append(took, f.inherited(victim, killed)...)
		crew = append(slices.Delete(crew, at, at+1), next())
	}
	f.check()
	slices.Sort(took)
	if len(took) < n {
		f.Fatalf("%d claims were taken over in %d kills: void", len(took), n)
	}
	p50, p99 := took[len(took)/2], took[len(took)*99/100]
	f.Logf("%d kills, %d of the first watcher, lease %s: kill to next claim of %d operations p50 %s, p99 %s, max %s", n, first, lease, len(took), p50, p99, took[len(took)-1])
	if full && (p50 > time.Second || p99 > 2*time.Second) {
		f.Errorf("p50 %s, p99 %s; want at most 1 s and 2 s", p50, p99)
	}
	if p50 > lease/2 {
		f.Errorf("p50 %s: the lease did it, not presence", p50)
	}
}

// TestPresence_OffLeavesItToTheLease: without presence the same takes the lease
// and 1.5 s at most.
func TestPresence_OffLeavesItToTheLease(t *testing.T) {
	const lease = 3 * time.Second
	f := newFleet(t, lease)
	next := func() *worker { return f.start(crew{slots: 8, latency: 200 * time.Millisecond}) }
	victim := next()
	ids := f.enqueue(8, tools)
	f.awaitHeld(victim, ids, 8)
	next()
	killed := victim.kill()
	f.awaitAll()
	f.check()
	took := f.inherited(victim, killed)
	slices.Sort(took)
	if len(took) == 0 {
		t.Fatal("nothing was taken over: void")
	}
	t.Logf("lease %s: kill to next claim of %d operations %s to %s", lease, len(took), took[0], took[len(took)-1])
	if took[0] < lease/2 {
		t.Errorf("taken over after %s: not by the lease", took[0])
	}
	slack := 10 * time.Second
	if full {
		slack = 1500 * time.Millisecond
	}
	if slowest := took[len(took)-1]; slowest > lease+slack {
		t.Errorf("the slowest took %s, want at most %s", slowest, lease+slack)
	}
}

// load enqueues until a worker holds something; the others have room for it.
func (f *fleet) load(w *worker, batch int) {
	f.Helper()
	for range 20 {
		f.enqueue(batch, tools)
		held := false
		until(f, patience, "all to be held", func() bool {
			waiting := false
			for _, r := range f.records(f.all()) {
				waiting = waiting || r.State != lm.Completed && r.Owner == ""
				held = held || r.Owner == w.owner
			}
			return !waiting
		})
		if held {
			return
		}
	}
	f.Fatalf("%s got nothing of 20 batches", w.name)
}

// awaitWatched waits until some of the workers would notice the death of all
// others at once.
func (f *fleet) awaitWatched(crew []*worker, others int) {
	f.Helper()
	until(f, patience, "the workers to look after each other", func() bool {
		return !slices.ContainsFunc(crew, func(w *worker) bool { return int(w.metric("lighterman_watched_workers")) < others })
	})
}

// inherited are the times from a kill to the next claim of what the victim held.
func (f *fleet) inherited(victim *worker, killed time.Time) (took []time.Duration) {
	f.Helper()
	deaths := f.died()
	for _, r := range f.records(f.all()) {
		if _, held := deaths[len(deaths)-1].held[r.ID]; !held {
			continue
		}
		for _, h := range r.History {
			if h.Worker != "" && h.Worker != victim.owner && h.At.After(killed) {
				took = append(took, h.At.Sub(killed))
				break
			}
		}
	}
	return took
}
