package sim

import (
	"encoding/json"

	"github.com/lighterman/lighterman"
)

// The kinds of calls.
const (
	chat   = "chat"
	prompt = "prompt"
	embed  = "embed"
)

// maxInputs is the most texts that one embed call may hold, as with OpenAI.
const maxInputs = 2048

// request is what the models look at in a call's body. The values point into
// the body.
type request struct {
	kind  string
	model string
	size  int   // of the body, bytes
	text  value // last user message's content, or the prompt

	list     value // of messages
	cached   int   // bytes of it that the model's cache held
	messages int
	rounds   int     // assistant messages with tool calls since the last user message
	results  []value // contents of the tool messages since then
	tools    []value // names of the declared tools

	inputs []value // of an embed call: each a string or a list of token numbers
}

// question is what was asked last, in valid UTF-8.
func (r *request) question() string { return r.text.content() }

// parse reads the body of a call of a kind, empty meaning chat. Every error is
// of kind invalid_request and quotes nothing of the body, which is a prompt.
func parse(kind string, body []byte) (request, error) {
	if kind == "" {
		kind = chat
	}
	r := request{kind: kind, size: len(body)}
	if !json.Valid(body) {
		return r, invalid("the body is not JSON")
	}
	var messages, text, input, tools value
	top := value(body[space(body, 0):])
	if !top.is('{') {
		return r, invalid("the body is not an object")
	}
	for name, v := range top.members() {
		switch string(name) {
		case "model":
			r.model = v.text()
		case "messages":
			messages = v
		case "prompt":
			text = v
		case "input":
			input = v
		case "tools":
			tools = v
		}
	}
	switch kind {
	case chat:
		r.declared(tools)
		return r, r.converse(messages)
	case prompt:
		return r, r.complete(text)
	case embed:
		return r, r.embedded(input)
	}
	return r, invalid("the kind is none of chat, prompt, embed")
}

func invalid(what string) error {
	return lighterman.Errorf(lighterman.InvalidRequest, "HTTP 400: %s", what)
}

// declared reads the names of the tools that the model may call; what has no
// name is passed over.
func (r *request) declared(tools value) {
	for tool := range tools.elements() {
		for name, function := range tool.members() {
			if string(name) != "function" {
				continue
			}
			for name, v := range function.members() {
				if string(name) == "name" && v.is('"') {
					r.tools = append(r.tools, v)
				}
			}
		}
	}
}

// converse reads a chat's messages: at least one, each an object with a role.
func (r *request) converse(messages value) error {
	if !messages.is('[') {
		return invalid("messages is missing or no list")
	}
	r.list = messages
	for message := range messages.elements() {
		var role, content, calls value
		for name, v := range message.members() {
			switch string(name) {
			case "role":
				role = v
			case "content":
				content = v
			case "tool_calls":
				calls = v
			}
		}
		if !role.is('"') {
			return invalid("a message is no object with a role")
		}
		r.messages++
		switch string(role.unquoted()) {
		case "user":
			r.text, r.rounds, r.results = content, 0, nil
		case "assistant":
			for range calls.elements() {
				r.rounds++
				break
			}
		case "tool":
			r.results = append(r.results, content)
		}
	}
	if r.messages == 0 {
		return invalid("messages is empty")
	}
	return nil
}

// complete reads a prompt: a text, or a list that holds one.
func (r *request) complete(prompt value) error {
	n := 0
	for v := range prompt.elements() {
		prompt = v
		n++
	}
	if n > 1 || !prompt.is('"') {
		return invalid("prompt is missing or not one text")
	}
	r.text = prompt
	return nil
}

// embedded reads the input of an embed call: a text, a list of texts, a list of
// token numbers (one input), or a list of such lists.
func (r *request) embedded(input value) error {
	if input.is('"') {
		r.inputs = append(r.inputs, input)
	}
	for v := range input.elements() {
		if !v.is('"') && !v.is('[') { // token numbers: the list is one input
			r.inputs = append(r.inputs[:0], input)
			break
		}
		r.inputs = append(r.inputs, v)
	}
	switch {
	case len(r.inputs) == 0:
		return invalid("input is missing or empty")
	case len(r.inputs) > maxInputs:
		return invalid("input holds more than 2048 texts")
	}
	return nil
}
