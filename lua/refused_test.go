package lua

import (
	"errors"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// TestRefusedByTheServer_IsWaitedFor: a master that has become a replica, or has
// too few of them, refuses every write of every script. That is nobody's failure:
// nothing is written, the error is one that passes, and the same call goes
// through as soon as the server allows it.
func TestRefusedByTheServer_IsWaitedFor(t *testing.T) {
	for name, fault := range map[string]struct{ begin, end []any }{
		"READONLY":   {[]any{"replicaof", "127.0.0.1", "1"}, []any{"replicaof", "no", "one"}},
		"NOREPLICAS": {[]any{"config", "set", "min-replicas-to-write", "1"}, []any{"config", "set", "min-replicas-to-write", "0"}},
	} {
		t.Run(name, func(t *testing.T) {
			e := envOn(t, "redis", redistest.Start(t).Client(), Options{Patience: 30 * time.Millisecond})
			do := func(args []any) {
				t.Helper()
				if err := e.rdb.Do(ctx, args...).Err(); err != nil {
					t.Fatal(err)
				}
			}
			ending := Ending{Path: []lm.State{lm.Errored, lm.Completed}, Result: lm.Result{Outcome: lm.Cancelled}}
			runs, backs, ends := e.in("w1", "0-a", lm.Inferring), e.in("w1", "0-b", lm.Inferring), e.in("w1", "0-c", lm.Inferring)
			e.enqueue("0-d")
			entries := e.read("w1")
			due := e.in("w1", "0-e", lm.Inferring)
			before := e.snapshot()
			do(fault.begin)
			writes := map[string]func() error{
				"enqueue": func() error { return e.accept(Operation{ID: "0-f", Request: request(`1`)}).Err },
				"claim":   func() error { _, err := e.s.Claim(ctx, "w1", time.Minute, entries); return err },
				"advance": func() error {
					_, err := e.s.Advance(ctx, runs, Advance{Path: []lm.State{lm.ToolExecuting}})
					return err
				},
				"putback": func() error { return e.s.Release(ctx, backs, "drain") },
				"finish":  func() error { return e.s.Finish(ctx, ends, ending) },
				"retry": func() error {
					return e.s.Retry(ctx, due, Aside{Path: []lm.State{lm.Errored, lm.Retrying}, Delay: time.Second, Reason: "overloaded"})
				},
				"heartbeat": func() error {
					_, err := e.s.Heartbeat(ctx, 0, "w1", []Renewal{{runs.ID, runs.Fence}})
					return err
				},
				"cancel": func() error { _, err := e.s.Cancel(ctx, "0-d"); return err },
			}
			for script, write := range writes {
				if err := write(); !IsPassing(err) {
					t.Errorf("%s: %v, want an error that passes", script, err)
				} else if name == "READONLY" && !redis.IsReadOnlyError(err) {
					t.Errorf("%s: %v: go-redis does not know it, and would stay on the old master", script, err)
				}
			}
			if err := writes["finish"](); !errors.Is(err, lm.ErrUnavailable) {
				t.Errorf("finish: %v, want ErrUnavailable", err)
			}
			e.unchanged(name, before)
			done := make(chan error, 1)
			e.s.opts.Patience = 20 * time.Second
			go func() { done <- writes["finish"]() }()
			do(fault.end)
			if err := <-done; err != nil {
				t.Fatalf("finish, when the server writes again: %v", err)
			}
			e.want("0-c", "state", "COMPLETED")
			delete(writes, "finish")
			delete(writes, "claim") // of what cancel ends
			for script, write := range writes {
				if err := write(); err != nil {
					t.Errorf("%s, when the server writes again: %v", script, err)
				}
			}
		})
	}
}
