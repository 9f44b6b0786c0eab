package provider

import (
	"encoding/json"
	"strings"
	"time"

	lm "github.com/lighterman/lighterman"
)

// Completion grows from what an API sends and becomes the answer. Whoever streams
// gets its frames as it grows: token and reasoning with the piece of text, tool_call
// with each finished call as OpenAI writes it, usage with OpenAI's usage at the end.
// The zero value with Stream set is ready; it belongs to one goroutine.
type Completion struct {
	Stream  func(lm.Frame) // nil: nobody wants frames
	Kind    string         // chat or prompt
	ID      string
	Model   string
	Created time.Time
	Finish  string // stop, length, tool_calls or content_filter; empty: it has not ended
	Usage   lm.Usage
	Blocks  []ReasoningBlock // kept in reasoning_details
	Refusal string

	text      strings.Builder
	reasoning strings.Builder
	calls     []*growing
}

type growing struct {
	ToolCall
	arguments strings.Builder
	done      bool
}

// Text adds a piece of the answer's text.
func (c *Completion) Text(piece string) {
	if piece == "" {
		return
	}
	c.text.WriteString(piece)
	c.frame(lm.FrameToken, piece)
}

// Think adds a piece of the reasoning.
func (c *Completion) Think(piece string) {
	if piece == "" {
		return
	}
	c.reasoning.WriteString(piece)
	c.frame(lm.FrameReasoning, piece)
}

// Begin starts a tool call and returns its number.
func (c *Completion) Begin(id, name string) int {
	c.calls = append(c.calls, &growing{ToolCall: ToolCall{ID: id, Name: name}})
	return len(c.calls) - 1
}

// Arguments adds a piece of a tool call's arguments.
func (c *Completion) Arguments(call int, piece string) { c.calls[call].arguments.WriteString(piece) }

// Done ends a tool call. An empty argument list is an empty object.
func (c *Completion) Done(call int) {
	g := c.calls[call]
	if g.done {
		return
	}
	g.done = true
	g.Arguments = g.arguments.String()
	if strings.TrimSpace(g.Arguments) == "" {
		g.Arguments = "{}"
	}
	if c.Stream != nil {
		if data, err := json.Marshal(wireCall(&g.ToolCall)); err == nil {
			c.frame(lm.FrameToolCall, string(data))
		}
	}
}

func (c *Completion) frame(kind lm.FrameType, data string) {
	if c.Stream != nil {
		c.Stream(lm.Frame{Type: kind, Data: data})
	}
}

// Answer is the finished chat.completion or text_completion. Errors: Truncated where
// nothing said that the answer has ended; ContentFiltered where the API's filter ended
// it, as part of an answer is none.
func (c *Completion) Answer() (lm.Answer, error) {
	if c.Finish == "" {
		return lm.Answer{}, Truncated()
	}
	for i := range c.calls {
		c.Done(i)
	}
	if c.Finish == "content_filter" {
		return lm.Answer{}, lm.Errorf(lm.ContentFiltered, "the provider's filter ended the answer")
	}
	if c.Finish == "stop" && len(c.calls) > 0 {
		c.Finish = "tool_calls"
	}
	c.Usage.Calls = 1
	if c.Created.IsZero() {
		c.Created = time.Now()
	}
	usage := WireUsage(c.Usage)
	if c.Stream != nil {
		if data, err := json.Marshal(usage); err == nil {
			c.frame(lm.FrameUsage, string(data))
		}
	}
	body, err := json.Marshal(c.body(usage))
	if err != nil {
		return lm.Answer{}, lm.Errorf(lm.ProviderFailed, "encode the answer: %w", err)
	}
	return lm.Answer{Body: body, Usage: c.Usage, Model: c.Model}, nil
}

type object = map[string]any

func (c *Completion) body(usage object) object {
	if c.Kind == "prompt" {
		return object{
			"id": "cmpl-" + c.ID, "object": "text_completion", "created": c.Created.Unix(), "model": c.Model, "usage": usage,
			"choices": []object{{"index": 0, "text": c.text.String(), "finish_reason": c.Finish, "logprobs": nil}},
		}
	}
	message := object{"role": "assistant", "content": any(c.text.String()), "refusal": nil}
	if c.text.Len() == 0 && len(c.calls) > 0 {
		message["content"] = nil
	}
	if c.Refusal != "" {
		message["refusal"] = c.Refusal
	}
	if c.reasoning.Len() > 0 {
		message["reasoning_content"] = c.reasoning.String()
	}
	if len(c.Blocks) > 0 {
		message["reasoning_details"] = c.Blocks
	}
	if len(c.calls) > 0 {
		calls := make([]object, len(c.calls))
		for i, g := range c.calls {
			calls[i] = wireCall(&g.ToolCall)
		}
		message["tool_calls"] = calls
	}
	return object{
		"id": "chatcmpl-" + c.ID, "object": "chat.completion", "created": c.Created.Unix(), "model": c.Model, "usage": usage,
		"choices": []object{{"index": 0, "message": message, "finish_reason": c.Finish, "logprobs": nil}},
	}
}

func wireCall(c *ToolCall) object {
	return object{"id": c.ID, "type": "function", "function": object{"name": c.Name, "arguments": c.Arguments}}
}

// WireUsage is a usage as OpenAI writes it.
func WireUsage(u lm.Usage) map[string]any {
	w := object{"prompt_tokens": u.Input, "completion_tokens": u.Output, "total_tokens": u.Input + u.Output}
	if u.Cached > 0 {
		w["prompt_tokens_details"] = object{"cached_tokens": u.Cached}
	}
	if u.Reasoning > 0 {
		w["completion_tokens_details"] = object{"reasoning_tokens": u.Reasoning}
	}
	return w
}
