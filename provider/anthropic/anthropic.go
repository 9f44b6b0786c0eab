// Package anthropic asks the Anthropic Messages API through the official SDK.
//
// Calls come as OpenAI JSON and answers go as OpenAI JSON; in between everything is
// the Messages API's:
//
//	chat-completions body -> provider.Chat -> message parameters -> POST /v1/messages
//	chat.completion <- provider.Completion <- stream events <- always asked streaming
//
// The API refuses answers that would take longer than ten minutes unless they are
// streamed, and only a stream shows that it lives; so a call that nobody follows is
// streamed too. Its end is message_stop: a stream without it was interrupted.
package anthropic

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
)

// Options are what the adapter takes beyond what every one does.
type Options struct {
	provider.Options
	// MaxTokens is sent where the caller names no bound, because the API wants one.
	// Zero: 4096 for Claude 3, 8192 for Claude 3.5, 32000 for whatever came later,
	// which each of those models can do.
	MaxTokens int
	// NoCache leaves out the marks for Anthropic's prompt cache.
	NoCache bool
}

// API asks one account at one address. It satisfies provider.API.
type API struct {
	client  anthropic.Client
	options Options
}

// Open makes the adapter; it asks nothing yet. BaseURL is with or without the
// version: https://api.anthropic.com and https://api.anthropic.com/v1 are the same.
// Error: BaseURL is no address.
func Open(o Options) (*API, error) {
	o.BaseURL = strings.TrimSuffix(strings.TrimRight(o.BaseURL, "/"), "/v1")
	settings := []option.RequestOption{
		option.WithoutEnvironmentDefaults(), // the environment is read in one place, and that is not the SDK
		option.WithoutOpenTelemetry(),
		option.WithMaxRetries(0),
		option.WithHTTPClient(provider.NewClient(o.Options)),
	}
	if o.BaseURL != "" {
		u, err := url.Parse(o.BaseURL)
		if err != nil || u.Host == "" {
			return nil, fmt.Errorf("base URL: want https://HOST, as https://api.anthropic.com")
		}
		settings = append(settings, option.WithBaseURL(o.BaseURL))
	}
	if o.Key != "" {
		settings = append(settings, option.WithAPIKey(o.Key.Reveal()))
	}
	return &API{client: anthropic.NewClient(settings...), options: o}, nil
}

// Call makes a chat or prompt call; an embed call is InvalidRequest, as Anthropic has
// no embeddings. Errors as those of provider.API.
func (a *API) Call(ctx context.Context, call lm.Call) (lm.Answer, error) {
	chat, err := parse(&call)
	if err != nil {
		return lm.Answer{}, err
	}
	asked, err := a.translate(chat, &call)
	if err != nil {
		return lm.Answer{}, err
	}
	total := call.Timeout
	if total <= 0 {
		total = a.options.Timeouts.Filled().Total
	}
	ctx, cancel := context.WithTimeout(ctx, total)
	defer cancel()
	x := &exchange{Exchange: provider.Exchange{Streaming: true, Reasoning: asked.reasons}, ctx: ctx, api: a, asked: asked}
	var resp *http.Response
	err = a.client.Post(provider.Watch(ctx, &x.Exchange), "v1/messages", asked.body, &resp)
	if err != nil {
		return lm.Answer{}, x.failure(err)
	}
	defer resp.Body.Close()
	if err := x.refused(resp); err != nil {
		return lm.Answer{}, err
	}
	c := &provider.Completion{Stream: call.Stream, Kind: call.Kind, Model: call.Model}
	if err := x.read(resp, c, cancel); err != nil {
		return lm.Answer{}, err
	}
	return c.Answer()
}

func parse(call *lm.Call) (*provider.Chat, error) {
	switch call.Kind {
	case "chat":
		return provider.ParseChat(call.Body)
	case "prompt":
		return provider.ParsePrompt(call.Body)
	case "embed":
		return nil, invalid("Anthropic has no embeddings; send embed to a model of another provider")
	}
	return nil, invalid("kind: want chat or prompt")
}

func invalid(format string, args ...any) error {
	return lm.Errorf(lm.InvalidRequest, format, args...)
}

// origin names the account and model that a reasoning block is bound to: Anthropic
// takes no block that another one wrote. It is a hash, because it goes into answers.
func (a *API) origin(model string) string {
	sum := sha256.Sum256([]byte("reasoning of " + a.options.BaseURL + "\x00" + a.options.Key.Reveal() + "\x00" + model))
	return hex.EncodeToString(sum[:8])
}
