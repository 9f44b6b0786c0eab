package e2e

import (
	"fmt"
	"slices"
	"strings"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
	"github.com/lighterman/lighterman/statemachine"
	"github.com/redis/go-redis/v9"
)

// check holds everything that is left against the invariants, when all
// operations have ended.
func (f *fleet) check() {
	f.Helper()
	records := f.records(f.all())
	if len(records) == 0 {
		f.Fatal("no operations: nothing was proved")
	}
	f.checkEnded(records)
	for _, r := range records {
		f.checkHistory(r)
	}
	f.checkCrashes(records)
	f.checkDrained(records)
	f.checkLifetimes()
	f.checkCalls(records)
	f.checkBill()
}

// checkEnded: each operation has exactly one terminal record, the wanted one
// (I1, I3), and its result is its own.
func (f *fleet) checkEnded(records []lua.Record) {
	f.Helper()
	told := make(map[lm.TraceID]int)
	for p := range f.parts {
		notices, err := f.store.Ended(f.Context(), p, 100_000)
		if err != nil {
			f.Fatal(err)
		}
		for _, n := range notices {
			told[n.ID]++
		}
	}
	results, err := f.store.Results(f.Context(), f.all())
	if err != nil {
		f.Fatal(err)
	}
	for i, r := range records {
		ask, result := f.asked[r.ID], results[i]
		switch {
		case r.State != lm.Completed || r.Outcome != ask.outcome:
			f.Errorf("%s: %s %s, want COMPLETED %s:%s", r.ID, r.State, r.Outcome, ask.outcome, story(r))
		case told[r.ID] != 1:
			f.Errorf("%s: its end was published %d times:%s", r.ID, told[r.ID], story(r))
		case result.Outcome != ask.outcome:
			f.Errorf("%s: its result says %q, want %s", r.ID, result.Outcome, ask.outcome)
		case !strings.Contains(result.Text(), ask.told):
			f.Errorf("%s: result %q does not hold %q", r.ID, result.Text(), ask.told)
		case ask.request.Model == "sim-tools" && result.Usage.Calls != 4:
			f.Errorf("%s: %d calls in its usage, want 4, however often it was taken over", r.ID, result.Usage.Calls)
		}
	}
}

// checkHistory: every hop was legal, claims are strictly ordered, and COMPLETED is
// entered once and never left (I2, I3, I5).
func (f *fleet) checkHistory(r lua.Record) {
	f.Helper()
	at, epoch, completed := lm.None, lm.Epoch(0), 0
	for i, h := range r.History {
		for _, to := range h.Path {
			if at == lm.None && i == 0 && to == lm.Received {
				at = to
				continue
			}
			if !statemachine.IsValidTransition(at, to) {
				f.Errorf("%s: %s to %s is no transition:%s", r.ID, at, to, story(r))
			}
			if at = to; to == lm.Completed {
				completed++
			}
		}
		if h.Worker != "" {
			if h.Epoch <= epoch {
				f.Errorf("%s: epoch %d after %d:%s", r.ID, h.Epoch, epoch, story(r))
			}
			epoch = h.Epoch
		}
	}
	if completed != 1 || at != lm.Completed {
		f.Errorf("%s: COMPLETED %d times, last %s:%s", r.ID, completed, at, story(r))
	}
}

// checkCrashes: a crash is counted for each started claim that a killed or stopped
// worker held, and for no other; an attempt for the answer only.
func (f *fleet) checkCrashes(records []lua.Record) {
	f.Helper()
	autopsies := f.died()
	for _, r := range records {
		want := 0
		for _, a := range autopsies {
			if a.held[r.ID].started {
				want++
			}
		}
		if r.CrashesTotal != want {
			f.Errorf("%s: %d crashes counted, want %d:%s (%v)", r.ID, r.CrashesTotal, want, story(r), autopsies)
		}
		if f.asked[r.ID].outcome == lm.Succeeded && r.Attempts != 1 {
			f.Errorf("%s: %d attempts counted, want 1:%s", r.ID, r.Attempts, story(r))
		}
	}
}

// checkDrained: nothing is waiting, pending, delayed or running, and the counters
// equal the outcomes (I7, I8, I10).
func (f *fleet) checkDrained(records []lua.Record) {
	f.Helper()
	counts := make(lua.Counts)
	for p := range f.parts {
		of, err := f.store.Counts(f.Context(), p)
		if err != nil {
			f.Fatal(err)
		}
		for field, n := range of {
			counts[field] += n
		}
	}
	want := make(map[string]int64)
	for _, r := range records {
		want[string(r.Outcome)]++
	}
	for field, n := range counts {
		if n != want[field] {
			f.Errorf("counter %s is %d, want %d", field, n, want[field])
		}
	}
	for outcome, n := range want {
		if counts[outcome] != n {
			f.Errorf("counter %s is %d, want %d", outcome, counts[outcome], n)
		}
	}
	f.checkEmpty(want[string(lm.Failed)])
}

// checkEmpty: no stream, pending list or set holds an operation, and the dead
// letters are those that were wanted.
func (f *fleet) checkEmpty(dead int64) {
	f.Helper()
	ctx := f.Context()
	for _, k := range f.keys() {
		rest, ours := inPartition(k)
		what, _, _ := strings.Cut(rest, ":")
		if !ours || what != "stream" && what != "resume" {
			continue
		}
		left, err := f.rdb.XLen(ctx, k).Result()
		if err != nil {
			f.Fatal(err)
		}
		pending, err := f.rdb.XPending(ctx, k, lua.Group).Result()
		if err != nil && !lua.IsNoGroup(err) {
			f.Fatal(err)
		}
		if pending == nil {
			pending = &redis.XPending{}
		}
		if left != 0 || pending.Count != 0 {
			f.Errorf("%s: %d entries left, %d pending", k, left, pending.Count)
		}
	}
	letters := int64(0)
	for p := range f.parts {
		tag := fmt.Sprintf("{lm:%d}:", p)
		for _, k := range []string{"delayed", "deadlines"} {
			if n := f.rdb.ZCard(ctx, tag+k).Val(); n != 0 {
				f.Errorf("%s: %d operations left", tag+k, n)
			}
		}
		n, err := f.rdb.XLen(ctx, tag+"dead").Result()
		if err != nil {
			f.Fatal(err)
		}
		letters += n
	}
	if letters != dead {
		f.Errorf("%d dead letters, want %d", letters, dead)
	}
}

// lasting are the kinds of keys in a partition that have no lifetime.
var lasting = []string{"stream", "resume", "stats", "done", "dead"}

// checkLifetimes: whatever belongs to an operation, or to nobody, will go by
// itself.
func (f *fleet) checkLifetimes() {
	f.Helper()
	keys := f.keys()
	ttls := make([]*redis.DurationCmd, len(keys))
	if _, err := f.rdb.Pipelined(f.Context(), func(p redis.Pipeliner) error {
		for i, k := range keys {
			ttls[i] = p.PTTL(f.Context(), k)
		}
		return nil
	}); err != nil {
		f.Fatal(err)
	}
	for i, k := range keys {
		rest, ours := inPartition(k)
		what, _, _ := strings.Cut(rest, ":")
		if strings.HasPrefix(k, "{lm:fleet}:") || ours && slices.Contains(lasting, what) {
			continue
		}
		if ttls[i].Val() == -1 {
			f.Errorf("key %s has no lifetime", k)
		}
	}
}
