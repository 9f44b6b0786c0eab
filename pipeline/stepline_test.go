package pipeline_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/pipeline"
	"github.com/lighterman/lighterman/provider/sim"
	"github.com/lighterman/lighterman/tool"
)

// stepLines are what an operation's trace tells of its steps: "tool NAME ok".
func (w *world) stepLines(id lm.TraceID) []string {
	w.Helper()
	trace, err := w.store.Trace(ctx, id)
	if err != nil {
		w.Fatal(err)
	}
	var lines []string
	for _, l := range trace.Steps {
		if l.At.Before(trace.Created) || l.Took < 0 {
			w.Errorf("%+v is before %s", l, trace.Created)
		}
		lines = append(lines, fmt.Sprintf("%s %s %s", l.Kind, l.Name, l.Outcome))
	}
	return lines
}

// calling has the model ask for a tool with each query, and then answer.
func calling(r *rig, name string, queries ...string) {
	var reply sim.Reply
	for _, q := range queries {
		reply.ToolCalls = append(reply.ToolCalls, lm.ToolCall{ID: q, Name: name, Arguments: json.RawMessage(fmt.Sprintf(`{"query":%q}`, q))})
	}
	r.sim.Push(sim.Plain, reply, sim.Reply{Text: "well"})
}

// TestSteps_EachToolCallIsALine: three tickets of one answer are three, one of them
// failed.
func TestSteps_EachToolCallIsALine(t *testing.T) {
	each(t, func(w *world) {
		r := w.rig(func(r *rig) {
			err := r.tools.Add(lm.Tool{Name: "open_ticket"}, func(_ context.Context, c lm.ToolCall) (any, error) {
				if strings.Contains(string(c.Arguments), "q1") {
					return nil, errors.New("no such customer")
				}
				return "opened", nil
			})
			if err != nil {
				w.Fatal(err)
			}
		})
		calling(r, "open_ticket", "q0", "q1", "q2")
		r.register(func(ctx context.Context, _ *rig, op *pipeline.Op) (any, error) {
			return op.Ask(ctx, "p", "go", pipeline.Tools(pipeline.AnyTool))
		})
		id := w.enqueue(kindRequest("test"))
		w.finish(r, w.claim(id))
		got := w.stepLines(id)
		if len(got) != 5 || got[0] != "call p ok" || got[4] != "call p ok" {
			w.Fatalf("%q, want three tools between two calls", got)
		}
		slices.Sort(got)
		if want := []string{"call p ok", "call p ok", "tool open_ticket failed", "tool open_ticket ok", "tool open_ticket ok"}; !slices.Equal(got, want) {
			w.Errorf("%q, want %q", got, want)
		}
	})
}

// TestSteps_WhatEndsAnAttemptIsALine, and what was restored is none again.
func TestSteps_WhatEndsAnAttemptIsALine(t *testing.T) {
	each(t, func(w *world) {
		fails := true
		r := w.rig(func(r *rig) {
			err := r.tools.Add(lm.Tool{Name: "pay"}, func(context.Context, lm.ToolCall) (any, error) {
				if fails {
					return nil, lm.RetryAfter(0, errors.New("the bank is closed"))
				}
				return "paid", nil
			}, tool.Hidden())
			if err != nil {
				w.Fatal(err)
			}
		})
		calling(r, "pay", "q0")
		r.register(func(ctx context.Context, r *rig, op *pipeline.Op) (any, error) {
			if _, err := r.step(ctx, op, "fetch"); err != nil {
				return nil, err
			}
			if _, err := pipeline.Step(ctx, op, "check", func(context.Context) (string, error) {
				if fails {
					return "", errors.New("no route")
				}
				return "", nil
			}); err != nil && op.Attempt() == 1 {
				return nil, err
			}
			return op.Ask(ctx, "p", "go", pipeline.Tools(pipeline.AnyTool))
		})
		id := w.enqueue(kindRequest("test"))
		claim := w.claim(id)
		if _, err := r.Handle(ctx, claim); err == nil {
			w.Fatal("the step did not fail")
		}
		want := []string{"step fetch ok", "step check error"}
		if got := w.stepLines(id); !slices.Equal(got, want) {
			w.Errorf("%q, want %q", got, want)
		}
		claim = w.takeover(id)
		claim.Attempts = 1
		if _, err := r.Handle(ctx, claim); err == nil {
			w.Fatal("the tool did not fail")
		}
		want = append(want, "step check error", "call p ok", "tool pay error")
		if got := w.stepLines(id); !slices.Equal(got, want) {
			w.Errorf("%q, want %q", got, want)
		}
		fails = false
		w.finish(r, w.takeover(id))
		want = append(want, "step check ok", "tool pay ok", "call p ok")
		if got := w.stepLines(id); !slices.Equal(got, want) {
			w.Errorf("%q, want %q", got, want)
		}
	})
}

// TestSteps_PlainChatHasNone: its states tell all, and its writes carry no more.
func TestSteps_PlainChatHasNone(t *testing.T) {
	w := onMini(t)
	id := w.enqueue(chatRequest(sim.Plain, "x"))
	w.finish(w.rig(nil), w.claim(id))
	if got := w.stepLines(id); got != nil {
		t.Errorf("%q", got)
	}
}
