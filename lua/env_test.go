package lua

import (
	"context"
	"crypto/sha1"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/redis/go-redis/v9"
)

func TestMain(m *testing.M) { redistest.Main(m) }

var (
	ctx    = context.Background()
	queue  = Stream{Queue: "default"}
	resume = Stream{Queue: "default", Resume: true}
)

// env is one emptied Redis with a Store over it. Every call of a script is held
// against the head of its file on the way out, and at the end of a test the
// whole keyspace is held against the invariants of the design (see invariants).
type env struct {
	*testing.T
	s    *Store
	rdb  redis.UniversalClient
	kind string // redis, miniredis or cluster
	rec  *recorder
	lax  bool // the test planted what breaks the invariants
}

// each runs f on a redis-server, on miniredis and on a cluster of one node.
func each(t *testing.T, f func(e *env)) { eachWith(t, Options{}, f) }

func eachWith(t *testing.T, opts Options, f func(e *env)) {
	t.Helper()
	t.Run("redis", func(t *testing.T) { runEnv(t, "redis", opts, f) })
	t.Run("miniredis", func(t *testing.T) { runEnv(t, "miniredis", opts, f) })
	t.Run("cluster", func(t *testing.T) { runEnv(t, "cluster", opts, f) })
}

// onRedis runs f on a redis-server only.
func onRedis(t *testing.T, opts Options, f func(e *env)) {
	t.Helper()
	runEnv(t, "redis", opts, f)
}

func runEnv(t *testing.T, kind string, opts Options, f func(e *env)) {
	t.Helper()
	e := newEnv(t, kind, opts)
	f(e)
	e.end()
}

func newEnv(t *testing.T, kind string, opts Options) *env {
	t.Helper()
	var rdb redis.UniversalClient
	switch kind {
	case "redis":
		rdb = redistest.Shared(t).Client()
	case "cluster":
		rdb = redistest.SharedCluster(t).ClusterClient()
	default:
		rdb = redistest.Mini(t)
	}
	return envOn(t, kind, rdb, opts)
}

// envOn is an env over a client that the caller made.
func envOn(t *testing.T, kind string, rdb redis.UniversalClient, opts Options) *env {
	t.Helper()
	e := &env{T: t, rdb: rdb, kind: kind, rec: &recorder{}, s: NewStore(rdb, rdb, opts)}
	rdb.AddHook(e.rec)
	for p := range e.s.Partitions() {
		a, b := Stream{Partition: p, Queue: "default"}, Stream{Partition: p, Queue: "default", Resume: true}
		if err := e.s.EnsureGroups(ctx, []Stream{a, b}); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

// end checks what every test leaves behind.
func (e *env) end() {
	e.Helper()
	e.rec.mu.Lock()
	for _, problem := range e.rec.problems {
		e.Error(problem)
	}
	e.rec.mu.Unlock()
	if !e.lax && !e.Failed() {
		for _, problem := range e.invariants() {
			e.Error(problem)
		}
	}
}

// recorder sees every command of a client: it keeps the last script call, so
// that a test can send it again as a client does whose reply was lost, and holds
// each call against its script's head.
type recorder struct {
	mu       sync.Mutex
	last     []any
	commands int // round trips
	problems []string
}

func (r *recorder) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (r *recorder) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		r.see(cmd)
		return next(ctx, cmd)
	}
}

func (r *recorder) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		r.see(cmds...)
		return next(ctx, cmds)
	}
}

func (r *recorder) see(cmds ...redis.Cmder) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.commands++
	for _, cmd := range cmds {
		if cmd.Name() != "evalsha" {
			continue
		}
		r.last = slices.Clone(cmd.Args())
		if problem := layoutProblem(r.last); problem != "" && len(r.problems) < 5 {
			r.problems = append(r.problems, problem)
		}
	}
}

// again sends the last script call once more, byte for byte.
func (e *env) again() any {
	e.Helper()
	e.rec.mu.Lock()
	args := slices.Clone(e.rec.last)
	e.rec.mu.Unlock()
	v, err := e.rdb.Do(ctx, args...).Result()
	if err != nil {
		e.Fatalf("again: %v", err)
	}
	return v
}

// flushScripts makes the server forget all scripts.
func (e *env) flushScripts() {
	e.Helper()
	var err error
	if c, ok := e.rdb.(*redis.ClusterClient); ok {
		err = c.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { return c.ScriptFlush(ctx).Err() })
	} else {
		err = e.rdb.ScriptFlush(ctx).Err()
	}
	if err != nil {
		e.Fatal(err)
	}
}

