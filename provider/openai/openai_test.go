package openai

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
	"github.com/lighterman/lighterman/provider/providertest"
)

func open(t *testing.T, vendor string) (*providertest.Server, *API) {
	t.Helper()
	s := providertest.NewServer(providertest.OpenAI{Vendor: vendor})
	t.Cleanup(s.Close)
	a, err := New(Vendor(vendor, provider.Options{BaseURL: s.URL, Key: "k"}))
	if err != nil {
		t.Fatal(err)
	}
	return s, a
}

func chat(fields string) lm.Call {
	return lm.Call{Kind: "chat", Model: "alpha", Body: json.RawMessage(`{"messages":[{"role":"user","content":"hi"}]` + fields + `}`), Key: "t/1"}
}

func streamed(c lm.Call) (lm.Call, *[]lm.Frame) {
	frames := &[]lm.Frame{}
	c.Stream = func(f lm.Frame) { *frames = append(*frames, f) }
	return c, frames
}

func TestRequest_OnlyWhatMustBeIsWritten(t *testing.T) {
	const history = `[{"role":"user","content":"a"},{"role":"assistant","content":"b","reasoning_content":"c","reasoning":"r","reasoning_details":[{"text":"d"}],"x":{"reasoning_details":1}},{"role":"user","content":"say reasoning_details"}]`
	without := func(names ...string) string {
		out := history
		for _, n := range names {
			out = strings.Replace(out, n, "", 1)
		}
		return out
	}
	const text, other, blocks = `,"reasoning_content":"c"`, `,"reasoning":"r"`, `,"reasoning_details":[{"text":"d"}]`
	own := Quirks{CacheKey: true}
	session := lm.Call{Thread: "th", Agent: "ag", Tenant: "te"}
	key := cacheKey(&session)
	for _, c := range []struct {
		name   string
		quirks Quirks
		call   lm.Call
		body   string
		stream bool
		want   string
	}{
		{"unknown fields are kept", Quirks{}, lm.Call{}, `{"messages":[],"x_mine":{"a":[1,2]},"n":3}`, false, `{"model":"m","messages":[],"x_mine":{"a":[1,2]},"n":3}`},
		{"model and stream are ours", Quirks{}, lm.Call{}, ` {"stream":true, "model" : "pool", "messages":[] ,"stream_options":{"include_usage":false}}`, false, `{"model":"m","messages":[]}`},
		{"streamed", Quirks{}, lm.Call{}, `{"messages":[]}`, true, `{"model":"m","messages":[],"stream":true,"stream_options":{"include_usage":true}}`},
		{"stream options are kept", Quirks{}, lm.Call{}, `{"stream_options":{"x":1,"include_usage":false}}`, true, `{"model":"m","stream_options":{"include_usage":true,"x":1},"stream":true}`},
		{"stream options that are none", Quirks{}, lm.Call{}, `{"stream_options":null,"metadata":{"a":1,"stream_options":2}}`, true, `{"model":"m","stream_options":{"include_usage":true},"metadata":{"a":1,"stream_options":2},"stream":true}`},
		{"a nested field is no option", Quirks{}, lm.Call{}, `{"metadata":{"a":1,"stream_options":2}}`, true, `{"model":"m","metadata":{"a":1,"stream_options":2},"stream":true,"stream_options":{"include_usage":true}}`},
		{"Mistral", Quirks{NoStreamOptions: true}, lm.Call{}, `{"stream_options":{"include_usage":true}}`, true, `{"model":"m","stream":true}`},
		{"numbers and escapes are not read", Quirks{}, lm.Call{}, `{"seed":12345678901234567890,"user":"\u00e9","temperature":1.0}`, false, `{"model":"m","seed":12345678901234567890,"user":"\u00e9","temperature":1.0}`},
		{"a key with escapes", Quirks{}, lm.Call{}, `{"\u006dodel":"pool"}`, false, `{"model":"m"}`},
		{"blocks of reasoning are dropped", Quirks{}, lm.Call{}, `{"messages":` + history + `}`, false, `{"model":"m","messages":` + without(blocks) + `}`},
		{"all of it", Quirks{Reasoning: ReasoningNone}, lm.Call{}, `{"messages":` + history + `}`, false, `{"model":"m","messages":` + without(blocks, text, other) + `}`},
		{"none of it", Quirks{Reasoning: ReasoningAll}, lm.Call{}, `{"messages":` + history + `}`, false, `{"model":"m","messages":` + history + `}`},
		{"messages that are none", Quirks{}, lm.Call{}, `{"messages":"reasoning"}`, false, `{"model":"m","messages":"reasoning"}`},
		{"no session, no key", own, lm.Call{}, `{}`, false, `{"model":"m"}`},
		{"a session's key", own, session, `{}`, false, `{"model":"m","prompt_cache_key":"` + key + `"}`},
		{"a key of the caller's", own, session, `{"prompt_cache_key":"mine"}`, false, `{"model":"m","prompt_cache_key":"mine"}`},
		{"a compatible server gets none", Quirks{}, session, `{}`, false, `{"model":"m"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.call.Kind, c.call.Model, c.call.Body = "chat", "m", json.RawMessage(c.body)
			got, _, err := (&API{quirks: c.quirks}).request(&c.call, c.stream)
			if err != nil || string(got) != c.want {
				t.Errorf("got  %s\nwant %s (%v)", got, c.want, err)
			}
		})
	}
	for _, body := range []string{``, `[]`, `{"a":`, `"x"`, `{} {}`} {
		if _, _, err := (&API{}).request(&lm.Call{Model: "m", Body: json.RawMessage(body)}, false); lm.KindOf(err) != lm.InvalidRequest {
			t.Errorf("%q: %v", body, err)
		}
	}
}

func TestRequest_AModelThatReasonsHasMoreTime(t *testing.T) {
	for body, want := range map[string]bool{`{"reasoning_effort":"low"}`: true, `{"reasoning":{}}`: true, `{"messages":["reasoning_effort"]}`: false} {
		if _, got, err := (&API{}).request(&lm.Call{Body: json.RawMessage(body)}, false); got != want || err != nil {
			t.Errorf("%s: %t, %v", body, got, err)
		}
	}
}

func TestCacheKey_IsScopedAndTellsNothing(t *testing.T) {
	keys := map[string]bool{}
	for _, c := range []lm.Call{{Thread: "a"}, {Agent: "a"}, {Thread: "a", Tenant: "t"}, {Thread: "a", Agent: "b"}, {Thread: "ab"}, {Tenant: "a", Agent: "b"}} {
		key := cacheKey(&c)
		if len(key) != 32 || keys[key] {
			t.Errorf("%+v has %q", c, key)
		}
		keys[key] = true
	}
	if cacheKey(&lm.Call{Thread: "a", Run: "1"}) != cacheKey(&lm.Call{Thread: "a", Run: "2"}) {
		t.Error("the runs of a thread have keys of their own")
	}
}

func TestVendor_AddressesAndCredentials(t *testing.T) {
	for vendor, want := range map[string]string{"openai": ownURL, "openrouter": "https://openrouter.ai/api/v1", "mistral": "https://api.mistral.ai/v1", "vllm": ""} {
		if got := Vendor(vendor, provider.Options{}).BaseURL; got != want {
			t.Errorf("%s is at %q", vendor, got)
		}
	}
	for base, want := range map[string]bool{"": true, "https://eu.api.openai.com/v1": true, "https://api.openai.com.evil.test/v1": false, "http://127.0.0.1:8000/v1": false} {
		if got := Vendor("openai", provider.Options{BaseURL: base}).CacheKey; got != want {
			t.Errorf("%q: prompt_cache_key %t", base, got)
		}
	}
	for _, bad := range []string{"api.openai.com/v1", "ftp://x/v1", "https://", "https://user:canary@ho st/"} {
		if _, err := New(Options{Options: provider.Options{BaseURL: bad}}); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	s, _ := open(t, "openai")
	a, err := New(Options{Options: provider.Options{BaseURL: s.URL + "/deep/v1/?api-version=7", Header: map[string]string{"X-Title": "t"}}, Quirks: Quirks{KeyHeader: "Api-Key"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Call(t.Context(), chat("")); err != nil {
		t.Fatal(err)
	}
	got := s.Calls()[0]
	if got.Path != "/deep/v1/chat/completions" || got.Header.Get("X-Title") != "t" || got.Header["Authorization"] != nil || got.Header["Api-Key"] != nil {
		t.Errorf("asked %s with %v", got.Path, got.Header)
	}
}

// TestAnswer_StreamedIsWhatComesWhole holds all fields of both against each other.
func TestAnswer_StreamedIsWhatComesWhole(t *testing.T) {
	for _, vendor := range []string{"openai", "vllm", "mistral", "openrouter"} {
		s, a := open(t, vendor)
		reply := providertest.Reply{
			Text: "Some text", Reasoning: "Some thought", Usage: lm.Usage{Input: 9, Cached: 4, Output: 5, Reasoning: 2},
			ToolCalls: []lm.ToolCall{{ID: "c1", Name: "f", Arguments: json.RawMessage(`{"a":"b c d e f"}`)}},
		}
		s.Push(providertest.Say(reply), providertest.Say(reply))
		whole, err := a.Call(t.Context(), chat(""))
		if err != nil {
			t.Fatal(err)
		}
		call, _ := streamed(chat(""))
		pieces, err := a.Call(t.Context(), call)
		if err != nil {
			t.Fatal(err)
		}
		var x, y map[string]any
		if json.Unmarshal(whole.Body, &x) != nil || json.Unmarshal(pieces.Body, &y) != nil {
			t.Fatalf("%s\n%s", whole.Body, pieces.Body)
		}
		delete(y, "provider")                                                                       // OpenRouter names it in a stream
		delete(x["choices"].([]any)[0].(map[string]any)["message"].(map[string]any), "annotations") // an empty list
		if d := cmp.Diff(x, y); d != "" || whole.Usage != pieces.Usage || whole.Model != pieces.Model {
			t.Errorf("%s: %s", vendor, d)
		}
	}
}

// lines plays raw lines of a stream and returns the answer.
func lines(t *testing.T, kind string, data ...string) (map[string]any, []lm.Frame, lm.Answer, error) {
	t.Helper()
	s, a := open(t, "vllm")
	var step providertest.Step
	for _, d := range data {
		step.Stream = append(step.Stream, providertest.Piece{Data: d})
	}
	s.Push(step)
	call, frames := streamed(chat(""))
	if call.Kind = kind; kind == "prompt" {
		call.Body = json.RawMessage(`{"prompt":"x"}`)
	}
	answer, err := a.Call(t.Context(), call)
	if err != nil {
		return nil, *frames, answer, err
	}
	var body map[string]any
	if err := json.Unmarshal(answer.Body, &body); err != nil {
		t.Fatalf("%v: %s", err, answer.Body)
	}
	return body, *frames, answer, nil
}

func delta(fields string) string {
	return `data: {"choices":[{"index":0,"delta":{` + fields + `}}]}` + "\n\n"
}

const stop = `data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\n"

func message(t *testing.T, body map[string]any) map[string]any {
	t.Helper()
	return body["choices"].([]any)[0].(map[string]any)["message"].(map[string]any)
}

func TestStream_UnknownFieldsAreKept(t *testing.T) {
	body, _, answer, err := lines(t, "chat",
		`data: {"x_top":{"a":1},"choices":[{"index":0,"delta":{"content":"A","x_text":"one ","x_list":[1],"x_number":1},"logprobs":{"content":[{"token":"A"}]},"x_choice":"c"}]}`+"\n",
		`data: {"choices":[{"index":0,"delta":{"content":"B","x_text":"two","x_list":[2],"x_number":2,"refusal":"No"},"logprobs":{"content":[{"token":"B"}]}}]}`+"\n",
		delta(`"reasoning_details":[{"type":"reasoning.text","index":0,"text":"I ","format":"f-v1"}]`), delta(`"reasoning_details":[{"type":"reasoning.text","index":0,"text":"think","format":"f-v1","signature":"s"},{"type":"reasoning.encrypted","index":1,"data":"xx"}]`),
		delta(`"refusal":" way"`), stop)
	if err != nil {
		t.Fatal(err)
	}
	got := message(t, body)
	for name, want := range map[string]string{
		"content": `"AB"`, "x_text": `"one two"`, "x_list": `[1,2]`, "x_number": `2`, "refusal": `"No way"`,
		"reasoning_details": `[{"format":"f-v1","index":0,"signature":"s","text":"I think","type":"reasoning.text"},{"data":"xx","index":1,"type":"reasoning.encrypted"}]`,
	} {
		if data, err := json.Marshal(got[name]); err != nil || string(data) != want {
			t.Errorf("%s is %s, want %s", name, data, want)
		}
	}
	for _, part := range []string{`"logprobs":{"content":[{"token":"A"},{"token":"B"}]}`, `"x_choice":"c"`, `"x_top":{"a":1}`, `"id":"chatcmpl-t-1"`, `"object":"chat.completion"`} {
		if !strings.Contains(string(answer.Body), part) {
			t.Errorf("no %s in %s", part, answer.Body)
		}
	}
}

func TestStream_ToolCallsInAllTheirForms(t *testing.T) {
	for name, data := range map[string][]string{
		"no index, IDs":        {delta(`"tool_calls":[{"id":"a","function":{"name":"f","arguments":"{\"x\":"}}]`), delta(`"tool_calls":[{"function":{"arguments":"1}"}}]`), delta(`"tool_calls":[{"id":"b","function":{"name":"g","arguments":"{}"}}]`)},
		"interleaved":          {delta(`"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":"}},{"index":1,"id":"b","function":{"name":"g","arguments":""}}]`), delta(`"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]`)},
		"arguments as objects": {delta(`"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":{"x":1}}},{"index":1,"id":"b","function":{"name":"g"}}]`)},
		"the name comes twice": {delta(`"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x\":"}}]`), delta(`"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"1}"}},{"index":1,"id":"b","function":{"name":"g"}}]`)},
	} {
		body, frames, _, err := lines(t, "chat", append(data, stop)...)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		calls, err := json.Marshal(message(t, body)["tool_calls"])
		const want = `[{"function":{"arguments":"{\"x\":1}","name":"f"},"id":"a","type":"function"},{"function":{"arguments":"{}","name":"g"},"id":"b","type":"function"}]`
		if err != nil || string(calls) != want || body["choices"].([]any)[0].(map[string]any)["finish_reason"] != "tool_calls" {
			t.Errorf("%s: %s", name, calls)
		}
		if len(frames) != 3 || frames[0].Type != lm.FrameToolCall || frames[1].Type != lm.FrameToolCall {
			t.Errorf("%s: frames %+v", name, frames)
		}
	}
	body, _, _, err := lines(t, "chat", delta(`"tool_calls":[{"index":0,"function":{"name":"f"}}]`), stop)
	if err != nil || message(t, body)["tool_calls"].([]any)[0].(map[string]any)["id"] != "call_0" {
		t.Errorf("a call without an ID: %v, %v", body, err)
	}
}

func TestStream_Ends(t *testing.T) {
	const text, done = `"content":"A"`, "data: [DONE]\n\n"
	for name, c := range map[string]struct {
		data []string
		want lm.Kind
	}{
		"finish_reason":                      {[]string{delta(text), stop}, ""},
		"[DONE] without a finish reason":     {[]string{delta(text), done}, ""},
		"carriage returns, no blank":         {[]string{"data:" + strings.ReplaceAll(delta(text)[6:], "\n", "\r\n"), strings.ReplaceAll(stop, "\n", "\r\n")}, ""},
		"no line break at the end":           {[]string{delta(text), strings.TrimSpace(stop)}, ""},
		"comments and other fields":          {[]string{": ping\n\nevent: message\nid: 7\nretry: 1\n", delta(text), stop}, ""},
		"nothing after the text":             {[]string{delta(text)}, lm.StreamInterrupted},
		"half a line":                        {[]string{delta(text), `data: {"choices":[{"ind`}, lm.StreamInterrupted},
		"a line that is no object":           {[]string{delta(text), "data: 5\n", done}, lm.StreamInterrupted},
		"an error without data:":             {[]string{delta(text), `{"error":{"message":"overloaded"}}` + "\n"}, lm.Overloaded},
		"an error of vLLM's older form":      {[]string{delta(text), `data: {"object":"error","message":"no","type":"BadRequestError","code":400}` + "\n", done}, lm.InvalidRequest},
		"the finish reason error":            {[]string{delta(text), strings.Replace(stop, "stop", "error", 1)}, lm.StreamInterrupted},
		"the filter":                         {[]string{delta(text), strings.Replace(stop, "stop", "content_filter", 1)}, lm.ContentFiltered},
		"an error after the end is too late": {[]string{delta(text), stop, `data: {"usage":{"prompt_tokens":"many"}}` + "\n"}, ""},
		"a second choice that does not end":  {[]string{delta(text), stop, `data: {"choices":[{"index":1,"delta":{"content":"B"}}]}` + "\n"}, lm.StreamInterrupted},
	} {
		body, _, _, err := lines(t, "chat", c.data...)
		if lm.KindOf(err) != c.want {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		} else if c.want == "" && message(t, body)["content"] != "A" {
			t.Errorf("%s: %v", name, body)
		}
	}
}

func TestStream_SeveralChoices(t *testing.T) {
	body, frames, _, err := lines(t, "chat", `data: {"choices":[{"index":1,"delta":{"content":"B"}},{"index":0,"delta":{"content":"A"}}]}`+"\n",
		`data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"},{"index":1,"delta":{},"finish_reason":"length"}]}`+"\n")
	if err != nil || len(body["choices"].([]any)) != 2 || message(t, body)["content"] != "A" {
		t.Fatalf("%v, %v", body, err)
	}
	if len(frames) != 2 || frames[0].Data != "A" {
		t.Errorf("frames of the first choice: %+v", frames)
	}
}

func TestStream_MistralThinksInParts(t *testing.T) {
	body, frames, _, err := lines(t, "chat", delta(`"content":[{"type":"thinking","thinking":[{"type":"text","text":"Hm"}]}]`), delta(`"content":[{"type":"text","text":"A"}]`), delta(`"content":"B"`), stop)
	if err != nil || message(t, body)["content"] != "AB" || message(t, body)["reasoning_content"] != "Hm" || len(frames) != 4 {
		t.Errorf("%v, %+v, %v", body, frames, err)
	}
}

func TestStream_ReasoningThatComesUnderBothNamesCountsOnce(t *testing.T) {
	body, frames, _, err := lines(t, "chat", delta(`"reasoning":"Hm","reasoning_content":"Hm"`), delta(`"reasoning":" so","reasoning_content":" so"`), delta(`"content":"A"`), stop)
	if err != nil || message(t, body)["reasoning"] != "Hm so" || len(frames) != 4 {
		t.Errorf("%v, %+v, %v", body, frames, err)
	}
}

func TestStream_AServerThatDoesNotStream(t *testing.T) {
	s, a := open(t, "vllm")
	s.Push(providertest.Step{Answer: &providertest.Response{Body: `{"id":"x","choices":[{"message":{"role":"assistant","content":"A","reasoning_content":"Hm","tool_calls":[{"id":"c"}]},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}`}})
	call, frames := streamed(chat(""))
	answer, err := a.Call(t.Context(), call)
	if err != nil || answer.Usage != (lm.Usage{Calls: 1, Input: 1, Output: 2}) {
		t.Fatalf("%+v, %v", answer, err)
	}
	var types []string
	for _, f := range *frames {
		types = append(types, string(f.Type))
	}
	if got := strings.Join(types, " "); got != "reasoning token tool_call usage" {
		t.Errorf("frames %s", got)
	}
}

func TestWhole_IsValidated(t *testing.T) {
	for body, want := range map[string]lm.Kind{
		`{"choices":[]}`:                         lm.ProviderFailed,
		`{"choices":[{"finish_reason":"stop"}]}`: lm.ProviderFailed,
		`{"choices":[{"message":{"content":"half"},"finish_reason":null}]}`:              lm.StreamInterrupted,
		`{"choices":[{"message":{"content":"half"},"finish_reason":"error"}]}`:           lm.StreamInterrupted,
		`{"choices":[{"message":{"content":"half"},"finish_reason":"content_filter"}]}`:  lm.ContentFiltered,
		`{"choices":[{"message":{"content":""},"error":{"code":429,"message":"slow"}}]}`: lm.RateLimited,
		`{"error":"no"}`: lm.ProviderFailed,
		`{"choices":[{"message":{"content":"all"},"finish_reason":"stop"}],"error":null,"x":[1]}`: "",
	} {
		s, a := open(t, "vllm")
		s.Push(providertest.Step{Answer: &providertest.Response{Body: body}})
		answer, err := a.Call(t.Context(), chat(""))
		if lm.KindOf(err) != want || want == "" && string(answer.Body) != body {
			t.Errorf("%s: %v, want %q", body, err, want)
		}
	}
}

func TestEmbed_AVectorForEachInput(t *testing.T) {
	for _, c := range []struct {
		input, data string
		good        bool
	}{
		{`"one"`, `[{"index":0}]`, true}, {`["a","b"]`, `[{"index":0},{"index":1}]`, true}, {`[1,2,3]`, `[{"index":0}]`, true}, {`[[1,2],[3]]`, `[{},{}]`, true},
		{`["a","b"]`, `[{"index":0}]`, false}, {`"one"`, `[]`, false}, {`"one"`, `{}`, false}, {`"one"`, `[{}],"error":{"message":"no"}`, false},
	} {
		s, a := open(t, "vllm")
		s.Decide(func(providertest.Asked) (providertest.Step, bool) {
			return providertest.Step{Answer: &providertest.Response{Body: `{"data":` + c.data + `,"usage":{"total_tokens":3}}`}}, true
		})
		x := &exchange{api: a, ctx: t.Context(), call: &lm.Call{Kind: "embed"}, body: []byte(`{"model":"m","input":` + c.input + `}`)}
		answer, err := x.embedded([]byte(`{"data":` + c.data + `,"usage":{"total_tokens":3}}`))
		if (err == nil) != c.good || c.good && answer.Usage.Input != 3 || !c.good && lm.KindOf(err) != lm.ProviderFailed {
			t.Errorf("%s, %s: %+v, %v", c.input, c.data, answer.Usage, err)
		}
	}
}

func TestList_WhatIsSaidIsBelieved(t *testing.T) {
	said := lm.Offering{Name: "m", Window: 1000, Can: map[lm.Capability]bool{lm.CanTools: true, lm.CanVision: false, lm.CanThink: true}}
	for vendor, want := range map[string]lm.Offering{
		"openai":     {Name: "m"},
		"vllm":       {Name: "m", Window: 1000},
		"openrouter": {Name: "m", Window: 1000, Can: map[lm.Capability]bool{"tools": true, "vision": false, "think": true, "chat": true, "embed": false}},
		"mistral":    {Name: "m", Window: 1000, Can: map[lm.Capability]bool{"tools": true, "vision": false, "chat": true}},
	} {
		s, a := open(t, vendor)
		s.Offer(said)
		got, err := a.List(t.Context())
		if d := cmp.Diff([]lm.Offering{want}, got); d != "" || err != nil {
			t.Errorf("%s: %v\n%s", vendor, err, d)
		}
	}
	s, a := open(t, "vllm")
	s.PushList(providertest.Step{Answer: &providertest.Response{Body: `[{"id":"bare","context_length":7,"capabilities":["x"]}]`}}, providertest.Step{Answer: &providertest.Response{Body: `{"data":[]}`}})
	if got, err := a.List(t.Context()); err != nil || len(got) != 1 || got[0].Window != 7 || got[0].Can != nil {
		t.Errorf("a bare list: %+v, %v", got, err)
	}
	if got, err := a.List(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("an empty list: %+v, %v", got, err)
	}
}

func TestCall_OfAKindThatIsNone(t *testing.T) {
	_, a := open(t, "openai")
	if _, err := a.Call(t.Context(), lm.Call{Kind: "paint", Body: json.RawMessage(`{}`)}); lm.KindOf(err) != lm.InvalidRequest {
		t.Error(err)
	}
}
