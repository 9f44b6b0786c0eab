package providertest

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	lm "github.com/lighterman/lighterman"
)

var usual = Reply{Text: "A good answer of several words, é and 日本.", Usage: lm.Usage{Input: 40, Cached: 16, Output: 12}}

// counted is a usage as this API can count it.
func (s *suite) counted(u lm.Usage) lm.Usage {
	u.Calls = 1
	if s.lacks("cached") {
		u.Cached = 0
	}
	if s.lacks("thoughts") || s.lacks("reasoning") {
		u.Reasoning = 0
	}
	return u
}

func (s *suite) chat(t *testing.T) {
	s.both(t, ask(CanaryPrompt), usual, func(t *testing.T, got said, answer lm.Answer) {
		if got.Text != usual.Text || got.Finish != "stop" {
			t.Errorf("answer %+v", got)
		}
		if want := s.counted(usual.Usage); answer.Usage != want {
			t.Errorf("usage %+v, want %+v", answer.Usage, want)
		}
		if want := (wireUsage{40, 12, 52}); got.Usage != want {
			t.Errorf("usage in the body %+v, want %+v", got.Usage, want)
		}
	})
}

func (s *suite) request(t *testing.T) {
	for _, streamed := range []bool{false, true} {
		server, api := s.start(t)
		call := ask("Second question")
		call.Body = json.RawMessage(compact(object{"messages": []object{
			{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "First question"}, {"role": "assistant", "content": "First answer"},
			{"role": "user", "content": []object{{"type": "text", "text": "Second question"}}},
		}, "max_completion_tokens": 77, "temperature": 0.5, "x_unknown": object{"kept": true}}))
		if streamed {
			call.Stream = (&frames{}).add
		}
		if _, err := api.Call(t.Context(), call); err != nil {
			t.Fatalf("call: %v", err)
		}
		got := server.Calls()
		if len(got) != 1 {
			t.Fatalf("%d requests", len(got))
		}
		a := got[0].Asked
		want := Asked{Kind: "chat", Model: "alpha", Stream: streamed || s.lacks("whole"), Messages: a.Messages, Question: "Second question", System: "Be brief.", Max: 77, Key: CanaryKey, Path: a.Path}
		if g, w := fmt.Sprintf("%+v", a), fmt.Sprintf("%+v", want); g != w && !s.lacks("request") {
			t.Errorf("asked\n%s, want\n%s", g, w)
		}
	}
}

// texts are those that a codec may get wrong.
func (s *suite) texts(t *testing.T) {
	for _, text := range []string{
		"", " leading and trailing ", "line\nbreaks\r\nand\ttabs", `quotes " and \ backslashes`, "data: [DONE]\n\ndata: {}", "emoji 👩‍👩‍👧 and \u2028 separators", "\u0000\u001f\u007f control", "</script>&amp;<b>",
		strings.Repeat("long ", 4000),
	} {
		s.both(t, ask("texts"), Reply{Text: text, Usage: lm.Usage{Input: 1, Output: 1}}, func(t *testing.T, got said, _ lm.Answer) {
			if got.Text != text {
				t.Errorf("text %.80q, want %.80q", got.Text, text)
			}
		})
	}
}

func (s *suite) finish(t *testing.T) {
	s.both(t, ask("length"), Reply{Text: "cut off", Finish: "length", Usage: lm.Usage{Input: 1, Output: 2}}, func(t *testing.T, got said, _ lm.Answer) {
		if got.Finish != "length" {
			t.Errorf("finish_reason %q, want length", got.Finish)
		}
	})
	if s.lacks(string(lm.ContentFiltered)) {
		return
	}
	for _, streamed := range []bool{false, true} {
		server, api := s.start(t)
		server.Push(Say(Reply{Text: "half of", Finish: "content_filter"}))
		call := ask(CanaryPrompt)
		if streamed {
			call.Stream = (&frames{}).add
		}
		_, err := api.Call(t.Context(), call)
		s.failed(t, err, lm.ContentFiltered)
	}
}

func withTools(question string) lm.Call {
	c := ask(question)
	tool := func(name string) object {
		return object{"type": "function", "function": object{
			"name": name, "description": "Looks " + name + " up", "parameters": object{"type": "object", "properties": object{"city": object{"type": "string"}}},
		}}
	}
	c.Body = json.RawMessage(compact(object{
		"messages": []object{{"role": "user", "content": question}}, "tools": []object{tool("weather"), tool("time")}, "max_tokens": 300,
	}))
	return c
}