// words are a batch answer's words.
func words(v any) []string { return texts(v) }

// request is a request with its defaults.
func request(body string, change ...func(*lm.Request)) *lm.Request {
	r := &lm.Request{Body: json.RawMessage(body)}
	for _, f := range change {
		f(r)
	}
	r.Normalize()
	return r
}

// enqueue accepts an operation of an ID, 0-a for instance.
func (e *env) enqueue(id lm.TraceID, change ...func(*lm.Request)) {
	e.Helper()
	if a := e.s.Enqueue(ctx, []Operation{{ID: id, Request: request(`{"n":1}`, change...)}})[0]; a.Err != nil || a.ID != id || a.Existing {
		e.Fatalf("enqueue %s: %+v", id, a)
	}
}

// read takes what is there for a consumer.
func (e *env) read(consumer string) []Entry {
	e.Helper()
	entries, err := e.s.Read(ctx, consumer, []Share{{Stream: resume, Count: 100}, {Stream: queue, Count: 100}}, 100)
	if err != nil {
		e.Fatal(err)
	}
	return entries
}

// take claims one entry and expects a verdict.
func (e *env) take(owner string, entry Entry, want Verdict) Claimed {
	e.Helper()
	got, err := e.s.Claim(ctx, owner, time.Minute, []Entry{entry})
	if err != nil {
		e.Fatal(err)
	}
	if got[0].Verdict != want || got[0].Err != nil {
		e.Fatalf("claim of %s by %s: %s %v, want %s", entry.ID, owner, got[0].Verdict, got[0].Err, want)
	}
	return got[0]
}

// claimNext reads and claims the only waiting operation.
func (e *env) claimNext(owner string) lm.Claim {
	e.Helper()
	entries := e.read(owner)
	if len(entries) != 1 {
		e.Fatalf("%s read %d entries, want 1", owner, len(entries))
	}
	return e.take(owner, entries[0], ClaimOK).Claim
}

// claimed is a new operation held by owner, in CLAIMED.
func (e *env) claimed(owner string, id lm.TraceID, change ...func(*lm.Request)) lm.Claim {
	e.Helper()
	e.enqueue(id, change...)
	return e.claimNext(owner)
}

// in is a new operation held by owner, in a state that a claim can rest in.
func (e *env) in(owner string, id lm.TraceID, state lm.State, change ...func(*lm.Request)) lm.Claim {
	e.Helper()
	c := e.claimed(owner, id, change...)
	e.advance(c, wayTo(lm.Claimed, state)...)
	return c
}

func (e *env) advance(c lm.Claim, path ...lm.State) {
	e.Helper()
	if _, err := e.s.Advance(ctx, c, Advance{Path: path}); err != nil {
		e.Fatalf("advance %v: %v", path, err)
	}
}

// finish ends a claim well.
func (e *env) finish(c lm.Claim) {
	e.Helper()
	if err := e.s.Finish(ctx, c, succeeded(c)); err != nil {
		e.Fatalf("finish: %v", err)
	}
}

func succeeded(c lm.Claim) Ending {
	return Ending{
		Path: wayTo(c.Fence.State(), lm.Completed), Tried: true,
		Result: lm.Result{Outcome: lm.Succeeded, Body: json.RawMessage(`"yes"`), Usage: lm.Usage{Calls: 1, Input: 2, Output: 3}, Route: []string{"v1 chat: a cooldown, b failover"}},
	}
}

func failed(c lm.Claim) Ending {
	return Ending{
		Path: []lm.State{lm.Errored, lm.Completed}, Tried: true,
		Result: lm.Result{Outcome: lm.Failed, Err: lm.Errorf(lm.ContentFiltered, "no")},
	}
}

func aside(delay time.Duration) Aside {
	return Aside{Path: []lm.State{lm.Errored, lm.Retrying}, Delay: delay, Counted: CountAttempt, Reason: "provider"}
}

// taken is an entry with its trace as it is now.
func (e *env) taken(entries ...Entry) []Taken {
	e.Helper()
	t, err := e.s.WithRecords(ctx, entries)
	if err != nil {
		e.Fatal(err)
	}
	return t
}

