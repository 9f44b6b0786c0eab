package tool_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/tool"
)

type arguments struct {
	City  string   `json:"city" jsonschema:"description=name of the city"`
	Days  int      `json:"days,omitempty"`
	Place struct { // without a name of its own
		Lat float64 `json:"lat"`
	} `json:"place,omitzero"`
	Tags []string `json:"tags,omitempty"`
}

func echo(_ context.Context, _ lighterman.ToolCall, in arguments) (arguments, error) { return in, nil }

func TestFunc_DerivesAFlatSchema(t *testing.T) {
	declared, _ := tool.Func("weather", "Tells the weather.", echo)
	var got, want any
	if err := json.Unmarshal(declared.Parameters, &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(`{
		"type": "object", "additionalProperties": false, "required": ["city"],
		"properties": {
			"city":  {"type": "string", "description": "name of the city"},
			"days":  {"type": "integer"},
			"place": {"type": "object", "additionalProperties": false, "required": ["lat"], "properties": {"lat": {"type": "number"}}},
			"tags":  {"type": "array", "items": {"type": "string"}}
		}}`), &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if declared.Name != "weather" || declared.Description != "Tells the weather." {
		t.Errorf("declared %+v", declared)
	}
}

func TestFunc_ChecksArguments(t *testing.T) {
	var s tool.Set
	if err := s.Add(tool.Func("weather", "", echo)); err != nil {
		t.Fatal(err)
	}
	ok := `{"city":"London","place":{"lat":0}}`
	for name, tc := range map[string]struct{ arguments, want string }{
		"good":           {`{"city":"London"}`, `{"city":"London"}`},
		"all":            {`{"city":"L","days":2,"place":{"lat":1.5},"tags":["a"]}`, `{"city":"L","days":2,"place":{"lat":1.5},"tags":["a"]}`},
		"quoted":         {`"{\"city\":\"London\"}"`, `{"city":"London"}`},
		"with space":     {" {\"city\":\"London\"}\n", `{"city":"London"}`},
		"none":           {``, `{"error":"bad arguments: missing city"}`},
		"null":           {`null`, `{"error":"bad arguments: missing city"}`},
		"unknown field":  {`{"city":"L","x":1}`, `{"error":"bad arguments: unknown field \"x\""}`},
		"unknown inside": {`{"city":"L","place":{"lat":1,"x":1}}`, `{"error":"bad arguments: unknown field \"x\""}`},
		"wrong type":     {`{"city":"L","days":"two"}`, `{"error":"bad arguments: days cannot be a string"}`},
		"wrong inside":   {`{"city":"L","place":{"lat":[]}}`, `{"error":"bad arguments: place.lat cannot be an array"}`},
		"no object":      {`["London"]`, `{"error":"bad arguments: want a JSON object, got an array"}`},
		"cut off":        {`{"city":"Lon`, `{"error":"bad arguments: unexpected end of JSON input"}`},
		"more behind":    {ok + `{}`, `{"error":"bad arguments: invalid character '{' after top-level value"}`},
		"bad quotes":     {`"{\"city`, `{"error":"bad arguments: unexpected end of JSON input"}`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := s.Call(t.Context(), lighterman.ToolCall{Name: "weather", Arguments: json.RawMessage(tc.arguments)})
			if err != nil || got != tc.want {
				t.Errorf("got %s, %v\nwant %s", got, err, tc.want)
			}
		})
	}
}

func TestFunc_HandsOnTheCall(t *testing.T) {
	var s tool.Set
	var key string
	err := s.Add(tool.Func("pay", "", func(_ context.Context, call lighterman.ToolCall, _ struct{}) (any, error) {
		key = call.Key
		return nil, nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := s.Call(t.Context(), lighterman.ToolCall{Name: "pay", Key: "0-a/tool-1"}); got != "" || err != nil || key != "0-a/tool-1" {
		t.Errorf("key %q, content %q, %v", key, got, err)
	}
}

type node struct {
	Children []*node `json:"children"`
}

func TestFunc_PanicsWhereThereIsNoSchema(t *testing.T) {
	for name, build := range map[string]func(){
		"contains itself": func() {
			tool.Func("t", "", func(context.Context, lighterman.ToolCall, node) (any, error) { return nil, nil })
		},
		"a channel": func() {
			tool.Func("t", "", func(context.Context, lighterman.ToolCall, struct{ C chan int }) (any, error) { return nil, nil })
		},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			build()
		})
	}
}

func TestLookup_AnswersByTheQueryAloneAndTellsItsHook(t *testing.T) {
	var events []string
	var s tool.Set
	if err := s.Add(tool.Lookup(func(event string, call lighterman.ToolCall) { events = append(events, event+" "+call.Key) })); err != nil {
		t.Fatal(err)
	}
	call := func(arguments string) string {
		got, err := s.Call(t.Context(), lighterman.ToolCall{Name: "lookup", Key: "k", Arguments: json.RawMessage(arguments)})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	one, two, other := call(`{"query":"tide"}`), call(`{"query":"tide"}`), call(`{"query":"depth"}`)
	if one != two || one == other || one != tool.LookupText("tide") {
		t.Errorf("%q, %q, %q", one, two, other)
	}
	if got := call(`{}`); got != `{"error":"bad arguments: missing query"}` {
		t.Errorf("without a query: %s", got)
	}
	want := []string{"start k", "end k", "start k", "end k", "start k", "end k"}
	if diff := cmp.Diff(want, events); diff != "" {
		t.Error(diff)
	}
}

func TestLookup_NeedsNoHook(t *testing.T) {
	var s tool.Set
	if err := s.Add(tool.Lookup(nil)); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Call(t.Context(), lighterman.ToolCall{Name: "lookup", Arguments: json.RawMessage(`{"query":"tide"}`)}); err != nil || got != tool.LookupText("tide") {
		t.Errorf("%q, %v", got, err)
	}
}
