package fleet

import (
	"context"
	"fmt"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
)

// testSpec is three models on two backends in one pool.
func testSpec() Spec {
	return Spec{
		Models: []ModelSpec{
			{ID: "a", Backend: "one", Price: Price{Input: 1, Output: 4}},
			{ID: "b", Backend: "one"},
			{ID: "c", Backend: "two", Limits: Limits{RPM: 6, TPM: 1000, Concurrent: 2}, Budget: Budget{USD: 1, Period: DailyUTC}, Quota: Quota{Requests: 100, Period: Monthly}, Price: Price{Input: 10, Output: 100}},
		},
		Pools: []PoolSpec{{ID: "p", Members: []Member{{Model: "a"}, {Model: "b"}, {Model: "c", Role: RoleFailoverOnly}}}},
	}
}

// manager makes a loaded Manager that is stopped with the test when run is set.
func manager(t testing.TB, s *lua.Store, run bool, change ...func(*Options)) *Manager {
	t.Helper()
	o := Options{Spec: testSpec(), Owner: "w1", Interval: time.Hour}
	for _, c := range change {
		c(&o)
	}
	m, err := New(s, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Load(ctx); err != nil {
		t.Fatal(err)
	}
	if run {
		running, stop := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() { done <- m.Run(running) }()
		t.Cleanup(func() {
			stop()
			if err := <-done; err != nil && !t.Failed() {
				t.Errorf("run: %v", err)
			}
		})
	}
	return m
}

// storeOn is a Store with clients of its own, as another process has.
func storeOn(t testing.TB, server *redistest.Server) *lua.Store {
	rdb := server.Client()
	return lua.NewStore(rdb, rdb, lua.Options{})
}

func policy(p SyncPolicy) func(*Options) { return func(o *Options) { o.Policy = p } }

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func record(t testing.TB, m *Manager, o Outcome) {
	t.Helper()
	if o.Backend == "" {
		o.Backend = map[string]string{"a": "one", "b": "one", "c": "two"}[o.Model]
	}
	if err := m.Record(ctx, o); err != nil {
		t.Fatal(err)
	}
}

// until waits for a condition.
func until(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still not: %s", what)
		}
	}
}

func model(t testing.TB, m *Manager, id string) ModelView {
	t.Helper()
	s, err := m.System(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range s.Models {
		if v.ID == id {
			return v
		}
	}
	t.Fatalf("no model %s", id)
	return ModelView{}
}

func fails(t testing.TB, m *Manager, id string, n int) {
	t.Helper()
	for range n {
		record(t, m, Outcome{Model: id, Kind: lm.ProviderFailed, CircuitEpoch: m.Snapshot().Model(id).State.CircuitEpoch})
	}
}

func used100(op int) lm.Usage {
	return lm.Usage{Calls: 1, Input: 100, Cached: 40, Output: int64(10 + op - op)}
}

func opID(i int) lm.TraceID { return lm.TraceID(fmt.Sprint("0-op", i)) }