// grab moves a claim's entry to a consumer, as a sweep does, and reads its trace.
func (e *env) grab(consumer string, entry string) []Taken {
	e.Helper()
	st, id, ok := streamOf(0, entry)
	if !ok {
		e.Fatalf("entry %q", entry)
	}
	got, err := e.rdb.XClaim(ctx, &redis.XClaimArgs{Stream: e.s.keys.stream(st), Group: Group, Consumer: consumer, Messages: []string{id}}).Result()
	if err != nil || len(got) != 1 {
		e.Fatalf("xclaim %s: %v %v", entry, got, err)
	}
	fields := []string{}
	for k, v := range got[0].Values {
		fields = append(fields, k, text(v))
	}
	return e.taken(Entry{Stream: st, ID: id, Fields: fields})
}

// sweep takes a claim's operation over for consumer and expects an answer.
func (e *env) sweep(consumer string, entry string, want Returned) {
	e.Helper()
	e.takeover(consumer, false, e.grab(consumer, entry), want)
}

func (e *env) takeover(consumer string, leased bool, taken []Taken, want Returned) {
	e.Helper()
	got, err := e.s.Takeover(ctx, consumer, "lease", leased, taken)
	if err != nil || got[0] != want {
		e.Fatalf("takeover by %s: %v %v, want %s", consumer, got, err, want)
	}
}

// trace is a trace's fields.
func (e *env) trace(id lm.TraceID) map[string]string {
	e.Helper()
	m, err := e.rdb.HGetAll(ctx, e.s.keys.trace(id)).Result()
	if err != nil {
		e.Fatal(err)
	}
	return m
}

func (e *env) record(id lm.TraceID) Record {
	e.Helper()
	r, err := e.s.Records(ctx, []lm.TraceID{id})
	if err != nil {
		e.Fatal(err)
	}
	return r[0]
}

// want holds fields of a trace against name, value pairs; "-" is a field that
// must not be there.
func (e *env) want(id lm.TraceID, pairs ...string) {
	e.Helper()
	t := e.trace(id)
	for i := 0; i < len(pairs); i += 2 {
		got, there := t[pairs[i]]
		if pairs[i+1] == "-" && !there {
			continue
		}
		if got != pairs[i+1] {
			e.Errorf("%s: %s is %q, want %q", id, pairs[i], got, pairs[i+1])
		}
	}
}

// counts holds the partition's counts (zeros left out) against "a=1 b=2".
func (e *env) counts(want string) {
	e.Helper()
	counts, err := e.s.Counts(ctx, 0)
	if err != nil {
		e.Fatal(err)
	}
	if got := countsText(counts); got != want {
		e.Errorf("counts: %s, want %s", got, want)
	}
}

func countsText(counts Counts) string {
	var parts []string
	for _, field := range slices.Sorted(maps.Keys(counts)) {
		if counts[field] != 0 {
			parts = append(parts, fmt.Sprintf("%s=%d", field, counts[field]))
		}
	}
	return strings.Join(parts, " ")
}

// streams holds length and pending count of the queue and resume streams
// against "queue 1/1 resume 0/0".
func (e *env) streams(want string) {
	e.Helper()
	got := fmt.Sprintf("queue %s resume %s", e.lengths(queue), e.lengths(resume))
	if got != want {
		e.Errorf("streams: %s, want %s", got, want)
	}
}

func (e *env) lengths(st Stream) string {
	key := e.s.keys.stream(st)
	pending, err := e.rdb.XPending(ctx, key, Group).Result()
	if err != nil {
		e.Fatal(err)
	}
	return fmt.Sprintf("%d/%d", e.rdb.XLen(ctx, key).Val(), pending.Count)
}

// dead holds the reasons of the dead letters, oldest first, against a list.
func (e *env) dead(want ...string) []DeadLetter {
	e.Helper()
	letters, err := e.s.Dead(ctx, 0, 1000)
	if err != nil {
		e.Fatal(err)
	}
	slices.Reverse(letters)
	var got []string
	for _, l := range letters {
		got = append(got, l.Reason)
	}
	if !slices.Equal(got, want) {
		e.Errorf("dead letters: %q, want %q", got, want)
	}
	return letters
}

// allKeys lists all keys.
func (e *env) allKeys() []string {
	e.Helper()
	keys, err := e.rdb.Keys(ctx, "*").Result()
	if err != nil {
		e.Fatal(err)
	}
	slices.Sort(keys)
	return keys
}

// snapshot is everything in Redis, readable, key by key with its expiry; on a
// real server also the bytes of DUMP, which hold delivery times and counts.
func (e *env) snapshot() map[string]string {
	e.Helper()
	all := make(map[string]string)
	for _, key := range e.allKeys() {
		all[key] = e.contents(key)
		at, err := e.rdb.PExpireTime(ctx, key).Result()
		if err != nil {
			e.Fatal(err)
		}
		all[key+" expires"] = at.String()
		if e.kind == "miniredis" { // computes it from what is left, and so is a millisecond off at times
			all[key+" expires"] = fmt.Sprint(at > 0)
		}
		if e.kind != "miniredis" {
			all[key+" bytes"] = fmt.Sprintf("%x", sha1.Sum([]byte(e.rdb.Dump(ctx, key).Val())))
		}
	}
	return all
}

