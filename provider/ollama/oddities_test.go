package ollama

import (
	"testing"

	"github.com/lighterman/lighterman/provider"
	"github.com/lighterman/lighterman/provider/providertest"
)

// TestOddities plays testdata/oddities: what an Ollama and servers like it really send.
func TestOddities(t *testing.T) {
	providertest.Oddities(t, "testdata/oddities", func(o provider.Options) (provider.API, error) { return New(o) })
}
