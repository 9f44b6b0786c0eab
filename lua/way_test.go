package lua

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// TestWay_PlainChatIsFourScripts follows one operation from enqueue to its
// result and looks at what is left behind.
func TestWay_PlainChatIsFourScripts(t *testing.T) {
	redistest.EachCluster(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx := context.Background()
		s := NewStore(rdb, rdb, Options{})
		if err := s.EnsureGroups(ctx, []Stream{queue, {Queue: "default", Resume: true}}); err != nil {
			t.Fatal(err)
		}
		req := &lm.Request{Body: json.RawMessage(`{"messages":[]}`), Meta: map[string]string{"state": "x"}}
		req.Normalize()
		before := s.ScriptRuns()
		if a := s.Enqueue(ctx, []Operation{{ID: "0-a", Request: req}})[0]; a.Err != nil || a.ID != "0-a" {
			t.Fatalf("enqueue: %+v", a)
		}
		entries, err := s.Block("w1", []Stream{{Queue: "default", Resume: true}, queue}, 5, time.Second)
		if err != nil || len(entries) != 1 {
			t.Fatalf("block: %v %v", entries, err)
		}
		claims, err := s.Claim(ctx, "w1", time.Second, entries)
		if err != nil || claims[0].Verdict != ClaimOK {
			t.Fatalf("claim: %+v %v", claims, err)
		}
		c := claims[0].Claim
		if string(c.Request.Body) != `{"messages":[]}` || c.Request.Meta["state"] != "x" {
			t.Fatalf("request: %+v", c.Request)
		}
		if _, err := s.Advance(ctx, c, Advance{Path: []lm.State{lm.Gathering, lm.Inferring}}); err != nil {
			t.Fatal(err)
		}
		err = s.Finish(ctx, c, Ending{
			Path:   []lm.State{lm.Postprocessing, lm.Delivering, lm.Delivered, lm.Completed},
			Result: lm.Result{Outcome: lm.Succeeded, Body: json.RawMessage(`"hi"`)}, Tried: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := s.ScriptRuns() - before; got > 8 { // each may need a second run while the cache is cold
			t.Errorf("%d scripts", got)
		}
		tr, err := s.Trace(ctx, "0-a")
		if err != nil || tr.State != lm.Completed || tr.Outcome != lm.Succeeded || len(tr.History) != 4 || tr.Attempts != 1 {
			t.Errorf("trace: %+v %v", tr, err)
		}
		res, err := s.Results(ctx, []lm.TraceID{"0-a"})
		if err != nil || res[0].Text() != "hi" {
			t.Errorf("result: %+v %v", res, err)
		}
		if n := rdb.XLen(ctx, s.keys.stream(queue)).Val(); n != 0 {
			t.Errorf("stream holds %d entries", n)
		}
		if p := rdb.XPending(ctx, s.keys.stream(queue), Group).Val(); p.Count != 0 {
			t.Errorf("pending: %+v", p)
		}
		counts, _ := s.Counts(ctx, 0)
		if counts["waiting:default"] != 0 || counts["running:default"] != 0 || counts["succeeded"] != 1 {
			t.Errorf("counts: %v", counts)
		}
	})
}

func TestWay_PutBackTickRetryPromote(t *testing.T) {
	redistest.EachCluster(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx := context.Background()
		s := NewStore(rdb, rdb, Options{})
		resume := Stream{Queue: "default", Resume: true}
		streams := []Stream{resume, queue}
		if err := s.EnsureGroups(ctx, streams); err != nil {
			t.Fatal(err)
		}
		req := &lm.Request{Body: json.RawMessage(`{}`)}
		req.Normalize()
		s.Enqueue(ctx, []Operation{{ID: "0-a", Request: req}})
		entries, err := s.Read(ctx, "w1", []Share{{Stream: resume, Count: 5}, {Stream: queue, Count: 5}}, 5)
		if err != nil || len(entries) != 1 {
			t.Fatalf("read: %v %v", entries, err)
		}
		claims, err := s.Claim(ctx, "w1", 50*time.Millisecond, entries)
		if err != nil {
			t.Fatal(err)
		}
		first := claims[0].Claim
		var due Due
		for len(due.Stalled) == 0 {
			if due, err = s.Tick(ctx, 0, time.Millisecond, 60*time.Millisecond, streams); err != nil {
				t.Fatal(err)
			}
		}
		taken, next, err := s.Idle(ctx, "w2", due.Stalled[0].Stream, 60*time.Millisecond, due.Stalled[0].From)
		if err != nil || len(taken) != 1 || next != "" {
			t.Fatalf("idle: %v %q %v", taken, next, err)
		}
		back, err := s.Takeover(ctx, "w2", "lease", true, taken)
		if err != nil || back[0] != PutBack {
			t.Fatalf("takeover: %v %v", back, err)
		}
		if err := s.Finish(ctx, first, Ending{Path: []lm.State{lm.Errored, lm.Completed}}); !errors.Is(err, lm.ErrFenced) {
			t.Errorf("zombie: %v", err)
		}
		entries, _ = s.Read(ctx, "w2", []Share{{Stream: resume, Count: 5}, {Stream: queue, Count: 5}}, 5)
		claims, err = s.Claim(ctx, "w2", time.Second, entries)
		if err != nil || claims[0].Claim.Crashes != 1 {
			t.Fatalf("second claim: %+v %v", claims, err)
		}
		second := claims[0].Claim
		if beats, err := s.Heartbeat(ctx, 0, "w2", []Renewal{{second.ID, second.Fence}}); err != nil || beats[0] != BeatOK {
			t.Errorf("beat: %v %v", beats, err)
		}
		if err := s.Retry(ctx, second, Aside{Path: []lm.State{lm.Errored, lm.Retrying}, Counted: CountAttempt, Reason: "provider"}); err != nil {
			t.Fatal(err)
		}
		if n, err := s.Promote(ctx, 0, []lm.TraceID{"0-a"}); err != nil || n != 1 {
			t.Fatalf("promote: %d %v", n, err)
		}
		tr, _ := s.Trace(ctx, "0-a")
		if tr.State != lm.Queued || tr.Attempts != 1 || tr.CrashesTotal != 1 {
			t.Errorf("trace: %+v", tr)
		}
		for _, h := range tr.History {
			t.Logf("%+v", h)
		}
	})
}

