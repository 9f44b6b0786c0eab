package anthropic_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
	"github.com/lighterman/lighterman/provider/anthropic"
)

// translation is a call and the request that is to come of it, in JSON without the
// fields that all of these share.
type translation struct {
	name string
	call lm.Call
	body string
	want string
}

const question = `"messages":[{"role":"user","content":"Why?"}]`

const asked = `"messages":[{"role":"user","content":[{"type":"text","text":"Why?"}]}]`

var translations = []translation{
	{
		name: "a question",
		body: `{"model":"pool",` + question + `,"stream":true,"seed":7,"logprobs":true,"n":1,"store":false,"thinking":null,"top_k":null}`,
		want: `{` + asked + `,"max_tokens":32000}`,
	},
	{
		name: "system and developer go in front, with the mark of the prompt cache at their end",
		body: `{"messages":[{"role":"system","content":"Be short."},{"role":"user","content":"Why?"},{"role":"developer","content":[{"type":"text","text":"In English."}]}]}`,
		want: `{"system":[{"type":"text","text":"Be short."},{"type":"text","text":"In English.","cache_control":{"type":"ephemeral"}}],` + asked + `,"max_tokens":32000}`,
	},
	{
		name: "turns of one role become one, blank text goes",
		body: `{"messages":[{"role":"user","content":"One."},{"role":"user","content":[{"type":"text","text":"Two."},{"type":"text","text":" \n"}]},
			{"role":"assistant","content":""},{"role":"user","content":"Three."}],"cache_control":null}`,
		want: `{"messages":[{"role":"user","content":[{"type":"text","text":"One."},{"type":"text","text":"Two."},{"type":"text","text":"Three."}]}],"max_tokens":32000}`,
	},
	{
		name: "bounds, stops and who asks",
		body: `{` + question + `,"max_completion_tokens":99,"max_tokens":7,"stop":["END","."],"user":"ann@example.com"}`,
		want: `{` + asked + `,"max_tokens":99,"stop_sequences":["END","."],"metadata":{"user_id":"f4c5da4ec1a5a57096db4801d16ae609"}}`,
	},
	{
		name: "sampling for a model that takes it",
		call: lm.Call{Model: "claude-sonnet-4-5-20250929"},
		body: `{` + question + `,"temperature":1.7,"top_p":0.9}`,
		want: `{` + asked + `,"max_tokens":32000,"temperature":1}`,
	},
	{
		name: "top_p alone, top_k and an old model's bound",
		call: lm.Call{Model: "claude-3-haiku-20240307"},
		body: `{` + question + `,"top_p":0.9,"top_k":5,"reasoning_effort":"high"}`,
		want: `{` + asked + `,"max_tokens":4096,"top_p":0.9,"top_k":5}`,
	},
	{
		name: "no sampling for a model that refuses it",
		call: lm.Call{Model: "claude-opus-4-7"},
		body: `{` + question + `,"temperature":0.2,"top_p":0.9,"top_k":5}`,
		want: `{` + asked + `,"max_tokens":32000}`,
	},
	{
		name: "images by address and by their bytes",
		body: `{"messages":[{"role":"user","content":[{"type":"text","text":"What is it?"},{"type":"image_url","image_url":{"url":"https://example.com/a.png"}},
			{"type":"image_url","image_url":{"url":"data:image/jpg;base64,aGVsbG8="}}]}]}`,
		want: `{"messages":[{"role":"user","content":[{"type":"text","text":"What is it?"},{"type":"image","source":{"type":"url","url":"https://example.com/a.png"}},
			{"type":"image","source":{"type":"base64","media_type":"image/jpeg","data":"aGVsbG8="}}]}],"max_tokens":32000}`,
	},
	{
		name: "tools: a schema in its order, none, and one without a type; one at a time",
		body: `{` + question + `,"parallel_tool_calls":false,"tools":[
			{"type":"function","function":{"name":"look","description":"Looks.","parameters":{"type":"object","required":["z"],"properties":{"z":{"type":"string"},"a":{"type":"number"}}}}},
			{"type":"function","function":{"name":"wait"}},{"type":"function","function":{"name":"go","parameters":{"properties":{}}}}]}`,
		want: `{` + asked + `,"max_tokens":32000,"tool_choice":{"type":"auto","disable_parallel_tool_use":true},"tools":[
			{"name":"look","description":"Looks.","input_schema":{"type":"object","required":["z"],"properties":{"z":{"type":"string"},"a":{"type":"number"}}}},
			{"name":"wait","input_schema":{"type":"object","properties":{}}},
			{"name":"go","input_schema":{"type":"object","properties":{}},"cache_control":{"type":"ephemeral"}}]}`,
	},
	{
		name: "a choice without tools",
		body: `{` + question + `,"tool_choice":"auto","parallel_tool_calls":false}`,
		want: `{` + asked + `,"max_tokens":32000}`,
	},
	choice("auto", `"auto"`, `{"type":"auto"}`), choice("none", `"none"`, `{"type":"none"}`), choice("required", `"required"`, `{"type":"any"}`),
	choice("one of them", `{"type":"function","function":{"name":"look"}}`, `{"type":"tool","name":"look"}`),
	choice("one call of any", `"required","parallel_tool_calls":false`, `{"type":"any","disable_parallel_tool_use":true}`),
	{
		name: "a tool loop: results in one turn before what the user adds, IDs and arguments of other models",
		body: `{"messages":[{"role":"user","content":"Go."},
			{"role":"assistant","content":"I look.","tool_calls":[
				{"id":"call_1","type":"function","function":{"name":"look","arguments":"{\"at\":\"sky\"}"}},
				{"id":"call:2","type":"function","function":{"name":"wait","arguments":""}},
				{"id":"call_3","type":"function","function":{"name":"go","arguments":"[broken"}}]},
			{"role":"tool","tool_call_id":"call_1","content":"blue"},{"role":"tool","tool_call_id":"call:2","content":""},
			{"role":"tool","tool_call_id":"call_3","content":[{"type":"text","text":"gone"},{"type":"image_url","image_url":{"url":"https://example.com/a.png"}}]},
			{"role":"user","content":"And now?"}]}`,
		want: `{"messages":[{"role":"user","content":[{"type":"text","text":"Go.","cache_control":{"type":"ephemeral"}}]},
			{"role":"assistant","content":[{"type":"text","text":"I look."},
				{"type":"tool_use","id":"call_1","name":"look","input":{"at":"sky"}},
				{"type":"tool_use","id":"call_33331b626c7ac0ef1592f8f6","name":"wait","input":{}},
				{"type":"tool_use","id":"call_3","name":"go","input":{"arguments":"[broken"}}]},
			{"role":"user","content":[{"type":"tool_result","tool_use_id":"call_1","content":[{"type":"text","text":"blue"}]},
				{"type":"tool_result","tool_use_id":"call_33331b626c7ac0ef1592f8f6"},
				{"type":"tool_result","tool_use_id":"call_3","content":[{"type":"text","text":"gone"},{"type":"image","source":{"type":"url","url":"https://example.com/a.png"}}]},
				{"type":"text","text":"And now?","cache_control":{"type":"ephemeral"}}]}],"max_tokens":32000}`,
	},
	{
		name: "arguments that are null",
		call: lm.Call{Model: "claude-test"},
		body: `{"messages":[{"role":"user","content":"Go."},{"role":"assistant","tool_calls":[{"id":"c","function":{"name":"f","arguments":"null"}}]},{"role":"tool","tool_call_id":"c","content":"ok"}],"cache_control":null}`,
		want: `{"messages":[{"role":"user","content":[{"type":"text","text":"Go."}]},{"role":"assistant","content":[{"type":"tool_use","id":"c","name":"f","input":{"arguments":"null"}}]},
			{"role":"user","content":[{"type":"tool_result","tool_use_id":"c","content":[{"type":"text","text":"ok"}]}]}],"max_tokens":32000}`,
	},
	{
		name: "an answer to go on with ends without white space",
		body: `{"messages":[{"role":"user","content":"Go."},{"role":"assistant","content":"It is \n"}]}`,
		want: `{"messages":[{"role":"user","content":[{"type":"text","text":"Go.","cache_control":{"type":"ephemeral"}}]},
			{"role":"assistant","content":[{"type":"text","text":"It is"}]}],"max_tokens":32000}`,
	},
	{
		name: "a call of a thread is marked, as its next one will begin with it",
		call: lm.Call{Thread: "t1"},
		body: `{` + question + `}`,
		want: `{"messages":[{"role":"user","content":[{"type":"text","text":"Why?","cache_control":{"type":"ephemeral"}}]}],"max_tokens":32000}`,
	},
	{
		name: "the caller's own mark",
		call: lm.Call{Thread: "t1"},
		body: `{"messages":[{"role":"system","content":"Be short."},{"role":"user","content":"Why?"}],"cache_control":{"type":"ephemeral","ttl":"1h"}}`,
		want: `{"system":[{"type":"text","text":"Be short."}],` + asked + `,"max_tokens":32000,"cache_control":{"type":"ephemeral","ttl":"1h"}}`,
	},
	{
		name: "a schema for the answer",
		body: `{` + question + `,"response_format":{"type":"json_schema","json_schema":{"name":"n","strict":true,"schema":{"type":"object","properties":{"z":{"type":"string"},"a":{"type":"string"}}}}}}`,
		want: `{` + asked + `,"max_tokens":32000,"output_config":{"format":{"type":"json_schema","schema":{"type":"object","properties":{"z":{"type":"string"},"a":{"type":"string"}}}}}}`,
	},
	effort("claude-sonnet-4-5", `"high"`, `"thinking":{"type":"enabled","budget_tokens":16000}`),
	effort("claude-sonnet-4-5", `"low","temperature":0.3`, `"thinking":{"type":"enabled","budget_tokens":2048}`),
	effort("claude-sonnet-4-5", `"minimal","max_tokens":1500,"temperature":0.3`, `"max_tokens":1500,"temperature":0.3`),
	effort("claude-sonnet-4-5", `"none"`, ``),
	effort("claude-opus-4-6", `"xhigh","temperature":0.3`, `"thinking":{"type":"adaptive"},"output_config":{"effort":"high"}`),
	effort("claude-opus-4-7", `"xhigh"`, `"thinking":{"type":"adaptive","display":"summarized"},"output_config":{"effort":"xhigh"}`),
	effort("claude-opus-4-8", `"none"`, ``),
	effort("claude-opus-5", `"none"`, `"thinking":{"type":"disabled"}`),
	effort("claude-haiku-5-5", `"none"`, `"thinking":{"type":"disabled"}`),
	effort("claude-sonnet-5-5", `"none"`, `"thinking":{"type":"between_tools"}`),
	effort("claude-opus-5-5", `"none"`, `"output_config":{"effort":"low"}`),
	effort("claude-opus-5-5", `"max"`, `"thinking":{"type":"adaptive","display":"summarized"},"output_config":{"effort":"max"}`),
	effort("claude-opus-5-5", `"max","tools":[{"function":{"name":"f"}}],"tool_choice":"required"`,
		`"output_config":{"effort":"max"},"tool_choice":{"type":"any"},"tools":[{"name":"f","input_schema":{"type":"object","properties":{}},"cache_control":{"type":"ephemeral"}}]`),
	effort("claude-sonnet-4-5", `"high","tools":[{"function":{"name":"f"}}],"tool_choice":"required"`,
		`"tool_choice":{"type":"any"},"tools":[{"name":"f","input_schema":{"type":"object","properties":{}},"cache_control":{"type":"ephemeral"}}]`),
	effort("claude-sonnet-4-5", `"high","thinking":{"type":"enabled","budget_tokens":3000}`, `"thinking":{"type":"enabled","budget_tokens":3000}`),
	effort("claude-opus-5", `"high","thinking":{"type":"disabled"}`, `"thinking":{"type":"disabled"}`),
	effort("claude-opus-5", `"high","output_config":{"effort":"low"},"provider":{"order":["x"]},"chat_template_kwargs":{}`, `"output_config":{"effort":"low"}`),
}

