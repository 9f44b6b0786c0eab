package e2e

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestTakeover_KilledWith64InFlight: the work of a killed worker goes on
// elsewhere within the lease and 1.5 s. It is a relay: whoever took over is
// killed next.
func TestTakeover_KilledWith64InFlight(t *testing.T) {
	const (
		inFlight = 64
		lease    = 2 * time.Second
		bound    = lease + 1500*time.Millisecond
		latency  = 400 * time.Millisecond // of four calls
	)
	f := newFleet(t, lease)
	next := func() *worker { return f.start(crew{slots: inFlight, latency: latency}) }
	var took []time.Duration
	repeats := 0
	victim := next()
	n := rounds(4, 20)
	for round := range n {
		ids := f.enqueue(inFlight, tools)
		f.awaitHeld(victim, ids, inFlight)
		heir := next()                  // finds nothing to claim
		time.Sleep(rand.N(2 * latency)) // so that none has ended at the kill
		killed := victim.kill()
		f.awaitAll()
		deaths := f.died()
		if held := len(deaths[len(deaths)-1].held); held != inFlight {
			t.Errorf("round %d: %d operations were in flight at the kill, want %d: void", round+1, held, inFlight)
		}
		for _, r := range f.records(ids) {
			for _, hop := range r.History {
				if hop.Worker != "" && hop.Worker != victim.owner {
					took = append(took, hop.At.Sub(killed))
					break
				}
			}
		}
		victim = heir
	}
	f.check()
	repeats = f.readLedger().repeats()
	slices.Sort(took)
	if len(took) != n*inFlight {
		t.Fatalf("%d takeovers, want %d", len(took), n*inFlight)
	}
	t.Logf("%d kills with %d in flight, lease %s: kill to next claim p50 %s, p99 %s, max %s; lost 0 of %d; calls repeated %d (in flight at the kills: %d)",
		n, inFlight, lease, took[len(took)/2], took[len(took)*99/100], took[len(took)-1], n*inFlight, repeats, n*inFlight)
	if slowest := took[len(took)-1]; slowest > bound {
		t.Errorf("the slowest takeover took %s, want at most %s", slowest, bound)
	}
	if repeats > n*inFlight {
		t.Errorf("%d calls repeated, %d were in flight", repeats, n*inFlight)
	}
}
