package consumer

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
	"github.com/redis/go-redis/v9"
)

// farConn is a connection whose every answer comes a round trip later.
type farConn struct {
	net.Conn
	rtt  time.Duration
	sent atomic.Int64
}

func (c *farConn) Write(b []byte) (int, error) {
	c.sent.Store(time.Now().UnixNano())
	return c.Conn.Write(b)
}

func (c *farConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	<-time.After(time.Until(time.Unix(0, c.sent.Load()).Add(c.rtt)))
	return n, err
}

// far returns a client of the server over a link of that round trip.
func (e *env) far(rtt time.Duration, connections int) *redis.Client {
	o := *e.rdb.Options()
	network, addr := o.Network, o.Addr
	o.PoolSize = connections
	o.Dialer = func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, network, addr)
		return &farConn{Conn: conn, rtt: rtt}, err
	}
	rdb := redis.NewClient(&o)
	e.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// holding is a handler that runs until released, and counts what ended its context.
type holding struct {
	running, ended atomic.Int64
	release        chan struct{}
	once           sync.Once
}

func (h *holding) handle(ctx context.Context, _ lm.Claim) (lm.Result, error) {
	h.running.Add(1)
	select {
	case <-h.release:
	case <-ctx.Done():
		h.ended.Add(1)
	}
	return lm.Result{}, context.Cause(ctx)
}

func (h *holding) free() { h.once.Do(func() { close(h.release) }) }

// Fault 3 of the field: a beat went partition by partition, so that 64 of them took 64
// round trips, which is longer than the lease.
func TestHeartbeat_OfManyPartitionsTakesOneRoundTrip(t *testing.T) {
	t.Parallel()
	const partitions, rtt, lease = 64, 150 * time.Millisecond, 3 * time.Second
	e := realEnv(t, lua.Options{Partitions: partitions})
	h := &holding{release: make(chan struct{})}
	defer h.free()
	store := lua.NewStore(e.far(rtt, 16+partitions), e.far(rtt, 2*partitions), e.opts)
	c := New(store, HandlerFunc(h.handle), quick(Options{Lease: lease, Concurrency: partitions, Tick: lease}))
	ids := e.many(partitions)
	running, end := context.WithCancel(ctx)
	defer end()
	done := make(chan error, 1)
	go func() { done <- c.Run(running) }()
	e.until("all run", func() bool { return h.running.Load() == partitions })
	<-time.After(2 * lease) // what is tested is that nothing happens in it
	if n := h.ended.Load(); n != 0 {
		e.Errorf("%d of %d handlers were ended", n, partitions)
	}
	h.free()
	e.ended(ids...)
	end()
	if err := <-done; err != nil {
		e.Error(err)
	}
	for _, id := range ids {
		e.want(id, "succeeded 1/0")
	}
	e.quiet()
}

// Fault 3 on a cluster: a frozen master costs its own operations and no other's, and a
// worker that starts meanwhile serves the others.
func TestHeartbeat_AFrozenMasterCostsOnlyItsOwnOperations(t *testing.T) {
	t.Parallel()
	const partitions, lease = 12, 3 * time.Second
	shards := redistest.StartShards(t, 3, 0, redistest.WithConfig("cluster-require-full-coverage", "no"), redistest.WithConfig("cluster-node-timeout", "60000"))
	rdb := shards.Client()
	opts := lua.Options{Partitions: partitions}
	at := func(key string) int {
		slot, err := rdb.ClusterKeySlot(ctx, key).Result()
		if err != nil {
			t.Fatal(err)
		}
		return shards.Owner(int(slot))
	}
	of := make([]int, partitions)
	for p := range of {
		of[p] = at(fmt.Sprintf("{lm:%d}", p))
	}
	fleet := at("{lm:fleet}")
	e := &env{T: t, s: lua.NewStore(rdb, rdb, opts), opts: opts}
	for _, frozen := range []int{fleet, (fleet + 1) % 3} {
		h := &holding{release: make(chan struct{})}
		t.Cleanup(h.free)
		worker := func(o Options) (end func()) {
			store, err := lua.Open(ctx, shards.URL(), opts)
			if err != nil {
				t.Fatal(err)
			}
			running, stop := context.WithCancel(ctx)
			c, done := New(store, HandlerFunc(h.handle), quick(o)), make(chan error, 1)
			go func() { done <- c.Run(running) }()
			return func() {
				stop()
				c.Stop()
				if err := <-done; err != nil {
					t.Error(err)
				}
				_ = store.Close()
			}
		}
		end := worker(Options{Lease: lease, Concurrency: partitions, Tick: 500 * time.Millisecond})
		var all, healthy []lm.TraceID
		for p := range partitions {
			id := e.enqueue(lm.NewTraceID(p, fmt.Sprintf("f%d", frozen)))
			all = append(all, id)
			if of[p] != frozen {
				healthy = append(healthy, id)
			}
		}
		slow := partitions - len(healthy)
		if slow == 0 || len(healthy) == 0 {
			t.Fatalf("partitions by master: %v", of)
		}
		awaiting(t, "all run", func() bool { return h.running.Load() == partitions })
		shards.Masters[frozen].Stop()
		<-time.After(2 * lease)
		if n := int(h.ended.Load()); n != slow {
			t.Errorf("master %d frozen: %d handlers ended, want its own %d", frozen, n, slow)
		}
		if frozen != fleet {
			begun := h.running.Load()
			endSecond := worker(Options{Name: "second", Lease: lease, Concurrency: partitions})
			for p := range partitions {
				if of[p] != frozen {
					healthy = append(healthy, e.enqueue(lm.NewTraceID(p, "meanwhile")))
				}
			}
			awaiting(t, "what came meanwhile runs", func() bool { return h.running.Load() >= begun+int64(len(healthy)/2) })
			defer endSecond()
		}
		h.free()
		completed := func(ids []lm.TraceID) func() bool {
			return func() bool {
				for _, id := range ids {
					if e.state(id) != lm.Completed {
						return false
					}
				}
				return true
			}
		}
		awaiting(t, "the healthy end", completed(healthy))
		shards.Masters[frozen].Cont()
		awaiting(t, "all end", completed(all))
		for _, id := range healthy {
			e.want(id, "succeeded 1/0")
		}
		end()
	}
}

// awaiting waits for a condition without a picture of Redis, which may be frozen.
func awaiting(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(2 * patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for: %s", 2*patience, what)
		}
		<-time.After(5 * time.Millisecond)
	}
}