func choice(name, said, want string) translation {
	return translation{
		name: "tool_choice " + name,
		body: `{` + question + `,"tools":[{"type":"function","function":{"name":"look"}}],"tool_choice":` + said + `}`,
		want: `{` + asked + `,"max_tokens":32000,"tool_choice":` + want + `,"tools":[{"name":"look","input_schema":{"type":"object","properties":{}},"cache_control":{"type":"ephemeral"}}]}`,
	}
}

func effort(model, said, want string) translation {
	if !strings.Contains(want, "max_tokens") {
		want = strings.TrimPrefix(want+`,"max_tokens":32000`, ",")
	}
	return translation{
		name: model + " effort " + said, call: lm.Call{Model: model},
		body: `{` + question + `,"reasoning_effort":` + said + `}`, want: `{` + asked + `,` + want + `}`,
	}
}

func TestTranslate_ChatBecomesTheApisRequest(t *testing.T) {
	server := newServer(t)
	api := open(t, server, nil)
	for _, c := range translations {
		t.Run(c.name, func(t *testing.T) {
			c.call.Kind, c.call.Body, c.call.Tenant = "chat", json.RawMessage(c.body), "acme"
			if c.call.Model == "" {
				c.call.Model = "claude-test"
			}
			if _, err := api.Call(context.Background(), c.call); err != nil {
				t.Fatalf("call: %v", err)
			}
			got := object(t, server.last(t))
			if got["model"] != c.call.Model || got["stream"] != true {
				t.Errorf("asked model %v, stream %v", got["model"], got["stream"])
			}
			delete(got, "model")
			delete(got, "stream")
			if diff := cmp.Diff(object(t, []byte(c.want)), got); diff != "" {
				t.Errorf("the request (-want +got):\n%s", diff)
			}
		})
	}
}

