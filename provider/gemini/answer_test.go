package gemini_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
	"github.com/lighterman/lighterman/provider/gemini"
)

func event(json string) string { return "data: " + json + "\r\n\r\n" }

// streamed makes a call wanted in a stream.
func streamed(l lm.Call) lm.Call {
	l.Stream = func(lm.Frame) {}
	return l
}

// TestAnswer_SignaturesThereAndBack: what the model signed comes out as reasoning
// blocks, the same whole and streamed, and goes back into its place.
func TestAnswer_SignaturesThereAndBack(t *testing.T) {
	const whole = `{"candidates":[{"content":{"role":"model","parts":[
		{"text":"I think. ","thought":true},{"text":"Twice.","thought":true,"thoughtSignature":"dGhvdWdodA=="},{"text":"Let me look.","thoughtSignature":"dGV4dA=="},
		{"functionCall":{"name":"weather","args":{"city":"Oslo <3"}},"thoughtSignature":"Y2FsbA=="},{"functionCall":{"id":"given","name":"now"}}]},"finishReason":"STOP"}],
		"usageMetadata":{"promptTokenCount":10,"toolUsePromptTokenCount":5,"cachedContentTokenCount":4,"candidatesTokenCount":7,"thoughtsTokenCount":20},"responseId":"r1"}`
	pieces := event(`{"candidates":[{"content":{"role":"model","parts":[{"text":"I think. ","thought":true}]}}],"usageMetadata":{"promptTokenCount":10},"responseId":"r1"}`) +
		event(`{"candidates":[{"content":{"role":"model","parts":[{"text":"Tw","thought":true}]}}]}`) +
		event(`{"candidates":[{"content":{"role":"model","parts":[{"text":"ice.","thought":true,"thoughtSignature":"dGhvdWdodA=="}]}}]}`) +
		event(`{"candidates":[{"content":{"role":"model","parts":[{"text":"Let me "}]}}]}`) +
		event(`{"candidates":[{"content":{"role":"model","parts":[{"text":"look."},{"text":"","thoughtSignature":"dGV4dA=="}]}}]}`) +
		event(`{"candidates":[{"content":{"role":"model","parts":[{"functionCall":{"name":"weather","args":{"city":"Oslo <3"}},"thoughtSignature":"Y2FsbA=="}]}}]}`) +
		event(`{"candidates":[{"content":{"role":"model","parts":[{"functionCall":{"id":"given","name":"now"}}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":10,"toolUsePromptTokenCount":5,"cachedContentTokenCount":4,"candidatesTokenCount":7,"thoughtsTokenCount":20}}`)
	f := serve(t, whole, pieces, fine)
	c := open(t, f.options())
	one, err := c.Call(t.Context(), chatCall(gemini3, user("")))
	if err != nil {
		t.Fatal(err)
	}
	two, err := c.Call(t.Context(), streamed(chatCall(gemini3, user(""))))
	if err != nil {
		t.Fatal(err)
	}
	got := messageOf(t, one)
	if d := cmp.Diff(got, messageOf(t, two)); d != "" {
		t.Errorf("streamed it is another (-whole +streamed)\n%s", d)
	}
	want := lm.Usage{Calls: 1, Input: 15, Cached: 4, Output: 27, Reasoning: 20}
	if one.Usage != want || two.Usage != want {
		t.Errorf("usage %+v and %+v, want %+v", one.Usage, two.Usage, want)
	}
	var calls []struct {
		ID       string
		Function struct{ Name, Arguments string }
	}
	if err := json.Unmarshal(got.Calls, &calls); err != nil || len(calls) != 2 || calls[1].ID != "given" || !strings.HasPrefix(calls[0].ID, "call_") || calls[0].Function.Arguments != `{"city":"Oslo <3"}` || calls[1].Function.Arguments != "{}" {
		t.Fatalf("calls %s (%v)", got.Calls, err)
	}
	const format = "google-gemini-v1"
	if d := cmp.Diff([]provider.ReasoningBlock{
		{Type: "reasoning.text", Format: format, Text: "I think. Twice.", Signature: "dGhvdWdodA==", Index: 0},
		{Type: "reasoning.encrypted", Format: format, Data: "dGV4dA==", Index: 1},
		{Type: "reasoning.encrypted", Format: format, ID: calls[0].ID, Data: "Y2FsbA==", Index: 2},
	}, got.Details); d != "" {
		t.Errorf("blocks (-want +got)\n%s", d)
	}
	message, err := json.Marshal(map[string]any{"role": "assistant", "content": got.Content, "tool_calls": got.Calls, "reasoning_details": got.Details})
	if err != nil {
		t.Fatal(err)
	}
	call(t, c, chatCall(gemini3, `{"messages":[{"role":"user","content":"hi"},`+string(message)+`,{"role":"tool","tool_call_id":"`+calls[0].ID+`","content":"rain"},{"role":"tool","tool_call_id":"given","content":"noon"}]}`))
	asked(t, f, `{`+strings.TrimSuffix(hi, "]")+`,{"role":"model","parts":[{"text":"I think. Twice.","thought":true,"thoughtSignature":"dGhvdWdodA=="},{"text":"Let me look.","thoughtSignature":"dGV4dA=="},
		{"functionCall":{"id":"`+calls[0].ID+`","name":"weather","args":{"city":"Oslo <3"}},"thoughtSignature":"Y2FsbA=="},{"functionCall":{"id":"given","name":"now"}}]},
		{"role":"user","parts":[{"functionResponse":{"id":"`+calls[0].ID+`","name":"weather","response":{"output":"rain"}}},{"functionResponse":{"id":"given","name":"now","response":{"output":"noon"}}}]}]}`)
}

