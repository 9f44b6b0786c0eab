package lightermantest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/tool"
)

// What was called.
const (
	StepCall  = "step"  // the function of a pipeline.Step
	ModelCall = "model" // a model, by Ask, Chat or a built-in kind
	ToolCall  = "tool"  // a tool that a model asked for
)

// Call is one call of the outside world that a worker began.
type Call struct {
	ID     lm.TraceID
	What   string // StepCall, ModelCall or ToolCall
	Name   string // of the step, of the Ask or Chat (of a built-in kind: chat, prompt or embed), of the tool
	Key    string // the idempotency key: the same when it is repeated
	Model  string // of a ModelCall; with Options.Config the member that was called
	Worker string // that began it
	Done   bool   // it returned and without an error
}

func (c Call) String() string {
	return fmt.Sprintf("%s %s %s (key %s, %s, done %t)", c.ID, c.What, c.Name, c.Key, c.Worker, c.Done)
}

// calls is the record, in the order in which the calls began.
type calls struct {
	mu  sync.Mutex
	all []Call
}

func (c *calls) begin(call Call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, call)
}

// finish marks the last call of a key that a worker began as done.
func (c *calls) finish(worker, key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := len(c.all) - 1; i >= 0; i-- {
		if c.all[i].Key == key && c.all[i].Worker == worker {
			c.all[i].Done = true
			return
		}
	}
}

// edge records steps, which only the pipeline sees.
func (c *calls) edge(worker string, id lm.TraceID, point, name string) {
	key := string(id) + "/step/" + name
	switch point {
	case "before step":
		c.begin(Call{ID: id, What: StepCall, Name: name, Key: key, Worker: worker})
	case "after step":
		c.finish(worker, key)
	}
}

// modelCaller sends a worker's model calls to the fleet's models. Where models are
// declared it is the router's provider, and sees every try of a member.
type modelCaller struct{ w *Worker }

func (m modelCaller) Call(ctx context.Context, call lm.Call) (lm.Answer, error) {
	f := m.w.fleet
	f.calls.begin(Call{ID: call.ID, What: ModelCall, Name: nameOf(call), Key: call.Key, Model: f.declared.member(call.Model), Worker: m.w.name})
	answer, err := f.sim.Call(ctx, call)
	if err == nil {
		f.calls.finish(m.w.name, call.Key)
	}
	return answer, err
}

// nameOf is what the Func called a model call: the keys are ID/turn:N, and
// ID/chat/NAME/turn:N of an Ask or Chat.
func nameOf(call lm.Call) string {
	if rest, ok := strings.CutPrefix(call.Key, string(call.ID)+"/chat/"); ok {
		return rest[:max(0, strings.LastIndex(rest, "/"))]
	}
	return call.Kind
}

// toolCaller sends a worker's tool calls to its tools.
type toolCaller struct {
	*tool.Set
	w *Worker
}

func (t toolCaller) Call(ctx context.Context, call lm.ToolCall) (string, error) {
	f := t.w.fleet
	f.calls.begin(Call{ID: call.Trace, What: ToolCall, Name: call.Name, Key: call.Key, Worker: t.w.name})
	content, err := t.Set.Call(ctx, call)
	if err == nil {
		f.calls.finish(t.w.name, call.Key)
	}
	return content, err
}

// Calls lists what was called so far, in the order in which the calls began. A
// call that Done is not set of was cut off by a kill, failed, or goes on.
func (f *Fleet) Calls() []Call {
	f.calls.mu.Lock()
	defer f.calls.mu.Unlock()
	return slices.Clone(f.calls.all)
}

// CallsOf lists the calls of one operation that have one of the names; without
// names all of them.
func (f *Fleet) CallsOf(id lm.TraceID, names ...string) []Call {
	return slices.DeleteFunc(f.Calls(), func(c Call) bool {
		return c.ID != id || len(names) > 0 && !slices.Contains(names, c.Name)
	})
}
