package sim

import (
	"encoding/json"
	"strings"
	"testing"
)

// reference reads a chat as parse does, but with encoding/json.
func reference(body []byte) (question string, messages, rounds int, tools []string, ok bool) {
	object := func(b []byte) map[string]json.RawMessage {
		var m map[string]json.RawMessage
		if json.Unmarshal(b, &m) != nil {
			return nil
		}
		return m
	}
	list := func(b []byte) []json.RawMessage {
		var l []json.RawMessage
		if json.Unmarshal(b, &l) != nil {
			return nil
		}
		return l
	}
	str := func(b []byte) (s string, ok bool) {
		if !strings.HasPrefix(string(b), `"`) {
			return "", false
		}
		return s, json.Unmarshal(b, &s) == nil
	}
	top := object(body)
	var text value
	for _, m := range list(top["messages"]) {
		message := object(m)
		role, isString := str(message["role"])
		if !isString {
			return "", 0, 0, nil, false
		}
		messages++
		switch {
		case role == "user":
			text, rounds = value(message["content"]), 0
		case role == "assistant" && len(list(message["tool_calls"])) > 0:
			rounds++
		}
	}
	for _, tool := range list(top["tools"]) {
		if name, isString := str(object(object(tool)["function"])["name"]); isString {
			tools = append(tools, name)
		}
	}
	return text.content(), messages, rounds, tools, messages > 0
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		`{"messages":[{"role":"user","content":"Why do rivers bend?"}]}`,
		` { "model" : "sim" , "messages" : [ { "role" : "user" , "content" : [ { "type":"text","text":"a" } ] } ] } `,
		`{"messages":[{"role":"assistant","tool_calls":[{"id":"x"}]},{"role":"tool","content":"r"}],"tools":[{"function":{"name":"a"}},{"function":{}}]}`,
		`{"messages":[{"role":"us\u0065r","content":"\ud83d\ude00 \ud800 \" \\"}],"input":[[1],"a",2],"prompt":["p"]}`,
		`{"messages":[],"messages":[{"role":"user"}]}`, `[]`, `{}`, `"`, `{"input":[1,2]}`, `{"a":-1e9,"b":[true,null,[]],"c":{}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, kind := range []string{prompt, embed} {
			_, _ = parse(kind, body) // must not panic
		}
		r, err := parse(chat, body)
		question, messages, rounds, tools, ok := reference(body)
		if ok != (err == nil) {
			t.Fatalf("parse says %v, encoding/json ok=%v", err, ok)
		}
		if !ok {
			return
		}
		if r.question() != question || r.messages != messages || r.rounds != rounds || len(r.tools) != len(tools) {
			t.Fatalf("got %q %d messages %d rounds %d tools, want %q %d %d %d", r.question(), r.messages, r.rounds, len(r.tools), question, messages, rounds, len(tools))
		}
		for i, want := range tools {
			if got := r.tools[i].text(); got != want {
				t.Fatalf("tool %d is %q, want %q", i, got, want)
			}
		}
	})
}

func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "a b", "\x00\x1f\x7f\"\\\n", "ü\u2028😀"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		s = strings.ToValidUTF8(s, "?")
		var back string
		if err := json.Unmarshal(appendString(nil, s), &back); err != nil || back != s {
			t.Fatalf("%q came back as %q: %v", s, back, err)
		}
		var joined strings.Builder
		n := 0
		for rest := s; rest != ""; n++ {
			var token string
			token, rest = cutToken(rest)
			joined.WriteString(token)
		}
		if joined.String() != s || n != countTokens(s) {
			t.Fatalf("%q in %d tokens (%d counted) joins to %q", s, n, countTokens(s), joined.String())
		}
	})
}
