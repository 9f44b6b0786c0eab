package e2e

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// stops are where a worker stands still; the empty one is anywhere.
var stops = []string{"claimed:1:stop", "before_end:2:stop", "inferred:9:stop", "", "before_checkpoint:12:stop", "tool:7:stop",
	"after_checkpoint:9:stop", "inferring:12:stop", "after_end:2:stop", "read:1:stop"}

// TestZombie_StoppedPastItsLeaseWritesNothing (F2): a worker stands still for
// longer than its lease, another one finishes its work, and it wakes. Not a byte
// changes, and it goes on to work.
func TestZombie_StoppedPastItsLeaseWritesNothing(t *testing.T) {
	for round := range rounds(4, 20) {
		edge := stops[round%len(stops)]
		t.Run(fmt.Sprintf("%d %s", round+1, edge), func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, time.Second)
			slow := crew{latency: 60 * time.Millisecond}
			zombie := f.start(crew{latency: slow.latency, failpoint: edge})
			f.enqueue(16, tools, plain) // which do not all end in one write
			f.stop(zombie, edge)
			heir := f.start(slow)
			f.awaitAll()
			before := f.snapshot()

			zombie.signal(syscall.SIGCONT)
			time.Sleep(2 * time.Second) // what it does wrong it does by now
			if diff := cmp.Diff(before, f.snapshot()); diff != "" {
				t.Errorf("the zombie wrote (-before +after):\n%s", diff)
			}
			fenced := zombie.metric("lighterman_fenced_writes_total")
			lost := zombie.log.count(`"entry not claimed"`)
			t.Logf("%v; refused: %v writes, %d claims", f.died()[0], fenced, lost)
			if fenced == 0 && lost == 0 {
				t.Errorf("the zombie tried nothing: this proves nothing")
			}

			f.retire(heir)
			f.enqueue(8, tools)
			f.awaitAll()
			f.check()
		})
	}
}

// TestZombie_WakesWhileAnotherWorks: here the state machine alone would let the
// zombie's writes pass; only the fence refuses them.
func TestZombie_WakesWhileAnotherWorks(t *testing.T) {
	for round := range rounds(4, 16) {
		edge := stops[1+round%8]
		t.Run(fmt.Sprintf("%d %s", round+1, edge), func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, time.Second)
			zombie := f.start(crew{latency: 60 * time.Millisecond, failpoint: edge})
			ids := f.enqueue(16, tools, plain)
			f.stop(zombie, edge)
			held := len(f.died()[0].held)
			heir := f.start(crew{latency: 500 * time.Millisecond})
			f.awaitHeld(heir, ids, (held+1)/2) // the blocked read of a frozen worker may have taken some for another lease
			zombie.signal(syscall.SIGCONT)
			f.awaitAll()
			f.check()
			refused := zombie.metric("lighterman_fenced_writes_total")
			t.Logf("%v; refused: %v writes", f.died()[0], refused)
			if held == 0 || int(refused) < held {
				t.Errorf("%v writes of the zombie were refused, it had held %d operations", refused, held)
			}
			if n := heir.metric("lighterman_fenced_writes_total"); n != 0 {
				t.Errorf("%v writes of the heir were refused, so the zombie wrote", n)
			}
		})
	}
}

// stop freezes a worker: at a failpoint, or in the middle of anything.
func (f *fleet) stop(w *worker, edge string) {
	f.Helper()
	if edge != "" {
		f.awaitFault(w)
		w.awaitFrozen()
	} else {
		f.awaitHeld(w, f.all(), len(f.all()))
		time.Sleep(rand.N(150 * time.Millisecond))
		w.freeze()
	}
	f.dissect(w)
}

// TestStopped_LoneWorkerCountsNoCrashAgainstItself: a worker that stood still for
// longer than its lease, with nobody there to take over, gives its work back to
// itself with nothing counted.
func TestStopped_LoneWorkerCountsNoCrashAgainstItself(t *testing.T) {
	for round := range rounds(1, 6) {
		t.Run(fmt.Sprint(round+1), func(t *testing.T) {
			f := newFleet(t, time.Second)
			w := f.start(crew{slots: 16, latency: 400 * time.Millisecond})
			ids := f.enqueue(16, tools) // all slots are taken: no read is under way
			f.awaitHeld(w, ids, 16)
			time.Sleep(rand.N(time.Second))
			w.freeze()
			time.Sleep(3 * f.lease)
			w.signal(syscall.SIGCONT)
			f.awaitAll()
			f.check() // no autopsy, so that no crash may be counted
			given := 0
			for _, r := range f.records(ids) {
				given += handedBack(r)
			}
			t.Logf("given back to itself: %d of 16", given)
		})
	}
}

// snapshot is all that Redis holds of operations, without what time itself
// changes.
func (f *fleet) snapshot() map[string]string {
	f.Helper()
	ctx := f.Context()
	all := make(map[string]string)
	for _, k := range f.keys() {
		if strings.HasPrefix(k, "{lm:fleet}") || k == "{lm:0}:tick" {
			continue
		}
		kind := f.rdb.Type(ctx, k).Val()
		value := ""
		if kind == "stream" { // its consumers were seen again meanwhile, which is no write of ours
			entries, err := f.rdb.XRange(ctx, k, "-", "+").Result()
			pending, errPending := f.rdb.XPending(ctx, k, "workers").Result()
			value = fmt.Sprint(entries, err, pending, errPending)
		} else {
			dump, err := f.rdb.Dump(ctx, k).Result()
			value = fmt.Sprintf("%x %v", dump, err)
		}
		expires, err := f.rdb.PExpireTime(ctx, k).Result()
		all[k] = fmt.Sprint(kind, " ", value, " expires ", expires, err)
	}
	return all
}