// TestAnswer_CallIDs: the same when the call is repeated, another for another
// position, step or, without a key, answer.
func TestAnswer_CallIDs(t *testing.T) {
	ids := func(l lm.Call, response string) []string {
		f := serve(t, `{"candidates":[{"content":{"parts":[{"functionCall":{"name":"a"}},{"functionCall":{"name":"a"}}]},"finishReason":"STOP"}],"responseId":"`+response+`"}`)
		var calls []struct{ ID string }
		if err := json.Unmarshal(call(t, open(t, f.options()), l).Calls, &calls); err != nil || len(calls) != 2 {
			t.Fatal(err, calls)
		}
		return []string{calls[0].ID, calls[1].ID}
	}
	one := chatCall(gemini25, user(""))
	other, bare := one, one
	other.Key, bare.Key = "trace/other", ""
	first, again := ids(one, "r1"), ids(one, "r2")
	if first[0] != again[0] || first[1] != again[1] {
		t.Errorf("repeated: %q, then %q", first, again)
	}
	all := map[string]bool{}
	for _, list := range [][]string{first, ids(other, "r1"), ids(bare, "r1"), ids(bare, "r2")} {
		all[list[0]], all[list[1]] = true, true
	}
	if len(all) != 8 {
		t.Errorf("%d different IDs of 8", len(all))
	}
}