func (e *env) contents(key string) string {
	switch kind := e.rdb.Type(ctx, key).Val(); kind {
	case "string":
		return e.rdb.Get(ctx, key).Val()
	case "hash":
		m := e.rdb.HGetAll(ctx, key).Val()
		var b strings.Builder
		for _, f := range slices.Sorted(maps.Keys(m)) {
			fmt.Fprintf(&b, "%s=%s ", f, m[f])
		}
		return b.String()
	case "zset":
		return fmt.Sprint(e.rdb.ZRangeWithScores(ctx, key, 0, -1).Val())
	case "list":
		return fmt.Sprint(e.rdb.LRange(ctx, key, 0, -1).Val())
	case "stream":
		out := fmt.Sprint(e.rdb.XRange(ctx, key, "-", "+").Val())
		pending, _ := e.rdb.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: key, Group: Group, Start: "-", End: "+", Count: 1000}).Result()
		for _, p := range pending {
			out += fmt.Sprintf(" %s>%s x%d", p.ID, p.Consumer, p.RetryCount)
		}
		return out
	default:
		return kind
	}
}

// unchanged holds everything in Redis against a snapshot.
func (e *env) unchanged(what string, before map[string]string) {
	e.Helper()
	if d := difference(before, e.snapshot()); d != "" {
		e.Errorf("%s changed something:\n%s", what, d)
	}
}

func difference(before, after map[string]string) string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(before)) {
		if now, there := after[key]; !there {
			fmt.Fprintf(&b, "  %s is gone\n", key)
		} else if now != before[key] {
			fmt.Fprintf(&b, "  %s\n    was %.600s\n    is  %.600s\n", key, before[key], now)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(after)) {
		if _, there := before[key]; !there {
			fmt.Fprintf(&b, "  %s is new: %.600s\n", key, after[key])
		}
	}
	return b.String()
}

// invariants holds everything in Redis against what must always be true, and
// returns what is not.
func (e *env) invariants() (problems []string) {
	e.Helper()
	bad := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	for p := range e.s.Partitions() {
		want := make(Counts)
		named := make(map[string]lm.TraceID)
		entries, pending := e.entries(p)
		prefix := e.s.keys.in(p, "trace:")
		for _, key := range e.rdb.Keys(ctx, prefix+"*").Val() {
			id := lm.TraceID(strings.TrimPrefix(key, prefix))
			t := e.trace(id)
			state, err := lm.ParseState(t["state"])
			if err != nil {
				bad("%s: %v", id, err)
				continue
			}
			ttl := e.rdb.PTTL(ctx, key).Val()
			_, waits := e.score(e.s.keys.delayed(p), id)
			entry := t["entry"]
			if entry != "" {
				if t, there := entries[entry]; !there || t != "" && t != string(id) {
					bad("%s is %s and its entry %s is in no stream", id, state, entry)
				}
				named[entry] = id
			}
			if (state == lm.Completed) != (ttl > 0) {
				bad("%s is %s with lifetime %s", id, state, ttl)
			}
			if state != lm.Completed {
				for _, k := range []string{e.s.keys.request(id), e.s.keys.checkpoint(id), e.s.keys.out(id)} {
					if ttl := e.rdb.PTTL(ctx, k).Val(); ttl > 0 {
						bad("%s is %s and %s expires in %s", id, state, k, ttl)
					}
				}
				if e.rdb.Exists(ctx, e.s.keys.request(id)).Val() != 1 {
					bad("%s is %s without a request", id, state)
				}
			}
			switch state {
			case lm.Received, lm.Retrying:
				want["delayed:"+t["queue"]]++
				if !waits || entry != "" {
					bad("%s is %s, in the delayed set: %v, entry %q", id, state, waits, entry)
				}
			case lm.Queued, lm.Reclaimed:
				want["waiting:"+t["queue"]]++
				if entry == "" || t["owner"] != "" || waits {
					bad("%s is %s, entry %q, owner %q, delayed %v", id, state, entry, t["owner"], waits)
				}
			case lm.Completed:
				if entry != "" || t["owner"] != "" || waits || t["outcome"] == "" {
					bad("%s is %s, entry %q, owner %q, delayed %v", id, state, entry, t["owner"], waits)
				}
			default:
				want["running:"+t["queue"]]++
				if entry == "" || t["owner"] == "" || t["token"] == "" || waits {
					bad("%s is %s, entry %q, owner %q, token %q, delayed %v", id, state, entry, t["owner"], t["token"], waits)
				}
				if pending[entry] == "" {
					bad("%s is %s and its entry %s is pending with nobody", id, state, entry)
				}
			}
		}
		for entry, id := range entries {
			if id != "" && named[entry] == "" {
				bad("entry %s of %s is named by no trace", entry, id)
			}
		}
		for _, m := range e.rdb.XRange(ctx, e.s.keys.done(p), "-", "+").Val() {
			for _, outcome := range m.Values {
				want[text(outcome)]++
			}
		}
		for _, m := range e.rdb.XRange(ctx, e.s.keys.dead(p), "-", "+").Val() {
			if _, raw := m.Values["raw"]; raw || m.Values["reason"] == "trace_lost" {
				want["failed"]++
			}
		}
		got, _ := e.s.Counts(ctx, p)
		if countsText(got) != countsText(want) {
			bad("partition %d counts %s; its traces say %s", p, countsText(got), countsText(want))
		}
	}
	return problems
}

