package openai

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
)

// wireModel is a model with what the vendors add to OpenAI's four fields.
type wireModel struct {
	ID           string          `json:"id"`
	OpenRouter   provider.Count  `json:"context_length"`
	VLLM         provider.Count  `json:"max_model_len"`
	Mistral      provider.Count  `json:"max_context_length"`
	Groq         provider.Count  `json:"context_window"`
	Parameters   []string        `json:"supported_parameters"`
	Capabilities json.RawMessage `json:"capabilities"` // Mistral: an object of booleans
	Architecture *struct {
		Inputs  []string `json:"input_modalities"`
		Outputs []string `json:"output_modalities"`
	} `json:"architecture"`
}

// List satisfies provider.API: GET /models, with the context length and the
// capabilities of those that name them. An entry that has no name is left out, and so
// is a field of another form; the others are listed.
func (a *API) List(ctx context.Context) ([]lm.Offering, error) {
	body, err := a.Ask(ctx, http.MethodGet, "/models", nil)
	if err != nil {
		return nil, err
	}
	var w struct {
		Data []wireModel `json:"data"`
	}
	body = provider.WithoutMark(body)
	if provider.Decode(body, &w) != nil || w.Data == nil {
		if provider.Decode(body, &w.Data) != nil || w.Data == nil { // Together answers the bare list
			return nil, lm.Errorf(lm.ProviderFailed, "the answer is no list of models")
		}
	}
	out := make([]lm.Offering, 0, len(w.Data))
	for i := range w.Data {
		if m := &w.Data[i]; m.ID != "" {
			out = append(out, lm.Offering{Name: m.ID, Window: int(max(m.OpenRouter, m.VLLM, m.Mistral, m.Groq)), Can: m.can()})
		}
	}
	return out, nil
}

// can is what the backend says of a model; nil: nothing.
func (m *wireModel) can() map[lm.Capability]bool {
	can := map[lm.Capability]bool{}
	if m.Architecture != nil && len(m.Architecture.Inputs) > 0 {
		can[lm.CanVision] = slices.Contains(m.Architecture.Inputs, "image")
		if outputs := m.Architecture.Outputs; len(outputs) > 0 {
			can[lm.CanChat] = slices.Contains(outputs, "text")
			can[lm.CanEmbed] = slices.Contains(outputs, "embeddings")
		}
	}
	if len(m.Parameters) > 0 {
		can[lm.CanTools] = slices.Contains(m.Parameters, "tools")
		can[lm.CanThink] = slices.Contains(m.Parameters, "reasoning")
	}
	var named map[string]any
	if json.Unmarshal(m.Capabilities, &named) == nil {
		for word, capability := range map[string]lm.Capability{
			"completion_chat": lm.CanChat, "function_calling": lm.CanTools, "vision": lm.CanVision, "reasoning": lm.CanThink,
		} {
			if value, ok := named[word].(bool); ok {
				can[capability] = value
			}
		}
	}
	if len(can) == 0 {
		return nil
	}
	return can
}

// Probe satisfies provider.API.
func (a *API) Probe(ctx context.Context) error {
	_, err := a.Ask(ctx, http.MethodGet, a.quirks.ProbePath, nil)
	return err
}

// Ask gets the answer of a path beneath the base URL within the time of a listing,
// for servers that tell of themselves in words of their own. A POST's body is JSON.
// Errors as those of List.
func (a *API) Ask(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, a.times.List)
	defer cancel()
	x := &exchange{api: a, ctx: ctx, body: body}
	resp, err := x.do(method, path)
	if err != nil {
		return nil, x.Unlisted(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, provider.Failure(ctx, err, false)
	}
	return answer, nil
}
