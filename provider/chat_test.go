package provider

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	lm "github.com/lighterman/lighterman"
)

func TestParseChat(t *testing.T) {
	no, half, seed := false, 0.5, int64(7)
	got, err := ParseChat([]byte(`{"model":"m","messages":[
		{"role":"developer","content":"Be brief."},
		{"role":"user","content":[{"type":"text","text":"Look:"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAEC"}},{"type":"image_url","image_url":{"url":"https://x.test/a.png"}}],"name":"ann"},
		{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}],"reasoning_details":[{"type":"reasoning.text","format":"x-v1","text":"hm","signature":"s","index":0}]},
		{"role":"tool","tool_call_id":"c1","content":"result"},
		{"role":"assistant","content":[{"type":"refusal","refusal":"no"}]}],
		"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object"}}}],
		"tool_choice":{"type":"function","function":{"name":"f"}},"parallel_tool_calls":false,"max_tokens":5,"max_completion_tokens":9,"temperature":0.5,
		"stop":"END","seed":7,"user":"u","reasoning_effort":"low","n":1,"response_format":{"type":"json_schema","json_schema":{"name":"s","schema":{"type":"object"}}},
		"stream":true,"x_mine":{"a":[1]}}`))
	if err != nil {
		t.Fatal(err)
	}
	want := &Chat{
		Messages: []Message{
			{Role: "system", Parts: []Part{{Text: "Be brief."}}},
			{Role: "user", Name: "ann", Parts: []Part{{Text: "Look:"}, {Image: &Image{MediaType: "image/png", Data: []byte{0, 1, 2}}}, {Image: &Image{URL: "https://x.test/a.png"}}}},
			{Role: "assistant", ToolCalls: []ToolCall{{ID: "c1", Name: "f", Arguments: `{"a":1}`}}, Reasoning: []ReasoningBlock{{Type: "reasoning.text", Format: "x-v1", Text: "hm", Signature: "s"}}},
			{Role: "tool", ToolCallID: "c1", Parts: []Part{{Text: "result"}}},
			{Role: "assistant", Parts: []Part{{Text: "no"}}},
		},
		Tools:  []Tool{{Name: "f", Description: "d", Parameters: json.RawMessage(`{"type":"object"}`)}},
		Choice: ToolChoice{Mode: "function", Name: "f"}, Parallel: &no, MaxTokens: 9, Temperature: &half, Stop: []string{"END"}, Seed: &seed, User: "u", Effort: "low",
		Format: Format{Type: "json_schema", Name: "s", Schema: json.RawMessage(`{"type":"object"}`)}, Extra: map[string]json.RawMessage{"x_mine": json.RawMessage(`{"a":[1]}`)},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestParseChat_NamesThePlaceAndQuotesNothing(t *testing.T) {
	const canary = "canary-text"
	message := func(fields string) string { return `{"messages":[{"role":"user","content":"ok"},{` + fields + `}]}` }
	for body, want := range map[string]string{
		`{"messages":[{"role":"user","content":"` + canary: "no JSON from byte",
		`["` + canary + `"]`:                   "the wrong type",
		`{"messages":"` + canary + `"}`:        "messages has the wrong type, string",
		`{}`:                                   "messages: want a list",
		`{"messages":[]}`:                      "messages: want a list",
		message(`"role":"` + canary + `"`):     "messages[1].role: want",
		message(`"role":"tool","content":"x"`): "messages[1].tool_call_id: missing",
		message(`"role":"user","content":5`):   "messages[1].content: want a text or a list of parts",
		message(`"role":"user","content":[{"type":"` + canary + `"}]`):                                                        "messages[1].content[0].type: this provider takes",
		message(`"role":"user","content":[{"type":"image_url","image_url":{"url":"` + canary + `"}}]`):                        "messages[1].content[0].image_url.url: want",
		message(`"role":"user","content":[{"type":"image_url","image_url":{"url":"data:text/plain;base64,` + canary + `"}}]`): "messages[1].content[0].image_url.url: want data:image/",
		message(`"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,!` + canary + `"}}]`): "its base64 is broken",
		`{"messages":[{"role":"user","content":"x"}],"n":2}`:                                                                  "n: this provider answers once",
		`{"messages":[{"role":"user","content":"x"}],"tools":[{"type":"` + canary + `"}]}`:                                    "tools[0]: want a function",
		`{"messages":[{"role":"user","content":"x"}],"tool_choice":"` + canary + `"}`:                                         "tool_choice: want",
		`{"messages":[{"role":"user","content":"x"}],"stop":{"a":"` + canary + `"}}`:                                          "stop: want a text",
	} {
		_, err := ParseChat([]byte(body))
		if lm.KindOf(err) != lm.InvalidRequest || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), canary) {
			t.Errorf("%s\n  %v, want %q", body, err, want)
		}
	}
}

func TestParseChat_StopAndChoice(t *testing.T) {
	for fields, check := range map[string]func(*Chat) bool{
		`"stop":["a","b"]`:                    func(c *Chat) bool { return len(c.Stop) == 2 },
		`"stop":null`:                         func(c *Chat) bool { return c.Stop == nil },
		`"tool_choice":"required"`:            func(c *Chat) bool { return c.Choice.Mode == "required" },
		`"tool_choice":null`:                  func(c *Chat) bool { return c.Choice == ToolChoice{} },
		`"max_tokens":5`:                      func(c *Chat) bool { return c.MaxTokens == 5 },
		`"response_format":{"type":"text"}`:   func(c *Chat) bool { return c.Format.Type == "text" },
		`"frequency_penalty":1,"metadata":{}`: func(c *Chat) bool { return len(c.Extra) == 0 },
	} {
		c, err := ParseChat([]byte(`{"messages":[{"role":"user","content":"x"}],` + fields + `}`))
		if err != nil || !check(c) {
			t.Errorf("%s: %+v, %v", fields, c, err)
		}
	}
}