func (s *suite) tools(t *testing.T) {
	s.need(t, "tools")
	calls := []lm.ToolCall{
		{ID: "call_one", Name: "weather", Arguments: json.RawMessage(`{"city":"Zürich \"ZH\"","days":[1,2,3],"deep":{"a":null}}`)},
		{ID: "call_two", Name: "time", Arguments: json.RawMessage(`{"city":"Oslo"}`)},
		{ID: "call_three", Name: "time", Arguments: json.RawMessage(`{}`)},
	}
	for _, reply := range []Reply{{ToolCalls: calls[:1]}, {ToolCalls: calls}, {Text: "Let me look.", ToolCalls: calls[:2]}} {
		reply.Usage = lm.Usage{Input: 50, Output: 20}
		s.both(t, withTools("weather?"), reply, func(t *testing.T, got said, _ lm.Answer) {
			if got.Text != reply.Text || got.Finish != "tool_calls" || len(got.Calls) != len(reply.ToolCalls) {
				t.Fatalf("answer %+v", got)
			}
			ids := map[string]bool{}
			for i, c := range got.Calls {
				want := reply.ToolCalls[i]
				if c.Function.Name != want.Name || !equalJSON(c.Function.Arguments, string(want.Arguments)) || c.ID == "" || ids[c.ID] {
					t.Errorf("call %d is %+v, want %s", i, c, compact(want))
				}
				ids[c.ID] = true
			}
		})
	}
	server, api := s.start(t)
	c := withTools("weather?")
	c.Body = json.RawMessage(strings.Replace(string(c.Body), `"messages":[`, `"messages":[{"role":"user","content":"earlier"},`+
		`{"role":"assistant","content":null,"tool_calls":[{"id":"call_one","type":"function","function":{"name":"weather","arguments":"{\"city\":\"Oslo\"}"}},{"id":"call_two","type":"function","function":{"name":"time","arguments":"{}"}}]},`+
		`{"role":"tool","tool_call_id":"call_one","content":"rain"},{"role":"tool","tool_call_id":"call_two","content":"noon"},`, 1))
	if _, err := api.Call(t.Context(), c); err != nil {
		t.Fatalf("with results: %v", err)
	}
	a := server.Calls()[0].Asked
	if !slices.Equal(a.Results, []string{"rain", "noon"}) || !slices.Equal(a.Tools, []string{"weather", "time"}) {
		t.Errorf("the server saw results %q and tools %q", a.Results, a.Tools)
	}
}

func equalJSON(a, b string) bool {
	var x, y any
	return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && compact(x) == compact(y)
}

func (s *suite) reasoning(t *testing.T) {
	s.need(t, "reasoning")
	reply := Reply{Reasoning: "First I think,\nthen I answer.", Text: "The answer.", Usage: lm.Usage{Input: 9, Output: 30, Reasoning: 20}}
	s.both(t, ask("think"), reply, func(t *testing.T, got said, answer lm.Answer) {
		if got.Reasoning != reply.Reasoning || got.Text != reply.Text {
			t.Errorf("answer %+v", got)
		}
		if want := s.counted(reply.Usage); answer.Usage != want {
			t.Errorf("usage %+v, want %+v", answer.Usage, want)
		}
	})
}

func (s *suite) images(t *testing.T) {
	s.need(t, "images")
	server, api := s.start(t)
	call := ask("")
	call.Body = json.RawMessage(`{"messages":[{"role":"user","content":[{"type":"text","text":"What is it?"},` +
		`{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="}}]}],"max_tokens":50}`)
	if _, err := api.Call(t.Context(), call); err != nil {
		t.Fatalf("call: %v", err)
	}
	if a := server.Calls()[0].Asked; a.Images != 1 || a.Question != "What is it?" {
		t.Errorf("the server saw %d images and %q", a.Images, a.Question)
	}
}

func (s *suite) prompt(t *testing.T) {
	s.need(t, "prompt")
	call := lm.Call{Kind: "prompt", Model: "alpha", Body: json.RawMessage(`{"model":"pool","prompt":"Once upon","max_tokens":50}`)}
	s.both(t, call, usual, func(t *testing.T, got said, answer lm.Answer) {
		if got.Text != usual.Text || got.Finish != "stop" || !strings.Contains(string(answer.Body), `"text_completion"`) {
			t.Errorf("answer %s", answer.Body)
		}
		if want := s.counted(usual.Usage); answer.Usage != want {
			t.Errorf("usage %+v, want %+v", answer.Usage, want)
		}
	})
}

