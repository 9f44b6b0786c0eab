package lightermantest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/embedded"
	"github.com/lighterman/lighterman/lua"
	"github.com/lighterman/lighterman/producer"
	"github.com/lighterman/lighterman/provider/sim"
)

// TB is what a fleet needs of a test; *testing.T, *testing.B and *testing.F have
// it.
type TB interface {
	Helper()
	Cleanup(func())
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Fleet is a running fleet. It ends with its test. Its methods may be called
// concurrently; those that fail the test with Fatalf (Enqueue, Wait, Trace) only
// from the test's own goroutine.
type Fleet struct {
	t        TB
	opts     Options
	url      string
	prefix   string
	setup    func(*Worker)
	declared *declared
	sim      *sim.Sim
	store    *lua.Store
	client   *producer.Client
	calls    calls
	kills    kills

	ending  context.Context // ends with the fleet
	end     context.CancelFunc
	burials sync.WaitGroup
	mu      sync.Mutex
	workers []*Worker // the dead included
	closed  bool
}

// Run starts a fleet whose workers are each set up by setup. What it starts ends
// when the test ends; a kill point that was not reached then fails the test.
func Run(t TB, o Options, setup func(*Worker)) *Fleet {
	t.Helper()
	f := &Fleet{t: t, opts: o.withDefaults(), url: o.Redis, prefix: "lmtest-" + rand.Text()[:8], setup: setup}
	var err error
	if f.declared, err = declare(o.Config); err != nil {
		t.Fatalf("lightermantest: %v", err)
		return nil
	}
	f.opts.Models, f.sim = o.models(f.declared), f.declared.simulator(o.Sim)
	f.ending, f.end = context.WithCancel(context.Background())
	t.Cleanup(func() { _ = f.sim.Close() })
	if f.url == "" {
		server, err := embedded.Start("127.0.0.1:0")
		if err != nil {
			t.Fatalf("lightermantest: %v", err)
		}
		t.Cleanup(server.Close)
		f.url = server.URL()
	}
	store, err := f.open()
	if err != nil {
		t.Fatalf("lightermantest: %v", err)
	}
	f.store, f.client = store, producer.New(store)
	t.Cleanup(f.close)
	for range f.opts.Workers {
		if err := f.spawn(); err != nil {
			t.Fatalf("lightermantest: start a worker: %v", err)
		}
	}
	return f
}

// open makes a Store of its own, so that a worker can lose its connections alone.
// Its patience is short: the only contact that is lost here is a dead worker's.
func (f *Fleet) open() (*lua.Store, error) {
	return lua.Open(context.Background(), f.url, lua.Options{Prefix: f.prefix, Partitions: f.opts.Partitions, Patience: time.Millisecond})
}

// spawn starts one more worker, unless the fleet ends.
func (f *Fleet) spawn() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	w, err := newWorker(f, fmt.Sprintf("w%d", len(f.workers)+1))
	if err != nil {
		return err
	}
	f.workers = append(f.workers, w)
	return nil
}

// close drains the workers and ends everything.
func (f *Fleet) close() {
	f.mu.Lock()
	f.closed = true
	workers := f.workers
	f.mu.Unlock()
	var ending sync.WaitGroup
	for _, w := range workers {
		ending.Go(w.close)
	}
	ending.Wait()
	f.end()
	f.burials.Wait()
	_ = f.client.Close()
	_ = f.store.Close()
	for _, k := range f.kills.missed() {
		f.t.Errorf("lightermantest: kill point %q was not reached %d times", k.point, k.nth)
	}
}

// Script appends replies to what a model answers, each given once and in order,
// before the model answers by itself again. It makes the model known, unless models
// are declared; then it scripts one of those, a member and never its pool.
func (f *Fleet) Script(model string, replies ...sim.Reply) {
	f.sim.Push(f.declared.name(model), replies...)
}

// Enqueue has an operation accepted and returns its ID; a refusal ends the test.
func (f *Fleet) Enqueue(req lm.Request) lm.TraceID {
	f.t.Helper()
	accepted, err := f.client.Enqueue(context.Background(), req)
	if err != nil {
		f.t.Fatalf("lightermantest: enqueue: %v", err)
	}
	return accepted.ID
}

// Wait returns what an operation ended in. One that failed is a Result with its
// outcome and Err; one that does not end within Options.Timeout ends the test.
func (f *Fleet) Wait(id lm.TraceID) lm.Result {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), f.opts.Timeout)
	defer cancel()
	for {
		result, err := f.client.Result(ctx, id)
		if err == nil {
			return result
		}
		if !errors.Is(err, producer.ErrNotEnded) {
			f.t.Fatalf("lightermantest: wait for %s: %v", id, err)
			return result
		}
		select {
		case <-ctx.Done():
			f.t.Fatalf("lightermantest: %s has not ended within %s: %v", id, f.opts.Timeout, err)
			return result
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// Trace reads how far an operation has got, and its history.
func (f *Fleet) Trace(id lm.TraceID) lm.Trace {
	f.t.Helper()
	trace, err := f.client.Status(context.Background(), id)
	if err != nil {
		f.t.Fatalf("lightermantest: %v", err)
	}
	return trace
}
