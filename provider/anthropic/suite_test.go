package anthropic_test

import (
	"testing"

	"github.com/lighterman/lighterman/provider"
	"github.com/lighterman/lighterman/provider/anthropic"
	"github.com/lighterman/lighterman/provider/providertest"
)

func TestConformance(t *testing.T) {
	providertest.Run(t, providertest.Adapter{
		Format: providertest.Anthropic{},
		Open: func(o provider.Options) (provider.API, error) {
			return anthropic.Open(anthropic.Options{Options: o})
		},
		Lacks: []string{"embed", "whole"},
	})
}
