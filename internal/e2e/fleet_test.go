package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
	"github.com/lighterman/lighterman/producer"
	"github.com/redis/go-redis/v9"
)

// patience bounds every wait for the work to be done.
const patience = 60 * time.Second

// fleet is one Redis, its workers and what was asked of them.
type fleet struct {
	*testing.T
	redis  *redistest.Server // nil where there are several
	url    string
	parts  int
	rdb    redis.UniversalClient
	store  *lua.Store
	client *producer.Client
	lease  time.Duration
	calls  string // path of the call log
	prices prices // of the declared models

	mu        sync.Mutex
	asked     map[lm.TraceID]ask
	order     []lm.TraceID
	autopsies []autopsy
	workers   int
}

func newFleet(t *testing.T, lease time.Duration, server ...redistest.Option) *fleet {
	t.Helper()
	if testing.Short() {
		t.Skip("process tests are not short")
	}
	server1 := redistest.Start(t, server...)
	f := newFleetAt(t, lease, server1.URL(), 1, server1.Client())
	f.redis = server1
	return f
}

// newFleetAt is a fleet on any Redis: of a URL for those who work, and with a
// client for us.
func newFleetAt(t *testing.T, lease time.Duration, url string, partitions int, rdb redis.UniversalClient) *fleet {
	t.Helper()
	f := &fleet{T: t, url: url, parts: partitions, rdb: rdb, lease: lease, calls: filepath.Join(t.TempDir(), "calls.jsonl"), asked: make(map[lm.TraceID]ask)}
	var err error
	if f.store, err = lua.Open(t.Context(), url, lua.Options{Partitions: partitions}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.store.Close() })
	f.client = producer.New(f.store)
	t.Cleanup(func() { _ = f.client.Close() })
	return f
}

// crew says how a worker is started; the zero value is a plain one.
type crew struct {
	slots     int           // 16
	latency   time.Duration // of every model call
	failpoint string        // NAME:N or NAME:N:stop
	own       bool          // the testworker with its kinds
	beat      time.Duration // between renewals; a quarter of the lease
	config    string        // path of a configuration file
	presence  bool          // look after the others; else a death is noticed by the lease
	url       string        // of Redis; empty: the fleet's
}

// start starts a worker and waits until it is ready.
func (f *fleet) start(c crew) *worker {
	f.Helper()
	f.mu.Lock()
	f.workers++
	name := "w" + strconv.Itoa(f.workers)
	f.mu.Unlock()
	program := "worker"
	if c.own {
		program = "testworker"
	}
	if c.slots == 0 {
		c.slots = 16
	}
	if c.url == "" {
		c.url = f.url
	}
	args := []string{"--name", name, "--redis", c.url, "--lease", f.lease.String(), "--concurrency", strconv.Itoa(c.slots),
		"--http", "127.0.0.1:0", "--log-format", "json", "--log-level", "debug"}
	env := []string{"LIGHTERMAN_SIM_CALL_LOG=" + f.calls, "LIGHTERMAN_SIM_LATENCY=" + c.latency.String(), "LIGHTERMAN_REDIS_PARTITIONS=" + strconv.Itoa(f.parts)}
	if !c.presence {
		env = append(env, "LIGHTERMAN_WORKER_PRESENCE=off")
	}
	if c.beat > 0 {
		env = append(env, "LIGHTERMAN_WORKER_HEARTBEAT="+c.beat.String())
	}
	if c.config != "" {
		env = append(env, "LIGHTERMAN_CONFIG="+c.config)
	}
	if c.failpoint != "" {
		env = append(env, "LIGHTERMAN_FAILPOINT="+c.failpoint)
	}
	w := &worker{}
	ready := make(chan struct{}) // w is complete; a failpoint may end it before
	w.process = launch(f, name, binary(f, program), args, env, func(*process) {
		select {
		case <-ready:
		case <-f.Context().Done():
			return
		}
		if w.wasKilled() {
			f.dissect(w)
		}
	})
	w.awaitReady()
	close(ready)
	return w
}

// enqueue asks for n operations made by each of the kinds in turn.
func (f *fleet) enqueue(n int, kinds ...func(i int) ask) []lm.TraceID {
	f.Helper()
	asks := make([]ask, n)
	requests := make([]lm.Request, n)
	f.mu.Lock()
	from := len(f.order)
	f.mu.Unlock()
	for i := range asks {
		asks[i] = kinds[i%len(kinds)](from + i)
		requests[i] = asks[i].request
	}
	ids := make([]lm.TraceID, n)
	ctx, cancel := context.WithTimeout(f.Context(), patience)
	defer cancel()
	f.mu.Lock() // nobody may be dissected between the acceptance and our knowing it
	defer f.mu.Unlock()
	for i, a := range f.client.EnqueueMany(ctx, requests) {
		if a.Err != nil {
			f.Fatalf("enqueue %d: %v", i, a.Err)
		}
		ids[i] = a.ID
		f.asked[a.ID] = asks[i]
		f.order = append(f.order, a.ID)
	}
	return ids
}

