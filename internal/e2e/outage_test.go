package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/lighterman/lighterman/internal/redistest"
)

// TestOutage_RedisKilledUnderLoadTwice (F6): Redis is killed and comes back with
// its append-only file; nothing is lost and no worker is taken for dead.
func TestOutage_RedisKilledUnderLoadTwice(t *testing.T) {
	f := newFleet(t, 2*time.Second, redistest.WithAppendOnly())
	const ops = 240
	for range 2 {
		f.start(crew{latency: 60 * time.Millisecond, presence: true})
	}
	f.enqueue(ops, tools)
	for _, share := range []int{4, 2} {
		f.await(ops / share)
		f.redis.Kill()
		f.redis.Restart()
	}
	if n := f.ended(f.all()); n == ops {
		t.Fatal("all was done before the second kill: void")
	}
	f.awaitAll()
	f.check()
	f.checkOutage(2 * 2 * 16)
}

// TestOutage_LongerThanALease (39): everybody's lease runs out, and nobody is taken
// for dead.
func TestOutage_LongerThanALease(t *testing.T) {
	for name, away := range map[string]func(*fleet, time.Duration){
		"killed": func(f *fleet, d time.Duration) { f.redis.Kill(); time.Sleep(d); f.redis.Restart() },
		"frozen": func(f *fleet, d time.Duration) { f.redis.Stop(); time.Sleep(d); f.redis.Cont() },
	} {
		leases := []float64{1.2, 2.5}
		if full {
			leases = append(leases, 1, 1.7, 4, 13) // the last is longer than a write is tried again
		}
		for _, n := range leases {
			t.Run(fmt.Sprintf("%s for %v leases", name, n), func(t *testing.T) {
				t.Parallel()
				f := newFleet(t, time.Second, redistest.WithAppendOnly())
				const ops, workers, slots = 96, 5, 6
				for range workers { // of which one is the first to look for the dead, before the others have renewed
					f.start(crew{slots: slots, latency: 150 * time.Millisecond, beat: f.lease * 45 / 100, presence: true})
				}
				f.enqueue(ops, tools)
				f.await(ops / 4)
				away(f, time.Duration(n*float64(f.lease)))
				f.awaitAll()
				f.check() // there is no autopsy, so no crash may be counted
				f.checkOutage(workers * slots)
			})
		}
	}
}

// checkOutage: at most what was in flight is repeated.
func (f *fleet) checkOutage(inFlight int) {
	f.Helper()
	l := f.readLedger()
	back := 0
	for _, r := range f.records(f.all()) {
		back += handedBack(r)
	}
	f.Logf("given back by living workers: %d; calls repeated: %d, paid twice: %d (in flight: at most %d)", back, l.repeats(), l.paidTwice(), inFlight)
	if n := l.repeats(); n > inFlight {
		f.Errorf("%d calls repeated, at most %d were in flight", n, inFlight)
	}
}
