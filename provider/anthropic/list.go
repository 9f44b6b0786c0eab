package anthropic

import (
	"context"

	"github.com/anthropics/anthropic-sdk-go"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
)

const (
	pageSize = 1000 // the most that the API gives at once
	maxPages = 20
)

// List is the models of the account that are not retired, with the context length and
// what the API says that they can do.
func (a *API) List(ctx context.Context) ([]lm.Offering, error) {
	x, ctx, done := a.listing(ctx)
	defer done()
	page, err := a.client.Models.List(ctx, anthropic.ModelListParams{Limit: anthropic.Int(pageSize)})
	var out []lm.Offering
	for n := 0; err == nil && page != nil && n < maxPages; n++ {
		for i := range page.Data {
			if m := &page.Data[i]; m.ID != "" && m.Lifecycle != anthropic.ModelInfoLifecycleRetired {
				out = append(out, offering(m))
			}
		}
		page, err = page.GetNextPage()
	}
	if err != nil {
		return nil, x.listFailure(err)
	}
	return out, nil
}

// Probe asks for one model of the list: it costs nothing and needs the credential.
func (a *API) Probe(ctx context.Context) error {
	x, ctx, done := a.listing(ctx)
	defer done()
	if _, err := a.client.Models.List(ctx, anthropic.ModelListParams{Limit: anthropic.Int(1)}); err != nil {
		return x.listFailure(err)
	}
	return nil
}

// listing is the exchange of a listing within its time.
func (a *API) listing(ctx context.Context) (*exchange, context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, a.options.Timeouts.Filled().List)
	x := &exchange{ctx: ctx, api: a}
	return x, provider.Watch(ctx, &x.Exchange), cancel
}

// listFailure is a failure of a listing: one that came with a good status is an answer
// that could not be read.
func (x *exchange) listFailure(err error) error {
	if x.Status != 0 && x.Status < 400 && context.Cause(x.ctx) == nil {
		return lm.Errorf(lm.ProviderFailed, "the answer is no list of models; is this address an Anthropic API?")
	}
	return x.Unlisted(x.failure(err))
}

// offering is a model of the list. All of them chat, stream and call tools.
func offering(m *anthropic.ModelInfo) lm.Offering {
	o := lm.Offering{Name: m.ID, Window: int(m.MaxInputTokens), Can: map[lm.Capability]bool{
		lm.CanChat: true, lm.CanPrompt: true, lm.CanStream: true, lm.CanTools: true, lm.CanEmbed: false,
	}}
	if can := &m.Capabilities; can.JSON.ImageInput.Valid() {
		o.Can[lm.CanVision] = can.ImageInput.Supported
	}
	if can := &m.Capabilities; can.JSON.Thinking.Valid() {
		o.Can[lm.CanThink] = can.Thinking.Supported
	}
	return o
}
