package pipeline

import (
	"bytes"
	"encoding/json"
	"fmt"

	lm "github.com/lighterman/lighterman"
)

// talk is a chat body that grows by rounds of tool calls. Fields that we do not
// know stay as they came, and so do messages with all their parts, images too; a body
// that never grows is never rewritten.
type talk struct {
	raw      json.RawMessage
	fields   map[string]json.RawMessage // nil until the body is changed
	messages []json.RawMessage
	offered  bool // the tools in it are the worker's
}

// newTalk starts from a request's body, with the worker's tools where the body
// brings none.
func newTalk(body json.RawMessage, tools Tools) (*talk, error) {
	t := &talk{raw: body}
	if tools == nil {
		return t, nil
	}
	declared := tools.Declared()
	if len(declared) == 0 {
		return t, nil
	}
	if err := t.open(); err != nil {
		return nil, err
	}
	if _, brought := t.fields["tools"]; brought {
		return t, nil
	}
	offers := make([]any, len(declared))
	for i, d := range declared {
		function := map[string]any{"name": d.Name, "description": d.Description}
		if len(d.Parameters) > 0 {
			function["parameters"] = d.Parameters
		}
		offers[i] = map[string]any{"type": "function", "function": function}
	}
	offer, err := json.Marshal(offers)
	if err != nil {
		return nil, lm.Permanent(fmt.Errorf("declare tools: %w", err))
	}
	t.fields["tools"], t.offered = offer, true
	return t, t.close()
}

func (t *talk) body() json.RawMessage { return t.raw }

// open reads the body's fields and messages.
func (t *talk) open() error {
	if t.fields != nil {
		return nil
	}
	if err := json.Unmarshal(t.raw, &t.fields); err != nil || t.fields == nil {
		return lm.Errorf(lm.InvalidRequest, "body: want a chat-completions object")
	}
	if err := json.Unmarshal(t.fields["messages"], &t.messages); err != nil {
		return lm.Errorf(lm.InvalidRequest, "body.messages: want a list")
	}
	return nil
}

func (t *talk) close() (err error) {
	if t.fields["messages"], err = compact(t.messages); err == nil {
		t.raw, err = compact(t.fields)
	}
	if err != nil {
		return lm.Permanent(fmt.Errorf("encode a conversation: %w", err))
	}
	return nil
}

// add appends an answer that asked for tools, and what they said.
func (t *talk) add(message json.RawMessage, calls []toolCall, contents []string) error {
	if err := t.open(); err != nil {
		return err
	}
	t.messages = append(t.messages, message)
	for i, c := range calls {
		said, err := json.Marshal(map[string]string{"role": "tool", "tool_call_id": c.ID, "content": contents[i]})
		if err != nil {
			return lm.Permanent(fmt.Errorf("encode a tool's answer: %w", err))
		}
		t.messages = append(t.messages, said)
	}
	return t.close()
}

// toolCall is one tool call as OpenAI writes it.
type toolCall struct {
	ID       string `json:"id"`
	Function struct {
		Name      string `json:"name"`
		Arguments string `json:"arguments"`
	} `json:"function"`
}

// toolCalls are the message of an answer's first choice and the tool calls in
// it; none for an answer that is none or asks for no tools.
func toolCalls(completion json.RawMessage) (message json.RawMessage, calls []toolCall) {
	if !bytes.Contains(completion, []byte(`"tool_calls"`)) {
		return nil, nil
	}
	var c struct {
		Choices []struct {
			Message json.RawMessage `json:"message"`
		} `json:"choices"`
	}
	if json.Unmarshal(completion, &c) != nil || len(c.Choices) == 0 {
		return nil, nil
	}
	var m struct {
		ToolCalls []toolCall `json:"tool_calls"`
	}
	if json.Unmarshal(c.Choices[0].Message, &m) != nil {
		return nil, nil
	}
	return c.Choices[0].Message, m.ToolCalls
}
