package aimock_test

import (
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"testing"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/aimock"
	"github.com/lighterman/lighterman/provider"
	"github.com/lighterman/lighterman/provider/providertest"
)

var (
	text   = "Rivers bend, é and 日本 and 👩‍👩‍👧 too, because water is faster \"outside\"\n\tthan inside."
	usage  = lm.Usage{Input: 40, Output: 12}
	paris  = lm.ToolCall{ID: "call_paris_1", Name: "weather", Arguments: json.RawMessage(`{"city":"Paris","days":3,"of":["rain","wind"],"x":{"y":null}}`)}
	london = lm.ToolCall{ID: "call_london_2", Name: "weather", Arguments: json.RawMessage(`{"city":"London \"the city\""}`)}
	hour   = lm.ToolCall{ID: "call_hour_3", Name: "hour", Arguments: json.RawMessage(`{}`)}
)

// scene is a question and what the mock is to answer to it.
type scene struct {
	name string
	want providertest.Reply
}

var scenes = []scene{
	{"text", providertest.Reply{Text: text, Usage: usage}},
	{"length", providertest.Reply{Text: "cut off in the mid", Finish: "length", Usage: usage}},
	{"tool", providertest.Reply{ToolCalls: []lm.ToolCall{paris}, Usage: usage}},
	{"tools", providertest.Reply{ToolCalls: []lm.ToolCall{paris, london, hour}, Usage: usage}},
	{"mixed", providertest.Reply{Text: "I look outside.", ToolCalls: []lm.ToolCall{paris, hour}, Usage: usage}},
	{"thoughts", providertest.Reply{Text: text, Reasoning: "Water first, then sand. Both are slow.", Usage: usage}},
}

func (s *scene) question() string { return "the scene of " + s.name + ", please" }

// fixtures are the answer in the mock's words.
func (s *scene) fixtures() []aimock.Fixture {
	response := map[string]any{"usage": map[string]int64{"prompt_tokens": s.want.Usage.Input, "completion_tokens": s.want.Usage.Output}}
	if s.want.Text != "" {
		response["content"] = s.want.Text
	}
	if s.want.Reasoning != "" {
		response["reasoning"] = s.want.Reasoning
	}
	if s.want.Finish != "" {
		response["finishReason"] = s.want.Finish
	}
	var calls []map[string]string
	for _, c := range s.want.ToolCalls {
		calls = append(calls, map[string]string{"id": c.ID, "name": c.Name, "arguments": string(c.Arguments)})
	}
	if calls != nil {
		response["toolCalls"] = calls
	}
	return ended(aimock.Fixture{Match: aimock.Match{UserMessage: s.question()}, Response: response, ChunkSize: 7})
}

// ended is an answer beside which Gemini's models have one with an end of its own: left
// alone the mock ends their tool calls with FUNCTION_CALL, which the API does not have;
// it says STOP.
func ended(f aimock.Fixture) []aimock.Fixture {
	google := f
	google.Match.Model, google.Response = geminiModel, maps.Clone(f.Response)
	if f.Response["finishReason"] == nil {
		google.Response["finishReason"] = "stop"
	}
	return []aimock.Fixture{google, f}
}

// listed is a model that no adapter asks.
const listed = "a/model:of-the-list"

const result = `{"degrees":21}`

var vector = []float32{0.25, -0.5, 0.125, 1}

