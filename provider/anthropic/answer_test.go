package anthropic_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider/anthropic"
	"github.com/lighterman/lighterman/provider/providertest"
)

// says lets the fake answer with events, each a kind and its data.
func (f *fake) says(events ...string) {
	f.answer = func(w http.ResponseWriter, _ providertest.Asked) bool {
		stream(w, pieces(events...)...)
		return true
	}
}

func pieces(events ...string) []providertest.Piece {
	var out []providertest.Piece
	for _, data := range events {
		var e struct{ Type string }
		_ = json.Unmarshal([]byte(data), &e)
		out = append(out, providertest.Piece{Data: fmt.Sprintf("event: %s\ndata: %s\n\n", e.Type, data)})
	}
	return out
}

const (
	begins = `{"type":"message_start","message":{"id":"msg_1","model":"claude-test-20260101","usage":{"input_tokens":10,"cache_creation_input_tokens":200,"cache_read_input_tokens":3000,"output_tokens":1}}}`
	stops  = `{"type":"message_stop"}`
)

func ends(reason string) string {
	return `{"type":"message_delta","delta":{"stop_reason":"` + reason + `","stop_sequence":null},"usage":{"output_tokens":42,"output_tokens_details":{"thinking_tokens":30}}}`
}

func text(index int, text string) []string {
	return []string{
		fmt.Sprintf(`{"type":"content_block_start","index":%d,"content_block":{"type":"text","text":""}}`, index),
		fmt.Sprintf(`{"type":"content_block_delta","index":%d,"delta":{"type":"text_delta","text":%q}}`, index, text),
		fmt.Sprintf(`{"type":"content_block_stop","index":%d}`, index),
	}
}

func thinks(index int, text, signature string) []string {
	return []string{
		fmt.Sprintf(`{"type":"content_block_start","index":%d,"content_block":{"type":"thinking","thinking":"","signature":""}}`, index),
		fmt.Sprintf(`{"type":"content_block_delta","index":%d,"delta":{"type":"thinking_delta","thinking":%q}}`, index, text),
		fmt.Sprintf(`{"type":"content_block_delta","index":%d,"delta":{"type":"signature_delta","signature":%q}}`, index, signature),
		fmt.Sprintf(`{"type":"content_block_stop","index":%d}`, index),
	}
}

func uses(index int, id string, pieces ...string) []string {
	out := []string{fmt.Sprintf(`{"type":"content_block_start","index":%d,"content_block":{"type":"tool_use","id":%q,"name":"look","input":{}}}`, index, id)}
	for _, p := range pieces {
		out = append(out, fmt.Sprintf(`{"type":"content_block_delta","index":%d,"delta":{"type":"input_json_delta","partial_json":%q}}`, index, p))
	}
	return append(out, fmt.Sprintf(`{"type":"content_block_stop","index":%d}`, index))
}

func events(groups ...any) []string {
	var out []string
	for _, g := range groups {
		switch g := g.(type) {
		case string:
			out = append(out, g)
		case []string:
			out = append(out, g...)
		}
	}
	return out
}

// message is the one of an answer's only choice.
func message(t *testing.T, a lm.Answer) map[string]any {
	t.Helper()
	var body struct {
		Choices []struct {
			Message map[string]any `json:"message"`
		} `json:"choices"`
	}
	if err := json.Unmarshal(a.Body, &body); err != nil || len(body.Choices) != 1 {
		t.Fatalf("no completion: %v in %s", err, a.Body)
	}
	return body.Choices[0].Message
}

func finish(t *testing.T, a lm.Answer) string {
	t.Helper()
	var body struct {
		Choices []struct {
			Reason string `json:"finish_reason"`
		} `json:"choices"`
	}
	if err := json.Unmarshal(a.Body, &body); err != nil || len(body.Choices) != 1 {
		t.Fatalf("no completion: %v in %s", err, a.Body)
	}
	return body.Choices[0].Reason
}

func TestAnswer_UsageCountsTheCacheAsInput(t *testing.T) {
	server := newServer(t)
	server.says(events(begins, text(0, "Yes."), ends("end_turn"), stops)...)
	answer := call(t, open(t, server, nil), `{`+question+`}`)
	want := lm.Usage{Calls: 1, Input: 3210, Cached: 3000, Output: 42, Reasoning: 30}
	if answer.Usage != want {
		t.Errorf("usage %+v, want %+v", answer.Usage, want)
	}
	if answer.Model != "claude-test-20260101" {
		t.Errorf("model %q, want the one that the API named", answer.Model)
	}
}

// What the last event counts anew replaces what the first one said: server tools add
// input on the way.
func TestAnswer_UsageAtTheEndReplacesThatAtTheBeginning(t *testing.T) {
	server := newServer(t)
	server.says(events(begins, text(0, "Yes."),
		`{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":11,"cache_creation_input_tokens":0,"cache_read_input_tokens":3100,"output_tokens":7}}`, stops)...)
	answer := call(t, open(t, server, nil), `{`+question+`}`)
	if want := (lm.Usage{Calls: 1, Input: 3311, Cached: 3100, Output: 7}); answer.Usage != want {
		t.Errorf("usage %+v, want %+v", answer.Usage, want)
	}
}

