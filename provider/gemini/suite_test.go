package gemini_test

import (
	"context"
	"testing"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
	"github.com/lighterman/lighterman/provider/gemini"
	"github.com/lighterman/lighterman/provider/providertest"
)

func TestConformance(t *testing.T) {
	providertest.Run(t, providertest.Adapter{Format: providertest.Gemini{}, Open: openGemini})
}

func TestConformance_Vertex(t *testing.T) {
	providertest.Run(t, providertest.Adapter{Format: providertest.Gemini{Vertex: true}, Open: openVertex})
}

func openGemini(o provider.Options) (provider.API, error) {
	return gemini.New(context.Background(), gemini.Options{Options: o})
}

// openVertex makes the key the token that a source of tokens gives.
func openVertex(o provider.Options) (provider.API, error) {
	token := o.Key
	o.Key = ""
	return gemini.New(context.Background(), gemini.Options{
		Options: o, Project: "test-project", Location: "test-location",
		Token: func(context.Context) (lm.Secret, error) { return token, nil },
	})
}
