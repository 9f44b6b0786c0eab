package e2e

import (
	"syscall"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
)

// TestDrain_UnderLoad (37): a worker that is told to go hands over at its stages'
// ends; nothing is counted and nothing is called twice.
func TestDrain_UnderLoad(t *testing.T) {
	f := newFleet(t, 2*time.Second)
	leaver := f.start(crew{latency: 80 * time.Millisecond})
	f.start(crew{latency: 80 * time.Millisecond})
	f.enqueue(200, tools)
	f.await(20)
	leaver.signal(syscall.SIGTERM)
	began := time.Now()
	if code := leaver.exit(10 * time.Second); code != 0 {
		t.Errorf("exit code %d after SIGTERM, want 0", code)
	}
	took := time.Since(began)
	left := 200 - f.ended(f.all())
	f.awaitAll()
	f.check()
	handed := f.handedOver("drain")
	t.Logf("drained in %s with %d operations to go: %d handed over", took.Round(time.Millisecond), left, handed)
	if handed == 0 || left == 0 {
		t.Errorf("%d operations handed over with %d to go: void", handed, left)
	}
	if n := f.readLedger().repeats(); n != 0 {
		t.Errorf("%d calls repeated, want none: they ended at their stages' ends", n)
	}
	f.checkLeft(leaver)
}

// TestDrain_SecondSignalStopsAtOnce: the calls under way are given up, the work
// goes back, and nothing is counted.
func TestDrain_SecondSignalStopsAtOnce(t *testing.T) {
	f := newFleet(t, 2*time.Second)
	leaver := f.start(crew{latency: time.Minute})
	ids := f.enqueue(16, plain)
	f.awaitHeld(leaver, ids, 16)
	leaver.signal(syscall.SIGTERM)
	leaver.log.await(t, leaver.process, `"draining"`)
	if n := f.ended(ids); n != 0 {
		t.Fatalf("%d have ended: void", n)
	}
	began := time.Now()
	leaver.signal(syscall.SIGTERM)
	code := leaver.exit(10 * time.Second)
	took := time.Since(began)
	for _, r := range f.records(ids) {
		if r.State != lm.Reclaimed || r.CrashesTotal != 0 || r.Attempts != 0 {
			t.Errorf("%s is %s with %d crashes and %d attempts, want RECLAIMED and nothing counted", r.ID, r.State, r.CrashesTotal, r.Attempts)
		}
	}
	t.Logf("stopped %s after the second signal, exit %d", took.Round(time.Millisecond), code)
	if code != 0 || took > 3*time.Second {
		t.Errorf("exit code %d after %s, want 0 within 3 s", code, took)
	}
	f.checkLeft(leaver)
	f.start(crew{})
	f.awaitAll()
	f.check()
	if n := f.handedOver("drain"); n != 16 {
		t.Errorf("%d handed over, want 16", n)
	}
}

// handedOver is how many operations were put back for a reason.
func (f *fleet) handedOver(reason string) (n int) {
	f.Helper()
	for _, r := range f.records(f.all()) {
		for _, h := range r.History {
			if h.Reason == reason {
				n++
				break
			}
		}
	}
	return n
}

// checkLeft: a worker that drained has left no consumer behind (38).
func (f *fleet) checkLeft(w *worker) {
	f.Helper()
	for _, stream := range []string{"stream", "resume"} {
		consumers, err := f.rdb.XInfoConsumers(f.Context(), "{lm:0}:"+stream+":default", "workers").Result()
		if err != nil {
			f.Fatal(err)
		}
		for _, c := range consumers {
			if c.Name == w.owner {
				f.Errorf("%s is still a consumer of %s with %d pending", w.owner, stream, c.Pending)
			}
		}
	}
}
