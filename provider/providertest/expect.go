package providertest

import (
	"encoding/json"
	"reflect"
	"testing"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
)

// Expect makes a call whole and streamed of a server that is to say what want says,
// whosever it is, and checks that frames and answer agree. Without a usage in want
// any will do; a tool call without an ID may have any, but must have one.
func Expect(t *testing.T, api provider.API, call lm.Call, want Reply) {
	t.Helper()
	for _, way := range []string{"whole", "streamed"} {
		t.Run(way, func(t *testing.T) {
			got, c := &frames{}, call
			if way == "streamed" {
				c.Stream = got.add
			}
			answer, err := api.Call(t.Context(), c)
			if err != nil {
				t.Fatalf("call: %v", err)
			}
			out := read(t, answer)
			if way == "streamed" {
				agree(t, got, out, answer)
			}
			want.check(t, out, answer)
		})
	}
}

func (r Reply) check(t *testing.T, out said, answer lm.Answer) {
	t.Helper()
	finish := r.Finish
	if finish == "" {
		finish = "stop"
		if len(r.ToolCalls) > 0 {
			finish = "tool_calls"
		}
	}
	if out.Text != r.Text || out.Reasoning != r.Reasoning || out.Finish != finish {
		t.Errorf("text %q, reasoning %q, finish %q; want %q, %q, %q", out.Text, out.Reasoning, out.Finish, r.Text, r.Reasoning, finish)
	}
	if r.Usage != (lm.Usage{}) {
		want := r.Usage
		want.Calls = 1
		if answer.Usage != want || out.Usage.Input != want.Input || out.Usage.Output != want.Output {
			t.Errorf("usage %+v, in the body %+v; want %+v", answer.Usage, out.Usage, want)
		}
	}
	if len(out.Calls) != len(r.ToolCalls) {
		t.Fatalf("%d tool calls, want %d: %+v", len(out.Calls), len(r.ToolCalls), out.Calls)
	}
	for i, c := range out.Calls {
		w := r.ToolCalls[i]
		if c.ID == "" || w.ID != "" && c.ID != w.ID || c.Function.Name != w.Name || !sameJSON(c.Function.Arguments, string(w.Arguments)) {
			t.Errorf("tool call %d is %+v, want %s %s %s", i, c, w.ID, w.Name, w.Arguments)
		}
	}
}

func sameJSON(a, b string) bool {
	var x, y any
	return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && reflect.DeepEqual(x, y)
}
