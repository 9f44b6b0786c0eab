package pipeline

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	lm "github.com/lighterman/lighterman"
)

// talk is a chat body that grows by rounds of tool calls. Fields that we do not
// know stay as they came, and so do messages with all their parts, images too; a body
// that never grows is never rewritten.
type talk struct {
	raw      json.RawMessage
	fields   map[string]json.RawMessage // nil until the body is changed
	messages []json.RawMessage
	toolbox  Toolbox
	rights   toolRights
	named    []string // tools that the body names and the rights let it
	offered  []string // the tools in it are the worker's, these
}

// newTalk starts from a request's body, with those of the worker's tools that the rights
// offer.
func newTalk(body json.RawMessage, toolbox Toolbox, rights toolRights) (*talk, error) {
	t := &talk{raw: body, toolbox: toolbox, rights: rights}
	offers := t.offers()
	brings := (rights.forced || rights.named) && bytes.Contains(body, []byte(`"tools"`))
	if len(offers) == 0 && !brings {
		return t, nil
	}
	if err := t.open(); err != nil {
		return nil, err
	}
	list, brought := t.fields["tools"]
	switch {
	case brought && !rights.forced:
		if rights.named {
			t.named = toolNames(list)
		}
		return t, nil
	case len(offers) > 0:
		return t, t.offer(offers)
	case brought:
		for _, field := range []string{"tools", "tool_choice", "parallel_tool_calls"} {
			delete(t.fields, field)
		}
		return t, t.close()
	}
	return t, nil
}

// offers are the declared tools that the rights say by name.
func (t *talk) offers() []lm.Tool {
	if t.toolbox == nil || len(t.rights.names) == 0 {
		return nil
	}
	return slices.DeleteFunc(t.toolbox.Declared(), func(d lm.Tool) bool { return !t.rights.allow(d.Name) })
}

// offer puts tools into the body.
func (t *talk) offer(declared []lm.Tool) error {
	offers := make([]any, len(declared))
	for i, d := range declared {
		function := map[string]any{"name": d.Name, "description": d.Description}
		if len(d.Parameters) > 0 {
			function["parameters"] = d.Parameters
		}
		offers[i] = map[string]any{"type": "function", "function": function}
		t.offered = append(t.offered, d.Name)
	}
	offer, err := json.Marshal(offers)
	if err != nil {
		return lm.Permanent(fmt.Errorf("declare tools: %w", err))
	}
	t.fields["tools"] = offer
	return t.close()
}

// toolNames are the functions that a body's list of tools names.
func toolNames(list json.RawMessage) []string {
	var tools []struct {
		Function struct {
			Name string `json:"name"`
		} `json:"function"`
	}
	if json.Unmarshal(list, &tools) != nil {
		return nil // the provider says what is wrong with it
	}
	names := make([]string, len(tools))
	for i := range tools {
		names[i] = tools[i].Function.Name
	}
	return names
}

// may reports whether a call of a tool is run here.
func (t *talk) may(name string) bool {
	return t.toolbox != nil && t.toolbox.Has(name) && (t.rights.allow(name) || slices.Contains(t.named, name))
}

// runs reports whether what a model called is run here: all of it, or, where the tools
// were offered by the worker, whatever it made up too, of which it is told. Else the
// answer is the end: the tools are the producer's, or nobody's.
func (t *talk) runs(calls []toolCall) bool {
	return len(t.offered) > 0 || !slices.ContainsFunc(calls, func(c toolCall) bool { return !t.may(c.Function.Name) })
}

// unknown is what a model is told that calls a tool which it may not.
func (t *talk) unknown(name string) string {
	content, err := json.Marshal(map[string]string{"error": fmt.Sprintf("no tool %q; there are: %s", name[:min(len(name), 64)], strings.Join(t.offered, ", "))})
	if err != nil {
		return `{"error":"no such tool"}`
	}
	return string(content)
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
