package worker

import (
	"strings"
	"testing"

	lm "github.com/lighterman/lighterman"
)

// TestRedact_AnErrorTellsNothingOfThePrompt, and keeps the model's name.
func TestRedact_AnErrorTellsNothingOfThePrompt(t *testing.T) {
	r := &lm.Request{Body: []byte(`{"model":"a-model-with-a-long-name","messages":[{"role":"user","content":"My secret diary of 1998, page one"}]}`)}
	got := redact("bad input My secret diary of 1998, page one\nfor a-model-with-a-long-name with sk-abcdefghijkl", r)
	for _, bad := range []string{"diary", "1998", "sk-abc", "\n"} {
		if strings.Contains(got, bad) {
			t.Errorf("%q holds %q", got, bad)
		}
	}
	if !strings.Contains(got, "for a-model-with-a-long-name") {
		t.Errorf("%q lost the model", got)
	}
}
