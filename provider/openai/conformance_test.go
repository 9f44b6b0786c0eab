package openai

import (
	"testing"

	"github.com/lighterman/lighterman/provider"
	"github.com/lighterman/lighterman/provider/providertest"
)

// TestConformance prints the matrix of each vendor's error kinds with -v.
func TestConformance(t *testing.T) {
	lacks := map[string][]string{
		"openai":     nil,
		"openrouter": nil,
		"mistral":    nil,
		"vllm":       {"quota_exhausted"},
		"azure":      nil,
		"ollama":     {"cached", "thoughts"},
	}
	for vendor, lack := range lacks {
		t.Run(vendor, func(t *testing.T) {
			t.Parallel()
			providertest.Run(t, providertest.Adapter{
				Format: providertest.OpenAI{Vendor: vendor}, Lacks: lack,
				Open: func(o provider.Options) (provider.API, error) { return New(Vendor(vendor, o)) },
			})
		})
	}
}
