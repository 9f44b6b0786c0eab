package consumer

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
	"github.com/redis/go-redis/v9"
)

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", "6") // the tests wait more than they work; -parallel still wins
	redistest.Main(m)
}

var ctx = context.Background()

// brief is a lease for tests that wait for its end; whoever does not has the
// default of 10 s, so that a slow machine takes nothing over.
const brief = 250 * time.Millisecond

// patience bounds every wait for a condition: two cores, shared, with -race.
const patience = 20 * time.Second

// env is one Redis, a Store of the test's own over it, and the workers started.
type env struct {
	*testing.T
	rdb  *redis.Client
	s    *lua.Store
	opts lua.Options
	srv  *redistest.Server    // nil on miniredis
	dial func() *redis.Client // a client of its own for each worker
}

// each runs f on a redis-server and on miniredis, in parallel.
func each(t *testing.T, f func(e *env)) { t.Helper(); eachWith(t, lua.Options{}, f) }

func eachWith(t *testing.T, opts lua.Options, f func(e *env)) {
	t.Helper()
	t.Parallel()
	t.Run("redis", func(t *testing.T) { t.Parallel(); f(realEnv(t, opts)) })
	t.Run("miniredis", func(t *testing.T) { t.Parallel(); f(miniEnv(t, opts)) })
}

// onRedis runs f on a redis-server only, which it may stop, kill and restart.
func onRedis(t *testing.T, f func(e *env), server ...redistest.Option) {
	t.Helper()
	t.Parallel()
	f(realEnv(t, lua.Options{}, server...))
}

func realEnv(t *testing.T, opts lua.Options, server ...redistest.Option) *env {
	srv := redistest.Start(t, server...)
	e := &env{T: t, srv: srv, rdb: srv.Client(), opts: opts, dial: srv.Client}
	e.s = lua.NewStore(e.rdb, e.rdb, opts)
	return e
}

func miniEnv(t *testing.T, opts lua.Options) *env {
	m, rdb := redistest.MiniServer(t)
	dial := func() *redis.Client {
		c := redis.NewClient(redistest.Options("tcp", m.Addr()))
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	return &env{T: t, rdb: rdb, s: lua.NewStore(rdb, rdb, opts), opts: opts, dial: dial}
}

// link is what a worker reaches Redis through. Cut, nothing of the worker gets
// there any more, as when its host is lost; what is under way still arrives.
type link struct {
	dead     atomic.Bool
	commands atomic.Int64
}

func (l *link) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (l *link) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if l.dead.Load() {
			cmd.SetErr(io.EOF)
			return io.EOF
		}
		l.commands.Add(1)
		return next(ctx, cmd)
	}
}

func (l *link) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if l.dead.Load() {
			for _, cmd := range cmds {
				cmd.SetErr(io.EOF)
			}
			return io.EOF
		}
		l.commands.Add(int64(len(cmds)))
		return next(ctx, cmds)
	}
}

// worker is a Consumer that runs.
type worker struct {
	*Consumer
	*link
	e    *env
	end  context.CancelFunc
	done chan struct{} // closed when Run has returned
}

// quick are Options with short intervals, and one queue unless told otherwise.
func quick(o Options) Options {
	if len(o.Queues) == 0 {
		o.Queues = []Queue{{Name: lm.DefaultQueue, Weight: 1}}
	}
	o.Concurrency = cmp.Or(o.Concurrency, 8)
	o.Block = cmp.Or(o.Block, 50*time.Millisecond)
	o.Tick = cmp.Or(o.Tick, 20*time.Millisecond)
	o.Backoff.First = cmp.Or(o.Backoff.First, time.Millisecond)
	o.Backoff.Cap = cmp.Or(o.Backoff.Cap, 5*time.Millisecond)
	return o
}

// worker starts a consumer; the test's end stops it.
func (e *env) worker(h HandlerFunc, o Options) *worker {
	e.Helper()
	l, rdb := &link{}, e.dial()
	rdb.AddHook(l)
	running, end := context.WithCancel(ctx)
	w := &worker{Consumer: New(lua.NewStore(rdb, rdb, e.opts), h, quick(o)), link: l, e: e, end: end, done: make(chan struct{})}
	go func() {
		defer close(w.done)
		if err := w.Run(running); err != nil {
			e.Errorf("run: %v", err)
		}
	}()
	e.Cleanup(func() { w.end(); w.Stop(); w.await() })
	return w
}

// drain ends a worker in good order.
func (w *worker) drain() {
	w.e.Helper()
	w.end()
	w.await()
}

func (w *worker) await() {
	w.e.Helper()
	select {
	case <-w.done:
	case <-time.After(patience):
		w.e.Fatal("the worker does not end")
	}
	if n := w.Running(); n != 0 {
		w.e.Errorf("%d operations are held after the end", n)
	}
}

// abandon is a lost host: nothing of the worker reaches Redis any more.
func (w *worker) abandon() { w.dead.Store(true) }

func fine(context.Context, lm.Claim) (lm.Result, error) {
	return lm.Result{Body: json.RawMessage(`"fine"`)}, nil
}

