package producer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
	"github.com/redis/go-redis/v9"
)

func TestEnqueue_RecordsWhatWasAsked(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		c, ctx := open(t, rdb, lua.Options{Partitions: 4}), deadline(t)
		req := chat()
		req.ID, req.Tenant, req.Thread, req.Model = "order-42", "acme", "t1", "small"
		a, err := c.Enqueue(ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		if want := lm.NewTraceID(lm.Partition(4, "acme", "t1", "", "order-42"), "order-42"); a.ID != want {
			t.Errorf("ID %s, want %s", a.ID, want)
		}
		tr, err := c.Status(ctx, a.ID)
		if err != nil || tr.State != lm.Queued || tr.Queue != "default" || tr.Kind != "chat" || tr.Tenant != "acme" || tr.Model != "small" {
			t.Errorf("trace %+v, %v", tr, err)
		}
		if req.Queue != "" || req.Kind != "" {
			t.Error("the caller's request was changed")
		}
	})
}

func TestEnqueue_PartitionFollowsThreadElseKeyElseName(t *testing.T) {
	c := open(t, redistest.Mini(t), lua.Options{Partitions: 64})
	for _, r := range []lm.Request{{Thread: "a", Key: "k", ID: "x"}, {Key: "k", ID: "y"}, {ID: "z"}, {Tenant: "t", ID: "u"}} {
		r.Body = chat().Body
		a, err := c.Enqueue(deadline(t), r)
		if want := lm.Partition(64, r.Tenant, r.Thread, r.Key, r.ID); err != nil || a.ID.Partition() != want {
			t.Errorf("%+v: %v %v, want partition %d", r, a, err, want)
		}
	}
}

func TestEnqueue_RepeatFindsTheFirstAndAnotherBodyConflicts(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		c, ctx := open(t, rdb, lua.Options{}), deadline(t)
		req := chat()
		req.Key = "k"
		first, err := c.Enqueue(ctx, req)
		if err != nil || first.Existing {
			t.Fatal(first, err)
		}
		if again, err := c.Enqueue(ctx, req); err != nil || !again.Existing || again.ID != first.ID {
			t.Errorf("repeat: %+v %v, want %s", again, err, first.ID)
		}
		req.Body = json.RawMessage(`{"messages":["other"]}`)
		if other, err := c.Enqueue(ctx, req); !errors.Is(err, ErrKeyConflict) || other.ID != first.ID {
			t.Errorf("other body: %+v %v", other, err)
		}
	})
}

func TestEnqueue_RefusesAtTheDoor(t *testing.T) {
	c := open(t, redistest.Mini(t), lua.Options{QueueLimit: 2})
	answers := c.EnqueueMany(deadline(t), chats(3))
	if answers[1].Err != nil || !errors.Is(answers[2].Err, ErrQueueFull) || answers[2].ID != "" {
		t.Errorf("%+v", answers)
	}
}

func TestEnqueue_SaysWhatIsWrong(t *testing.T) {
	c := open(t, redistest.Mini(t), lua.Options{}, WithModels([]string{"small", "gpt-4o", "sim"}))
	for _, test := range []struct {
		name string
		req  lm.Request
		kind lm.Kind
		text string // of the error; empty: accepted
	}{
		{"no body", lm.Request{}, lm.InvalidRequest, "body: empty"},
		{"not JSON", lm.Request{Body: json.RawMessage(`{"a"`)}, lm.InvalidRequest, "not JSON"},
		{"no messages", lm.Request{Body: json.RawMessage(`{}`)}, lm.InvalidRequest, `"messages" is missing or empty`},
		{"an embedding as a chat", lm.Request{Body: json.RawMessage(`{"input":"x"}`)}, lm.InvalidRequest, `a body with "input" is of kind embed`},
		{"a prompt as a chat", lm.Request{Body: json.RawMessage(`{"prompt":"x"}`)}, lm.InvalidRequest, `a body with "prompt" is of kind prompt`},
		{"empty messages", lm.Request{Body: json.RawMessage("{\"messages\":[ \n ]}")}, lm.InvalidRequest, `"messages" is missing or empty`},
		{"null messages", lm.Request{Body: json.RawMessage(`{"messages":null}`)}, lm.InvalidRequest, `"messages" is missing or empty`},
		{"messages no list", lm.Request{Body: json.RawMessage(`{"messages":"hi"}`)}, lm.InvalidRequest, "want a JSON object"},
		{"a list", lm.Request{Body: json.RawMessage(`[1]`)}, lm.InvalidRequest, "want a JSON object"},
		{"model no string", lm.Request{Kind: "prompt", Body: json.RawMessage(`{"model":4}`)}, lm.InvalidRequest, "want a JSON object"},
		{"bad ID", lm.Request{ID: "a b", Body: chat().Body}, lm.InvalidRequest, "id: name"},
		{"unknown model", lm.Request{Model: "gtp-4o", Body: chat().Body}, lm.UnknownModel, `unknown model "gtp-4o"; did you mean gpt-4o? (declared: gpt-4o, sim, small)`},
		{"a name with :latest", lm.Request{Model: "gpt-4o:latest", Body: chat().Body}, "", ""},
		{"unknown in body", lm.Request{Body: json.RawMessage(`{"model":"mistral-large","messages":[1]}`)}, lm.UnknownModel, `unknown model "mistral-large" (declared`},
		{"own model wins", lm.Request{Model: "sim", Body: json.RawMessage(`{"model":"nope","messages":[1]}`)}, "", ""},
		{"no model", chat(), "", ""},
		{"another kind's body is its own", lm.Request{Kind: "summarise", Body: json.RawMessage(`{"model":7}`)}, "", ""},
	} {
		a, err := c.Enqueue(deadline(t), test.req)
		if (err == nil) != (test.text == "") || err != nil && (!strings.Contains(err.Error(), test.text) || lm.KindOf(err) != test.kind || a.ID != "") {
			t.Errorf("%s: %+v %v", test.name, a, err)
		}
		if test.kind == lm.UnknownModel && !errors.Is(err, ErrUnknownModel) {
			t.Errorf("%s: not ErrUnknownModel: %v", test.name, err)
		}
	}
}