func (s *suite) embed(t *testing.T) {
	s.need(t, "embed")
	for _, input := range []any{"one text", []string{"first", "second", "third"}} {
		_, api := s.start(t)
		answer, err := api.Call(t.Context(), lm.Call{Kind: "embed", Model: "alpha", Body: json.RawMessage(compact(object{"input": input}))})
		if err != nil {
			t.Fatalf("embed: %v", err)
		}
		texts, many := input.([]string)
		if !many {
			texts = []string{input.(string)}
		}
		checkVectors(t, answer, texts)
		if !s.lacks("embed usage") && (answer.Usage.Input == 0 || answer.Usage.Calls != 1) {
			t.Errorf("usage %+v", answer.Usage)
		}
	}
	server, api := s.start(t)
	for _, e := range s.Format.Errors()[:1] {
		server.Push(Fail(e))
		_, err := api.Call(t.Context(), lm.Call{Kind: "embed", Model: "alpha", Body: json.RawMessage(compact(object{"input": CanaryPrompt}))})
		s.failed(t, err, e.Kind)
	}
}

func checkVectors(t *testing.T, answer lm.Answer, texts []string) {
	t.Helper()
	var w struct {
		Object string `json:"object"`
		Data   []struct {
			Index     int       `json:"index"`
			Embedding []float64 `json:"embedding"`
		} `json:"data"`
	}
	if err := json.Unmarshal(answer.Body, &w); err != nil || w.Object != "list" || len(w.Data) != len(texts) {
		t.Fatalf("answer %s (%v)", answer.Body, err)
	}
	for i, d := range w.Data {
		want := Vector(texts[i])
		if d.Index != i || len(d.Embedding) != len(want) {
			t.Fatalf("vector %d: %+v", i, d)
		}
		for j := range want {
			if math.Abs(d.Embedding[j]-float64(want[j])) > 1e-6 {
				t.Fatalf("vector %d is %v, want %v", i, d.Embedding, want)
			}
		}
	}
}

func (s *suite) list(t *testing.T) {
	s.need(t, "list")
	server, api := s.start(t)
	server.Offer(lm.Offering{Name: "one", Window: 4096}, lm.Offering{Name: "two/with-slash:tag", Window: 128000})
	got, err := api.List(t.Context())
	if err != nil {
		t.Fatalf("list: %v", err)
	}
	windows := map[string]int{"one": 4096, "two/with-slash:tag": 128000}
	for _, o := range got {
		want, known := windows[o.Name]
		if !known || o.Window != 0 && o.Window != want {
			t.Errorf("offering %+v", o)
		}
		delete(windows, o.Name)
	}
	if len(windows) > 0 || len(got) != 2 {
		t.Errorf("listed %+v", got)
	}
	for _, e := range s.Format.Errors() {
		if e.Kind == lm.Unauthorized || e.Kind == lm.ProviderFailed && e.Status >= 500 {
			server.PushList(Fail(e))
			_, err := api.List(t.Context())
			s.failed(t, err, e.whenListed())
		}
	}
	server.PushList(Garbage())
	_, err = api.List(t.Context())
	s.failed(t, err, lm.ProviderFailed)
}

func (s *suite) probe(t *testing.T) {
	server, api := s.start(t)
	if err := api.Probe(t.Context()); err != nil {
		t.Fatalf("probe: %v", err)
	}
	if s.lacks("key") {
		return
	}
	server.Require("another key")
	s.failed(t, api.Probe(t.Context()), s.refused().whenListed())
}

// refused is what Require answers.
func (s *suite) refused() ErrorCase {
	for _, e := range s.Format.Errors() {
		if e.Kind == lm.Unauthorized {
			return e
		}
	}
	return ErrorCase{}
}

// whenListed is the kind that an error case is of when it answers a listing: a 403 that
// does not blame the credential itself says only that it may not list.
func (e ErrorCase) whenListed() lm.Kind {
	if e.Kind == lm.Unauthorized && e.Status == http.StatusForbidden && !e.blamesKey() {
		return lm.ProviderFailed
	}
	return e.Kind
}

func (s *suite) concurrent(t *testing.T) {
	_, api := s.start(t)
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			for j := range 4 {
				got := &frames{}
				call := ask(fmt.Sprintf("question %d of caller %d", j, i))
				if j%2 == 0 {
					call.Stream = got.add
				}
				answer, err := api.Call(t.Context(), call)
				want := fmt.Sprintf("You said: question %d of caller %d", j, i)
				if err != nil {
					t.Errorf("call: %v", err)
				} else if text := (lm.Result{Body: answer.Body}).Text(); text != want || j%2 == 0 && got.text(lm.FrameToken) != want {
					t.Errorf("answer %q, frames %q, want %q", text, got.text(lm.FrameToken), want)
				}
			}
		})
	}
	all.Wait()
}

// blamesKey: its text speaks of the credential.
func (e ErrorCase) blamesKey() bool {
	said := strings.ToLower(e.Body + e.Header.Get("X-Amzn-Errortype"))
	return slices.ContainsFunc([]string{"signature", "security token", "leaked", "suspended"}, func(word string) bool { return strings.Contains(said, word) })
}