// entries maps the entries of all streams of a partition (STREAM/ID) to their
// trace IDs (empty: foreign), and those that are pending to their consumers.
func (e *env) entries(p int) (entries, pending map[string]string) {
	entries, pending = make(map[string]string), make(map[string]string)
	prefix := e.s.keys.in(p, "")
	for _, pattern := range []string{"stream:*", "resume:*"} {
		for _, key := range e.rdb.Keys(ctx, prefix+pattern).Val() {
			short := strings.TrimPrefix(key, prefix)
			for _, m := range e.rdb.XRange(ctx, key, "-", "+").Val() {
				entries[short+"/"+m.ID] = text(m.Values["t"])
			}
			ext, _ := e.rdb.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: key, Group: Group, Start: "-", End: "+", Count: 100_000}).Result()
			for _, x := range ext {
				pending[short+"/"+x.ID] = x.Consumer
			}
		}
	}
	return entries, pending
}

func (e *env) score(key string, id lm.TraceID) (float64, bool) {
	v, err := e.rdb.ZScore(ctx, key, string(id)).Result()
	return v, err == nil
}

// lifecycle is the design's table, written down once more: from which states
// each may be entered.
var lifecycle = map[lm.State][]lm.State{
	lm.Received:       nil,
	lm.Preprocessing:  {lm.Received},
	lm.Queued:         {lm.Received, lm.Preprocessing, lm.Retrying},
	lm.Claimed:        {lm.Queued, lm.Reclaimed},
	lm.Gathering:      {lm.Claimed},
	lm.Inferring:      {lm.Gathering, lm.ToolExecuting, lm.Postprocessing},
	lm.ToolExecuting:  {lm.Inferring},
	lm.Postprocessing: {lm.Inferring},
	lm.Delivering:     {lm.Postprocessing},
	lm.Delivered:      {lm.Delivering},
	lm.Completed:      {lm.Delivered, lm.Errored},
	lm.Errored: {lm.Received, lm.Preprocessing, lm.Queued, lm.Claimed, lm.Gathering, lm.Inferring, lm.ToolExecuting,
		lm.Postprocessing, lm.Delivering, lm.Delivered},
	lm.Retrying:  {lm.Errored},
	lm.Reclaimed: {lm.Claimed, lm.Gathering, lm.Inferring, lm.ToolExecuting, lm.Postprocessing},
}

func legal(from, to lm.State) bool { return slices.Contains(lifecycle[to], from) }

// wayTo is the straight way between two states of a claim.
func wayTo(from, to lm.State) []lm.State {
	straight := []lm.State{lm.Claimed, lm.Gathering, lm.Inferring, lm.Postprocessing, lm.Delivering, lm.Delivered, lm.Completed}
	i, j := slices.Index(straight, from), slices.Index(straight, to)
	if to == lm.ToolExecuting {
		return append(wayTo(from, lm.Inferring), to)
	}
	if from == lm.ToolExecuting {
		return append([]lm.State{lm.Inferring}, wayTo(lm.Inferring, to)...)
	}
	if i < 0 || j < i {
		panic(fmt.Sprintf("no straight way from %s to %s", from, to))
	}
	return slices.Clone(straight[i+1 : j+1])
}

func seqNumber(s string) int { n, _ := strconv.Atoi(s); return n }
