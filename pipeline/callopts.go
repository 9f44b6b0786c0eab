package pipeline

import (
	"encoding/json"
	"slices"

	lm "github.com/lighterman/lighterman"
)

// CallOption changes one Ask or Chat.
type CallOption func(*callOptions)

// callOptions are what one Ask or Chat asks for. The zero value: the model and the
// fields of the body, no tools but those that the body names.
type callOptions struct {
	tools  toolRights
	silent bool
	asks   bool // it is an Ask, whose text is all that counts
	model  string
	fields map[string]any // of the body
}

// toolRights say which of the worker's tools a conversation may have run. Whatever
// else a model calls is not run.
type toolRights struct {
	names  []string // these; AnyTool: each
	named  bool     // and those that the body names
	forced bool     // the body's list is replaced
}

// AnyTool stands for every tool of the worker.
const AnyTool = "*"

// Tools offers tools of the worker to the model, by their names, in place of those that
// the body brings, and has them run; AnyTool offers each of them. One that the worker
// does not have is not offered.
func Tools(names ...string) CallOption {
	return func(o *callOptions) { o.tools = toolRights{names: names, forced: true} }
}

// NoTools offers no tools, not even those that the body names, and runs none.
func NoTools() CallOption { return Tools() }

// Silent keeps what the model says from those who follow the operation: a call whose
// answer is not the result, as a classification. Of a handler's steps one is streamed, the
// first that is not silent: where the last call is the answer, all before it are silent,
// else followers see the first one's text and the answer only whole, at the end.
func Silent() CallOption { return func(o *callOptions) { o.silent = true } }

// Model calls that model or pool, whatever the request and the body name.
func Model(name string) CallOption { return func(o *callOptions) { o.model = name } }

// Temperature sets the body's temperature.
func Temperature(t float64) CallOption { return field("temperature", t) }

// MaxTokens sets the body's max_tokens: how long the answer may be. A model that wants
// the bound under another name, as OpenAI's max_completion_tokens, gets it by the body of
// a Chat.
func MaxTokens(n int) CallOption { return field("max_tokens", n) }

func field(name string, value any) CallOption {
	return func(o *callOptions) {
		if o.fields == nil {
			o.fields = map[string]any{}
		}
		o.fields[name] = value
	}
}

func optionsOf(from callOptions, options []CallOption) callOptions {
	for _, option := range options {
		option(&from)
	}
	return from
}

// body is a body with the fields that the options set.
func (o *callOptions) body(raw json.RawMessage) (json.RawMessage, error) {
	if len(o.fields) == 0 {
		return raw, nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil || fields == nil {
		return nil, lm.Errorf(lm.InvalidRequest, "body: want a chat-completions object")
	}
	for name, value := range o.fields {
		data, err := json.Marshal(value)
		if err != nil {
			return nil, lm.Permanent(err)
		}
		fields[name] = data
	}
	return compact(fields)
}

// allow reports whether a tool is among those that are said by name.
func (r *toolRights) allow(name string) bool {
	return slices.Contains(r.names, name) || slices.Contains(r.names, AnyTool)
}
