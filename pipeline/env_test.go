package pipeline_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
	"github.com/lighterman/lighterman/provider/sim"
	"github.com/lighterman/lighterman/statemachine"
	"github.com/redis/go-redis/v9"
)

func TestMain(m *testing.M) { redistest.Main(m) }

var (
	ctx    = context.Background()
	queue  = lua.Stream{Queue: "default"}
	resume = lua.Stream{Queue: "default", Resume: true}
)

// world is a Redis with the operations of one test.
type world struct {
	testing.TB
	dial   func() *redis.Client // a connection of its own
	rdb    *redis.Client
	store  *lua.Store
	names  int
	claims []lm.Claim // of fresh
}

// each runs f on a redis-server and on miniredis.
func each(t *testing.T, f func(w *world)) {
	t.Helper()
	t.Run("redis", func(t *testing.T) { f(onRedis(t)) })
	t.Run("miniredis", func(t *testing.T) { f(onMini(t)) })
}

func onRedis(t testing.TB) *world {
	t.Helper()
	return newWorld(t, redistest.Shared(t).Client)
}

func onMini(t testing.TB) *world {
	t.Helper()
	_, rdb := redistest.MiniServer(t)
	return newWorld(t, func() *redis.Client {
		c := redis.NewClient(rdb.Options())
		t.Cleanup(func() { _ = c.Close() })
		return c
	})
}

func newWorld(t testing.TB, dial func() *redis.Client) *world {
	t.Helper()
	rdb := dial()
	w := &world{TB: t, dial: dial, rdb: rdb, store: lua.NewStore(rdb, rdb, lua.Options{CrashLimit: 1000, CrashBound: 10000})}
	if err := w.store.EnsureGroups(ctx, []lua.Stream{resume, queue}); err != nil {
		t.Fatal(err)
	}
	// So that the scripts are known there and a count of commands is one of writes.
	id := w.enqueue(chatRequest(sim.Plain, "warm"))
	w.finish(w.rig(nil), w.claim(id))
	return w
}

func chatRequest(model, text string) lm.Request {
	return lm.Request{Body: body("model", model, "messages", user(text))}
}

// kindRequest asks for an operation of a registered kind.
func kindRequest(kind string) lm.Request {
	return lm.Request{Kind: kind, Body: json.RawMessage(`{}`)}
}

func user(text string) []map[string]string {
	return []map[string]string{{"role": "user", "content": text}}
}

// body is a JSON object of names and values.
func body(pairs ...any) json.RawMessage {
	fields := make(map[string]any)
	for i := 0; i < len(pairs); i += 2 {
		fields[pairs[i].(string)] = pairs[i+1]
	}
	b, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	return b
}

func (w *world) enqueue(req lm.Request) lm.TraceID {
	w.Helper()
	w.names++
	req.Normalize()
	id := lm.NewTraceID(0, fmt.Sprintf("op-%d", w.names))
	if a := w.store.Enqueue(ctx, []lua.Operation{{ID: id, Request: &req}})[0]; a.Err != nil {
		w.Fatal(a.Err)
	}
	return id
}

// claim reads and claims the one operation that waits.
func (w *world) claim(id lm.TraceID) lm.Claim {
	w.Helper()
	entries, err := w.store.Read(ctx, "w", []lua.Share{{Stream: resume, Count: 9}, {Stream: queue, Count: 9}}, 9)
	if err != nil || len(entries) != 1 {
		w.Fatalf("read %d entries, want 1: %v", len(entries), err)
	}
	claimed, err := w.store.Claim(ctx, "w", time.Minute, entries)
	if err != nil || claimed[0].Verdict != lua.ClaimOK || claimed[0].Claim.ID != id {
		w.Fatalf("claim: %+v %v", claimed, err)
	}
	return w.fetch(claimed[0])
}

// fetch reads what a claim was too large to bring along.
func (w *world) fetch(c lua.Claimed) lm.Claim {
	w.Helper()
	claim, err := w.store.Fetch(ctx, c.Claim, c.Unread)
	if err != nil {
		w.Fatal(err)
	}
	return claim
}

// takeover puts back what a dead worker holds, as a sweep does, and claims it.
func (w *world) takeover(id lm.TraceID) lm.Claim {
	w.Helper()
	for _, st := range []lua.Stream{resume, queue} {
		taken, _, err := w.store.Idle(ctx, "sweep", st, 0, "0-0")
		if err != nil {
			w.Fatal(err)
		}
		if len(taken) == 0 {
			continue
		}
		back, err := w.store.Takeover(ctx, "sweep", "lease", false, taken)
		if err != nil || back[0] != lua.PutBack {
			w.Fatalf("put back: %v %v", back, err)
		}
	}
	return w.claim(id)
}

// finish runs a claim to its end, which must be a good one.
func (w *world) finish(r *rig, claim lm.Claim) lm.Result {
	w.Helper()
	result, err := r.Handle(ctx, claim)
	w.end(claim, result, err)
	return result
}

// end writes what a claim ended in, which must be good.
func (w *world) end(claim lm.Claim, result lm.Result, err error) {
	w.Helper()
	if err != nil {
		w.Fatalf("handle %s: %v", claim.ID, err)
	}
	result.Outcome = lm.Succeeded
	end := lua.Ending{Path: statemachine.Path(claim.Fence.State(), lm.Completed), Result: result, Tried: true}
	if err := w.store.Finish(ctx, claim, end); err != nil {
		w.Fatalf("finish %s: %v", claim.ID, err)
	}
}

// history is the trace's, its hops by letters: "RQ C GI ODVX".
func (w *world) history(id lm.TraceID) string {
	w.Helper()
	trace, err := w.store.Trace(ctx, id)
	if err != nil {
		w.Fatal(err)
	}
	hops := make([]string, len(trace.History))
	for i, h := range trace.History {
		for _, s := range h.Path {
			hops[i] += string(s.Letter())
		}
	}
	return strings.Join(hops, " ")
}