func TestParsePrompt(t *testing.T) {
	for _, body := range []string{`{"prompt":"Once","max_tokens":3}`, `{"prompt":["Once"],"max_tokens":3}`} {
		c, err := ParsePrompt([]byte(body))
		if err != nil || len(c.Messages) != 1 || c.Messages[0].Role != "user" || c.Messages[0].Parts[0].Text != "Once" || c.MaxTokens != 3 || c.Extra["prompt"] != nil {
			t.Errorf("%s: %+v, %v", body, c, err)
		}
	}
	for _, body := range []string{`{}`, `{"prompt":["a","b"]}`, `{"prompt":[1,2]}`, `[`} {
		if _, err := ParsePrompt([]byte(body)); lm.KindOf(err) != lm.InvalidRequest {
			t.Errorf("%s: %v", body, err)
		}
	}
}

func TestEmbed(t *testing.T) {
	e, err := ParseEmbed([]byte(`{"input":["a","b"],"dimensions":2,"encoding_format":"base64"}`))
	if err != nil || len(e.Inputs) != 2 || e.Dimensions != 2 || !e.Base64 {
		t.Fatalf("%+v, %v", e, err)
	}
	a, err := e.Answer("m", [][]float32{{1, 0}, {0, -2}}, lm.Usage{Input: 4})
	if err != nil || a.Usage != (lm.Usage{Calls: 1, Input: 4}) || !strings.Contains(string(a.Body), `"embedding":"AACAPwAAAAA="`) || !strings.Contains(string(a.Body), `"index":1`) {
		t.Errorf("%s, %+v, %v", a.Body, a.Usage, err)
	}
	if _, err := e.Answer("m", [][]float32{{1}}, lm.Usage{}); lm.KindOf(err) != lm.ProviderFailed {
		t.Errorf("a vector is missing: %v", err)
	}
	for _, body := range []string{`{}`, `{"input":[]}`, `{"input":[1,2]}`, `{"input":5}`, `{`} {
		if _, err := ParseEmbed([]byte(body)); lm.KindOf(err) != lm.InvalidRequest {
			t.Errorf("%s: %v", body, err)
		}
	}
	if e, err := ParseEmbed([]byte(`{"input":"one"}`)); err != nil || len(e.Inputs) != 1 || e.Base64 {
		t.Errorf("%+v, %v", e, err)
	}
}

func TestCompletion(t *testing.T) {
	var frames []lm.Frame
	c := &Completion{Kind: "chat", ID: "x", Model: "m", Stream: func(f lm.Frame) { frames = append(frames, f) }}
	c.Think("hm")
	c.Text("")
	c.Text("An ")
	c.Text("answer")
	a := c.Begin("c1", "f")
	b := c.Begin("c2", "g")
	c.Arguments(a, `{"a":`)
	c.Arguments(a, `1}`)
	c.Done(a)
	c.Done(a)
	if _, err := c.Answer(); lm.KindOf(err) != lm.StreamInterrupted {
		t.Errorf("before its end: %v", err)
	}
	c.Arguments(b, " ")
	c.Finish, c.Usage = "stop", lm.Usage{Input: 3, Cached: 1, Output: 2, Reasoning: 1}
	answer, err := c.Answer()
	if err != nil || answer.Usage != (lm.Usage{Calls: 1, Input: 3, Cached: 1, Output: 2, Reasoning: 1}) || answer.Model != "m" {
		t.Fatalf("%+v, %v", answer, err)
	}
	var types []string
	for _, f := range frames {
		types = append(types, string(f.Type)+" "+f.Data)
	}
	want := []string{
		"reasoning hm", "token An ", "token answer", `tool_call {"function":{"arguments":"{\"a\":1}","name":"f"},"id":"c1","type":"function"}`,
		`tool_call {"function":{"arguments":"{}","name":"g"},"id":"c2","type":"function"}`,
		`usage {"completion_tokens":2,"completion_tokens_details":{"reasoning_tokens":1},"prompt_tokens":3,"prompt_tokens_details":{"cached_tokens":1},"total_tokens":5}`,
	}
	if d := cmp.Diff(want, types); d != "" {
		t.Error(d)
	}
	for _, part := range []string{`"finish_reason":"tool_calls"`, `"content":"An answer"`, `"reasoning_content":"hm"`, `"id":"chatcmpl-x"`, `"object":"chat.completion"`} {
		if !strings.Contains(string(answer.Body), part) {
			t.Errorf("no %s in %s", part, answer.Body)
		}
	}
}

func TestCompletion_Ends(t *testing.T) {
	c := &Completion{Kind: "chat", Finish: "content_filter"}
	if _, err := c.Answer(); lm.KindOf(err) != lm.ContentFiltered {
		t.Errorf("filtered: %v", err)
	}
	c = &Completion{Kind: "prompt", ID: "x", Finish: "length"}
	c.Text("half")
	a, err := c.Answer()
	if err != nil || !strings.Contains(string(a.Body), `"text":"half"`) || !strings.Contains(string(a.Body), `"text_completion"`) {
		t.Errorf("%s, %v", a.Body, err)
	}
	c = &Completion{Kind: "chat", ID: "x", Finish: "tool_calls", Refusal: "no", Blocks: []ReasoningBlock{{Type: "reasoning.text", Format: "f", Text: "t"}}}
	c.Begin("c", "f")
	a, err = c.Answer()
	for _, part := range []string{`"content":null`, `"refusal":"no"`, `"reasoning_details":[{`} {
		if err != nil || !strings.Contains(string(a.Body), part) {
			t.Errorf("no %s in %s (%v)", part, a.Body, err)
		}
	}
}
