package aimock_test

import (
	"encoding/json"
	"slices"
	"testing"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
	"github.com/lighterman/lighterman/provider/providertest"
)

// request: a conversation arrives as it was sent.
func (m *matrix) request(t *testing.T, f *format, api provider.API, id string) {
	messages := []object{message("system", "Be brief."), message("user", "first question"), message("assistant", "first answer"), message("user", "the second question")}
	providertest.Expect(t, api, chat(f, messages...), providertest.Reply{Text: "Short."})
	got := m.asked(t, id, 2, f)
	if len(got.Body.Messages) != len(messages) {
		t.Fatalf("the mock read %s", got.Body.Messages)
	}
	for i, want := range messages {
		if string(normal(t, got.Body.Messages[i])) != string(encode(want)) {
			t.Errorf("message %d is %s, want %s", i, got.Body.Messages[i], encode(want))
		}
	}
}

// normal is a message with its keys in order.
func normal(t *testing.T, raw json.RawMessage) json.RawMessage {
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return encode(v)
}

// result: the results of two calls of one tool find their calls.
func (m *matrix) result(t *testing.T, f *format, api provider.API, id string) {
	called := object{"role": "assistant", "content": nil, "tool_calls": []object{
		{"id": london.ID, "type": "function", "function": object{"name": "weather", "arguments": string(london.Arguments)}},
		{"id": paris.ID, "type": "function", "function": object{"name": "weather", "arguments": string(paris.Arguments)}},
	}}
	call := chat(f, message("user", "how warm is it"), called,
		object{"role": "tool", "tool_call_id": london.ID, "content": `{"degrees":11}`}, object{"role": "tool", "tool_call_id": paris.ID, "content": result})
	providertest.Expect(t, api, call, providertest.Reply{Text: "It is warm."})
	var calls, results []string
	for _, raw := range m.asked(t, id, 2, f).Body.Messages {
		var w struct {
			Role   string `json:"role"`
			CallID string `json:"tool_call_id"`
			Calls  []struct {
				ID       string `json:"id"`
				Function struct {
					Arguments json.RawMessage `json:"arguments"`
				} `json:"function"`
			} `json:"tool_calls"`
		}
		if err := json.Unmarshal(raw, &w); err != nil {
			t.Fatal(err)
		}
		for _, c := range w.Calls {
			calls = append(calls, c.ID)
		}
		if w.Role == "tool" {
			results = append(results, w.CallID)
		}
	}
	if len(calls) != 2 || calls[0] == calls[1] || !slices.Equal(calls, results) {
		t.Errorf("calls %q, results %q", calls, results)
	}
}

// loop: a model that reasons calls a tool, its message goes back as it came, and the
// tool's result finds it. The mock refuses one of Anthropic's that thinks on without its
// thoughts.
func (m *matrix) loop(t *testing.T, f *format, api provider.API, id string) {
	messages := []any{message("user", "turn the loop")}
	ask := func() json.RawMessage {
		t.Helper()
		body := encode(object{"messages": messages, "tools": declared, "max_tokens": 8000, "reasoning_effort": "low"})
		answer, err := api.Call(t.Context(), lm.Call{Kind: "chat", Model: f.model, Body: body, Key: "t/1", Attempt: 1})
		if err != nil {
			t.Fatalf("with %d messages: %v", len(messages), err)
		}
		var w struct {
			Choices []struct {
				Message json.RawMessage `json:"message"`
			} `json:"choices"`
		}
		if err := json.Unmarshal(answer.Body, &w); err != nil || len(w.Choices) != 1 {
			t.Fatalf("%s (%v)", answer.Body, err)
		}
		return w.Choices[0].Message
	}
	first := ask()
	messages = append(messages, first, object{"role": "tool", "tool_call_id": paris.ID, "content": result})
	var last struct {
		Content string `json:"content"`
	}
	if raw := ask(); json.Unmarshal(raw, &last) != nil || last.Content != "It is warm in Paris." {
		t.Errorf("the last answer is %s, after %s", raw, first)
	}
	if all, err := m.server.Asked(t.Context(), id); err != nil || len(all) != 2 || len(all[1].Body.Messages) != 3 {
		t.Errorf("the mock read %s (%v)", encode(all), err)
	}
}