// calls counts handler calls by operation.
type calls struct {
	mu sync.Mutex
	n  map[lm.TraceID]int
}

// of wraps a handler so that its calls are counted.
func (c *calls) of(h HandlerFunc) HandlerFunc {
	return func(ctx context.Context, claim lm.Claim) (lm.Result, error) {
		c.mu.Lock()
		if c.n == nil {
			c.n = make(map[lm.TraceID]int)
		}
		c.n[claim.ID]++
		c.mu.Unlock()
		return h(ctx, claim)
	}
}

func (c *calls) get(id lm.TraceID) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[id]
}

func (c *calls) all() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.n {
		n += k
	}
	return n
}

// enqueue accepts an operation.
func (e *env) enqueue(id lm.TraceID, change ...func(*lm.Request)) lm.TraceID {
	e.Helper()
	r := &lm.Request{Body: json.RawMessage(`{"n":1}`)}
	for _, f := range change {
		f(r)
	}
	r.Normalize()
	if a := e.s.Enqueue(ctx, []lua.Operation{{ID: id, Request: r}})[0]; a.Err != nil || a.Existing {
		e.Fatalf("enqueue %s: %+v", id, a)
	}
	return id
}

func queue(name string) func(*lm.Request)      { return func(r *lm.Request) { r.Queue = name } }
func kind(name string) func(*lm.Request)       { return func(r *lm.Request) { r.Kind = name } }
func within(d time.Duration) func(*lm.Request) { return func(r *lm.Request) { r.Timeout = d } }

// many accepts n operations, spread over the partitions.
func (e *env) many(n int, change ...func(*lm.Request)) []lm.TraceID {
	e.Helper()
	ids, ops := make([]lm.TraceID, n), make([]lua.Operation, n)
	for i := range ids {
		r := &lm.Request{Body: json.RawMessage(`{"n":1}`)}
		for _, f := range change {
			f(r)
		}
		r.Normalize()
		ids[i] = lm.NewTraceID(i%e.s.Partitions(), fmt.Sprintf("m%d", i))
		ops[i] = lua.Operation{ID: ids[i], Request: r}
	}
	for _, a := range e.s.Enqueue(ctx, ops) {
		if a.Err != nil {
			e.Fatal(a.Err)
		}
	}
	return ids
}

// until waits for a condition.
func (e *env) until(what string, ok func() bool) {
	e.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			e.Fatalf("waited %s for: %s\n%s", patience, what, e.picture())
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// come waits for a channel.
func (e *env) come(what string, c <-chan struct{}) {
	e.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		e.Fatalf("waited %s for: %s\n%s", patience, what, e.picture())
	}
}

// received waits for a value.
func received[T any](e *env, what string, c <-chan T) (v T) {
	e.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		e.Fatalf("waited %s for: %s\n%s", patience, what, e.picture())
	}
	return v
}

// picture is everything in Redis in short, for a failed wait.
func (e *env) picture() string {
	var b strings.Builder
	for _, key := range e.rdb.Keys(ctx, "*").Val() {
		switch e.rdb.Type(ctx, key).Val() {
		case "stream":
			fmt.Fprintf(&b, "%s: %d entries", key, e.rdb.XLen(ctx, key).Val())
			for _, p := range e.pending(key) {
				fmt.Fprintf(&b, " %s>%s idle %s", p.ID, p.Consumer, p.Idle)
			}
			b.WriteByte('\n')
		case "hash":
			if strings.Contains(key, ":trace:") && e.rdb.HGet(ctx, key, "state").Val() == "COMPLETED" {
				continue
			}
			fmt.Fprintf(&b, "%s: %.400s\n", key, fmt.Sprint(e.rdb.HGetAll(ctx, key).Val()))
		}
	}
	return b.String()
}

func (e *env) pending(key string) []redis.XPendingExt {
	p, _ := e.rdb.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: key, Group: lua.Group, Start: "-", End: "+", Count: 10_000}).Result()
	return p
}

func (e *env) record(id lm.TraceID) lua.Record {
	e.Helper()
	r, err := e.s.Records(ctx, []lm.TraceID{id})
	if err != nil {
		e.Fatal(err)
	}
	return r[0]
}

func (e *env) state(id lm.TraceID) lm.State {
	r, err := e.s.Records(ctx, []lm.TraceID{id})
	if err != nil {
		return lm.None
	}
	return r[0].State
}

// ended waits until operations have ended.
func (e *env) ended(ids ...lm.TraceID) {
	e.Helper()
	var left []lm.TraceID
	e.until(fmt.Sprintf("the end of %d operations", len(ids)), func() bool {
		if left == nil {
			left = slices.Clone(ids)
		}
		records, err := e.s.Records(ctx, left)
		if err != nil {
			return false
		}
		var open []lm.TraceID
		for i, r := range records {
			if r.State != lm.Completed {
				open = append(open, left[i])
			}
		}
		left = open
		return len(left) == 0
	})
}

