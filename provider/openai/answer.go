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
	Prompt     int64 `json:"prompt_tokens"`
	Completion int64 `json:"completion_tokens"`
	Total      int64 `json:"total_tokens"`
	Input      struct {
		Cached int64 `json:"cached_tokens"`
	} `json:"prompt_tokens_details"`
	Output struct {
		Reasoning int64 `json:"reasoning_tokens"`
	} `json:"completion_tokens_details"`
	Hit int64 `json:"prompt_cache_hit_tokens"` // DeepSeek's word for cached
}

func (u *wireUsage) normal() lm.Usage {
	return lm.Usage{Calls: 1, Input: u.Prompt, Cached: max(u.Input.Cached, u.Hit), Output: u.Completion, Reasoning: u.Output.Reasoning}
}

// wireAnswer is what is looked at of a whole answer.
type wireAnswer struct {
	Model   string          `json:"model"`
	Error   json.RawMessage `json:"error"`
	Usage   wireUsage       `json:"usage"`
	Choices []struct {
		Finish  string          `json:"finish_reason"`
		Error   json.RawMessage `json:"error"` // OpenRouter
		Text    string          `json:"text"`
		Message *struct {
			Content   json.RawMessage   `json:"content"`
			Reasoning string            `json:"reasoning_content"`
			Thinking  string            `json:"reasoning"`
			Calls     []json.RawMessage `json:"tool_calls"`
		} `json:"message"`
	} `json:"choices"`
}

// whole reads an answer that is not streamed. It goes on as it came; errors: no
// completion, one that has not ended, or an error with HTTP 200.
func (x *exchange) whole(r io.Reader) (lm.Answer, error) {
	body, err := x.readAll(r)
	if err != nil {
		return lm.Answer{}, err
	}
	if x.call.Kind == "embed" {
		return x.embedded(body)
	}
	var w wireAnswer
	if json.Unmarshal(body, &w) != nil {
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
		if x.call.Kind == "chat" && c.Message == nil {
			return lm.Answer{}, lm.Errorf(lm.ProviderFailed, "the answer has a choice without a message")
		}
		if err := ended(c.Finish); err != nil {
			return lm.Answer{}, err
		}
	}
	x.frames(&w)
	return lm.Answer{Body: bytes.TrimSpace(body), Usage: w.Usage.normal(), Model: or(w.Model, x.call.Model)}, nil
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
	tell(lm.FrameToken, first.Text)
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
			err := json.Unmarshal(raw, &usage)
			failed = failed || err != nil
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
	u.Input = max(u.Input, usage.Total)
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
