package worker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/config"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
	"github.com/lighterman/lighterman/producer"
	"github.com/lighterman/lighterman/worker"
)

// TestPartitions_SixtyFourAreReadAndSweptInTime: every partition has a blocking
// reader, and each needs a connection. With too few of them reads came seconds
// late, were taken for an outage, and nothing was ever taken over.
func TestPartitions_SixtyFourAreReadAndSweptInTime(t *testing.T) {
	const partitions = 64
	server := redistest.Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	store, err := lua.Open(ctx, server.URL(), lua.Options{Partitions: partitions})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	client := producer.New(store)
	defer client.Close()
	requests := make([]lm.Request, 2*partitions)
	for i := range requests {
		requests[i] = lm.Request{ID: fmt.Sprintf("op-%d", i), Body: json.RawMessage(`{"messages":[{"role":"user","content":"hi"}]}`)}
	}
	var ids []lm.TraceID
	for _, a := range client.EnqueueMany(ctx, requests) {
		if a.Err != nil {
			t.Fatal(a.Err)
		}
		ids = append(ids, a.ID)
	}
	// A worker that claims everything and is never heard of again.
	const lease = time.Second
	abandoned := 0
	for p := range partitions {
		st := lua.Stream{Partition: p, Queue: lm.DefaultQueue}
		if err := store.EnsureGroups(ctx, []lua.Stream{st}); err != nil {
			t.Fatal(err)
		}
		entries, err := store.Read(ctx, "dead-1", []lua.Share{{Stream: st, Count: 100}}, 100)
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) == 0 {
			continue
		}
		claims, err := store.Claim(ctx, "dead-1", lease, entries)
		if err != nil {
			t.Fatal(err)
		}
		abandoned += len(claims)
	}
	if abandoned != len(ids) {
		t.Fatalf("%d of %d claimed", abandoned, len(ids))
	}

	cfg := config.Default()
	cfg.Redis.URL, cfg.Redis.Partitions = config.SecretURL(server.URL()), partitions
	cfg.Worker.Lease, cfg.Worker.Heartbeat = config.Duration(lease), config.Duration(lease/4)
	cfg.HTTP.Addr, cfg.Log.Level = "127.0.0.1:0", "error"
	w, err := worker.New(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	began := time.Now()
	go func() { done <- w.Run(running) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()

	for result, err := range client.WaitMany(ctx, ids) {
		if err != nil || result.Outcome != lm.Succeeded {
			t.Fatalf("%s: %s %v", result.ID, result.Outcome, err)
		}
	}
	if took := time.Since(began); took > lease+5*time.Second {
		t.Errorf("taken over after %s", took)
	}
	for i := range 20 {
		sent := time.Now()
		a, err := client.Enqueue(ctx, lm.Request{ID: fmt.Sprintf("late-%d", i), Body: requests[0].Body})
		if err != nil {
			t.Fatal(err)
		}
		for trace := (lm.Trace{}); trace.State != lm.Completed; {
			if trace, err = client.Status(ctx, a.ID); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(sent); took > time.Second {
			t.Errorf("%s ended after %s: its partition is read late", a.ID, took)
		}
	}
}
