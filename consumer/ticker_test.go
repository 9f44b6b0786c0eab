package consumer

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
	"github.com/rs/zerolog"
)

// TestTick_PromotesEverythingThatIsDue: more than one script's worth at once.
func TestTick_PromotesEverythingThatIsDue(t *testing.T) {
	srv := redistest.Start(t)
	rdb := srv.Client()
	store := lua.NewStore(rdb, rdb, lua.Options{})
	const n = 450
	ops := make([]lua.Operation, n)
	due := time.Now().Add(200 * time.Millisecond)
	for i := range ops {
		r := &lm.Request{Body: []byte(`{}`), NotBefore: due}
		r.Normalize()
		ops[i] = lua.Operation{ID: lm.NewTraceID(0, fmt.Sprintf("later-%d", i)), Request: r}
	}
	for _, a := range store.Enqueue(t.Context(), ops) {
		if a.Err != nil {
			t.Fatal(a.Err)
		}
	}
	var ran atomic.Int64
	c := New(store, HandlerFunc(func(context.Context, lm.Claim) (lm.Result, error) {
		if time.Now().Before(due.Add(-50 * time.Millisecond)) {
			t.Error("ran before its time")
		}
		ran.Add(1)
		return lm.Result{}, nil
	}), Options{Block: 50 * time.Millisecond, Log: zerolog.Nop()})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	deadline := time.Now().Add(10 * time.Second)
	for ran.Load() < n && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
	}
	took := time.Since(due)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if ran.Load() != n || took > 3*time.Second {
		t.Errorf("%d of %d ran within %s of their time", ran.Load(), n, took)
	}
}

// TestDeadline_EndsWhatWaitsAndWhatRuns: the outcome is expired, not cancelled.
func TestDeadline_EndsWhatWaitsAndWhatRuns(t *testing.T) {
	srv := redistest.Start(t)
	rdb := srv.Client()
	store := lua.NewStore(rdb, rdb, lua.Options{})
	r := &lm.Request{Body: []byte(`{}`), Deadline: time.Now().Add(500 * time.Millisecond)}
	r.Normalize()
	waiting := *r
	waiting.Queue = "unserved"
	answers := store.Enqueue(t.Context(), []lua.Operation{{ID: "0-runs", Request: r}, {ID: "0-waits", Request: &waiting}})
	if answers[0].Err != nil || answers[1].Err != nil {
		t.Fatal(answers)
	}
	causes := make(chan error, 1)
	c := New(store, HandlerFunc(func(ctx context.Context, _ lm.Claim) (lm.Result, error) {
		<-ctx.Done()
		causes <- context.Cause(ctx)
		return lm.Result{}, ctx.Err()
	}), Options{Block: 50 * time.Millisecond, Tick: 100 * time.Millisecond, Beat: 100 * time.Millisecond, Log: zerolog.Nop()})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	select {
	case cause := <-causes:
		if !errors.Is(cause, lm.ErrExpired) {
			t.Errorf("cause %v", cause)
		}
	case <-time.After(10 * time.Second):
		t.Error("the handler was never told")
	}
	for _, id := range []lm.TraceID{"0-runs", "0-waits"} {
		var trace lm.Trace
		for end := time.Now().Add(5 * time.Second); time.Now().Before(end) && trace.State != lm.Completed; {
			trace, _ = store.Trace(t.Context(), id)
		}
		if trace.Outcome != lm.Expired {
			t.Errorf("%s: %s %s", id, trace.State, trace.Outcome)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestTick_ForgetsTheOldestLetters: a fleet keeps so many dead letters and no more.
func TestTick_ForgetsTheOldestLetters(t *testing.T) {
	eachWith(t, lua.Options{DeadKept: 2}, func(e *env) {
		ids := e.many(6)
		w := e.worker(func(context.Context, lm.Claim) (lm.Result, error) {
			return lm.Result{}, lm.Permanent(errors.New("no"))
		}, Options{})
		e.until("two letters are left", func() bool {
			counts, _ := e.s.Counts(ctx, 0)
			return counts["failed"] == int64(len(ids)) && e.rdb.XLen(ctx, "{lm:0}:dead").Val() == 2
		})
		w.drain()
		if left := len(e.rdb.Keys(ctx, "{lm:0}:trace:*").Val()); left != 2 {
			e.Errorf("%d traces are left, want 2", left)
		}
	})
}