// TestAnswer_Ends holds what each finishReason and shape means, whole and streamed.
func TestAnswer_Ends(t *testing.T) {
	finish := func(reason string) string {
		return `{"candidates":[{"content":{"parts":[{"text":"secret"}]},"finishReason":"` + reason + `","finishMessage":"secret"}]}`
	}
	for _, c := range []struct {
		answer string
		kind   lm.Kind // empty: an answer
	}{
		{finish("STOP"), ""}, {finish("MAX_TOKENS"), ""}, {finish("CONTINUATION"), ""},
		{`{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"CONTINUATION","continuationToken":"dG9rZW4="}]}`, ""},
		{finish("SAFETY"), lm.ContentFiltered}, {finish("RECITATION"), lm.ContentFiltered}, {finish("BLOCKLIST"), lm.ContentFiltered}, {finish("PROHIBITED_CONTENT"), lm.ContentFiltered},
		{finish("SPII"), lm.ContentFiltered}, {finish("LANGUAGE"), lm.ContentFiltered}, {finish("IMAGE_SAFETY"), lm.ContentFiltered}, {finish("MODEL_ARMOR"), lm.ContentFiltered},
		{finish("MALFORMED_FUNCTION_CALL"), lm.ProviderFailed}, {finish("UNEXPECTED_TOOL_CALL"), lm.ProviderFailed}, {finish("OTHER"), lm.ProviderFailed}, {finish("the secret reason"), lm.ProviderFailed},
		{finish(""), lm.StreamInterrupted}, {finish("FINISH_REASON_UNSPECIFIED"), lm.StreamInterrupted},
		{`{"promptFeedback":{"blockReason":"SAFETY"}}`, lm.ContentFiltered}, {`{"promptFeedback":{"blockReason":"OTHER"},"candidates":[]}`, lm.ContentFiltered},
		{`{"promptFeedback":{"blockReason":"BLOCKED_REASON_UNSPECIFIED"},"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"}]}`, ""},
		{`{"candidates":[{"index":1,"finishReason":"SAFETY"},{"content":{"parts":[{"inlineData":{"mimeType":"image/png","data":"aaaa"}}]},"finishReason":"STOP"}]}`, ""},
		{`{"candidates":[{"index":1,"finishReason":"STOP"}]}`, lm.StreamInterrupted},
	} {
		f := serve(t, c.answer, event(c.answer))
		client := open(t, f.options())
		for _, l := range []lm.Call{chatCall(gemini25, user("")), streamed(chatCall(gemini25, user("")))} {
			_, err := client.Call(t.Context(), l)
			if lm.KindOf(err) != c.kind {
				t.Errorf("%s: %v, want %q", c.answer, err, c.kind)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("%s: the error tells of the answer: %v", c.answer, err)
			}
		}
		if n := len(f.paths()); n != 2 {
			t.Errorf("%s: %d requests for 2 calls", c.answer, n)
		}
	}
}

// TestAnswer_ThatTheSDKPanicsOver is an error; the SDK asserts the types of what it
// reads. A panic of whoever takes the frames stays one.
func TestAnswer_ThatTheSDKPanicsOver(t *testing.T) {
	for _, bad := range []string{`{"candidates":"none"}`, `{"candidates":[1]}`, `{"candidates":[{"content":[]}]}`, `{"usageMetadata":[]}`} {
		f := serve(t, bad, event(bad))
		client := open(t, f.options())
		if _, err := client.Call(t.Context(), chatCall(gemini25, user(""))); lm.KindOf(err) != lm.ProviderFailed {
			t.Errorf("%s: %v", bad, err)
		}
		if _, err := client.Call(t.Context(), streamed(chatCall(gemini25, user("")))); lm.KindOf(err) != lm.StreamInterrupted {
			t.Errorf("%s streamed: %v", bad, err)
		}
	}
	defer func() {
		if p := recover(); p != "mine" {
			t.Errorf("recovered %v", p)
		}
	}()
	f := serve(t, event(fine))
	l := chatCall(gemini25, user(""))
	l.Stream = func(lm.Frame) { panic("mine") }
	_, err := open(t, f.options()).Call(t.Context(), l)
	t.Errorf("no panic, error %v", err)
}