func TestNearest(t *testing.T) {
	for word, want := range map[string]string{"gtp-4o": "gpt-4o", "SIM": "sim", "sim-lsow": "sim-slow", "x": "", "llama": "", "": ""} {
		if got := lm.DidYouMean(word, []string{"gpt-4o", "sim", "sim-slow"}); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}

func TestEnqueueMany_OneBadRequestLeavesTheOthersAlone(t *testing.T) {
	redistest.EachCluster(t, func(t *testing.T, rdb redis.UniversalClient) {
		c := open(t, rdb, lua.Options{Partitions: 3})
		reqs := chats(250)
		reqs[17].Body = json.RawMessage(`{`)
		reqs[100].ID = "mine"
		for i, a := range c.EnqueueMany(deadline(t), reqs) {
			if (a.Err != nil) != (i == 17) || i == 100 && a.ID.Name() != "mine" {
				t.Errorf("request %d: %+v", i, a)
			}
		}
	})
}

func TestEnqueueMany_TenThousandInTenRoundTrips(t *testing.T) {
	rdb, sent := redistest.Start(t).Client(), &counter{}
	rdb.AddHook(sent)
	c := open(t, rdb, lua.Options{})
	c.EnqueueMany(deadline(t), chats(1)) // the script is known now
	before := sent.trips.Load()
	ids := idsOf(t, c.EnqueueMany(deadline(t), chats(10_000)))
	if n := sent.trips.Load() - before; n > 10 {
		t.Errorf("%d round trips", n)
	}
	for i := 1; i < len(ids); i++ {
		if ids[i] <= ids[i-1] {
			t.Fatalf("IDs do not grow: %s, %s", ids[i-1], ids[i])
		}
	}
}

func TestEnqueueMany_LargeRequestsGoOutInParts(t *testing.T) {
	rdb, sent := redistest.Start(t).Client(), &counter{}
	rdb.AddHook(sent)
	c := open(t, rdb, lua.Options{})
	idsOf(t, c.EnqueueMany(deadline(t), chats(1))) // the script is known now
	before, trips := sent.of("evalsha"), sent.trips.Load()
	reqs := chats(20)
	for i := range reqs {
		reqs[i].Body = json.RawMessage(`{"messages":["` + strings.Repeat("x", 1<<20) + `"]}`)
	}
	idsOf(t, c.EnqueueMany(deadline(t), reqs))
	if n, round := sent.of("evalsha")-before, sent.trips.Load()-trips; n != 20 || round != 3 {
		t.Errorf("%d scripts in %d round trips, want 20 of at most 2 MiB in 3 of at most 8 MiB", n, round)
	}
}

func TestEnqueue_ManyGoroutinesShareRoundTrips(t *testing.T) {
	rdb, sent := redistest.Start(t).Client(), &counter{}
	rdb.AddHook(sent)
	c := open(t, rdb, lua.Options{})
	var group sync.WaitGroup
	var seen sync.Map
	for range 64 {
		group.Go(func() {
			for range 50 {
				a, err := c.Enqueue(context.Background(), chat())
				if err != nil {
					t.Error(err)
				}
				if _, twice := seen.LoadOrStore(a.ID, true); twice {
					t.Errorf("%s was given out twice", a.ID)
				}
			}
		})
	}
	group.Wait()
	if n := sent.trips.Load(); n > 1600 {
		t.Errorf("%d round trips for 3,200 operations", n)
	} else {
		t.Logf("%d round trips for 3,200 operations", n)
	}
}

func TestPreprocess_ChangesARequestAndIsRecorded(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		c := open(t, rdb, lua.Options{}, WithPreprocess(func(_ context.Context, r *lm.Request) error {
			if r.Tenant == "" {
				return errors.New("no tenant")
			}
			r.Meta["by"], r.Queue = "hook", ""
			return nil
		}))
		req := chat()
		if _, err := c.Enqueue(deadline(t), req); err == nil || err.Error() != "preprocess: no tenant" {
			t.Errorf("refused: %v", err)
		}
		req.Tenant, req.Meta = "acme", map[string]string{"a": "b"}
		a, err := c.Enqueue(deadline(t), req)
		if err != nil {
			t.Fatal(err)
		}
		tr, err := c.Status(deadline(t), a.ID)
		if err != nil || tr.Queue != "default" || tr.Meta["by"] != "hook" {
			t.Errorf("trace %+v, %v", tr, err)
		}
		if diff := cmp.Diff([]lm.State{lm.Received, lm.Preprocessing, lm.Queued}, tr.History[0].Path); diff != "" {
			t.Error(diff)
		}
		if len(req.Meta) != 1 {
			t.Error("the caller's Meta was changed")
		}
	})
}