// want holds an operation's end against "outcome attempts/crashes", where crashes
// are those in all, and reason.
func (e *env) want(id lm.TraceID, want string) {
	e.Helper()
	r := e.record(id)
	got := fmt.Sprintf("%s %d/%d %s", r.Outcome, r.Attempts, r.CrashesTotal, r.Reason)
	if strings.TrimSpace(got) != want {
		e.Errorf("%s ended %q, want %q; history %s", id, got, want, path(r))
	}
}

// path is an operation's history as letters.
func path(r lua.Record) string {
	var hops []string
	for _, h := range r.History {
		var b strings.Builder
		for _, s := range h.Path {
			b.WriteByte(s.Letter())
		}
		if h.Reason != "" {
			b.WriteString("(" + h.Reason + ")")
		}
		hops = append(hops, b.String())
	}
	return strings.Join(hops, " ")
}

// quiet holds what is left in Redis against nothing: no entry, nothing pending,
// nothing delayed, no count of what waits, runs or is delayed; and each ended
// operation in exactly one terminal record.
func (e *env) quiet() {
	e.Helper()
	for p := range e.s.Partitions() {
		tag := fmt.Sprintf("{lm:%d}:", p)
		for _, pattern := range []string{"stream:*", "resume:*"} {
			for _, key := range e.rdb.Keys(ctx, tag+pattern).Val() {
				if n := e.rdb.XLen(ctx, key).Val(); n != 0 {
					e.Errorf("%s holds %d entries", key, n)
				}
				if p := e.pending(key); len(p) > 0 {
					e.Errorf("%s has %d pending: %v", key, len(p), p)
				}
			}
		}
		if n := e.rdb.ZCard(ctx, tag+"delayed").Val(); n != 0 {
			e.Errorf("%d delayed", n)
		}
		counts, _ := e.s.Counts(ctx, p)
		for _, kind := range []string{"waiting", "running", "delayed"} {
			if n := counts.Sum(kind); n != 0 {
				e.Errorf("partition %d counts %d %s", p, n, kind)
			}
		}
		ended, err := e.s.Ended(ctx, p, 10_000)
		if err != nil {
			e.Fatal(err)
		}
		seen := make(map[lm.TraceID]int)
		for _, n := range ended {
			seen[n.ID]++
		}
		for id, n := range seen {
			if n != 1 {
				e.Errorf("%s has %d terminal records", id, n)
			}
		}
		outcomes := counts["succeeded"] + counts["failed"] + counts["cancelled"] + counts["expired"]
		raw := 0 // dead letters of what never became an operation
		for _, l := range e.dead(p) {
			if l.Raw != "" || l.Reason == string(lm.TraceLost) {
				raw++
			}
		}
		if int(outcomes) != len(seen)+raw {
			e.Errorf("partition %d counts %d outcomes, has %d terminal records and %d dead letters without one", p, outcomes, len(seen), raw)
		}
	}
}

func (e *env) dead(partition int) []lua.DeadLetter {
	e.Helper()
	letters, err := e.s.Dead(ctx, partition, 10_000)
	if err != nil {
		e.Fatal(err)
	}
	return letters
}

// deadReasons counts a partition's dead letters by reason.
func (e *env) deadReasons() string {
	e.Helper()
	n := make(map[string]int)
	for _, l := range e.dead(0) {
		n[l.Reason]++
	}
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(n)) {
		parts = append(parts, fmt.Sprintf("%s=%d", reason, n[reason]))
	}
	return strings.Join(parts, " ")
}

var (
	stream = lua.Stream{Queue: lm.DefaultQueue}
	resume = lua.Stream{Queue: lm.DefaultQueue, Resume: true}
)

// groups makes a queue's groups for tests that read by hand.
func (e *env) groups(queues ...string) {
	e.Helper()
	for p := range e.s.Partitions() {
		for _, q := range append(queues, lm.DefaultQueue) {
			if err := e.s.EnsureGroups(ctx, []lua.Stream{{Partition: p, Queue: q}, {Partition: p, Queue: q, Resume: true}}); err != nil {
				e.Fatal(err)
			}
		}
	}
}

// read reads by hand what is there, as a worker that dies before its claim.
func (e *env) read(owner string, streams ...lua.Stream) []lua.Entry {
	e.Helper()
	shares := []lua.Share{{Stream: resume, Count: 100}, {Stream: stream, Count: 100}}
	if len(streams) > 0 {
		shares = nil
		for _, st := range streams {
			shares = append(shares, lua.Share{Stream: st, Count: 100})
		}
	}
	entries, err := e.s.Read(ctx, owner, shares, 100)
	if err != nil {
		e.Fatal(err)
	}
	return entries
}

// die reads and claims by hand what is there for a worker that never beats.
func (e *env) die(owner string, lease time.Duration, streams ...lua.Stream) []lm.Claim {
	e.Helper()
	var claims []lm.Claim
	for _, batch := range byStream(e.read(owner, streams...)) {
		answers, err := e.s.Claim(ctx, owner, lease, batch)
		if err != nil {
			e.Fatal(err)
		}
		for _, a := range answers {
			if a.Verdict != lua.ClaimOK {
				e.Fatalf("claim: %s %v", a.Verdict, a.Err)
			}
			claims = append(claims, a.Claim)
		}
	}
	return claims
}
