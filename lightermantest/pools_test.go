package lightermantest_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lightermantest"
	"github.com/lighterman/lighterman/pipeline"
	"github.com/lighterman/lighterman/provider/sim"
)

// twoMembers is a pool whose calls begin with a.
const twoMembers = `
backends: [{id: other, provider: sim}]
models:
  - {id: a, backend: sim, name: sim}
  - {id: b, backend: other, name: sim-tools, price: {input: 1, output: 2}}
pools:
  - {id: chat, members: [{model_id: a}, {model_id: b}], routing: {home: first_healthy}}
defaults: {chat: chat}
sim:
  faults: [{model: a, kind: unauthorized, after: 1, count: 1}]
`

func limitedFor(d time.Duration) sim.Reply {
	return sim.Reply{Err: &lighterman.Error{Kind: lighterman.RateLimited, RetryAfter: d}}
}

// TestPools_MembersAreScriptedAndAsserted, over two workers on both kinds of Redis.
func TestPools_MembersAreScriptedAndAsserted(t *testing.T) {
	t.Parallel()
	for name, url := range map[string]string{"in memory": "", "redis": redistest.Start(t).URL()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fleet := lightermantest.Run(t, lightermantest.Options{Config: twoMembers, Redis: url, Workers: 2}, nil)
			fleet.Script("b", sim.Reply{Text: "b says"})
			first, second := fleet.Enqueue(chat("", "one")), lighterman.TraceID("")
			fleet.AssertSucceeded(first)
			fleet.AssertMembers(first, "a")
			second = fleet.Enqueue(chat("", "two")) // the fault: its backend is set aside
			if got := fleet.AssertSucceeded(second).Text(); got != "b says" {
				t.Errorf("answer %q", got)
			}
			fleet.AssertMembers(second, "a", "b")
		})
	}
}

// TestPools_AllColdIsParkedAndGoesOn when the first member's wait is over; and a
// member that a person disabled is called by nobody.
func TestPools_AllColdIsParkedAndGoesOn(t *testing.T) {
	t.Parallel()
	fleet := lightermantest.Run(t, lightermantest.Options{Config: strings.Replace(twoMembers, "after: 1", "after: 99", 1)}, nil)
	fleet.Script("a", limitedFor(20*time.Millisecond), sim.Reply{Text: "at last"})
	fleet.Script("b", limitedFor(time.Hour))
	id := fleet.Enqueue(chat("chat", "x"))
	if r := fleet.AssertSucceeded(id); r.Text() != "at last" || r.Attempts != 1 || len(fleet.Trace(id).Route) == 0 {
		t.Errorf("%+v, set aside %q", r, fleet.Trace(id).Route)
	}
	fleet.AssertMembers(id, "a", "b", "a")
	fleet.Operate("a", "disable")
	waits := fleet.Enqueue(chat("a", "x"))
	for end := time.Now().Add(20 * time.Second); fleet.Trace(waits).State != lighterman.Retrying; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%+v", fleet.Trace(waits))
		}
	}
	fleet.AssertMembers(waits)
}

// TestPools_TheDeadWorkersCallIsToldApart: a takeover calls the member again.
func TestPools_TheDeadWorkersCallIsToldApart(t *testing.T) {
	t.Parallel()
	fleet := lightermantest.Run(t, lightermantest.Options{Config: twoMembers}, func(w *lightermantest.Worker) {
		w.Handle("ask", func(ctx context.Context, op *pipeline.Op) (any, error) {
			return op.Ask(ctx, "it", "?", pipeline.Tools("lookup"))
		})
	})
	fleet.KillAt("after call", 1)
	id := fleet.Enqueue(lighterman.Request{Kind: "ask", Model: "b", Body: []byte(`{}`)})
	fleet.AssertSucceeded(id)
	calls := fleet.CallsOf(id, "it")
	if len(calls) < 2 || calls[0].Key != calls[1].Key || calls[0].Worker == calls[1].Worker || calls[0].Model != "b" || calls[1].Model != "b" {
		t.Errorf("%v", calls)
	}
}

// TestPools_OptionsOfTheSimulatorKnowMembers by their IDs.
func TestPools_OptionsOfTheSimulatorKnowMembers(t *testing.T) {
	t.Parallel()
	told := make(chan string, 9)
	fleet := lightermantest.Run(t, lightermantest.Options{Config: twoMembers, Sim: sim.Options{
		Script:  map[string][]sim.Reply{"b": {{Text: "scripted"}}},
		Faults:  []sim.Fault{{Model: "a", Kind: lighterman.ModelNotFound}},
		Latency: func(model string) time.Duration { told <- model; return 0 },
	}}, nil)
	id := fleet.Enqueue(chat("chat", "x"))
	if got := fleet.AssertSucceeded(id).Text(); got != "scripted" {
		t.Errorf("answer %q", got)
	}
	fleet.AssertMembers(id, "a", "b")
	close(told)
	var got []string
	for model := range told {
		got = append(got, model)
	}
	if !cmp.Equal(got, []string{"a", "b"}) {
		t.Errorf("latency of %v", got)
	}
}

// TestPools_MistakesFailTheTest with the place of the mistake.
func TestPools_MistakesFailTheTest(t *testing.T) {
	t.Parallel()
	probe := &failing{TB: t}
	fleet := lightermantest.Run(probe, lightermantest.Options{Config: twoMembers}, nil)
	id := fleet.Enqueue(chat("a", "x"))
	fleet.Wait(id)
	fleet.AssertMembers(id, "b", "a")
	probe.end()
	if want := []string{string(id) + ` called the models [a], want [b a]`}; !cmp.Equal(want, probe.errors) {
		t.Errorf("%q", probe.errors)
	}
	fatal := &fatalTB{TB: t}
	lightermantest.Run(fatal, lightermantest.Options{Config: "pools:\n  - {id: chat, members: [{model_id: nobody}]}\n"}, nil)
	if !strings.Contains(fatal.said, "Options.Config:2") || !strings.Contains(fatal.said, "nobody") {
		t.Errorf("a pool without models: %q", fatal.said)
	}
}

// fatalTB remembers what would have ended the test.
type fatalTB struct {
	lightermantest.TB
	said string
}

func (f *fatalTB) Fatalf(format string, args ...any) {
	if f.said == "" {
		f.said = fmt.Sprintf(format, args...)
	}
}
