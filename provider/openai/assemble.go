package openai

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	lm "github.com/lighterman/lighterman"
)

// answer is the streamed answer as it would have come whole. Errors as those of a
// whole one.
func (s *stream) answer() (lm.Answer, error) {
	slices.SortFunc(s.choices, func(a, b *choice) int { return a.index - b.index })
	for _, c := range s.choices {
		s.endHalf(c)
		if c.finish == "" || c.finish == "stop" { // [DONE] stands for it; some servers stop for tools
			c.finish = "stop"
			if len(c.calls) > 0 {
				c.finish = "tool_calls"
			}
		}
		if err := ended(c.finish); err != nil {
			return lm.Answer{}, err
		}
	}
	usage := s.usage.normal()
	body, err := s.body()
	if err != nil {
		return lm.Answer{}, lm.Errorf(lm.ProviderFailed, "put the stream together: %w", err)
	}
	if first := s.choices[0]; first.index == 0 {
		for i, c := range first.calls {
			data, err := json.Marshal(c.wire(i))
			if err != nil {
				return lm.Answer{}, lm.Errorf(lm.ProviderFailed, "encode a tool call: %w", err)
			}
			s.x.call.Stream(lm.Frame{Type: lm.FrameToolCall, Data: string(data)})
		}
	}
	s.x.call.Stream(lm.Frame{Type: lm.FrameUsage, Data: usageFrame(usage)})
	var model string
	for _, m := range s.meta {
		if m.name == "model" {
			_ = json.Unmarshal(m.value, &model) // without it the call's
		}
	}
	return lm.Answer{Body: body, Usage: usage, Model: or(model, s.x.call.Model)}, nil
}

// body writes the fields in the order in which vendors do.
func (s *stream) body() ([]byte, error) {
	object, id, kind := "chat.completion", "chatcmpl-", "chat"
	if s.x.call.Kind == "prompt" {
		object, id, kind = "text_completion", "cmpl-", "prompt"
	}
	known := map[string]json.RawMessage{}
	for _, m := range s.meta {
		known[m.name] = m.value
	}
	w := &writer{}
	w.field("id", orRaw(known["id"], id+strings.ReplaceAll(s.x.call.Key, "/", "-")))
	w.field("object", object)
	w.field("created", orRaw(known["created"], time.Now().Unix()))
	w.field("model", orRaw(known["model"], s.x.call.Model))
	choices := make([]json.RawMessage, len(s.choices))
	for i, c := range s.choices {
		var err error
		if choices[i], err = c.wire(kind); err != nil {
			return nil, err
		}
	}
	w.field("choices", choices)
	if s.raw != nil {
		w.field("usage", json.RawMessage(s.raw))
	}
	for _, m := range s.meta {
		switch m.name {
		case "id", "object", "created", "model":
		default:
			w.field(m.name, json.RawMessage(m.value))
		}
	}
	return w.end()
}

// orRaw is a value as it came, or another where it did not or is empty.
func orRaw(raw json.RawMessage, otherwise any) any {
	switch string(raw) {
	case "", "null", `""`, "0":
		return otherwise
	}
	return raw
}

func (c *choice) wire(kind string) (json.RawMessage, error) {
	w := &writer{}
	w.field("index", c.index)
	if kind == "prompt" {
		w.field("text", c.text.String())
	} else {
		message, err := c.said()
		if err != nil {
			return nil, err
		}
		w.field("message", message)
	}
	var logprobs any
	if c.logprobs != nil {
		logprobs = c.logprobs["logprobs"]
	}
	w.field("logprobs", logprobs)
	w.field("finish_reason", c.finish)
	for _, m := range c.rest {
		w.field(m.name, json.RawMessage(m.value))
	}
	return w.end()
}

// said is the message.
func (c *choice) said() (json.RawMessage, error) {
	w := &writer{}
	w.field("role", "assistant")
	if c.text.Len() == 0 && len(c.calls) > 0 {
		w.field("content", nil)
	} else {
		w.field("content", c.text.String())
	}
	if c.message["refusal"] == nil {
		w.field("refusal", nil)
	}
	if c.reasoning.Len() > 0 {
		w.field(or(c.field, "reasoning_content"), c.reasoning.String())
	}
	if len(c.calls) > 0 {
		calls := make([]any, len(c.calls))
		for i, one := range c.calls {
			calls[i] = one.wire(i)
		}
		w.field("tool_calls", calls)
	}
	for _, name := range slices.Sorted(maps.Keys(c.message)) {
		w.field(name, c.message[name])
	}
	return w.end()
}

// wire is a finished tool call, the answer's i-th. One that came without an ID gets its
// place's; an empty argument list is an empty object.
func (c *call) wire(i int) map[string]any {
	w := map[string]any{}
	maps.Copy(w, c.rest)
	arguments := c.arguments.String() + c.half.Rest()
	if strings.TrimSpace(arguments) == "" {
		arguments = "{}"
	}
	w["id"], w["type"] = or(c.id, fmt.Sprintf("call_%d", i)), "function"
	w["function"] = map[string]any{"name": c.name, "arguments": arguments}
	return w
}

// writer writes an object field by field and keeps the first error.
type writer struct {
	b   bytes.Buffer
	err error
}

func (w *writer) field(name string, value any) {
	if w.err != nil {
		return
	}
	if w.b.Len() == 0 {
		w.b.WriteByte('{')
	} else {
		w.b.WriteByte(',')
	}
	w.put(name)
	w.b.WriteByte(':')
	w.put(value)
}

func (w *writer) put(value any) {
	if raw, ok := value.(json.RawMessage); ok && len(raw) > 0 {
		w.b.Write(raw) // valid: it was decoded
		return
	}
	data, err := json.Marshal(value)
	if err != nil && w.err == nil {
		w.err = err
	}
	w.b.Write(data)
}

func (w *writer) end() (json.RawMessage, error) {
	w.b.WriteByte('}')
	return w.b.Bytes(), w.err
}
