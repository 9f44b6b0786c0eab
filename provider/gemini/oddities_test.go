package gemini_test

import (
	"testing"

	"github.com/lighterman/lighterman/provider/providertest"
)

// TestOddities plays testdata/oddities: what gateways to this API really send.
func TestOddities(t *testing.T) {
	providertest.Oddities(t, "testdata/oddities", openGemini)
}
