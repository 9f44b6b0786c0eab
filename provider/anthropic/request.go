package anthropic

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/packages/param"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
)

// reasoningFormat marks the reasoning blocks that this API wrote, as OpenRouter does.
const reasoningFormat = "anthropic-claude-v1"

// passes are the fields of the API that a caller may send as they are. Other unknown
// fields are another vendor's and left out, because this API refuses what it does not
// know and a pool may ask several.
var passes = []string{"thinking", "output_config", "top_k", "container", "context_management", "mcp_servers", "inference_geo", "speed", "diagnostics"}

// request is a call in the API's words.
type request struct {
	body    []byte
	model   string
	origin  string
	reasons bool // the model may think long before it says something
}

// translation is a request while it is made.
type translation struct {
	chat       *provider.Chat
	call       *lm.Call
	generation generation
	origin     string
	params     anthropic.MessageNewParams
}

// translate makes the request of a chat. Errors: InvalidRequest for what the API has
// no word for and could not be left out.
func (a *API) translate(chat *provider.Chat, call *lm.Call) (*request, error) {
	t := &translation{chat: chat, call: call, generation: generationOf(call.Model), origin: a.origin(call.Model)}
	p := &t.params
	p.Model = call.Model
	p.MaxTokens = int64(a.maxTokens(t))
	p.StopSequences = chat.Stop
	if chat.User != "" {
		p.Metadata.UserID = anthropic.String(opaque(call.Tenant, chat.User))
	}
	for _, step := range []func() error{t.messages, t.tools, t.format, t.think} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	t.sampling()
	if !a.options.NoCache {
		t.cache()
	}
	body, err := t.encode()
	if err != nil {
		return nil, err
	}
	return &request{body: body, model: call.Model, origin: t.origin, reasons: t.thinks() || t.generation.thinksUnasked()}, nil
}

func (a *API) maxTokens(t *translation) int {
	switch {
	case t.chat.MaxTokens > 0:
		return t.chat.MaxTokens
	case a.options.MaxTokens > 0:
		return a.options.MaxTokens
	}
	return t.generation.maxTokens()
}

// encode writes the body with what passes through.
func (t *translation) encode() ([]byte, error) {
	extra := map[string]any{"stream": true}
	for _, name := range passes {
		if t.own(name) && (name != "top_k" || t.generation < claude47) {
			extra[name] = t.chat.Extra[name]
		}
	}
	t.params.SetExtraFields(extra)
	body, err := t.params.MarshalJSON()
	if err != nil {
		return nil, invalid("the body cannot be written for this API: a field holds what is no JSON")
	}
	return body, nil
}

// own: the caller sends this field of the API himself.
func (t *translation) own(name string) bool {
	raw, there := t.chat.Extra[name]
	return there && string(raw) != "null"
}

// format translates response_format. The schema goes as it came, because the model
// writes its fields in that order.
func (t *translation) format() error {
	switch f := &t.chat.Format; f.Type {
	case "", "text":
	case "json_schema":
		if len(f.Schema) == 0 {
			return invalid("response_format.json_schema.schema: missing")
		}
		raw, err := json.Marshal(map[string]any{"type": "json_schema", "schema": f.Schema})
		if err != nil {
			return invalid("response_format.json_schema.schema: no JSON")
		}
		t.params.OutputConfig.Format = param.Override[anthropic.JSONOutputFormatParam](json.RawMessage(raw))
	default:
		return invalid("response_format.type: this provider writes text or a json_schema; name the schema instead of json_object")
	}
	return nil
}

// tools translates the tools and which of them is to be called.
func (t *translation) tools() error {
	for i, tool := range t.chat.Tools {
		schema, err := inputSchema(tool.Parameters)
		if err != nil {
			return invalid("tools[%d].function.parameters: want a JSON schema, which is an object", i)
		}
		p := anthropic.ToolParam{Name: tool.Name, InputSchema: param.Override[anthropic.ToolInputSchemaParam](schema)}
		if tool.Description != "" {
			p.Description = anthropic.String(tool.Description)
		}
		t.params.Tools = append(t.params.Tools, anthropic.ToolUnionParam{OfTool: &p})
	}
	if len(t.chat.Tools) == 0 {
		return nil // a choice without tools is refused
	}
	single := param.Opt[bool]{}
	if t.chat.Parallel != nil && !*t.chat.Parallel {
		single = anthropic.Bool(true)
	}
	choice := &t.params.ToolChoice
	switch t.chat.Choice.Mode {
	case "none":
		none := anthropic.NewToolChoiceNoneParam()
		choice.OfNone = &none
	case "required":
		choice.OfAny = &anthropic.ToolChoiceAnyParam{DisableParallelToolUse: single}
	case "function":
		choice.OfTool = &anthropic.ToolChoiceToolParam{Name: t.chat.Choice.Name, DisableParallelToolUse: single}
	case "auto":
		choice.OfAuto = &anthropic.ToolChoiceAutoParam{DisableParallelToolUse: single}
	default:
		if single.Valid() {
			choice.OfAuto = &anthropic.ToolChoiceAutoParam{DisableParallelToolUse: single}
		}
	}
	return nil
}

// inputSchema is a tool's schema with the type that the API wants at its top.
func inputSchema(parameters json.RawMessage) (json.RawMessage, error) {
	if len(parameters) == 0 || string(parameters) == "null" {
		return json.RawMessage(`{"type":"object","properties":{}}`), nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(parameters, &fields); err != nil {
		return nil, err
	}
	if _, typed := fields["type"]; typed {
		return parameters, nil
	}
	if fields == nil {
		fields = map[string]json.RawMessage{}
	}
	fields["type"] = json.RawMessage(`"object"`)
	return json.Marshal(fields)
}

// opaque is the user of a tenant as a hash: the vendor wants nothing in it that
// tells who it is.
func opaque(tenant, user string) string {
	sum := sha256.Sum256([]byte(tenant + "\x00" + user))
	return hex.EncodeToString(sum[:16])
}
