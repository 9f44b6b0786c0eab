package worker

import (
	"context"
	"testing"

	"github.com/lighterman/lighterman/config"
)

// TestBackends_EveryProviderOfTheConfigurationIsOpened: what `config check` takes a
// worker can open.
func TestBackends_EveryProviderOfTheConfigurationIsOpened(t *testing.T) {
	t.Setenv("LIGHTERMAN_TEST_KEY", "k")
	for _, provider := range []string{"openai", "anthropic", "gemini", "ollama", "openrouter", "mistral", "azure", "vllm"} {
		b := config.Backend{ID: "b", Provider: provider, BaseURL: "http://127.0.0.1:1/v1", APIKeyEnv: "LIGHTERMAN_TEST_KEY"}
		if opened, err := Backends(context.Background(), &config.Config{Backends: []config.Backend{b}}); err != nil || len(opened) != 1 {
			t.Errorf("%s: %v, %v", provider, opened, err)
		}
	}
}
