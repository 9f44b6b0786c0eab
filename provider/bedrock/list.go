package bedrock

import (
	"context"
	"slices"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	control "github.com/aws/aws-sdk-go-v2/service/bedrock"
	"github.com/aws/aws-sdk-go-v2/service/bedrock/types"
	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
)

// List is the region's foundation models and, as many can be called only by one, the
// account's inference profiles (eu.anthropic...) with what their model can do.
func (c *Client) List(ctx context.Context) ([]lm.Offering, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeouts.List)
	defer cancel()
	e := &provider.Exchange{}
	ctx = provider.Watch(ctx, e)
	out, err := c.control.ListFoundationModels(ctx, &control.ListFoundationModelsInput{})
	if err != nil {
		return nil, e.Unlisted(c.failure(ctx, err, e, &lm.Call{}, false))
	}
	var all []lm.Offering
	can := map[string]map[lm.Capability]bool{}
	for i := range out.ModelSummaries {
		m := &out.ModelSummaries[i]
		o := lm.Offering{Name: aws.ToString(m.ModelId), Can: capabilities(m)}
		all, can[aws.ToString(m.ModelArn)] = append(all, o), o.Can
	}
	pages := control.NewListInferenceProfilesPaginator(c.control, &control.ListInferenceProfilesInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, e.Unlisted(c.failure(ctx, err, e, &lm.Call{}, false))
		}
		for _, p := range page.InferenceProfileSummaries {
			o := lm.Offering{Name: aws.ToString(p.InferenceProfileId)}
			if len(p.Models) > 0 {
				o.Can = can[aws.ToString(p.Models[0].ModelArn)]
			}
			all = append(all, o)
		}
	}
	return all, nil
}

// Probe asks for one inference profile.
func (c *Client) Probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeouts.List)
	defer cancel()
	e := &provider.Exchange{}
	ctx = provider.Watch(ctx, e)
	if _, err := c.control.ListInferenceProfiles(ctx, &control.ListInferenceProfilesInput{MaxResults: aws.Int32(1)}); err != nil {
		return e.Unlisted(c.failure(ctx, err, e, &lm.Call{}, false))
	}
	return nil
}

// capabilities are what a summary tells by its modalities.
func capabilities(m *types.FoundationModelSummary) map[lm.Capability]bool {
	text := slices.Contains(m.OutputModalities, types.ModelModalityText)
	return map[lm.Capability]bool{
		lm.CanChat: text, lm.CanPrompt: text, lm.CanEmbed: slices.Contains(m.OutputModalities, types.ModelModalityEmbedding),
		lm.CanStream: text && aws.ToBool(m.ResponseStreamingSupported), lm.CanVision: slices.Contains(m.InputModalities, types.ModelModalityImage),
	}
}

// inputTokens is the count that Bedrock puts into a header where a model's own
// answer has none.
func inputTokens(e *provider.Exchange) int64 {
	n, _ := strconv.ParseInt(e.Header.Get("X-Amzn-Bedrock-Input-Token-Count"), 10, 64) // then it is unknown
	return n
}
