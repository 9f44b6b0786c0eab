package lightermantest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lightermantest"
	"github.com/lighterman/lighterman/pipeline"
	"github.com/lighterman/lighterman/provider/sim"
	"github.com/lighterman/lighterman/tool"
)

func TestMain(m *testing.M) { redistest.Main(m) }

func chat(model, text string) lighterman.Request {
	body, _ := json.Marshal(map[string]any{"model": model, "messages": []map[string]string{{"role": "user", "content": text}}})
	return lighterman.Request{Body: body}
}

func TestRun_ManyOperationsOverSeveralWorkersCallNothingTwice(t *testing.T) {
	t.Parallel()
	fleet := lightermantest.Run(t, lightermantest.Options{Workers: 3, Partitions: 2}, nil)
	var ids []lighterman.TraceID
	for i := range 60 {
		ids = append(ids, fleet.Enqueue(chat("sim-tools", fmt.Sprintf("question %d", i))))
	}
	for _, id := range ids {
		if got := fleet.AssertSucceeded(id).Usage.Calls; got != 4 {
			t.Errorf("%s: %d model calls, want 4", id, got)
		}
		fleet.AssertCalledOnce(id, "chat", "lookup")
		fleet.AssertCalls(id, "chat", 4)
		fleet.AssertCalls(id, "lookup", 3)
	}
	fleet.AssertNothingRepeated()
}

// The program of the package's example, killed at every edge of its life: what
// was saved before is never done again, what was not is done once more.
func TestKillAt_SummariseNeverRepeatsWhatWasSaved(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		point         string
		fetches, asks int
	}{
		{"start", 1, 1},
		{"before step fetch", 2, 1}, // it was about to run, so it counts as begun
		{"after step fetch", 2, 1},
		{"saved step/fetch", 1, 1},
		{"before call", 1, 1},
		{"after call", 1, 2},
		{"saved chat/summary/turn:1", 1, 1},
		{"before finish", 1, 1},
	} {
		t.Run(strings.ReplaceAll(tt.point, "/", "_"), func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			var keys []string
			server := pages(func(key string) { mu.Lock(); defer mu.Unlock(); keys = append(keys, key) })
			t.Cleanup(server.Close)
			fleet := lightermantest.Run(t, lightermantest.Options{}, func(w *lightermantest.Worker) { w.Handle("summarise", summarise) })
			fleet.KillAt(tt.point, 1)
			id := fleet.Enqueue(summaryOf(server.URL))
			result := fleet.AssertSucceeded(id)
			if got := fleet.Trace(id).CrashesTotal; got != 1 || result.Attempts != 1 {
				t.Errorf("crashes %d, attempts %d, want one of each", got, result.Attempts)
			}
			fleet.AssertCalls(id, "fetch", tt.fetches)
			fleet.AssertCalls(id, "summary", tt.asks)
			mu.Lock()
			defer mu.Unlock()
			for _, key := range keys {
				if key != string(id)+"/fetch" {
					t.Errorf("key %q", key)
				}
			}
		})
	}
}

// Several kills in one operation's life, and two operations side by side.
func TestKillAt_SeveralWorkersDieAndAllIsDoneOnce(t *testing.T) {
	t.Parallel()
	fleet := lightermantest.Run(t, lightermantest.Options{Workers: 2}, nil)
	fleet.KillAt("saved tool:1:0:call_1", 1)
	fleet.KillAt("saved turn:2", 1)
	fleet.Script("m",
		sim.Reply{ToolCalls: []lighterman.ToolCall{{ID: "call_1", Name: "lookup", Arguments: json.RawMessage(`{"query":"a"}`)}}},
		sim.Reply{ToolCalls: []lighterman.ToolCall{{ID: "call_2", Name: "lookup", Arguments: json.RawMessage(`{"query":"b"}`)}}},
		sim.Reply{Text: "done"})
	id := fleet.Enqueue(chat("m", "go"))
	if got := fleet.AssertSucceeded(id).Text(); got != "done" {
		t.Errorf("answer %q", got)
	}
	fleet.AssertCalls(id, "chat", 3)
	fleet.AssertCalls(id, "lookup", 2)
	fleet.AssertCalledOnce(id, "chat", "lookup")
	workers := map[string]bool{}
	for _, c := range fleet.CallsOf(id) {
		workers[c.Worker] = true
	}
	if len(workers) != 3 {
		t.Errorf("called by %v, want three workers", workers)
	}
}