// The schema's fields stay in their order: the model writes them so.
func TestTranslate_SchemaKeepsItsOrder(t *testing.T) {
	server := newServer(t)
	call(t, open(t, server, nil), `{`+question+`,"response_format":{"type":"json_schema","json_schema":{"schema":{"z":1,"a":2}}},"tools":[{"function":{"name":"f","parameters":{"type":"object","z":1,"a":2}}}]}`)
	for _, want := range []string{`{"type":"object","z":1,"a":2}`, `"schema":{"z":1,"a":2}`} {
		if body := string(server.last(t)); !strings.Contains(body, want) {
			t.Errorf("%s is not in %s", want, body)
		}
	}
}

func TestTranslate_OptionsBoundTheAnswerAndSwitchTheCacheOff(t *testing.T) {
	server := newServer(t)
	api := open(t, server, func(o *anthropic.Options) { o.MaxTokens, o.NoCache = 500, true })
	call(t, api, `{"messages":[{"role":"system","content":"Be short."},{"role":"user","content":"Why?"}]}`)
	got := object(t, server.last(t))
	if got["max_tokens"] != 500.0 {
		t.Errorf("max_tokens %v, want the option's 500", got["max_tokens"])
	}
	if strings.Contains(string(server.last(t)), "cache_control") {
		t.Error("marked for the cache although that is off")
	}
}

