package consumer

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
)

// able is a worker's part in a test: it runs the kinds and models that it serves, and
// says of others that it cannot.
type able struct {
	mu     sync.Mutex
	serves Serves
	ran    []lm.TraceID
}

func (a *able) say() Serves {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.serves
}

func (a *able) learn(s Serves) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.serves = s
}

func (a *able) handle(_ context.Context, claim lm.Claim) (lm.Result, error) {
	r := &claim.Request
	err := &lm.Error{Kind: lm.UnknownKind, For: lm.WaitKind + r.Kind}
	if r.Model != "" {
		err = &lm.Error{Kind: lm.UnknownModel, For: lm.WaitKnown + r.Model}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.serves.runs(err.For) {
		return lm.Result{}, err
	}
	a.ran = append(a.ran, claim.ID)
	return fine(context.Background(), claim)
}

func (e *env) able(s Serves, o Options) (*able, *worker) {
	a := &able{serves: s}
	o.Serves = a.say
	return a, e.worker(a.handle, o)
}

// onRoster waits until so many workers have announced themselves.
func (e *env) workersKnown(n int) {
	e.Helper()
	e.until(fmt.Sprintf("%d workers are on the roster", n), func() bool {
		workers, _, err := e.s.Roster(ctx)
		return err == nil && len(workers) == n
	})
}

// Four workers of which one has the kind: all is done by that one, nothing is counted,
// and nobody's time is waited for (issue: 30 of 40 done after 60 s).
func TestPull_AKindThatOneOfFourServesDoesNotStarve(t *testing.T) {
	each(t, func(e *env) {
		one, _ := e.able(Serves{Kinds: []string{"rare"}}, Options{Concurrency: 2})
		for range 3 {
			e.able(Serves{Kinds: []string{"chat"}}, Options{})
		}
		e.workersKnown(4)
		began := time.Now()
		ids := e.many(40, kind("rare"))
		e.ended(ids...)
		if took := time.Since(began); took > elsewhereWait/2 {
			t.Errorf("took %s: some waited for their time", took)
		}
		one.mu.Lock()
		defer one.mu.Unlock()
		slices.Sort(one.ran)
		if n := len(slices.Compact(slices.Clone(one.ran))); n != 40 || len(one.ran) != 40 {
			t.Errorf("%d calls of %d operations", len(one.ran), n)
		}
		for _, id := range ids {
			if r := e.record(id); r.SchemaWaits != 0 || r.Attempts != 1 || r.CrashesTotal != 0 {
				t.Errorf("%s: %d waits, %d attempts, %d crashes", id, r.SchemaWaits, r.Attempts, r.CrashesTotal)
			}
		}
		if left := e.rdb.ZCard(ctx, "{lm:0}:parked").Val(); left != 0 {
			t.Errorf("%d are parked", left)
		}
	})
}

// A model that only the newer configuration declares: nobody dead-letters it, and who
// learns of it later runs what waits.
func TestPull_AnUnknownModelWaitsForAWorkerThatKnowsIt(t *testing.T) {
	each(t, func(e *env) {
		e.able(Serves{Models: []string{"old"}}, Options{})
		ids := e.many(5, model("new"))
		e.until("all are parked", func() bool {
			return !slices.ContainsFunc(ids, func(id lm.TraceID) bool { return e.state(id) != lm.Retrying })
		})
		if r := e.record(ids[0]); r.WaitsFor != "known/new" || r.SchemaWaits != 1 || r.Reason != string(lm.UnknownModel) {
			t.Errorf("waits for %q, %d waits, %s", r.WaitsFor, r.SchemaWaits, r.Reason)
		}
		later, _ := e.able(Serves{Models: []string{"old"}}, Options{})
		later.learn(Serves{Models: []string{"new", "old"}})
		e.ended(ids...)
		later.mu.Lock()
		defer later.mu.Unlock()
		if len(later.ran) != 5 {
			t.Errorf("ran %v", later.ran)
		}
	})
}

func TestPull_KeepsToTheLimitOfAQueueAndToPauses(t *testing.T) {
	each(t, func(e *env) {
		q := []Queue{{Name: lm.DefaultQueue, Weight: 1, Concurrency: 1}, {Name: "held", Weight: 1}}
		if err := e.s.PauseQueue(ctx, "held"); err != nil {
			t.Fatal(err)
		}
		e.able(Serves{Kinds: []string{"rare"}}, Options{Queues: q})
		e.able(Serves{}, Options{})
		e.workersKnown(2)
		e.ended(e.many(10, kind("rare"))...)
		held := e.enqueue("0-held", kind("rare"), queue("held"))
		if s := e.state(held); s != lm.Queued {
			t.Errorf("of a paused queue: %s", s)
		}
	})
}

func TestDecide_WhatOthersCanRunIsParkedForThemAndNotCounted(t *testing.T) {
	opts := Options{}.withDefaults()
	unknown := &lm.Error{Kind: lm.UnknownModel, For: "known/m"}
	d := decide(lm.Claim{SchemaWaits: newerWaits}, unknown, true, opts)
	if d.kind != retry || d.counted != "" || d.waits != "known/m" || d.delay != elsewhereWait {
		t.Errorf("elsewhere: %+v", d)
	}
	d = decide(lm.Claim{SchemaWaits: newerWaits - 1}, unknown, false, opts)
	if d.kind != retry || d.counted != "schema_waits" || d.waits != "known/m" {
		t.Errorf("nobody: %+v", d)
	}
	if d = decide(lm.Claim{SchemaWaits: newerWaits}, unknown, false, opts); d.kind != finishFailed {
		t.Errorf("nobody, for long: %+v", d)
	}
}
