package worker

import (
	"context"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/lighterman/lighterman/config"
)

// ollamaAddr is where an Ollama of this machine listens unless it was told otherwise.
const ollamaAddr = "http://127.0.0.1:11434"

// ollamaPatience is how long a worker's start waits to see whether one is there.
const ollamaPatience = 300 * time.Millisecond

// Detectable are the backends that Detect may declare, by their ID, which is also
// their provider.
func Detectable() []string { return []string{"openai", "anthropic", "gemini", "ollama"} }

// Detect declares the model APIs that this machine offers, where the configuration
// declares no backend, model or pool and does not forbid it (fleet.detect): OpenAI,
// Anthropic and Gemini by their usual key variables, and an Ollama on
// 127.0.0.1:11434. Their models are found by listing them, as with
// fleet.auto_discover, and are called BACKEND/NAME; requests that name no model get
// one of them, unless the configuration names a default. It returns what was found,
// in words; nothing leaves only the simulated models. All workers of a fleet should be
// given the same environment: one that has no key cannot serve the others' models.
func Detect(ctx context.Context, cfg *config.Config) []string { return detect(ctx, cfg, ollamaAddr) }

func detect(ctx context.Context, cfg *config.Config, ollama string) []string {
	if !cfg.Fleet.Detect || len(cfg.Backends) > 0 || len(cfg.Models) > 0 || len(cfg.Pools) > 0 {
		return nil
	}
	var found []string
	add := func(provider, how string) {
		cfg.Backends = append(cfg.Backends, config.Backend{ID: provider, Provider: provider})
		found = append(found, provider+" ("+how+")")
	}
	for _, provider := range []string{"openai", "anthropic", "gemini"} {
		if name := config.KeyEnv(provider); strings.TrimSpace(os.Getenv(name)) != "" {
			add(provider, name)
		}
	}
	if answers(ctx, ollama+"/api/version") {
		add("ollama", strings.TrimPrefix(ollama, "http://"))
	}
	if len(found) == 0 {
		return nil
	}
	cfg.Fleet.AutoDiscover, cfg.Fleet.ProbeOnStart = true, true
	cfg.Fill()
	for path, name := range map[string]*string{"defaults.chat": &cfg.Defaults.Chat, "defaults.prompt": &cfg.Defaults.Prompt, "defaults.embed": &cfg.Defaults.Embed} {
		if cfg.Origin(path).Source == config.FromDefault {
			*name = "" // what is found serves, not the simulation
		}
	}
	return found
}

// answers reports whether something answers there as it should.
func answers(ctx context.Context, url string) bool {
	ctx, cancel := context.WithTimeout(ctx, ollamaPatience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
