package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/lighterman/lighterman/config"
)

func TestBackend_HasWhatItsProviderTakes(t *testing.T) {
	for _, c := range []struct{ name, yaml, want string }{
		{"openai as it is", "{id: b, provider: openai}", ""},
		{"compatible server", `{id: b, provider: openai, base_url: "http://127.0.0.1:8000/v1", api_key_env: K}`, ""},
		{"vllm", `{id: b, provider: vllm, base_url: "http://127.0.0.1:8000/v1"}`, ""},
		{"ollama", "{id: b, provider: ollama}", ""},
		{"vertex", "{id: b, provider: vertex, project: p, location: global, credentials_file: f}", ""},
		{"bedrock", "{id: b, provider: bedrock, region: eu-west-1, profile: dev}", ""},
		{"azure", `{id: b, provider: azure, base_url: "https://n.openai.azure.com/openai/v1", api_key_env: K}`, ""},
		{"azure nowhere", "{id: b, provider: azure}", "1:12: backends[0].base_url: missing; the provider azure needs it"},
		{"vllm nowhere", "{id: b, provider: vllm}", "1:12: backends[0].base_url: missing; the provider vllm needs it"},
		{"vertex of nobody", "{id: b, provider: vertex}", "1:12: backends[0].project: missing; the provider vertex needs it\n1:12: backends[0].location: missing; the provider vertex needs it"},
		{"vertex with a key", "{id: b, provider: vertex, project: p, location: l, api_key_env: K}", "1:76: backends[0].api_key_env: the provider vertex has none"},
		{"anthropic in a region", "{id: b, provider: anthropic, region: r}", "1:49: backends[0].region: the provider anthropic has none"},
		{"two keys", "{id: b, provider: openai, api_key_env: K, api_key_file: f}", "1:68: backends[0].api_key_file: api_key_env is set too; want one of them"},
		{"no scheme", "{id: b, provider: openai, base_url: 'localhost:8000'}", "1:48: backends[0].base_url: want an address as https://HOST/v1"},
		{"a password", "{id: b, provider: openai, base_url: 'https://u:canary@h/v1'}", "1:48: backends[0].base_url: a name or password in it would be printed; want api_key_env or api_key_file"},
		{"a key in the query", "{id: b, provider: openai, base_url: 'https://h/v1?key=canary'}", "1:48: backends[0].base_url: want an address without ? and #"},
		{"a fragment", "{id: b, provider: openai, base_url: 'https://h/v1#canary'}", "1:48: backends[0].base_url: want an address without ? and #"},
		{"no host", "{id: b, provider: openai, base_url: 'https:///v1'}", "1:48: backends[0].base_url: want an address as https://HOST/v1"},
		{"no time", "{id: b, provider: openai, timeouts: {idle: 0s}}", "1:55: backends[0].timeouts.idle: 0s is out of range; want 10ms to 1h"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := config.Parse("f", []byte("backends: ["+c.yaml+"]"))
			got := ""
			if err != nil {
				got = strings.ReplaceAll("\n"+err.Error(), "\nf:", "\n")[1:]
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestBackend_TimeoutsHaveDefaults(t *testing.T) {
	c, err := config.Parse("f", []byte("backends: [{id: b, provider: openai, timeouts: {idle: 5s}}]"))
	if err != nil {
		t.Fatal(err)
	}
	got := c.Backends[0].Timeouts
	if got.Idle.String() != "5s" || got.FirstByte.String() != "1m" || got.Total.String() != "10m" {
		t.Errorf("%+v", got)
	}
}

func TestCredential_FromFileVariableOrTheUsualOne(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(" from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("MY_KEY", "from-env")
	t.Setenv("UNSET_KEY", "")
	t.Setenv("BLANK_AROUND", " from-env\n")
	t.Setenv("BLANK_WITHIN", "canary 1")
	t.Setenv("NO_ASCII", "canary\u00e9")
	t.Setenv("MISTRAL_API_KEY", " usual\n")
	large := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(large, []byte(strings.Repeat("canary", 1<<20)), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TWO_LINES", "canary-1\ncanary-2")
	t.Setenv("ANTHROPIC_API_KEY", "")
	t.Setenv("OPENAI_API_KEY", "the-usual")
	for _, c := range []struct {
		name    string
		backend config.Backend
		want    string
		err     string
	}{
		{"file", config.Backend{Provider: "openai", APIKeyFile: file}, "from-file", ""},
		{"variable", config.Backend{Provider: "anthropic", APIKeyEnv: "MY_KEY"}, "from-env", ""},
		{"usual", config.Backend{Provider: "openai"}, "the-usual", ""},
		{"usual, its address written out", config.Backend{Provider: "openai", BaseURL: "https://api.openai.com/v1"}, "the-usual", ""},
		{"not without TLS", config.Backend{Provider: "openai", BaseURL: "http://api.openai.com/v1"}, "", ""},
		{"not to a host that begins alike", config.Backend{Provider: "openai", BaseURL: "https://api.openai.com.evil.example/v1"}, "", ""},
		{"the usual key goes nowhere else", config.Backend{Provider: "openai", BaseURL: "http://h/v1"}, "", ""},
		{"no key needed", config.Backend{Provider: "ollama"}, "", ""},
		{"none", config.Backend{ID: "b", Provider: "anthropic"}, "", "backend b: no key; set ANTHROPIC_API_KEY, or name api_key_env or api_key_file"},
		{"variable not set", config.Backend{ID: "b", Provider: "openai", APIKeyEnv: "UNSET_KEY"}, "", "backend b: UNSET_KEY holds no key"},
		{"file empty", config.Backend{ID: "b", Provider: "openai", APIKeyFile: empty}, "", "holds no key"},
		{"file gone", config.Backend{ID: "b", Provider: "openai", APIKeyFile: "/nowhere/key"}, "", "no such file"},
		{"variable with blanks around", config.Backend{Provider: "openai", APIKeyEnv: "BLANK_AROUND"}, "from-env", ""},
		{"usual with blanks around", config.Backend{Provider: "mistral"}, "usual", ""},
		{"a blank within", config.Backend{Provider: "openai", APIKeyEnv: "BLANK_WITHIN"}, "", "is no key"},
		{"no ASCII", config.Backend{Provider: "openai", APIKeyEnv: "NO_ASCII"}, "", "is no key"},
		{"file too large", config.Backend{Provider: "openai", APIKeyFile: large}, "", "large"},
		{"no key at all", config.Backend{ID: "b", Provider: "openai", APIKeyEnv: "TWO_LINES"}, "", "is no key"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := c.backend.Credential()
			switch {
			case c.err == "" && err != nil, c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
				t.Errorf("error %v, want %q", err, c.err)
			case err != nil && strings.Contains(err.Error(), "canary"):
				t.Errorf("the error holds the key: %v", err)
			case got.Reveal() != c.want:
				t.Errorf("got another key than %q", c.want)
			}
		})
	}
}
