package openai

import (
	"bytes"
	"encoding/json"
	"io"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
)

// wireUsage is a usage as the family writes it.
type wireUsage struct {
	Prompt     provider.Count `json:"prompt_tokens"`
	Completion provider.Count `json:"completion_tokens"`
	Total      provider.Count `json:"total_tokens"`
	Input      struct {
		Cached provider.Count `json:"cached_tokens"`
	} `json:"prompt_tokens_details"`
	Output struct {
		Reasoning provider.Count `json:"reasoning_tokens"`
	} `json:"completion_tokens_details"`
	Hit provider.Count `json:"prompt_cache_hit_tokens"` // DeepSeek's word for cached
}

func (u *wireUsage) normal() lm.Usage {
	return lm.Usage{
		Calls: 1, Input: int64(u.Prompt), Cached: int64(max(u.Input.Cached, u.Hit)), Output: int64(u.Completion), Reasoning: int64(u.Output.Reasoning),
	}
}

// wireAnswer is what is looked at of a whole answer.
type wireAnswer struct {
	Model   string          `json:"model"`
	Error   json.RawMessage `json:"error"`
	Usage   wireUsage       `json:"usage"`
	Choices []struct {
		Finish  string          `json:"finish_reason"`
		Error   json.RawMessage `json:"error"` // OpenRouter
		Text    json.RawMessage `json:"text"`
		Message *wireMessage    `json:"message"`
	} `json:"choices"`
}

type wireMessage struct {
	Content   json.RawMessage   `json:"content"`
	Reasoning string            `json:"reasoning_content"`
	Thinking  string            `json:"reasoning"`
	Calls     []json.RawMessage `json:"tool_calls"`
}

// whole reads an answer that is not streamed. It goes on as it came; errors: no
// completion, one that has not ended, or an error with HTTP 200. Only what the answer
// says has to have its form: a usage or a model's name may be anything.
func (x *exchange) whole(r io.Reader) (lm.Answer, error) {
	body, err := x.readAll(r)
	if err != nil {
		return lm.Answer{}, err
	}
	if provider.IsEvents(body) {
		return x.stream(bytes.NewReader(body))
	}
	if x.call.Kind == "embed" {
		return x.embedded(body)
	}
	var w wireAnswer
	if provider.Decode(body, &w) != nil {
		return lm.Answer{}, lm.Errorf(lm.ProviderFailed, "the answer is no completion")
	}
	if present(w.Error) {
		return lm.Answer{}, x.refused(body)
	}
	if len(w.Choices) == 0 {
		return lm.Answer{}, lm.Errorf(lm.ProviderFailed, "the answer has no choices")
	}
	for i := range w.Choices {
		c := &w.Choices[i]
		if present(c.Error) {
			return lm.Answer{}, x.refused([]byte(`{"error":` + string(c.Error) + `}`))
		}
		if wrong := x.wrong(c.Text, c.Message); wrong != "" {
			return lm.Answer{}, lm.Errorf(lm.ProviderFailed, "the answer has %s", wrong)
		}
		if err := ended(c.Finish); err != nil {
			return lm.Answer{}, err
		}
	}
	x.frames(&w)
	return lm.Answer{Body: bytes.TrimSpace(body), Usage: w.Usage.normal(), Model: or(w.Model, x.call.Model)}, nil
}

// wrong names what a choice says in a form that is none; empty: nothing.
func (x *exchange) wrong(text json.RawMessage, m *wireMessage) string {
	switch {
	case x.call.Kind != "chat":
		if present(text) && text[0] != '"' {
			return "a text that is none"
		}
		return ""
	case m == nil:
		return "a choice without a message"
	case len(m.Content) == 0 && len(m.Calls) == 0 && m.Reasoning == "" && m.Thinking == "":
		return "a message that says nothing"
	case present(m.Content) && m.Content[0] != '"' && m.Content[0] != '[':
		return "a content that is no text"
	}
	for _, raw := range m.Calls {
		var w wireCall
		if provider.Decode(raw, &w) != nil || raw[0] != '{' {
			return "a tool call that is none"
		}
		if _, _, ok := w.said(); !ok {
			return "a tool call whose name is none"
		}
	}
	return ""
}

func present(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

// ended says what a finish reason means: nil for an answer.
func ended(finish string) error {
	switch finish {
	case "":
		return provider.Truncated()
	case "content_filter":
		return lm.Errorf(lm.ContentFiltered, "the provider's filter ended the answer")
	case "error", "abort", "network_error": // OpenRouter, vLLM, Zhipu
		return lm.Errorf(lm.StreamInterrupted, "the provider gave the answer up (%s)", finish)
	}
	return nil
}

// frames tells a reader who wanted a stream of an answer that came whole: some
// servers do not stream.
func (x *exchange) frames(w *wireAnswer) {
	if x.call.Stream == nil {
		return
	}
	tell := func(kind lm.FrameType, data string) {
		if data != "" {
			x.call.Stream(lm.Frame{Type: kind, Data: data})
		}
	}
	first := &w.Choices[0]
	tell(lm.FrameToken, lm.ContentText(first.Text))
	if m := first.Message; m != nil {
		tell(lm.FrameReasoning, or(m.Reasoning, m.Thinking))
		tell(lm.FrameToken, lm.ContentText(m.Content))
		for _, c := range m.Calls {
			tell(lm.FrameToolCall, string(c))
		}
	}
	tell(lm.FrameUsage, usageFrame(w.Usage.normal()))
}

func usageFrame(u lm.Usage) string {
	data, err := json.Marshal(provider.WireUsage(u))
	if err != nil {
		return ""
	}
	return string(data)
}

// embedded checks that an embedding list has a vector for each input; the vectors
// are not decoded.
func (x *exchange) embedded(body []byte) (lm.Answer, error) {
	if !json.Valid(body) {
		return lm.Answer{}, lm.Errorf(lm.ProviderFailed, "the answer is no JSON")
	}
	var model string
	var usage wireUsage
	vectors, failed := -1, false
	_, err := members(body, 0, func(key []byte, from, to int) bool {
		switch raw := body[from:to]; name(key) {
		case "data":
			vectors = count(raw)
		case "error":
			failed = present(raw)
		case "usage":
			_ = provider.Decode(raw, &usage) // it is valid
		case "model":
			_ = json.Unmarshal(raw, &model) // without it the call's
		}
		return true
	})
	if failed {
		return lm.Answer{}, x.refused(body)
	}
	if want := inputs(x.body); err != nil || vectors != want {
		return lm.Answer{}, lm.Errorf(lm.ProviderFailed, "the answer has %d vectors for %d inputs", max(vectors, 0), want)
	}
	u := usage.normal()
	u.Input = max(u.Input, int64(usage.Total))
	return lm.Answer{Body: bytes.TrimSpace(body), Usage: u, Model: or(model, x.call.Model)}, nil
}

// count is the length of an array, -1 for none.
func count(raw []byte) int {
	n := 0
	if _, err := elements(raw, 0, func(int, int) bool { n++; return true }); err != nil {
		return -1
	}
	return n
}

// inputs is how many vectors a request asks for: a list of texts or of token lists
// one each, a text or a list of tokens one.
func inputs(body []byte) int {
	n := 1
	_, _ = members(body, 0, func(key []byte, from, to int) bool { // it is valid: we wrote it
		if raw := body[from:to]; name(key) == "input" && raw[0] == '[' {
			if i := blank(raw, 1); raw[i] == '"' || raw[i] == '[' {
				n = count(raw)
			}
		}
		return true
	})
	return n
}
