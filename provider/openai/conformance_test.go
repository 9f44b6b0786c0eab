package openai

import (
	"os"
	"testing"

	lm "github.com/lighterman/lighterman"
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
		"ollama":     {"cached", "thoughts"}, // as a compatible server; its own adapter is package ollama
	}
	for vendor, lack := range lacks {
		t.Run(vendor, func(t *testing.T) {
			t.Parallel()
			providertest.Run(t, providertest.Adapter{
				Format: providertest.OpenAI{Vendor: vendor}, Lacks: lack,
				Open: func(o provider.Options) (provider.API, error) {
					o.BaseURL += "/v1" // an address without a version is no such API; see located
					return New(Vendor(vendor, o))
				},
			})
		})
	}
}

// TestRealServer asks the compatible server at OPENAI_TEST_BASE_URL, with
// OPENAI_TEST_KEY, of OPENAI_TEST_MODEL or the first model that it lists.
func TestRealServer(t *testing.T) {
	address := os.Getenv("OPENAI_TEST_BASE_URL")
	if address == "" {
		t.Skip("OPENAI_TEST_BASE_URL is not set: no real server is asked")
	}
	a, err := New(Vendor("openai", provider.Options{BaseURL: address, Key: lm.Secret(os.Getenv("OPENAI_TEST_KEY"))}))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Probe(t.Context()); err != nil {
		t.Fatalf("probe: %v", err)
	}
	offerings, err := a.List(t.Context())
	if err != nil {
		t.Fatalf("list: %v", err)
	}
	model := os.Getenv("OPENAI_TEST_MODEL")
	if model == "" && len(offerings) > 0 {
		model = offerings[0].Name
	}
	providertest.Real(t, a, model)
}
