package gemini

import (
	"context"
	"encoding/json"
	"math"
	"strings"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
	"google.golang.org/genai"
)

// embed asks for the vectors of a call's inputs: as many at a time as the API takes,
// one request after the other.
func (c *Client) embed(ctx context.Context, call *lm.Call) (lm.Answer, error) {
	e, err := provider.ParseEmbed(call.Body)
	if err != nil {
		return lm.Answer{}, err
	}
	var vectors [][]float32
	var usage lm.Usage
	for rest := e.Inputs; len(rest) > 0; {
		n := min(len(rest), c.atOnce(call.Model))
		some, tokens, err := c.vectors(ctx, call, rest[:n], e.Dimensions)
		if err != nil {
			return lm.Answer{}, err
		}
		vectors, rest = append(vectors, some...), rest[n:]
		usage.Input += tokens
	}
	return e.Answer(call.Model, vectors, usage)
}

// atOnce is how many inputs a request may have: 100 for the Gemini API, 250 for
// Vertex, but one for its Gemini models.
func (c *Client) atOnce(model string) int {
	switch {
	case !c.vertex:
		return 100
	case strings.Contains(model, "gemini") || strings.Contains(model, "maas"):
		return 1
	default:
		return 250
	}
}

// vectors makes one request, and returns the tokens that it counted: none where the
// API does not say.
func (c *Client) vectors(ctx context.Context, call *lm.Call, inputs []string, dimensions int) ([][]float32, int64, error) {
	contents := make([]*genai.Content, len(inputs))
	for i, text := range inputs {
		contents[i] = &genai.Content{Role: genai.RoleUser, Parts: []*genai.Part{{Text: text}}}
	}
	config := &genai.EmbedContentConfig{}
	if dimensions > 0 {
		config.OutputDimensionality = genai.Ptr(int32(min(dimensions, math.MaxInt32)))
	}
	f := &flow{keep: true}
	ctx = f.watch(ctx)
	answer, err := guarded(func() (*genai.EmbedContentResponse, error) {
		return c.models.EmbedContent(ctx, call.Model, contents, config)
	})
	if err != nil {
		return nil, 0, c.failed(ctx, f, err, call)
	}
	if len(answer.Embeddings) != len(inputs) {
		return nil, 0, lm.Errorf(lm.ProviderFailed, "%d vectors for %d inputs", len(answer.Embeddings), len(inputs))
	}
	vectors := make([][]float32, len(inputs))
	var tokens int64
	for i, e := range answer.Embeddings {
		if e == nil || len(e.Values) == 0 {
			return nil, 0, lm.Errorf(lm.ProviderFailed, "input %d has no vector", i)
		}
		vectors[i] = e.Values
		if e.Statistics != nil {
			tokens += int64(e.Statistics.TokenCount)
		}
	}
	if tokens == 0 {
		tokens = counted(f.whole)
	}
	return vectors, tokens, nil
}

// counted is the usage that the Gemini API writes beside the vectors, which the SDK
// leaves out.
func counted(body []byte) int64 {
	var w struct {
		Usage struct {
			Prompt int64 `json:"promptTokenCount"`
		} `json:"usageMetadata"`
	}
	if json.Unmarshal(body, &w) != nil {
		return 0
	}
	return w.Usage.Prompt
}
