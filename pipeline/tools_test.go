package pipeline_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/pipeline"
	"github.com/lighterman/lighterman/provider/sim"
	"github.com/lighterman/lighterman/tool"
)

// asking adds the model three, which asks for a tool once per ID and then answers from
// the conversation alone, so that whoever goes on gets the same.
func asking(r *rig, name string, ids ...string) {
	inner := r.opts.Caller
	r.opts.Caller = callerFunc(func(ctx context.Context, c lm.Call) (lm.Answer, error) {
		if c.Model != "three" {
			return inner.Call(ctx, c)
		}
		reply := sim.Reply{Text: "said " + strings.Join(toolContents(c.Body), ", ")}
		if len(toolContents(c.Body)) == 0 {
			reply.Text = ""
			for i, id := range ids {
				reply.ToolCalls = append(reply.ToolCalls, lm.ToolCall{ID: id, Name: name, Arguments: json.RawMessage(fmt.Sprintf(`{"query":"q%d"}`, i))})
			}
		}
		r.sim.Push("three", reply)
		return inner.Call(ctx, c)
	})
}

// toolContents are the contents of a conversation's tool messages.
func toolContents(b json.RawMessage) []string {
	var c struct {
		Messages []struct{ Role, Content string }
	}
	_ = json.Unmarshal(b, &c)
	var contents []string
	for _, m := range c.Messages {
		if m.Role == "tool" {
			contents = append(contents, m.Content)
		}
	}
	return contents
}

func parallelTools(ctx context.Context, r *rig, op *pipeline.Op) (any, error) {
	answer, err := op.Chat(ctx, "p", body("model", "three", "messages", user("go")), pipeline.Tools(pipeline.AnyTool))
	return lm.Result{Body: answer.Body}.Text(), err
}

