package gemini

import (
	"context"
	"errors"
	"regexp"
	"strings"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
	"google.golang.org/genai"
)

// Options of a Client. With a Project it asks Vertex there, with Express Vertex by
// the Key alone, else the Gemini API by the Key.
type Options struct {
	provider.Options
	Project  string // Google Cloud's project: Vertex
	Location string // of Vertex; empty: global
	Express  bool   // Vertex in express mode: by an API key, without a project

	// What opens Vertex, the first that is set: Token, called for every request and
	// expected to cache; CredentialsFile, the JSON of a service account or of a
	// workload identity; else Application Default Credentials.
	Token           func(context.Context) (lm.Secret, error)
	CredentialsFile string
}

// Client asks one Gemini API or one location of Vertex. It may be used concurrently.
type Client struct {
	models   *genai.Models
	vertex   bool
	key      lm.Secret
	timeouts provider.Timeouts
}

var _ provider.API = (*Client)(nil)

// placeholder is the key that the SDK is given: it prints its configuration into
// errors, so the real one is only in the carrier.
const placeholder = "in-the-carrier"

// version is the last element of a base URL that names the API's.
var version = regexp.MustCompile(`^(.*)/(v\d+(?:alpha|beta)?\d*)/?$`)

// New makes a Client. It asks nobody and reads no credentials: those are looked for
// when the first request needs them. Error: the options contradict one another.
func New(ctx context.Context, o Options) (*Client, error) {
	vertex := o.Project != "" || o.Express
	switch {
	case o.Project != "" && o.Express:
		return nil, errors.New("gemini: express mode has no project; leave one of them out")
	case o.Project != "" && o.Key != "":
		return nil, errors.New("gemini: a project of Vertex is opened by Google credentials, not by a key; leave out the project or the key")
	case o.Project == "" && (o.Location != "" || o.CredentialsFile != "" || o.Token != nil):
		return nil, errors.New("gemini: location and credentials are Vertex's: want a project too")
	case o.Key == "" && o.Project == "" && o.BaseURL == "":
		return nil, errors.New("gemini: want a key, or a project for Vertex")
	}
	http := provider.NewClient(o.Options)
	http.Transport = &carrier{base: http.Transport, key: o.Key, token: tokens(&o)}
	config := &genai.ClientConfig{HTTPClient: http, Backend: genai.BackendGeminiAPI, APIKey: placeholder}
	if vertex {
		config.Backend = genai.BackendVertexAI
	}
	if o.Project != "" {
		config.APIKey, config.Project, config.Location = "", o.Project, o.Location
		if config.Location == "" {
			config.Location = "global"
		}
	}
	config.HTTPOptions = genai.HTTPOptions{
		BaseURL:      o.BaseURL,
		RetryOptions: &genai.HTTPRetryOptions{Attempts: genai.Ptr[int32](1)},
	}
	if m := version.FindStringSubmatch(o.BaseURL); m != nil {
		config.HTTPOptions.BaseURL, config.HTTPOptions.APIVersion = m[1], m[2]
	}
	if config.HTTPOptions.BaseURL == "" && !vertex {
		config.HTTPOptions.BaseURL = "https://generativelanguage.googleapis.com/" // else the environment may name another
	}
	client, err := genai.NewClient(ctx, config)
	if err != nil {
		return nil, errors.New("gemini: the SDK refuses these options") // its text holds all of them
	}
	return &Client{models: client.Models, vertex: vertex, key: o.Key, timeouts: o.Timeouts.Filled()}, nil
}

// Call satisfies provider.API. An embed call of more inputs than the API takes at a
// time is asked in several requests.
func (c *Client) Call(ctx context.Context, call lm.Call) (lm.Answer, error) {
	if !named.MatchString(call.Model) || strings.Contains(call.Model, "..") {
		return lm.Answer{}, lm.Errorf(lm.ModelNotFound, "no model of Google's can have this name")
	}
	ctx, cancel := c.timeouts.Attempt(ctx, &call)
	defer cancel()
	if call.Kind == "embed" {
		return c.embed(ctx, &call)
	}
	chat, err := provider.ParseTalk(&call)
	if err != nil {
		return lm.Answer{}, err
	}
	return c.generate(ctx, &call, chat)
}

// named are the names that fit into an address as they are.
var named = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@/-]*$`)

// generate asks for a chat's or prompt's answer.
func (c *Client) generate(ctx context.Context, call *lm.Call, chat *provider.Chat) (lm.Answer, error) {
	contents, config, err := request(call.Model, chat)
	if err != nil {
		return lm.Answer{}, err
	}
	f := &flow{}
	f.Streaming, f.Reasoning = call.Stream != nil, thinks(call.Model, chat.Effort)
	ctx = f.watch(ctx)
	g := &growth{Completion: provider.Completion{Stream: call.Stream, Kind: call.Kind, Model: call.Model}, key: call.Key}
	if call.Stream == nil {
		answer, err := guarded(func() (*genai.GenerateContentResponse, error) {
			return c.models.GenerateContent(ctx, call.Model, contents, config)
		})
		if err != nil {
			return lm.Answer{}, c.failed(ctx, f, err, call)
		}
		if err := g.add(answer); err != nil {
			return lm.Answer{}, err
		}
		if len(answer.Candidates) == 0 {
			return lm.Answer{}, lm.Errorf(lm.ProviderFailed, "the answer has no candidate")
		}
		return g.Answer()
	}
	if err := g.drain(c.models.GenerateContentStream(ctx, call.Model, contents, config)); err != nil {
		return lm.Answer{}, c.failed(ctx, f, err, call)
	}
	if err := f.ended(ctx); err != nil && (g.Finish == "" || f.stray != nil) {
		return lm.Answer{}, c.failed(ctx, f, err, call)
	}
	return g.Answer()
}

// errShape is what the SDK's panics over an answer become.
var errShape = errors.New("the answer has not the shape of the API's")

// guarded runs what may panic: the SDK asserts the types of what it reads.
func guarded[T any](ask func() (T, error)) (answer T, err error) {
	defer func() {
		if recover() != nil {
			err = errShape
		}
	}()
	return ask()
}
