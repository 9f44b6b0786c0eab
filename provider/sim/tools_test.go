package sim_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider/sim"
)

type message struct {
	Role       string     `json:"role"`
	Content    any        `json:"content"`
	ToolCalls  []toolCall `json:"tool_calls,omitempty"`
	ToolCallID string     `json:"tool_call_id,omitempty"`
}

type toolCall struct {
	ID       string
	Type     string
	Function struct{ Name, Arguments string }
}

// turn makes one call to a Sim of its own, as if by another process.
func turn(t *testing.T, messages []message, tools ...string) (message, string) {
	t.Helper()
	body := map[string]any{"messages": messages}
	var declared []any
	for _, name := range tools {
		declared = append(declared, map[string]any{"type": "function", "function": map[string]any{"name": name}})
	}
	if declared != nil {
		body["tools"] = declared
	}
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Choices []struct {
			Message      message
			FinishReason string `json:"finish_reason"`
		}
	}
	if err := json.Unmarshal(ask(t, sim.New(sim.Options{}), chat("sim-tools", string(b))).Body, &got); err != nil {
		t.Fatal(err)
	}
	return got.Choices[0].Message, got.Choices[0].FinishReason
}

// converse runs a conversation to its answer and returns it and its tool calls.
func converse(t *testing.T, messages []message, tools ...string) (message, []toolCall) {
	t.Helper()
	var calls []toolCall
	for range 10 {
		m, finish := turn(t, messages, tools...)
		if finish == "stop" {
			return m, calls
		}
		if finish != "tool_calls" || len(m.ToolCalls) != 1 || m.Content != nil {
			t.Fatalf("finish %q with %+v", finish, m)
		}
		calls = append(calls, m.ToolCalls...)
		messages = append(messages, m, message{Role: "tool", ToolCallID: m.ToolCalls[0].ID, Content: fmt.Sprintf("result %d", len(calls))})
	}
	t.Fatal("no end after 10 rounds")
	return message{}, nil
}

func names(calls []toolCall) (names []string) {
	for _, c := range calls {
		names = append(names, c.Function.Name)
	}
	return names
}

func TestTools_AsksThreeTimesThenAnswersFromTheResults(t *testing.T) {
	final, calls := converse(t, []message{{Role: "user", Content: "How deep?"}})
	if want := []string{"lookup", "lookup", "lookup"}; !cmp.Equal(names(calls), want) {
		t.Fatalf("asked %v, want %v", names(calls), want)
	}
	seen := map[string]bool{}
	for _, c := range calls {
		var args struct{ Query string }
		if err := json.Unmarshal([]byte(c.Function.Arguments), &args); err != nil || !strings.Contains(args.Query, "How deep?") {
			t.Errorf("arguments %s: %v", c.Function.Arguments, err)
		}
		if seen[c.ID] || seen[args.Query] || c.ID == "" || c.Type != "function" {
			t.Errorf("call %+v repeats another", c)
		}
		seen[c.ID], seen[args.Query] = true, true
	}
	for _, want := range []string{"How deep?", "result 1", "result 2", "result 3"} {
		if !strings.Contains(final.Content.(string), want) {
			t.Errorf("answer %q does not name %q", final.Content, want)
		}
	}
}

func TestTools_TheSameTurnAsksTheSameAgain(t *testing.T) {
	_, one := converse(t, []message{{Role: "user", Content: "How deep?"}})
	_, two := converse(t, []message{{Role: "user", Content: "How deep?"}})
	if diff := cmp.Diff(one, two); diff != "" {
		t.Error(diff)
	}
}

func TestTools_TakesTheDeclaredToolsInTurn(t *testing.T) {
	_, calls := converse(t, []message{{Role: "user", Content: "x"}}, "depth", "tide")
	if want := []string{"depth", "tide", "depth"}; !cmp.Equal(names(calls), want) {
		t.Errorf("asked %v, want %v", names(calls), want)
	}
}

func TestTools_RoundsOfAnEarlierQuestionDoNotCount(t *testing.T) {
	old := message{Role: "assistant", ToolCalls: []toolCall{{ID: "x", Type: "function"}}}
	history := []message{{Role: "user", Content: "old"}}
	for range 3 {
		history = append(history, old, message{Role: "tool", Content: "stale"})
	}
	history = append(history, message{Role: "assistant", Content: "done"}, message{Role: "user", Content: "new"})
	final, calls := converse(t, history)
	if len(calls) != 3 {
		t.Errorf("asked %d times for the new question, want 3", len(calls))
	}
	if strings.Contains(final.Content.(string), "stale") {
		t.Errorf("answer %q holds an old result", final.Content)
	}
}

func TestTools_APromptIsAnsweredAtOnce(t *testing.T) {
	a := ask(t, sim.New(sim.Options{}), lighterman.Call{Kind: "prompt", Model: "sim-tools", Body: json.RawMessage(`{"prompt":"Why?"}`)})
	if !strings.Contains(text(a), "Why?") {
		t.Errorf("answer %s", a.Body)
	}
}
