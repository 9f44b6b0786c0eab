package e2e

import (
	"slices"
	"syscall"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
)

// TestRollingRestart: five workers are replaced one after the other, twice, while
// a Python producer pushes: nothing is lost, nothing is called twice, nothing is
// counted, and what is handed over goes on at once.
func TestRollingRestart(t *testing.T) {
	f := newFleet(t, 10*time.Second)
	f.roll(f.push(f.redis.URL(), false, 1, rounds(60, 100)), 1)
}

// TestCluster_RollingRestart is the same over three masters and 64 partitions.
func TestCluster_RollingRestart(t *testing.T) {
	if testing.Short() {
		t.Skip("process tests are not short")
	}
	c := newClusterFleet(t, 10*time.Second, redistest.StartShards(t, 3, 0))
	c.roll(c.push("redis://"+c.shards.Masters[0].Addr, true, clusterPartitions, rounds(60, 100)), clusterPartitions)
}

// roll is the story of a rolling restart.
func (f *fleet) roll(producer *foreign, partitions int) {
	f.Helper()
	const (
		size    = 5
		latency = 150 * time.Millisecond // of four calls per operation
		most    = time.Second            // from a hand-over to the next claim
	)
	next := func() *worker { return f.start(crew{slots: 32, latency: latency, presence: true}) }
	workers := make([]*worker, size)
	for i := range workers {
		workers[i] = next()
	}
	for range 2 {
		for i, w := range workers {
			ended := f.ended(f.all())
			until(f, patience, "work to go on", func() bool { return f.ended(f.all()) > ended+20 })
			w.signal(syscall.SIGTERM)
			if code := w.exit(30 * time.Second); code != 0 {
				f.Errorf("%s: exit code %d after SIGTERM, want 0", w.name, code)
			}
			workers[i] = next()
		}
	}
	n := producer.end()
	f.awaitAll()
	f.check()
	if got := len(f.all()); got != n || n < 2*size*20 {
		f.Errorf("%d operations known of %d pushed, want at least %d: void", got, n, 2*size*20)
	}
	if n := f.readLedger().repeats(); n != 0 {
		f.Errorf("%d calls repeated, want none", n)
	}
	waits := handovers(f.records(f.all()), "drain")
	if len(waits) < size {
		f.Fatalf("%d operations handed over: void", len(waits))
	}
	f.Logf("%d operations pushed over %d partitions, %d workers replaced; %d hand-overs, release to next claim p50 %s, p99 %s, max %s",
		n, partitions, 2*size, len(waits), waits[len(waits)/2], waits[len(waits)*99/100], waits[len(waits)-1])
	if slowest := waits[len(waits)-1]; slowest > most {
		f.Errorf("a hand-over took %s, want at most %s", slowest, most)
	}
}

// handovers are the times from a RECLAIMED for a reason to the next claim, sorted.
func handovers(records []lua.Record, reason string) (waits []time.Duration) {
	for _, r := range records {
		for i, h := range r.History {
			if h.Path[len(h.Path)-1] == lm.Reclaimed && h.Reason == reason && i+1 < len(r.History) {
				waits = append(waits, r.History[i+1].At.Sub(h.At))
			}
		}
	}
	slices.Sort(waits)
	return waits
}