func TestKillAt_NotReachedFailsTheTest(t *testing.T) {
	t.Parallel()
	probe := &failing{TB: t}
	fleet := lightermantest.Run(probe, lightermantest.Options{}, nil)
	fleet.KillAt("before step nothing", 2)
	fleet.Wait(fleet.Enqueue(chat("sim", "hello")))
	fleet.AssertCalledOnce("0-other", "chat")
	probe.end()
	want := []string{
		`0-other never called "chat"; it called: nothing`,
		`lightermantest: kill point "before step nothing" was not reached 2 times`,
	}
	if diff := cmp.Diff(want, probe.errors); diff != "" {
		t.Error(diff)
	}
}

func TestScript_ErrorsAreRetriedAndPermanentOnesEnd(t *testing.T) {
	t.Parallel()
	fleet := lightermantest.Run(t, lightermantest.Options{Redis: redistest.Start(t).URL()}, nil)
	fleet.Script("flaky", sim.Reply{Err: lighterman.Errorf(lighterman.Overloaded, "busy")}, sim.Reply{Text: "at last"})
	fleet.Script("strict", sim.Reply{Err: lighterman.Errorf(lighterman.ContentFiltered, "no")})
	flaky, strict := fleet.Enqueue(chat("flaky", "x")), fleet.Enqueue(chat("strict", "x"))
	if r := fleet.AssertSucceeded(flaky); r.Text() != "at last" || r.Attempts != 2 {
		t.Errorf("%+v", r)
	}
	if r := fleet.Wait(strict); r.Outcome != lighterman.Failed || r.Err.Kind != lighterman.ContentFiltered || r.Attempts != 1 {
		t.Errorf("%+v", r)
	}
	fleet.AssertCalls(flaky, "chat", 2)
}

func TestWorker_ToolsAndPermanentErrorsOfAHandler(t *testing.T) {
	t.Parallel()
	fleet := lightermantest.Run(t, lightermantest.Options{}, func(w *lightermantest.Worker) {
		add, run := tool.Func("add", "Adds.", func(_ context.Context, _ lighterman.ToolCall, in struct{ A, B int }) (int, error) {
			return in.A + in.B, nil
		})
		if err := w.Tool(add, run); err != nil {
			t.Error(err)
		}
		w.Handle("no", func(context.Context, *pipeline.Op) (any, error) {
			return nil, lighterman.Permanent(errors.New("never"))
		})
		w.Handle("sum", func(ctx context.Context, op *pipeline.Op) (any, error) {
			return op.Ask(ctx, "sum", "1 and 2", pipeline.Tools("add"))
		})
	})
	fleet.Script("sim", sim.Reply{ToolCalls: []lighterman.ToolCall{{Name: "add", Arguments: json.RawMessage(`{"A":1,"B":2}`)}}}, sim.Reply{Text: "3"})
	sum := fleet.Enqueue(lighterman.Request{Kind: "sum", Body: json.RawMessage(`{}`)})
	if got := fleet.AssertSucceeded(sum).Text(); got != "3" {
		t.Errorf("answer %q", got)
	}
	fleet.AssertCalls(sum, "sum", 2)
	fleet.AssertCalledOnce(sum, "sum", "add")
	no := fleet.Wait(fleet.Enqueue(lighterman.Request{Kind: "no", Body: json.RawMessage(`{}`)}))
	if no.Outcome != lighterman.Failed || no.Err.Kind != lighterman.PermanentFailure {
		t.Errorf("%+v", no)
	}
}

// failing collects what would fail a test.
type failing struct {
	lightermantest.TB
	mu       sync.Mutex
	errors   []string
	cleanups []func()
}

func (f *failing) Cleanup(c func()) { f.cleanups = append(f.cleanups, c) }

func (f *failing) Errorf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.errors = append(f.errors, fmt.Sprintf(format, args...))
}

func (f *failing) end() {
	for i := len(f.cleanups) - 1; i >= 0; i-- {
		f.cleanups[i]()
	}
}
