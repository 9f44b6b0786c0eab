package anthropic_test

import (
	"testing"

	"github.com/lighterman/lighterman/provider"
	"github.com/lighterman/lighterman/provider/anthropic"
	"github.com/lighterman/lighterman/provider/providertest"
)

// TestOddities plays testdata/oddities: what gateways to this API really send.
func TestOddities(t *testing.T) {
	providertest.Oddities(t, "testdata/oddities", func(o provider.Options) (provider.API, error) { return anthropic.Open(anthropic.Options{Options: o}) })
}
