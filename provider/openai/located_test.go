package openai

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
)

// TestCall_A404OfAnAddressThatIsNoAPIIsSaidAndNotTriedAgain: with the address and the
// hint where base_url has no version; with a version it stays a failure that passes,
// and tells the address too. A 404 about a model is that, wherever it comes from.
func TestCall_A404OfAnAddressThatIsNoAPIIsSaidAndNotTriedAgain(t *testing.T) {
	body := "404 page not found"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, body, http.StatusNotFound) }))
	defer server.Close()
	for _, tt := range []struct {
		name, path, body string
		kind             lm.Kind
		text             string
	}{
		{"no version", "", "404 page not found", lm.ModelNotFound, "HTTP 404 at " + server.URL + "/chat/completions: does base_url lack /v1?"},
		{"a version", "/v1", "404 page not found", lm.ProviderFailed, "at " + server.URL + "/v1/chat/completions"},
		{"a version inside", "/api/v1", "<html>", lm.ProviderFailed, "at " + server.URL + "/api/v1/chat/completions"},
		{"a model", "", `{"error":{"message":"model \"x\" not found"}}`, lm.ModelNotFound, "not found"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			body = tt.body
			user := strings.Replace(server.URL, "http://", "http://user:secret@", 1)
			api, err := New(Options{Options: provider.Options{BaseURL: user + tt.path}})
			if err != nil {
				t.Fatal(err)
			}
			_, err = api.Call(t.Context(), lm.Call{Kind: "chat", Model: "x", Body: []byte(`{"messages":[]}`)})
			if lm.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.text) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%v, want %s with %q", err, tt.kind, tt.text)
			}
			if hint := strings.Contains(err.Error(), "base_url"); hint != strings.Contains(tt.text, "base_url") {
				t.Errorf("the hint is there: %t: %v", hint, err)
			}
		})
	}
}