// TestRead_ABacklogOfOwnEntriesIsOneCommandPerStream: a stream that brought only own
// entries is read in one go; of another one few entries are asked for at a time.
func TestRead_ABacklogOfOwnEntriesIsOneCommandPerStream(t *testing.T) {
	server := redistest.Shared(t)
	rdb := server.Client()
	s := NewStore(rdb, rdb, Options{})
	resume := Stream{Queue: "default", Resume: true}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.EnsureGroups(ctx, []Stream{queue, resume}))
	req := &lm.Request{Body: json.RawMessage(`{"messages":[]}`)}
	req.Normalize()
	for _, row := range []struct {
		ownOnly bool
		want    string
	}{{true, "calls=2,"}, {false, "calls=9,"}} {
		var ops []Operation
		for range 64 {
			ops = append(ops, Operation{ID: lm.NewTraceID(0, newToken()), Request: req})
		}
		for _, a := range s.Enqueue(ctx, ops) {
			must(a.Err)
		}
		must(rdb.ConfigResetStat(ctx).Err())
		entries, err := s.Read(ctx, "w1", []Share{{resume, 64, row.ownOnly}, {queue, 64, row.ownOnly}}, 64)
		must(err)
		_, stats, _ := strings.Cut(rdb.Info(ctx, "commandstats").Val(), "cmdstat_xreadgroup:")
		if len(entries) != 64 || !strings.HasPrefix(stats, row.want) {
			t.Errorf("own entries only %v: %d entries by %.20s, want %s", row.ownOnly, len(entries), stats, row.want)
		}
	}
}