func TestAnswer_StopReasons(t *testing.T) {
	for reason, want := range map[string]string{
		"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "model_context_window_exceeded": "length", "pause_turn": "length",
		"tool_use": "tool_calls", "a_new_one": "stop",
	} {
		t.Run(reason, func(t *testing.T) {
			server := newServer(t)
			server.says(events(begins, text(0, "Yes."), ends(reason), stops)...)
			if got := finish(t, call(t, open(t, server, nil), `{`+question+`}`)); got != want {
				t.Errorf("finish_reason %q, want %q", got, want)
			}
		})
	}
}

func TestAnswer_RefusalIsContentFiltered(t *testing.T) {
	server := newServer(t)
	server.says(events(begins, text(0, "I"),
		`{"type":"message_delta","delta":{"stop_reason":"refusal","stop_details":{"type":"refusal","category":"bio","explanation":"x"}},"usage":{"output_tokens":4}}`, stops)...)
	_, err := open(t, server, nil).Call(context.Background(), lm.Call{Kind: "chat", Model: "m", Body: json.RawMessage(`{` + question + `}`)})
	if lm.KindOf(err) != lm.ContentFiltered || !strings.Contains(err.Error(), "bio") {
		t.Errorf("%v, want content_filtered that names the category", err)
	}
}

// Events, blocks and deltas that came after this was written mean nothing to it.
func TestAnswer_UnknownEventsAreSkipped(t *testing.T) {
	server := newServer(t)
	server.says(events(begins, `{"type":"compaction"}`, `{"type":"content_block_delta","index":7,"delta":{"type":"text_delta","text":"stray"}}`,
		`{"type":"content_block_start","index":0,"content_block":{"type":"server_tool_use","id":"s","name":"web_search","input":{"q":"x"}}}`,
		`{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{}"}}`, `{"type":"content_block_stop","index":0}`,
		text(1, "Yes."), `{"type":"content_block_stop","index":9}`, ends("end_turn"), stops)...)
	m := message(t, call(t, open(t, server, nil), `{`+question+`}`))
	if m["content"] != "Yes." || m["tool_calls"] != nil {
		t.Errorf("message %v", m)
	}
}

// A gateway may send the input of a call whole at its start.
func TestAnswer_InputThatComesWhole(t *testing.T) {
	server := newServer(t)
	server.says(events(begins, `{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"c1","name":"look","input":{"at":"sky"}}}`,
		`{"type":"content_block_stop","index":0}`, uses(1, "c2"), uses(2, "c3", `{"a`, `":1}`), ends("tool_use"), stops)...)
	m := message(t, call(t, open(t, server, nil), `{`+question+`}`))
	var got []string
	for _, c := range m["tool_calls"].([]any) {
		got = append(got, c.(map[string]any)["function"].(map[string]any)["arguments"].(string))
	}
	if diff := cmp.Diff([]string{`{"at":"sky"}`, `{}`, `{"a":1}`}, got); diff != "" {
		t.Errorf("arguments (-want +got):\n%s", diff)
	}
}

// Thoughts come out with their signatures and go back as they came, at their places,
// to the account and model that had them.
func TestThoughts_GoBackWhereTheyCameFrom(t *testing.T) {
	server := newServer(t)
	server.says(events(begins, thinks(0, "Look first.", "SIG1"),
		`{"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking","data":"SECRET"}}`, `{"type":"content_block_stop","index":1}`,
		text(2, "I look."), thinks(3, "", "SIG2"), uses(4, "c1", `{"at":"sky"}`), ends("tool_use"), stops)...)
	api := open(t, server, nil)
	m := message(t, call(t, api, `{`+question+`}`))
	if m["reasoning_content"] != "Look first." {
		t.Errorf("reasoning_content %v", m["reasoning_content"])
	}
	back := next(t, m)
	want := []string{"thinking SIG1", "redacted_thinking SECRET", "text I look.", "thinking SIG2", "tool_use c1"}
	call(t, api, back)
	if diff := cmp.Diff(want, assistant(t, server)); diff != "" {
		t.Errorf("sent back (-want +got):\n%s", diff)
	}
	said := []string{"text I look.", "tool_use c1"}
	for _, c := range []struct {
		name string
		api  *anthropic.API
		call lm.Call
	}{
		{"another model", api, lm.Call{Model: "claude-other"}},
		{"another account", open(t, server, func(o *anthropic.Options) { o.Key = "sk-ant-other" }), lm.Call{Model: "claude-test"}},
	} {
		c.call.Kind, c.call.Body = "chat", json.RawMessage(back)
		if _, err := c.api.Call(context.Background(), c.call); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(said, assistant(t, server)); diff != "" {
			t.Errorf("sent to %s (-want +got):\n%s", c.name, diff)
		}
	}
	for _, change := range []string{`"format":"google-gemini-v1"`, `"signature":"","x":""`} {
		old := `"format":"anthropic-claude-v1"`
		if strings.Contains(change, "signature") {
			old = `"signature":"SIG1"`
		}
		call(t, api, strings.ReplaceAll(back, old, change))
		if got := strings.Join(assistant(t, server), ","); strings.Contains(got, "SIG1") || got == "" {
			t.Errorf("with %s: sent %s", change, got)
		}
	}
}

