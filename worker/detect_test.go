package worker

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/lighterman/lighterman/config"
)

func TestDetect_DeclaresWhatTheMachineOffers(t *testing.T) {
	ollama := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/version" {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer ollama.Close()
	nobody := httptest.NewServer(http.NotFoundHandler())
	nobody.Close()
	for _, c := range []struct {
		name   string
		yaml   string
		keys   map[string]string
		ollama string
		want   []string
		chat   string
	}{
		{"nothing", "{}", nil, nobody.URL, nil, "sim"},
		{"a key", "{}", map[string]string{"OPENAI_API_KEY": "k"}, nobody.URL, []string{"openai (OPENAI_API_KEY)"}, ""},
		{"all", "{}", map[string]string{"OPENAI_API_KEY": "k", "ANTHROPIC_API_KEY": "k", "GEMINI_API_KEY": "k"}, ollama.URL,
			[]string{"openai (OPENAI_API_KEY)", "anthropic (ANTHROPIC_API_KEY)", "gemini (GEMINI_API_KEY)", "ollama (" + strings.TrimPrefix(ollama.URL, "http://") + ")"}, ""},
		{"a named default stays", "defaults: {chat: sim}", map[string]string{"OPENAI_API_KEY": "k"}, nobody.URL, []string{"openai (OPENAI_API_KEY)"}, "sim"},
		{"an empty key is none", "{}", map[string]string{"OPENAI_API_KEY": " "}, nobody.URL, nil, "sim"},
		{"forbidden", "fleet: {detect: false}", map[string]string{"OPENAI_API_KEY": "k"}, ollama.URL, nil, "sim"},
		{"a declared pool is enough", "pools: [{id: p, members: [{model_id: sim}]}]", map[string]string{"OPENAI_API_KEY": "k"}, ollama.URL, nil, "sim"},
		{"something else on Ollama's port", "{}", nil, ollama.URL + "/other", nil, "sim"},
		{"a declared model is enough", "models: [{id: m, backend: sim, name: sim}]", map[string]string{"OPENAI_API_KEY": "k"}, ollama.URL, nil, "sim"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, name := range []string{"OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY"} {
				t.Setenv(name, c.keys[name])
			}
			cfg, err := config.Parse("f", []byte(c.yaml))
			if err != nil {
				t.Fatal(err)
			}
			got := detect(t.Context(), cfg, c.ollama)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if cfg.Defaults.Chat != c.chat || len(cfg.Backends) != len(c.want) || cfg.Fleet.AutoDiscover != (len(c.want) > 0) {
				t.Errorf("%+v %+v", cfg.Defaults, cfg.Backends)
			}
			if cfg.Fleet.ProbeOnStart != (len(c.want) > 0) || c.chat == "" && cfg.Defaults != (config.Defaults{}) {
				t.Errorf("probe %t, defaults %+v", cfg.Fleet.ProbeOnStart, cfg.Defaults)
			}
			for _, b := range cfg.Backends {
				if b.Timeouts.Total == 0 {
					t.Errorf("%s has no time-outs", b.ID)
				}
			}
			if _, err := Backends(t.Context(), cfg); err != nil {
				t.Errorf("what was found cannot be opened: %v", err)
			}
		})
	}
}

func TestDetect_ADeclaredBackendIsEnough(t *testing.T) {
	t.Setenv("OPENAI_API_KEY", "k")
	cfg, err := config.Parse("f", []byte("backends: [{id: b, provider: sim}]"))
	if err != nil {
		t.Fatal(err)
	}
	if got := detect(t.Context(), cfg, "http://127.0.0.1:1"); got != nil || len(cfg.Backends) != 1 {
		t.Errorf("%v %+v", got, cfg.Backends)
	}
}
