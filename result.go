package lighterman

import (
	"encoding/json"
	"strings"
)

// Usage is what calls consumed, normalised over providers: Input includes
// cached tokens, Output includes reasoning tokens.
type Usage struct {
	Calls     int   `json:"calls,omitempty"` // model calls that were answered
	Input     int64 `json:"input,omitempty"`
	Cached    int64 `json:"cached,omitempty"`
	Output    int64 `json:"output,omitempty"`
	Reasoning int64 `json:"reasoning,omitempty"`
}

// Add sums two usages.
func (u Usage) Add(v Usage) Usage {
	return Usage{
		Calls: u.Calls + v.Calls, Input: u.Input + v.Input, Cached: u.Cached + v.Cached,
		Output: u.Output + v.Output, Reasoning: u.Reasoning + v.Reasoning,
	}
}

// Result is what an operation ended in. Body is OpenAI JSON for the built-in
// kinds and whatever JSON the handler returned for others.
type Result struct {
	ID       TraceID         `json:"id"`
	Outcome  Outcome         `json:"outcome"`
	Body     json.RawMessage `json:"body,omitempty"`
	Usage    Usage           `json:"usage,omitzero"`
	Err      *Error          `json:"error,omitempty"` // why, for every outcome but succeeded
	Attempts int             `json:"attempts"`        // tries that were made, the last included
	Crashes  int             `json:"crashes"`         // claims that ended without an answer
	Model    string          `json:"model,omitempty"` // who answered the last of its calls
	Route    []string        `json:"route,omitempty"` // choices of a pool's member that were not the usual one; see Answer
}

// Text is the answer as a person reads it: a JSON string as its text, a chat
// completion as the content of its first choice, a text completion as its
// text, anything else as JSON.
func (r Result) Text() string {
	var s string
	if json.Unmarshal(r.Body, &s) == nil {
		return s
	}
	var completion struct {
		Choices []struct {
			Text    string `json:"text"`
			Message struct {
				Content json.RawMessage `json:"content"`
			} `json:"message"`
		} `json:"choices"`
	}
	if json.Unmarshal(r.Body, &completion) != nil || len(completion.Choices) == 0 {
		return string(r.Body)
	}
	first := completion.Choices[0]
	if first.Text != "" || len(first.Message.Content) == 0 {
		return first.Text
	}
	return ContentText(first.Message.Content)
}

// ContentText reads an OpenAI message content: a string, or a list of parts of
// which the text parts are joined. Anything else reads as empty.
func ContentText(content json.RawMessage) string {
	var s string
	if json.Unmarshal(content, &s) == nil {
		return s
	}
	var parts []struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	if json.Unmarshal(content, &parts) != nil {
		return ""
	}
	var b strings.Builder
	for _, p := range parts {
		if p.Type == "text" {
			b.WriteString(p.Text)
		}
	}
	return b.String()
}