func TestTranslate_RefusesWhatTheApiHasNoWordFor(t *testing.T) {
	server := newServer(t)
	api := open(t, server, nil)
	for _, c := range []struct{ name, kind, body, want string }{
		{"embeddings", "embed", `{"input":"x"}`, "no embeddings"},
		{"another kind", "judge", `{}`, "want chat or prompt"},
		{"json_object", "chat", `{` + question + `,"response_format":{"type":"json_object"}}`, "json_schema"},
		{"a schema that is not there", "chat", `{` + question + `,"response_format":{"type":"json_schema","json_schema":{"name":"n"}}}`, "missing"},
		{"an effort", "chat", `{` + question + `,"reasoning_effort":"huge"}`, "reasoning_effort"},
		{"a tool's schema", "chat", `{` + question + `,"tools":[{"function":{"name":"f","parameters":[1]}}]}`, "tools[0]"},
		{"an image of another cloud", "chat", `{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"gs://b/a.png"}}]}]}`, "messages[0].content[0]"},
		{"an image of another type", "chat", `{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/tiff;base64,aGVsbG8="}}]}]}`, "jpeg"},
		{"an image of the system", "chat", `{"messages":[{"role":"system","content":[{"type":"image_url","image_url":{"url":"https://a/b"}}]}]}`, "messages[0]"},
		{"nothing said", "chat", `{"messages":[{"role":"user","content":" "}]}`, "says something"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := api.Call(context.Background(), lm.Call{Kind: c.kind, Model: "claude-test", Body: json.RawMessage(c.body)})
			if lm.KindOf(err) != lm.InvalidRequest || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want invalid_request with %q", err, c.want)
			}
		})
	}
	if n := server.count(); n != 0 {
		t.Errorf("%d requests were made", n)
	}
}

func TestOpen_TakesTheAddressWithAndWithoutItsVersion(t *testing.T) {
	server := newServer(t)
	for _, suffix := range []string{"", "/", "/v1", "/v1/"} {
		api := open(t, server, func(o *anthropic.Options) { o.BaseURL += suffix })
		call(t, api, `{`+question+`}`)
	}
	if _, err := anthropic.Open(anthropic.Options{Options: provider.Options{BaseURL: "nowhere"}}); err == nil {
		t.Error("an address without a host is taken")
	}
}

// The environment of the process is not the adapter's: a key for one backend must not
// be sent to another.
func TestOpen_ReadsNothingFromTheEnvironment(t *testing.T) {
	t.Setenv("ANTHROPIC_API_KEY", "sk-ant-of-the-environment")
	t.Setenv("ANTHROPIC_CUSTOM_HEADERS", "X-Canary: sung")
	server := newServer(t)
	api := open(t, server, func(o *anthropic.Options) { o.Key = "" })
	call(t, api, `{`+question+`}`)
	h := server.header()
	if h.Get("X-Api-Key") != "" || h.Get("Authorization") != "" || h.Get("X-Canary") != "" {
		t.Errorf("sent of the environment: %v", h)
	}
}
