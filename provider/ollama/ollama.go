// Package ollama asks an Ollama: calls go over its /v1, which is OpenAI's language,
// and what models it has over its own /api, which knows what they can do.
package ollama

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
	"github.com/lighterman/lighterman/provider/openai"
)

// LocalURL is where an Ollama listens that nobody configured.
const LocalURL = "http://127.0.0.1:11434"

// API is one Ollama. Its methods may be called concurrently.
type API struct {
	calls  *openai.API // beneath /v1
	native *openai.API // beneath the root; its codec of errors reads Ollama's too

	mu    sync.Mutex
	shown map[string]lm.Offering // what /api/show said, by name and digest
}

// New makes the adapter of an Ollama. Its address is without /v1, which does no harm;
// empty: LocalURL. Error: the address is none.
func New(o provider.Options) (*API, error) {
	root := strings.TrimSuffix(strings.TrimRight(o.BaseURL, "/"), "/v1")
	if root == "" {
		root = LocalURL
	}
	o.BaseURL = root
	native, err := openai.New(openai.Options{Options: o})
	if err != nil {
		return nil, fmt.Errorf("ollama: %w", err)
	}
	o.BaseURL = root + "/v1"
	calls, err := openai.New(openai.Options{Options: o})
	if err != nil {
		return nil, fmt.Errorf("ollama: %w", err)
	}
	return &API{calls: calls, native: native, shown: map[string]lm.Offering{}}, nil
}

// Call satisfies provider.API.
func (a *API) Call(ctx context.Context, call lm.Call) (lm.Answer, error) {
	return a.calls.Call(ctx, call)
}

// Probe satisfies provider.API: GET /api/version. An Ollama takes any credential.
func (a *API) Probe(ctx context.Context) error {
	var w struct {
		Version string `json:"version"`
	}
	if err := a.ask(ctx, http.MethodGet, "/api/version", nil, &w); err != nil {
		return err
	}
	if w.Version == "" {
		return lm.Errorf(lm.ProviderFailed, "/api/version: this is no Ollama")
	}
	return nil
}

// ask decodes the answer of one of Ollama's own paths.
func (a *API) ask(ctx context.Context, method, path string, body []byte, into any) error {
	answer, err := a.native.Ask(ctx, method, path, body)
	if err != nil {
		return err
	}
	if provider.Decode(provider.WithoutMark(answer), into) != nil {
		return lm.Errorf(lm.ProviderFailed, "%s: the answer is none of Ollama's", path)
	}
	return nil
}
