package router

import (
	"testing"

	lm "github.com/lighterman/lighterman"
)

// TestNeeds_OutputIsWhatTheBodyAllows: a body that says it badly still tells the rest.
func TestNeeds_OutputIsWhatTheBodyAllows(t *testing.T) {
	spec := pool("a")
	spec.Models[0].Limits.TPM = 1
	snap, p := snapshot(spec, nil)
	for limit, want := range map[string]int{
		`"max_tokens":70`:                              70,
		`"max_completion_tokens":80`:                   80,
		`"max_tokens":70,"max_completion_tokens":80`:   80,
		`"max_tokens":70,"max_completion_tokens":null`: 70,
		`"max_tokens":-5,"max_completion_tokens":-6`:   0,
		`"max_tokens":99999999999999999999`:            0,
		`"max_tokens":1.5`:                             0,
		`"max_tokens":"70"`:                            0,
		`"max_tokens":{}`:                              0,
		`"n":1`:                                        0,
	} {
		call := &lm.Call{Kind: "chat", Body: []byte(`{"messages":[{"content":"12345678"}],"stream":true,` + limit + `}`)}
		if got := needsOf(snap, p, call); got.Output != want || got.Tokens != 2 || !got.Stream {
			t.Errorf("%s: %+v, want %d tokens of output", limit, got, want)
		}
	}
}
