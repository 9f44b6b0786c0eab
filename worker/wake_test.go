package worker

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/config"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
	"github.com/lighterman/lighterman/provider/sim"
)

// enqueued enqueues chats for a model.
func enqueued(t *testing.T, s *lua.Store, model string, n int) []lm.TraceID {
	t.Helper()
	c := client(t, s)
	var ids []lm.TraceID
	for i := range n {
		a, err := c.Enqueue(t.Context(), lm.Request{Model: model, Body: json.RawMessage(fmt.Sprintf(`{"messages":[{"role":"user","content":"question %d?"}]}`, i))})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, a.ID)
	}
	return ids
}

// parkedBy enqueues chats for a model and waits until all are parked.
func parkedBy(t *testing.T, s *lua.Store, model string, n int) []lm.TraceID {
	t.Helper()
	ids := enqueued(t, s, model, n)
	eventually(t, "all are parked", func() bool {
		records, err := s.Records(t.Context(), ids)
		for _, r := range records {
			if err != nil || r.State != lm.Retrying {
				return false
			}
		}
		return true
	})
	return ids
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited a minute for: %s", what)
		}
	}
}

// ended waits until operations have succeeded, long before the time until which they
// were parked.
func ended(t *testing.T, s *lua.Store, ids []lm.TraceID) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d operations succeed", len(ids)), func() bool {
		records, err := s.Records(t.Context(), ids)
		for _, r := range records {
			if err != nil || r.Outcome != lm.Succeeded {
				return false
			}
		}
		return true
	})
}

// limitedOnce is a worker's configuration whose model is set aside for an hour by its
// first call.
func limitedOnce(server *redistest.Server) *config.Config {
	cfg := settings(server)
	cfg.Models = []config.Model{{ID: "m", Backend: "sim", Name: sim.Plain}}
	cfg.Sim.Faults = []config.Fault{{Model: "m", Kind: "rate_limited", Count: 1, Rate: 1, RetryAfter: config.Duration(time.Hour)}}
	return cfg
}

// What is parked for an hour goes on when a person has reset the model (issue: 29
// operations still waited for 447 to 902 s).
func TestWake_AResetBringsBackWhatWaitsInTheWholeFleet(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := separate(t, server)
	first := newWorker(t, limitedOnce(server))
	run(t, first)
	ids := parkedBy(t, s, "m", 1) // by the only call that fails
	for range 2 {
		cfg := limitedOnce(server)
		cfg.Sim.Faults = nil
		run(t, newWorker(t, cfg))
	}
	ids = append(ids, parkedBy(t, s, "m", 39)...)
	records, err := s.Records(t.Context(), ids)
	if err != nil || records[0].WaitsFor != lm.WaitModel+"m" || records[39].WaitsFor != lm.WaitModel+"m" {
		t.Fatalf("waits for %q, %q: %v", records[0].WaitsFor, records[39].WaitsFor, err)
	}
	if err := first.fleet.Operate(t.Context(), "m", "reset"); err != nil {
		t.Fatal(err)
	}
	ended(t, s, ids)
	records, _ = s.Records(t.Context(), ids)
	for _, r := range records {
		if r.WaitsFor != "" || r.Attempts > 1 {
			t.Errorf("%s: waits for %q, %d attempts", r.ID, r.WaitsFor, r.Attempts)
		}
	}
}

// The period's end of a budget and the end of a window are no news that anybody tells:
// an order taken back stands for what the next look finds.
func TestWake_WhatAnOrderHeldBackComesWhenItIsTakenBack(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	cfg := settings(server)
	cfg.Models = []config.Model{{ID: "m", Backend: "sim", Name: sim.Plain}}
	cfg.Pools = []config.Pool{{ID: "pool", Members: []config.Member{{ModelID: "m", Weight: 1, Role: "member"}}}}
	w := newWorker(t, cfg)
	run(t, w)
	s := separate(t, server)
	if err := w.fleet.Operate(t.Context(), "m", "disable"); err != nil {
		t.Fatal(err)
	}
	ids := append(parkedBy(t, s, "m", 3), parkedBy(t, s, "pool", 3)...)
	if err := w.fleet.Operate(t.Context(), "m", "enable"); err != nil {
		t.Fatal(err)
	}
	ended(t, s, ids)
	records, err := s.Records(t.Context(), ids)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		for _, hop := range r.History {
			if hop.Reason != "" && hop.At.Add(25*time.Second).Before(r.Ended) {
				t.Errorf("%s: parked at %s, ended at %s: its time was waited for", r.ID, hop.At, r.Ended)
			}
		}
	}
}