// numbered is a tool of three, which may block or fail.
func numbered(t testing.TB, r *rig, run func(ctx context.Context, i int) (string, error)) {
	t.Helper()
	err := r.tools.Add(lm.Tool{Name: "numbered"}, func(ctx context.Context, c lm.ToolCall) (any, error) {
		var i int
		_, _ = fmt.Sscanf(string(c.Arguments), `{"query":"q%d"}`, &i)
		return run(ctx, i)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestChat_ThreeRoundsOfTools(t *testing.T) {
	each(t, func(w *world) {
		r := w.programmed(nil)
		id := w.enqueue(lm.Request{Body: json.RawMessage(`{"x_unknown":{"big":12345678901234567890,"a":[1, 2]},"model":"sim-tools","temperature":0.20,"messages":[{"role":"user","content":"Why?","name":"Ann"}]}`)})
		result := w.finish(r, w.claim(id))
		if result.Usage.Calls != 4 || !strings.Contains(result.Text(), tool.LookupText("Why? (3 of 3)")) {
			w.Errorf("%d calls, answer %q", result.Usage.Calls, result.Text())
		}
		if n := r.calls.all(); len(n) != 7 {
			w.Errorf("called %v, want 4 rounds and 3 tools", n)
		}
		if len(r.calls.bodies) != 4 {
			w.Fatalf("%d bodies", len(r.calls.bodies))
		}
		for i, b := range r.calls.bodies {
			for _, want := range []string{`"temperature":0.20`, `12345678901234567890`, `"name":"Ann"`} {
				if !strings.Contains(b, want) {
					w.Errorf("round %d lost %s: %s", i+1, want, b)
				}
			}
			if n := len(toolContents(json.RawMessage(b))); n != i {
				w.Errorf("round %d has %d tool messages", i+1, n)
			}
			if strings.Contains(b, `"tools"`) {
				w.Errorf("round %d offers a hidden tool: %s", i+1, b)
			}
		}
	})
}

func TestChat_MoreRoundsThanAllowedEnd(t *testing.T) {
	each(t, func(w *world) {
		r := w.rig(func(r *rig) { lookups(w, r.tools, tool.Hidden()); r.opts.MaxToolRounds = 2 })
		result, err := r.Handle(ctx, w.claim(w.enqueue(chatRequest(sim.Tools, "x"))))
		if lm.KindOf(err) != lm.PermanentFailure || !strings.Contains(err.Error(), "more than 2 rounds") {
			w.Errorf("%v", err)
		}
		if result.Usage.Calls != 3 {
			w.Errorf("%d calls are reported, want 3", result.Usage.Calls)
		}
	})
}

func TestChat_WhichToolsAreOffered(t *testing.T) {
	own := `[{"type":"function","function":{"name":"mine"}}]`
	for _, tt := range []struct {
		name, body string
		declared   bool
		want       string // tools as they reach the model
	}{
		{"none declared", `{"messages":[{"role":"user","content":"x"}]}`, false, ""},
		{"declared and none brought", `{"messages":[{"role":"user","content":"x"}]}`, true, "lookup"},
		{"declared and some brought", `{"tools":` + own + `,"messages":[{"role":"user","content":"x"}]}`, true, "mine"},
		{"an empty list is brought", `{"tools":[],"messages":[{"role":"user","content":"x"}]}`, true, ""},
		// Once taken for a body that brings tools.
		{"the word tools in a message", `{"messages":[{"role":"user","content":"tools"}]}`, true, "lookup"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := onMini(t)
			r := w.rig(func(r *rig) {
				if tt.declared {
					lookups(w, r.tools)
				} else {
					lookups(w, r.tools, tool.Hidden())
				}
			})
			w.finish(r, w.claim(w.enqueue(lm.Request{Body: json.RawMessage(tt.body)})))
			var sent struct {
				Tools []struct{ Function struct{ Name string } }
			}
			if err := json.Unmarshal([]byte(r.calls.bodies[0]), &sent); err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, tl := range sent.Tools {
				names = append(names, tl.Function.Name)
			}
			if got := strings.Join(names, " "); got != tt.want {
				t.Errorf("offered %q, want %q", got, tt.want)
			}
			if tt.want != "lookup" && r.calls.bodies[0] != tt.body {
				t.Errorf("the body was rewritten: %s", r.calls.bodies[0])
			}
		})
	}
}

// Tools that the producer brought and this worker has not are its to call.
func TestChat_ToolsOfTheProducerGoBackToIt(t *testing.T) {
	each(t, func(w *world) {
		r := w.rig(func(r *rig) { lookups(w, r.tools) })
		req := lm.Request{Body: body("model", sim.Tools, "messages", user("x"), "tools", json.RawMessage(`[{"type":"function","function":{"name":"mine"}}]`))}
		id := w.enqueue(req)
		result := w.finish(r, w.claim(id))
		if !strings.Contains(string(result.Body), `"name":"mine"`) || !strings.Contains(string(result.Body), `"finish_reason":"tool_calls"`) {
			w.Errorf("%s", result.Body)
		}
		if got := w.history(id); got != "RQ C GI ODVX" {
			w.Errorf("history %q", got)
		}
	})
}

// Where the tools are the worker's, a model that makes one up is told. Once an Ask
// then returned an empty text.
func TestAsk_AToolThatDoesNotExistIsToldToTheModel(t *testing.T) {
	each(t, func(w *world) {
		r := w.rig(func(r *rig) { lookups(w, r.tools) })
		r.register(func(ctx context.Context, _ *rig, op *pipeline.Op) (any, error) {
			return op.Ask(ctx, "q", "x", pipeline.Tools(pipeline.AnyTool))
		})
		r.sim.Push(sim.Plain, sim.Reply{ToolCalls: []lm.ToolCall{{Name: "lookdown"}}}, sim.Reply{Text: "well"})
		if got := w.finish(r, w.claim(w.enqueue(kindRequest("test")))).Text(); got != "well" {
			w.Errorf("answer %q", got)
		}
		if got := toolContents(json.RawMessage(r.calls.bodies[1])); len(got) != 1 || !strings.Contains(got[0], "there are: lookup") {
			w.Errorf("told %q", got)
		}
	})
}
