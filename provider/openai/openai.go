// Package openai asks OpenAI's API and those that speak its language: OpenRouter,
// Mistral, vLLM, Azure, Ollama's /v1 and any compatible server.
//
// Requests arrive as OpenAI JSON and go as they came, so that a field which nobody
// here knows reaches the model; answers come back the same way. What is streamed is
// put together to the answer that would have come whole:
//
//	line -> template: only the text differs from the line before (most lines)
//	     -> chunk: anything else, decoded
package openai

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
)

// API is one backend. Its methods may be called concurrently.
type API struct {
	base   *url.URL
	quirks Quirks
	key    lm.Secret
	client *http.Client
	times  provider.Timeouts
}

// New makes the adapter of a backend. Error: its address is none.
func New(o Options) (*API, error) {
	base, err := url.Parse(or(o.BaseURL, ownURL))
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Host == "" {
		return nil, fmt.Errorf("base URL: want http://HOST/v1 or https://HOST/v1") // without the text, in which a credential may be
	}
	base.Path = strings.TrimRight(base.Path, "/")
	if o.KeyHeader == "" {
		o.KeyHeader = "Authorization"
	}
	if o.ProbePath == "" {
		o.ProbePath = "/models"
	}
	return &API{base: base, quirks: o.Quirks, key: o.Key, client: provider.NewClient(o.Options), times: o.Timeouts.Filled()}, nil
}

// Call satisfies provider.API. An embed call is never streamed.
func (a *API) Call(ctx context.Context, call lm.Call) (lm.Answer, error) {
	if call.Kind == "prompt" && a.quirks.Prompts.chats(call.Model) {
		return a.promptAsChat(ctx, call)
	}
	return a.call(ctx, call)
}

func (a *API) call(ctx context.Context, call lm.Call) (lm.Answer, error) {
	path, known := paths[call.Kind]
	if !known {
		return lm.Answer{}, lm.Errorf(lm.InvalidRequest, "this provider has no %s calls", call.Kind)
	}
	stream := call.Stream != nil && call.Kind != "embed"
	body, reasons, err := a.request(&call, stream)
	if err != nil {
		return lm.Answer{}, err
	}
	timeout := call.Timeout
	if timeout <= 0 {
		timeout = a.times.Total
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	ctx, enough := context.WithCancelCause(ctx)
	defer enough(nil)
	x := &exchange{api: a, ctx: ctx, enough: enough, call: &call, body: body, Exchange: provider.Exchange{Streaming: stream, Reasoning: reasons}}
	resp, err := x.do(http.MethodPost, path)
	if err != nil {
		return lm.Answer{}, err
	}
	defer resp.Body.Close()
	if !stream {
		return x.whole(resp.Body)
	}
	if !isJSON(resp.Header) {
		return x.stream(resp.Body)
	}
	r := bufio.NewReader(resp.Body)
	if head, _ := r.Peek(provider.EventHead); provider.IsEvents(head) { // whoever reads on meets its error
		return x.stream(r)
	}
	return x.whole(r)
}

func isJSON(h http.Header) bool { return strings.HasPrefix(h.Get("Content-Type"), "application/json") }

// exchange is one request and what it is about.
type exchange struct {
	provider.Exchange
	api    *API
	ctx    context.Context // of the request, as long as which an exchange lives
	enough context.CancelCauseFunc
	call   *lm.Call // nil: a listing or probe
	body   []byte
}

// do sends the request. The answer is good in that its status is 2xx.
func (x *exchange) do(method, path string) (*http.Response, error) {
	at := *x.api.base
	at.Path += path
	r, err := http.NewRequestWithContext(provider.Watch(x.ctx, &x.Exchange), method, at.String(), bytes.NewReader(x.body))
	if err != nil {
		return nil, lm.Errorf(lm.InvalidRequest, "the address is none")
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	if x.Streaming {
		r.Header.Set("Accept", "text/event-stream")
	}
	if key := x.api.key.Reveal(); key != "" {
		if x.api.quirks.KeyHeader == "Authorization" {
			key = "Bearer " + key
		}
		r.Header.Set(x.api.quirks.KeyHeader, key)
	}
	resp, err := x.api.client.Do(r)
	switch {
	case err != nil:
		return nil, provider.Failure(x.ctx, err, false)
	case resp.StatusCode >= http.StatusBadRequest:
		resp.Body.Close()
		return nil, x.located(x.refused(x.Body), &at)
	case resp.StatusCode >= http.StatusMultipleChoices:
		resp.Body.Close()
		return nil, x.refused(nil)
	}
	return resp, nil
}

// readAll reads a whole answer.
func (x *exchange) readAll(r io.Reader) ([]byte, error) {
	var b bytes.Buffer
	if _, err := b.ReadFrom(r); err != nil {
		return nil, provider.Failure(x.ctx, err, b.Len() > 0)
	}
	return provider.WithoutMark(b.Bytes()), nil
}
