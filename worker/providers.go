package worker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/config"
	"github.com/lighterman/lighterman/provider"
	"github.com/lighterman/lighterman/provider/anthropic"
	"github.com/lighterman/lighterman/provider/bedrock"
	"github.com/lighterman/lighterman/provider/gemini"
	"github.com/lighterman/lighterman/provider/ollama"
	"github.com/lighterman/lighterman/provider/openai"
)

// Backend is one endpoint of a configuration, ready to be asked.
type Backend struct {
	provider.API
	Credential string // a hash of its credential; empty where it has none
}

// Backends opens the backends of a configuration that are no simulation. It asks
// none of them. The error lists every backend that cannot be opened and why; it
// never holds a credential.
func Backends(ctx context.Context, cfg *config.Config) (map[string]Backend, error) {
	backends := make(map[string]Backend)
	var problems []error
	for i := range cfg.Backends {
		b := &cfg.Backends[i]
		if b.Provider == config.SimBackend {
			continue
		}
		key, err := b.Credential()
		if err != nil {
			problems = append(problems, err)
			continue
		}
		api, err := open(ctx, b, key)
		if err != nil {
			problems = append(problems, fmt.Errorf("backend %s: %w", b.ID, err))
			continue
		}
		backends[b.ID] = Backend{API: api, Credential: credentialHash(b, key)}
	}
	return backends, errors.Join(problems...)
}

// open makes the adapter of a backend's provider.
func open(ctx context.Context, b *config.Backend, key lighterman.Secret) (provider.API, error) {
	o := provider.Options{BaseURL: b.BaseURL, Key: key, Timeouts: provider.Timeouts{
		Connect: b.Timeouts.Connect.Std(), FirstByte: b.Timeouts.FirstByte.Std(), Idle: b.Timeouts.Idle.Std(),
		Reasoning: b.Timeouts.Reasoning.Std(), Total: b.Timeouts.Total.Std(),
	}}
	switch b.Provider {
	case "anthropic":
		return anthropic.Open(anthropic.Options{Options: o})
	case "gemini":
		return gemini.New(ctx, gemini.Options{Options: o})
	case "vertex":
		return gemini.New(ctx, gemini.Options{Options: o, Project: b.Project, Location: b.Location, CredentialsFile: b.CredentialsFile})
	case "bedrock":
		return bedrock.New(ctx, bedrock.Options{Options: o, Region: b.Region, Profile: b.Profile})
	case "ollama":
		return ollama.New(o)
	case "openai", "openrouter", "mistral", "vllm", "azure":
		return openai.New(openai.Vendor(b.Provider, o))
	default:
		return nil, fmt.Errorf("%q is no provider", b.Provider)
	}
}

// credentialHash tells one credential from another, and nothing else: the fleet's
// records name it, so that a new key lifts the quarantine of an old one and is
// listed anew.
func credentialHash(b *config.Backend, key lighterman.Secret) string {
	secret := key.Reveal()
	if secret == "" {
		secret = b.CredentialsFile + b.Profile
	}
	if secret == "" {
		return ""
	}
	sum := sha256.Sum256([]byte("lighterman credential\x00" + b.Provider + "\x00" + secret))
	return hex.EncodeToString(sum[:8])
}