// all are the operations that were asked for, in order.
func (f *fleet) all() []lm.TraceID {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.order[:len(f.order):len(f.order)]
}

// records reads traces; nil while Redis is away.
func (f *fleet) records(ids []lm.TraceID) []lua.Record {
	f.Helper()
	records, err := f.store.Records(f.Context(), ids)
	if err != nil {
		if lua.IsPassing(err) {
			return nil
		}
		f.Fatal(err)
	}
	return records
}

// ended is how many of the operations are COMPLETED.
func (f *fleet) ended(ids []lm.TraceID) (n int) {
	f.Helper()
	for _, r := range f.records(ids) {
		if r.State == lm.Completed {
			n++
		}
	}
	return n
}

// await waits until so many of all operations have ended. What has ended is not
// looked at again: check does, and says if it has moved.
func (f *fleet) await(n int) {
	f.Helper()
	open := f.all()
	done := 0
	for deadline := time.Now().Add(patience); ; time.Sleep(15 * time.Millisecond) {
		var left []lm.TraceID
		for _, r := range f.records(open) {
			if r.State == lm.Completed {
				done++
			} else {
				left = append(left, r.ID)
			}
		}
		if left != nil {
			open = left
		}
		if done >= n {
			return
		}
		if time.Now().After(deadline) {
			f.tell()
			f.Fatalf("%d of %d operations have ended after %s, want %d", done, len(f.all()), patience, n)
		}
	}
}

// awaitAll waits until every operation has ended.
func (f *fleet) awaitAll() { f.Helper(); f.await(len(f.all())) }

// awaitHeld waits until a worker holds so many of the operations.
func (f *fleet) awaitHeld(w *worker, ids []lm.TraceID, n int) {
	f.Helper()
	until(f, patience, fmt.Sprintf("%s to hold %d operations", w.name, n), func() bool {
		held := 0
		for _, r := range f.records(ids) {
			if r.Owner == w.owner {
				held++
			}
		}
		return held >= n
	})
}

// awaitFault waits until a worker has come to its failpoint.
func (f *fleet) awaitFault(w *worker) {
	f.Helper()
	w.log.await(f, w.process, "failpoint reached")
}

// retire kills a worker that is idle.
func (f *fleet) retire(w *worker) { w.signal(syscall.SIGKILL); <-w.done }

// tell prints what has not ended, for a test that gives up.
func (f *fleet) tell() {
	f.Helper()
	left := 0
	for _, r := range f.records(f.all()) {
		if r.State == lm.Completed {
			continue
		}
		if left++; left <= 5 {
			f.Logf("%s %s owner %q entry %s: %s", r.ID, r.State, r.Owner, r.Entry, story(r))
		}
	}
	f.Logf("%d operations have not ended", left)
}

// story is a trace's history in a line.
func story(r lua.Record) (s string) {
	for _, h := range r.History {
		s += fmt.Sprintf("  +%.3f ", h.At.Sub(r.Created).Seconds())
		for _, state := range h.Path {
			s += string(state.Letter())
		}
		if h.Worker != "" || h.Reason != "" {
			s += "(" + h.Worker + h.Reason + ")"
		}
	}
	return s
}

// keys lists every key in Redis.
func (f *fleet) keys() []string {
	f.Helper()
	var mu sync.Mutex
	var keys []string
	list := func(ctx context.Context, rdb *redis.Client) error {
		scan := rdb.Scan(ctx, 0, "*", 1000).Iterator()
		for scan.Next(ctx) {
			mu.Lock()
			keys = append(keys, scan.Val())
			mu.Unlock()
		}
		return scan.Err()
	}
	var err error
	switch rdb := f.rdb.(type) {
	case *redis.ClusterClient:
		err = rdb.ForEachMaster(f.Context(), list)
	case *redis.Client:
		err = list(f.Context(), rdb)
	}
	if err != nil {
		f.Fatal(err)
	}
	return keys
}

// inPartition is what follows a partition's hash tag in a key.
func inPartition(key string) (rest string, ok bool) {
	tag, rest, ok := strings.Cut(key, "}:")
	return rest, ok && strings.HasPrefix(tag, "{lm:") && tag != "{lm:fleet"
}
