package providertest

import (
	"testing"

	"github.com/lighterman/lighterman/provider"
)

// Adapter is what Run tests.
type Adapter struct {
	Format Format
	// Open makes the adapter against a server's address.
	Open func(o provider.Options) (provider.API, error)
	// Lacks names what the API cannot do, of embed, prompt, tools, images, reasoning,
	// list: those tests are not run, and the matrix says so.
	Lacks []string
}

// Run is the conformance suite.
func Run(t *testing.T, a Adapter) {
	t.Helper()
	t.Fatalf("%s: no suite yet", a.Format.Name())
}
