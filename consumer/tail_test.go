package consumer

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
)

// aof is the file that Redis appends to.
func (e *env) aof() string {
	e.Helper()
	found, err := filepath.Glob(filepath.Join(e.srv.Dir(), "appendonlydir", "*.incr.aof"))
	if err != nil || len(found) != 1 {
		e.Fatalf("append-only files: %v (%v)", found, err)
	}
	return found[0]
}

// F7. Redis comes back without its last writes: what it still knows ends, by a
// new claim; the old claim, of which it knows nothing any more, is fenced; what
// was enqueued in the lost tail is gone and can be pushed again.
func TestTailCut_WhatIsLeftEndsAndTheOldClaimIsFenced(t *testing.T) {
	onRedis(t, func(e *env) {
		e.groups(lm.DefaultQueue)
		held, ended := e.enqueue("0-held"), e.enqueue("0-ended")
		size := fileSize(e, e.aof())

		var c calls
		first, fenced := make(chan struct{}), make(chan error, 1)
		w := e.worker(c.of(func(ctx context.Context, claim lm.Claim) (lm.Result, error) {
			if claim.ID != held || c.get(held) > 1 {
				return lm.Result{Body: []byte(`"second"`)}, nil
			}
			close(first)
			<-ctx.Done() // the claim that Redis forgets
			fenced <- context.Cause(ctx)
			return lm.Result{Body: []byte(`"first"`)}, nil
		}), Options{})
		e.come("the handler", first)
		e.ended(ended)
		lost := e.enqueue("0-lost")
		e.ended(lost)

		e.srv.Kill()
		if err := os.Truncate(e.aof(), size); err != nil {
			e.Fatal(err)
		}
		e.srv.Restart()
		e.ended(held, ended)
		if err := received(e, "the end of the old claim", fenced); err == nil {
			e.Error("the old claim's context ended without a cause")
		}
		if r := e.record(lost); r.State != lm.None {
			e.Errorf("%s is %s: void", lost, r.State)
		}
		e.ended(e.enqueue("0-lost"))
		w.drain()
		for _, id := range []lm.TraceID{held, ended, lost} {
			e.want(id, "succeeded 1/0")
			if n := c.get(id); n != 2 {
				e.Errorf("%s was handled %d times, want 2", id, n)
			}
		}
		results, err := e.s.Results(ctx, []lm.TraceID{held})
		if err != nil || results[0].Text() != "second" {
			e.Errorf("the result is %s (%v), want the second claim's", results[0].Body, err)
		}
		e.quiet()
	}, redistest.WithAppendOnly())
}

func fileSize(e *env, path string) int64 {
	e.Helper()
	info, err := os.Stat(path)
	if err != nil {
		e.Fatal(err)
	}
	return info.Size()
}
