package bedrock_test

import (
	"context"
	"testing"

	"github.com/lighterman/lighterman/provider"
	"github.com/lighterman/lighterman/provider/bedrock"
	"github.com/lighterman/lighterman/provider/providertest"
)

func TestConformance(t *testing.T) {
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", "/nowhere")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
	providertest.Run(t, providertest.Adapter{
		Format: providertest.Bedrock{},
		Open: func(o provider.Options) (provider.API, error) {
			return bedrock.New(context.Background(), bedrock.Options{Options: o, Region: "us-east-1"})
		},
		Lacks: []string{"thoughts"},
	})
}