// TestHappyPaths asks the mock through every adapter what has a good answer, and
// prints the matrix with -v.
func TestHappyPaths(t *testing.T) {
	fixtures := []aimock.Fixture{
		{Match: aimock.Match{UserMessage: "how warm", ToolResultContains: "21"}, Response: map[string]any{"content": "It is warm."}},
		{Match: aimock.Match{UserMessage: "second question", SystemMessage: "Be brief."}, Response: map[string]any{"content": "Short."}},
		{Match: aimock.Match{UserMessage: "turn the loop", ToolResultContains: "21"}, Response: map[string]any{"content": "It is warm in Paris."}},
		{Match: aimock.Match{InputText: "vectors"}, Response: map[string]any{"embedding": vector}},
		{Match: aimock.Match{UserMessage: "nobody asks it", Model: listed}, Response: map[string]any{"content": "x"}}, // to be listed
	}
	for i := range scenes {
		fixtures = append(fixtures, scenes[i].fixtures()...)
	}
	fixtures = append(fixtures, ended(aimock.Fixture{Match: aimock.Match{UserMessage: "turn the loop", HasToolResult: new(bool)}, Response: map[string]any{
		"reasoning": "I do not know, but weather does.", "toolCalls": []map[string]string{
			{"id": paris.ID, "name": paris.Name, "arguments": string(paris.Arguments)},
		},
	}})...)
	m := begin(t, fixtures)
	for i := range scenes {
		s := &scenes[i]
		m.each(t, s.name, func(t *testing.T, f *format, api provider.API, id string) {
			providertest.Expect(t, api, chat(f, message("user", s.question())), s.want)
			m.asked(t, id, 2, f)
		})
	}
	m.each(t, "request", m.request)
	m.each(t, "result", m.result)
	m.each(t, "loop", m.loop)
	m.each(t, "prompt", func(t *testing.T, f *format, api provider.API, _ string) {
		call := lm.Call{Kind: "prompt", Model: f.model, Body: encode(object{"prompt": scenes[0].question(), "max_tokens": 99})}
		providertest.Expect(t, api, call, scenes[0].want)
	})
	m.each(t, "embed", embed)
	m.each(t, "list", func(t *testing.T, _ *format, api provider.API, _ string) {
		got, err := api.List(t.Context())
		if err != nil || !slices.ContainsFunc(got, func(o lm.Offering) bool { return o.Name == listed }) {
			t.Errorf("listed %+v, %v", got, err)
		}
	})
	m.each(t, "probe", func(t *testing.T, _ *format, api provider.API, _ string) {
		if err := api.Probe(t.Context()); err != nil {
			t.Error(err)
		}
	})
	m.print(t)
}

type object = map[string]any

func encode(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return raw
}

func message(role, content string) object { return object{"role": role, "content": content} }

var declared = []object{
	{"type": "function", "function": object{"name": "weather", "description": "of a city", "parameters": object{
		"type": "object", "properties": object{"city": object{"type": "string"}, "days": object{"type": "integer"}}, "required": []string{"city"},
	}}},
	{"type": "function", "function": object{"name": "hour", "parameters": object{"type": "object", "properties": object{}}}},
}

func chat(f *format, messages ...object) lm.Call {
	body := object{"model": "pool", "messages": messages, "tools": declared, "max_tokens": 77, "temperature": 0.5}
	return lm.Call{Kind: "chat", Model: f.model, Body: encode(body), Key: "t/1", Attempt: 1}
}

// asked is the last of the n requests that the mock is to have seen with this ID.
func (m *matrix) asked(t *testing.T, id string, n int, f *format) aimock.Asked {
	t.Helper()
	all, err := m.server.Asked(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != n {
		t.Fatalf("the mock saw %d requests, want %d", len(all), n)
	}
	for _, one := range all {
		model, err := url.PathUnescape(one.Body.Model) // which the mock does not do for Bedrock's
		if err != nil || one.Response.Status != 200 || model != f.model || one.Body.MaxTokens != 77 || one.Body.Temperature != 0.5 {
			t.Errorf("the mock read %s", encode(one))
		}
		if tools := one.Body.Tools; len(tools) != 2 || tools[0].Function.Name != "weather" || tools[1].Function.Name != "hour" {
			t.Errorf("the mock read tools %+v", tools)
		}
	}
	return all[n-1]
}

func embed(t *testing.T, f *format, api provider.API, _ string) {
	answer, err := api.Call(t.Context(), lm.Call{Kind: "embed", Model: f.model, Body: encode(object{"input": []string{"vectors of one", "and of another"}})})
	if err != nil {
		t.Fatal(err)
	}
	var w struct {
		Data []struct {
			Index     int       `json:"index"`
			Embedding []float32 `json:"embedding"`
		} `json:"data"`
	}
	if err := json.Unmarshal(answer.Body, &w); err != nil || len(w.Data) != 2 {
		t.Fatalf("%s (%v)", answer.Body, err)
	}
	for i, d := range w.Data {
		if d.Index != i || !slices.Equal(d.Embedding, vector) {
			t.Errorf("vector %d: %+v, want %v", i, d, vector)
		}
	}
}
