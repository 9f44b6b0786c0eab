package gemini

import (
	"context"
	"errors"
	"slices"
	"strings"

	lm "github.com/lighterman/lighterman"
	"google.golang.org/genai"
)

// maxPages bounds a listing whose pages never end.
const maxPages = 100

// List satisfies provider.API. Vertex lists the models of Google's garden by their
// names alone; the Gemini API says what each can do and reads.
func (c *Client) List(ctx context.Context) ([]lm.Offering, error) {
	size := int32(1000)
	if c.vertex {
		size = 100
	}
	var offered []lm.Offering
	err := c.pages(ctx, size, maxPages, func(m *genai.Model) {
		offered = append(offered, c.offering(m))
	})
	if err != nil {
		return nil, err
	}
	return offered, nil
}

// Probe satisfies provider.API: it lists one model.
func (c *Client) Probe(ctx context.Context) error {
	return c.pages(ctx, 1, 1, func(*genai.Model) {})
}

func (c *Client) pages(ctx context.Context, size int32, most int, each func(*genai.Model)) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeouts.List)
	defer cancel()
	f := &flow{}
	ctx = f.watch(ctx)
	page, err := guarded(func() (genai.Page[genai.Model], error) {
		return c.models.List(ctx, &genai.ListModelsConfig{PageSize: size})
	})
	for n := 1; err == nil; n++ {
		for _, m := range page.Items {
			if m != nil && m.Name != "" {
				each(m)
			}
		}
		if n == most {
			return nil
		}
		page, err = guarded(func() (genai.Page[genai.Model], error) { return page.Next(ctx) })
	}
	if errors.Is(err, genai.ErrPageDone) {
		return nil
	}
	return f.Unlisted(c.failed(ctx, f, err, &lm.Call{}))
}

// offering is a model as it is listed. What it can do beyond the methods that are
// named for it, as tools and images, nobody says.
func (c *Client) offering(m *genai.Model) lm.Offering {
	o := lm.Offering{Name: strings.TrimPrefix(m.Name, "models/"), Window: int(m.InputTokenLimit)}
	if c.vertex {
		o.Name = strings.TrimPrefix(m.Name, "publishers/google/models/")
	}
	if len(m.SupportedActions) > 0 {
		chats := slices.Contains(m.SupportedActions, "generateContent")
		embeds := slices.Contains(m.SupportedActions, "embedContent") || slices.Contains(m.SupportedActions, "batchEmbedContents")
		o.Can = map[lm.Capability]bool{lm.CanChat: chats, lm.CanPrompt: chats, lm.CanStream: chats, lm.CanEmbed: embeds}
		if m.Thinking { // left out where it is false, but by older servers always
			o.Can[lm.CanThink] = true
		}
	}
	return o
}
