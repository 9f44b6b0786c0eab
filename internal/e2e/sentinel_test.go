package e2e

import (
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
)

// TestSentinel_MasterKilledWorkGoesOn: workers and a producer know only the
// sentinels. The master is killed with operations in flight and others waiting,
// once the replica has all that was accepted; the sentinels promote the replica,
// what was accepted ends once, and what comes after it too.
func TestSentinel_MasterKilledWorkGoesOn(t *testing.T) {
	if testing.Short() {
		t.Skip("process tests are not short")
	}
	w := redistest.StartWatched(t)
	f := newFleetAt(t, 3*time.Second, w.URL(), 1, w.Replica.Client())
	ops := rounds(60, 1000)
	for range 2 {
		f.start(crew{own: true, slots: 8, latency: 300 * time.Millisecond})
	}
	f.enqueue(ops, plain, twoStep, tools)
	f.awaitRunning(8)
	w.AwaitReplicated()
	before := f.ended(f.all())
	w.Master.Kill()
	killed := time.Now()
	if before == ops {
		t.Fatal("all had ended before the kill: void")
	}
	w.AwaitPromoted()
	promoted := time.Since(killed)

	late := f.enqueue(1, plain) // accepted by the new master
	accepted := time.Since(killed)
	until(t, patience, "the first end after the failover", func() bool { return f.ended(late) == 1 || f.ended(f.all()) > before })
	t.Logf("%d of %d had ended; promoted after %v, accepts after %v, works after %v", before, ops, promoted, accepted, time.Since(killed))
	f.enqueue(20, plain, tools)
	f.awaitAll()
	for _, r := range f.records(f.all()) {
		if r.State != lm.Completed || r.Outcome != lm.Succeeded {
			t.Errorf("%s", story(r))
		}
	}
	f.checkEmpty(0)
	l := f.readLedger()
	t.Logf("all ended after %v; calls repeated %d, paid twice %d", time.Since(killed), l.repeats(), l.paidTwice())
}
