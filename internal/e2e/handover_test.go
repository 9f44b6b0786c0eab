package e2e

import (
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

// TestDrain_HandOverBehindABacklog: what a draining worker gives back does not wait
// behind the queue: whoever has a slot first claims it, with no attempt and no crash
// counted. The others are as busy as can be, so that what is measured holds the wait
// for a slot. It is a relay: after each drain a fresh worker comes.
func TestDrain_HandOverBehindABacklog(t *testing.T) {
	backlog, relays, bound := 1200, 4, 10*time.Second
	if full {
		backlog, relays, bound = 100_000, 20, 500*time.Millisecond
	}
	const slots, latency = 16, 60 * time.Millisecond // of four calls
	f := newFleet(t, 10*time.Second)
	for left := backlog; left > 0; left -= 10_000 {
		f.enqueue(min(left, 10_000), tools)
	}
	next := func() *worker { return f.start(crew{slots: slots, latency: latency}) }
	crews := []*worker{next(), next(), next(), next()}
	least := int64(backlog)
	for range relays {
		leaver := crews[0]
		f.awaitRunning(int64(len(crews) * slots * 3 / 4))
		time.Sleep(rand.N(5 * latency)) // at any point of their stages
		least = min(least, f.waiting())
		leaver.signal(syscall.SIGTERM)
		if code := leaver.exit(20 * time.Second); code != 0 {
			t.Errorf("exit code %d after SIGTERM, want 0", code)
		}
		f.checkLeft(leaver)
		until(t, patience, "the others to claim what it gave back", f.resumed) // with all of their slots taken
		crews = append(crews[1:], next())
	}
	if least < int64(backlog)/10 {
		t.Fatalf("only %d waited at one of the drains, of %d: void", least, backlog)
	}
	if !full {
		f.awaitAll()
		f.check()
	}
	f.checkHandOvers(relays, least, bound)
}

// checkHandOvers holds the times from a release to the next claim against a bound.
func (f *fleet) checkHandOvers(drains int, least int64, bound time.Duration) {
	f.Helper()
	var took []time.Duration
	for _, r := range f.recordsOfAll() {
		if r.CrashesTotal != 0 || r.Attempts > 1 || r.Attempts == 1 && r.State != lm.Completed {
			f.Errorf("%s: %d attempts, %d crashes counted:%s", r.ID, r.Attempts, r.CrashesTotal, story(r))
		}
		took = append(took, handOvers(r)...)
	}
	if len(took) < drains*2 {
		f.Fatalf("%d operations were handed over by %d drains: void", len(took), drains)
	}
	slices.Sort(took)
	p99 := took[len(took)*99/100]
	f.Logf("%d drains under load, at least %d waiting: %d hand-overs, release to next claim p50 %s, p99 %s, max %s",
		drains, least, len(took), took[len(took)/2], p99, took[len(took)-1])
	if p99 > bound {
		f.Errorf("p99 of the hand-over is %s, want at most %s", p99, bound)
	}
}

// handOvers are the times from each release of a drain to the next claim.
func handOvers(r lua.Record) (took []time.Duration) {
	released := time.Time{}
	for _, h := range r.History {
		switch {
		case h.Reason == "drain":
			released = h.At
		case h.Worker != "" && !released.IsZero():
			took = append(took, h.At.Sub(released))
			released = time.Time{}
		}
	}
	return took
}

// recordsOfAll reads the traces of everything that was asked for, page by page.
func (f *fleet) recordsOfAll() (records []lua.Record) {
	f.Helper()
	for ids := f.all(); len(ids) > 0; {
		n := min(len(ids), 1000)
		records = append(records, f.records(ids[:n])...)
		ids = ids[n:]
	}
	return records
}

// resumed reports whether all that was put back has been read.
func (f *fleet) resumed() bool {
	f.Helper()
	const key = "{lm:0}:resume:default"
	pending, err := f.rdb.XPending(f.Context(), key, lua.Group).Result()
	if err != nil {
		f.Fatal(err)
	}
	return f.rdb.XLen(f.Context(), key).Val() <= pending.Count
}

// waiting is how many operations wait, as Redis counts.
func (f *fleet) waiting() int64 { return f.counted("waiting") }

// awaitRunning waits until so many operations run.
func (f *fleet) awaitRunning(n int64) {
	f.Helper()
	until(f, patience, "the workers to be busy", func() bool { return f.counted("running") >= n })
}

func (f *fleet) counted(kind string) int64 {
	f.Helper()
	counts, err := f.store.Counts(f.Context(), 0)
	if err != nil {
		f.Fatal(err)
	}
	return counts.Sum(kind)
}