// TestStream_WhatIsNoEvent: comments and other fields are passed over, pieces of an
// event joined, whatever the line ends.
func TestStream_WhatIsNoEvent(t *testing.T) {
	for name, stream := range map[string]string{
		"comments":       ": keep-alive\n\n" + event(fine) + ":\n\n",
		"fields":         "event: message\nid: 1\nretry: 3\ndata: " + fine + "\n\n",
		"line feeds":     "data: " + fine + "\n\n",
		"without blanks": "data:" + fine + "\n\n",
		"two lines":      "data: " + fine[:2] + "\r\ndata: " + fine[2:] + "\r\n\r\n",
		"[DONE]":         event(fine) + "data: [DONE]\n\n",
		"a beginning":    event(fine) + "dat",
		"blank lines":    "\r\n\r\n\n" + event(fine) + "\n\n\n",
	} {
		t.Run(name, func(t *testing.T) {
			f := serve(t, stream)
			if got := call(t, open(t, f.options()), streamed(chatCall(gemini25, user("")))); got.Content != "fine" {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestStream_AModelThatThinksMayBeSilentForLonger.
func TestStream_AModelThatThinksMayBeSilentForLonger(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, event(`{"candidates":[{"content":{"parts":[{"text":"so"}]}}]}`))
		w.(http.Flusher).Flush()
		silence := time.NewTimer(300 * time.Millisecond)
		defer silence.Stop()
		select {
		case <-silence.C:
		case <-r.Context().Done():
		}
		fmt.Fprint(w, event(fine))
	}))
	t.Cleanup(server.Close)
	client := open(t, gemini.Options{Options: provider.Options{BaseURL: server.URL, Timeouts: provider.Timeouts{Idle: 20 * time.Millisecond, Reasoning: time.Minute}}})
	for model, kind := range map[string]lm.Kind{gemini25: "", gemini3: "", "gemini-2.0-flash": lm.TimedOut} {
		if _, err := client.Call(t.Context(), streamed(chatCall(model, user("")))); lm.KindOf(err) != kind {
			t.Errorf("%s: %v, want %q", model, err, kind)
		}
	}
	if _, err := client.Call(t.Context(), streamed(chatCall(gemini25, user(`"reasoning_effort":"none"`)))); lm.KindOf(err) != lm.TimedOut {
		t.Errorf("a model told not to think: %v", err)
	}
}

// TestStream_AnErrorWithoutItsLineBreak is an error all the same.
func TestStream_AnErrorWithoutItsLineBreak(t *testing.T) {
	f := serve(t, event(fine)+`{"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}`)
	if _, err := open(t, f.options()).Call(t.Context(), streamed(chatCall(gemini25, user("")))); lm.KindOf(err) != lm.Overloaded {
		t.Errorf("error %v", err)
	}
}

// TestAnswer_OfNothing: whole it is the provider's failure, a stream was interrupted.
func TestAnswer_OfNothing(t *testing.T) {
	f := serve(t, `{"usageMetadata":{}}`, event(`{"usageMetadata":{}}`))
	client := open(t, f.options())
	if _, err := client.Call(t.Context(), chatCall(gemini25, user(""))); lm.KindOf(err) != lm.ProviderFailed {
		t.Errorf("error %v", err)
	}
	if _, err := client.Call(t.Context(), streamed(chatCall(gemini25, user("")))); lm.KindOf(err) != lm.StreamInterrupted {
		t.Errorf("streamed: error %v", err)
	}
}

// TestAnswer_EachSignedThoughtIsItsOwn.
func TestAnswer_EachSignedThoughtIsItsOwn(t *testing.T) {
	f := serve(t, `{"candidates":[{"content":{"parts":[{"text":"one","thought":true,"thoughtSignature":"MQ=="},{"text":"two","thought":true,"thoughtSignature":"Mg=="},{"text":"a"}]},"finishReason":"STOP"}]}`)
	got := call(t, open(t, f.options()), chatCall(gemini25, user(""))).Details
	if len(got) != 2 || got[0].Text != "one" || got[1].Text != "two" || got[1].Signature != "Mg==" {
		t.Errorf("blocks %+v", got)
	}
}

// TestErrors_TellNothing: neither the key nor the prompt is in an error, or in what
// the SDK logs, whatever the API writes.
func TestErrors_TellNothing(t *testing.T) {
	var logged bytes.Buffer
	before := log.Writer()
	log.SetOutput(&logged)
	defer log.SetOutput(before)
	const prompt = `my "quoted" prompt, of\nseveral lines é`
	leak := `400 {"error":{"code":400,"message":"bad my \"quoted\" prompt, of\nseveral lines é by ` + aKey + `","status":"INVALID_ARGUMENT"}}`
	for _, answer := range []string{
		leak, strings.Replace(leak, "400 ", "", 1), event(leak[4:]), `{"candidates":[{"content":` + prompt + aKey, event(prompt + aKey), "500 " + prompt + aKey, event(fine)[:40], "503 [" + leak[4:] + "]",
	} {
		f := serve(t, answer)
		client := open(t, f.options())
		body := `{"messages":[{"role":"user","content":"my \"quoted\" prompt, of\nseveral lines é"}]}`
		for _, l := range []lm.Call{chatCall(gemini25, body), streamed(chatCall(gemini25, body))} {
			_, err := client.Call(t.Context(), l)
			if err == nil || strings.Contains(err.Error(), aKey[:12]) || strings.Contains(err.Error(), "quoted") || strings.Contains(err.Error(), "several lines") {
				t.Errorf("%.40s: %v", answer, err)
			}
		}
	}
	if logged.Len() > 0 {
		t.Errorf("the SDK logged: %s", logged.String())
	}
}
