package pipeline_test

import (
	"encoding/json"
	"testing"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider/sim"
)

func TestHandle_Kinds(t *testing.T) {
	w := onMini(t)
	r := w.rig(nil)
	r.sim.Push("special", sim.Reply{Text: "from special"}, sim.Reply{Text: "from special"})
	hello := user("hello")
	for _, tt := range []struct {
		name   string
		req    lm.Request
		object string
		model  string
		err    lm.Kind
	}{
		{"chat by default", lm.Request{Body: body("messages", hello)}, "chat.completion", "sim", ""},
		{"the body's model", lm.Request{Body: body("messages", hello, "model", "special")}, "chat.completion", "special", ""},
		{"a model that is only spoken of", lm.Request{Body: body("messages", user("model"))}, "chat.completion", "sim", ""},
		{"the request's model wins", lm.Request{Model: "special", Body: body("messages", hello, "model", "sim")}, "chat.completion", "special", ""},
		{"prompt", lm.Request{Kind: "prompt", Body: body("prompt", "hello")}, "text_completion", "sim", ""},
		{"embed", lm.Request{Kind: "embed", Body: body("input", []string{"a", "b"})}, "list", "sim-embed", ""},
		{"unknown kind", lm.Request{Kind: "sing", Body: body()}, "", "", lm.UnknownKind},
		{"unknown model", lm.Request{Model: "gtp-4o", Body: body("messages", hello)}, "", "", lm.ModelNotFound},
		{"chat without messages", lm.Request{Body: body("prompt", "x")}, "", "", lm.InvalidRequest},
		{"chat that is no JSON", lm.Request{Body: json.RawMessage(`{"messages":`)}, "", "", lm.InvalidRequest},
		{"chat that is no object", lm.Request{Body: json.RawMessage(`[]`)}, "", "", lm.InvalidRequest},
		{"chat that is null", lm.Request{Body: json.RawMessage(`null`)}, "", "", lm.InvalidRequest},
		{"prompt that is no JSON", lm.Request{Kind: "prompt", Body: json.RawMessage(`prompt`)}, "", "", lm.InvalidRequest},
	} {
		t.Run(tt.name, func(t *testing.T) {
			result, err := r.Handle(ctx, w.claim(w.enqueue(tt.req)))
			if lm.KindOf(err) != tt.err {
				t.Fatalf("%v, want %q", err, tt.err)
			}
			var said struct{ Object, Model string }
			_ = json.Unmarshal(result.Body, &said)
			if said.Object != tt.object || said.Model != tt.model {
				t.Errorf("%+v", said)
			}
		})
	}
}

// The same bodies are refused alike where the worker offers tools and must open
// the body to do so.
func TestHandle_BadBodiesWithTools(t *testing.T) {
	w := onMini(t)
	r := w.rig(func(r *rig) { lookups(w, r.tools) })
	for _, b := range []string{`{"messages":`, `[]`, `null`, `{}`, `{"messages":{}}`, `{"messages":null}`} {
		_, err := r.Handle(ctx, w.claim(w.enqueue(lm.Request{Body: json.RawMessage(b)})))
		if lm.KindOf(err) != lm.InvalidRequest {
			t.Errorf("%s: %v", b, err)
		}
	}
}
