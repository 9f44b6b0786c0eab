package worker

import (
	"strings"
	"testing"

	"github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/config"
)

// TestBackends_AllTroubleAtOnce: each backend that cannot be opened is named with
// why, a worker does not start with it, and the others are opened with the hash of
// their credential.
func TestBackends_AllTroubleAtOnce(t *testing.T) {
	t.Setenv("A_KEY", "canary-key")
	t.Setenv("NO_KEY", "")
	cfg := config.Default()
	cfg.Backends = []config.Backend{
		{ID: "good", Provider: "openai", APIKeyEnv: "A_KEY"}, {ID: "keyless", Provider: "openai", APIKeyEnv: "NO_KEY"},
		{ID: "nowhere", Provider: "openai", BaseURL: "no-address"}, {ID: "strange", Provider: "other"}, {ID: "local", Provider: "sim"},
	}
	cfg.Fill()
	got, err := Backends(t.Context(), cfg)
	if len(got) != 1 || len(got["good"].Credential) != 16 || strings.Contains(got["good"].Credential, "canary") {
		t.Errorf("%+v", got)
	}
	for _, want := range []string{"backend keyless: ", "backend nowhere: ", "backend strange: "} {
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%v, want %q", err, want)
		}
	}
	w := settings(nil)
	w.Backends = cfg.Backends
	if one, err := New(t.Context(), w); err == nil {
		one.Close()
		t.Error("a worker was made of backends that cannot be opened")
	}
}

// TestCredentialHash_TellsCredentialsApart: by provider, key, file and profile; none
// has none.
func TestCredentialHash_TellsCredentialsApart(t *testing.T) {
	seen := map[string]string{}
	for name, c := range map[string]struct {
		b   config.Backend
		key lighterman.Secret
	}{
		"a key": {config.Backend{Provider: "openai"}, "k"}, "another": {config.Backend{Provider: "openai"}, "l"},
		"of another provider": {config.Backend{Provider: "mistral"}, "k"}, "a file": {config.Backend{Provider: "vertex", CredentialsFile: "f"}, ""},
		"a profile": {config.Backend{Provider: "bedrock", Profile: "p"}, ""}, "none": {config.Backend{Provider: "ollama"}, ""},
	} {
		hash := credentialHash(&c.b, c.key)
		if other, taken := seen[hash]; taken || (hash == "") != (name == "none") {
			t.Errorf("%s: %q, as %s", name, hash, other)
		}
		seen[hash] = name
	}
}
