package bedrock

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime"
	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
	"golang.org/x/sync/errgroup"
)

// embed asks an embedding model in its own format: Cohere's take many texts at once,
// Titan's one, so that those are asked a few at a time. A name that tells no maker,
// as an ARN may, is asked as Titan.
func (c *Client) embed(ctx context.Context, call *lm.Call) (lm.Answer, error) {
	e, err := provider.ParseEmbed(call.Body)
	if err != nil {
		return lm.Answer{}, err
	}
	if strings.Contains(call.Model, "cohere.") {
		return c.cohere(ctx, call, e)
	}
	return c.titan(ctx, call, e)
}

// invoke asks a model in its own format and reads its answer into out.
func (c *Client) invoke(ctx context.Context, call *lm.Call, in, out any) (*provider.Exchange, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, lm.Errorf(lm.InvalidRequest, "encode the inputs: %w", err)
	}
	e := &provider.Exchange{}
	ctx = provider.Watch(ctx, e)
	answer, err := c.runtime.InvokeModel(ctx, &bedrockruntime.InvokeModelInput{
		ModelId: aws.String(call.Model), Body: body, ContentType: aws.String("application/json"), Accept: aws.String("application/json"),
	})
	if err != nil {
		return e, c.failure(ctx, err, e, call, false)
	}
	if err := json.Unmarshal(answer.Body, out); err != nil {
		return e, lm.Errorf(lm.ProviderFailed, "the answer of an embedding model cannot be read")
	}
	return e, nil
}

func (c *Client) cohere(ctx context.Context, call *lm.Call, e *provider.Embed) (lm.Answer, error) {
	in := map[string]any{"texts": e.Inputs, "input_type": "search_document", "truncate": "NONE"}
	var out struct {
		Embeddings json.RawMessage `json:"embeddings"`
	}
	x, err := c.invoke(ctx, call, in, &out)
	if err != nil {
		return lm.Answer{}, err
	}
	var vectors [][]float32
	if json.Unmarshal(out.Embeddings, &vectors) != nil {
		var typed struct {
			Float [][]float32 `json:"float"`
		}
		_ = json.Unmarshal(out.Embeddings, &typed) // then there are none, which Answer tells
		vectors = typed.Float
	}
	return e.Answer(call.Model, vectors, lm.Usage{Input: inputTokens(x)})
}

// titanAtOnce bounds the requests that one call has open.
const titanAtOnce = 8

func (c *Client) titan(ctx context.Context, call *lm.Call, e *provider.Embed) (lm.Answer, error) {
	vectors, tokens := make([][]float32, len(e.Inputs)), make([]int64, len(e.Inputs))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(titanAtOnce)
	for i, text := range e.Inputs {
		group.Go(func() error {
			in := map[string]any{"inputText": text}
			if e.Dimensions > 0 {
				in["dimensions"] = e.Dimensions
			}
			var out struct {
				Embedding []float32 `json:"embedding"`
				Tokens    int64     `json:"inputTextTokenCount"`
			}
			_, err := c.invoke(ctx, call, in, &out)
			vectors[i], tokens[i] = out.Embedding, out.Tokens
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return lm.Answer{}, err
	}
	usage := lm.Usage{}
	for _, n := range tokens {
		usage.Input += n
	}
	return e.Answer(call.Model, vectors, usage)
}