// Blocks that another tool kept, as OpenRouter does, name no origin: they are sent.
func TestThoughts_WithoutAnOriginAreSent(t *testing.T) {
	server := newServer(t)
	call(t, open(t, server, nil), `{"messages":[{"role":"user","content":"Go."},{"role":"assistant","content":"Yes.","reasoning_details":[
		{"type":"reasoning.text","format":"anthropic-claude-v1","text":"Hm.","signature":"SIG","index":0}]},{"role":"user","content":"And?"}]}`)
	if diff := cmp.Diff([]string{"thinking SIG", "text Yes."}, assistant(t, server)); diff != "" {
		t.Errorf("sent (-want +got):\n%s", diff)
	}
}

// One text and then the calls is all that OpenAI's form keeps: thoughts between two
// texts could not be put back at their places, and the API refuses them elsewhere.
func TestThoughts_BetweenTextsAreNotKept(t *testing.T) {
	server := newServer(t)
	for _, said := range [][]string{
		events(thinks(0, "a", "SIG1"), text(1, "One. "), thinks(2, "b", "SIG2"), text(3, "Two.")),
		events(uses(0, "c1"), thinks(1, "a", "SIG1"), text(2, "One. Two.")),
	} {
		server.says(events(begins, said, ends("end_turn"), stops)...)
		m := message(t, call(t, open(t, server, nil), `{`+question+`}`))
		if m["content"] != "One. Two." || m["reasoning_details"] != nil {
			t.Errorf("content %v, reasoning_details %v", m["content"], m["reasoning_details"])
		}
	}
	server.says(events(begins, thinks(0, "a", "SIG1"), text(1, "One. "), text(2, "Two."), ends("end_turn"), stops)...) // two texts in a row are one
	if m := message(t, call(t, open(t, server, nil), `{`+question+`}`)); m["reasoning_details"] == nil {
		t.Error("thoughts before two texts in a row are lost")
	}
}

// An older model refuses to think in a tool loop that began without its thoughts: a
// failover from another provider must not end there.
func TestThoughts_OlderModelDoesNotBeginInALoop(t *testing.T) {
	server := newServer(t)
	api := open(t, server, nil)
	loop := `{"messages":[{"role":"user","content":"Go."},{"role":"assistant","tool_calls":[{"id":"c1","function":{"name":"look","arguments":"{}"}}]%s},
		{"role":"tool","tool_call_id":"c1","content":"blue"}%s],"reasoning_effort":"low"}`
	signed := `,"reasoning_details":[{"type":"reasoning.text","format":"anthropic-claude-v1","text":"Hm.","signature":"SIG","index":0}]`
	for _, c := range []struct {
		details, more string
		want          bool
	}{
		{"", "", false},
		{signed, "", true},
		{"", `,{"role":"assistant","content":"Blue."},{"role":"user","content":"Why?"}`, true}, // that loop is over
	} {
		_, err := api.Call(context.Background(), lm.Call{Kind: "chat", Model: "claude-sonnet-4-5", Body: json.RawMessage(fmt.Sprintf(loop, c.details, c.more))})
		if err != nil {
			t.Fatal(err)
		}
		if _, got := object(t, server.last(t))["thinking"]; got != c.want {
			t.Errorf("thinking asked for: %v, want %v", got, c.want)
		}
	}
}

// next is a body that goes on behind an answer with a tool's result.
func next(t *testing.T, m map[string]any) string {
	t.Helper()
	b, err := json.Marshal(map[string]any{"messages": []any{
		map[string]any{"role": "user", "content": "Why?"}, m, map[string]any{"role": "tool", "tool_call_id": "c1", "content": "blue"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// assistant is the blocks of the assistant's turn that was sent last, in words.
func assistant(t *testing.T, f *fake) []string {
	t.Helper()
	var body struct {
		Messages []struct {
			Role    string
			Content []struct{ Type, Text, Signature, Data, ID string }
		}
	}
	if err := json.Unmarshal(f.last(t), &body); err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, m := range body.Messages {
		if m.Role != "assistant" {
			continue
		}
		for _, c := range m.Content {
			out = append(out, strings.TrimSpace(c.Type+" "+c.Text+c.Signature+c.Data+c.ID))
		}
	}
	return out
}