func TestEnqueue_ContextEndedWhileUnderWayNamesWhatMayBe(t *testing.T) {
	srv := redistest.Start(t)
	c := open(t, srv.Client(), lua.Options{})
	idsOf(t, c.EnqueueMany(deadline(t), chats(1)))
	srv.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	a, err := c.Enqueue(ctx, chat())
	srv.Cont()
	if !errors.Is(err, context.DeadlineExceeded) || a.ID == "" {
		t.Fatalf("%+v %v", a, err)
	}
	until(t, "it was accepted after all", func() bool {
		_, err := c.Status(deadline(t), a.ID)
		return err == nil
	})
}

func TestEnqueue_SurvivesARestartOfRedis(t *testing.T) {
	srv := redistest.Start(t, redistest.WithAppendOnly())
	c := open(t, srv.Client(), lua.Options{})
	idsOf(t, c.EnqueueMany(deadline(t), chats(1)))
	srv.Kill()
	var group sync.WaitGroup
	for range 10 {
		group.Go(func() {
			if a, err := c.Enqueue(deadline(t), chat()); err != nil || a.Existing {
				t.Errorf("%+v %v", a, err)
			}
		})
	}
	srv.Restart()
	group.Wait()
}

func TestNames_GrowAndNeverRepeat(t *testing.T) {
	n, now := newNames(), time.UnixMilli(1_700_000_000_000)
	last := ""
	for i := range 20_000 {
		id := n.next(now.Add(time.Duration(-i) * time.Millisecond)) // a clock that steps back
		if id <= last {
			t.Fatalf("%s after %s", id, last)
		}
		last = id
	}
	if err := lm.ValidName(last); err != nil {
		t.Error(err)
	}
}

func BenchmarkEnqueue(b *testing.B) {
	for _, n := range []int{1, 64} {
		b.Run(fmt.Sprintf("goroutines=%d", n), func(b *testing.B) {
			c := open(b, redistest.Start(b).Client(), lua.Options{QueueLimit: 1 << 40})
			parallel(b, n, func() error {
				_, err := c.Enqueue(context.Background(), chat())
				return err
			})
		})
		b.Run(fmt.Sprintf("unshared/goroutines=%d", n), func(b *testing.B) { // every call a round trip
			c := open(b, redistest.Start(b).Client(), lua.Options{QueueLimit: 1 << 40})
			parallel(b, n, func() error { return c.EnqueueMany(context.Background(), chats(1))[0].Err })
		})
	}
}

func parallel(b *testing.B, n int, f func() error) {
	var group sync.WaitGroup
	left := make(chan struct{}, n)
	b.ReportAllocs()
	b.ResetTimer()
	for range n {
		group.Go(func() {
			for range left {
				if err := f(); err != nil {
					b.Error(err)
				}
			}
		})
	}
	for range b.N {
		left <- struct{}{}
	}
	close(left)
	group.Wait()
}

func BenchmarkEnqueueMany(b *testing.B) {
	c := open(b, redistest.Start(b).Client(), lua.Options{QueueLimit: 1 << 40})
	reqs := chats(10_000)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		for _, a := range c.EnqueueMany(context.Background(), reqs) {
			if a.Err != nil {
				b.Fatal(a.Err)
			}
		}
	}
	b.ReportMetric(float64(b.N*len(reqs))/b.Elapsed().Seconds(), "ops/s")
}
