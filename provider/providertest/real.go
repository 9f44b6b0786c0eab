package providertest

import (
	"encoding/json"
	"testing"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
)

// Real makes a few calls of a model of a real server: an answer whole and streamed,
// with usage, and frames that agree with it. Whatever the model says is right.
func Real(t *testing.T, api provider.API, model string) {
	t.Helper()
	if model == "" {
		t.Fatal("the server offers no model to ask; name one")
	}
	body := json.RawMessage(`{"messages":[{"role":"user","content":"Say one short sentence."}],"max_tokens":64}`)
	for _, streamed := range []bool{false, true} {
		call := lm.Call{Kind: "chat", Model: model, Body: body, Key: "real/1"}
		got := &frames{}
		if streamed {
			call.Stream = got.add
		}
		answer, err := api.Call(t.Context(), call)
		if err != nil {
			t.Fatalf("streamed %t: %v", streamed, err)
		}
		out := read(t, answer)
		if out.Finish == "" || answer.Usage.Input == 0 || answer.Usage.Output == 0 {
			t.Errorf("streamed %t: finish %q, usage %+v", streamed, out.Finish, answer.Usage)
		}
		if streamed {
			agree(t, got, out, answer)
		}
		t.Logf("streamed %t: %q, %+v", streamed, out.Text, answer.Usage)
	}
}
