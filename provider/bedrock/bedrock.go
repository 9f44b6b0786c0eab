package bedrock

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	control "github.com/aws/aws-sdk-go-v2/service/bedrock"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime"
	"github.com/aws/smithy-go/auth/bearer"
	"github.com/aws/smithy-go/logging"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/aws/smithy-go/transport/http/protocol/restjson1"
	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
)

// Options of a Client. With a Key it is sent as a Bedrock API key; without, requests
// are signed with what AWS's default chain finds: environment, shared configuration,
// the role of the container or instance.
type Options struct {
	provider.Options
	Region  string // empty: as the AWS environment says
	Profile string // of the shared configuration; empty: the usual one
}

// Client asks one account's Bedrock in one region. It may be used concurrently.
type Client struct {
	key      lm.Secret
	timeouts provider.Timeouts
	runtime  *bedrockruntime.Client
	control  *control.Client
}

var _ provider.API = (*Client)(nil)

// New makes a Client. It reads AWS's configuration and asks nobody. Error: there is
// no region, or the configuration cannot be read.
func New(ctx context.Context, o Options) (*Client, error) {
	load := []func(*config.LoadOptions) error{
		config.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} }),
		config.WithLogger(logging.Nop{}), // it warns of every answer that was cut
	}
	if o.Region != "" {
		load = append(load, config.WithRegion(o.Region))
	}
	if o.Profile != "" {
		load = append(load, config.WithSharedConfigProfile(o.Profile))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return nil, fmt.Errorf("read the AWS configuration: %w", err)
	}
	if cfg.Region == "" {
		return nil, fmt.Errorf("no region: want region, or AWS_REGION")
	}
	if o.Transport == nil {
		o.Transport = transport(&cfg)
	}
	cfg.HTTPClient = provider.NewClient(o.Options)
	c := &Client{key: o.Key, timeouts: o.Timeouts.Filled()}
	if o.Key != "" {
		cfg.BearerAuthTokenProvider = bearer.StaticTokenProvider{Token: bearer.Token{Value: o.Key.Reveal()}}
		cfg.AuthSchemePreference = []string{"httpBearerAuth"}
	}
	var at *string
	if o.BaseURL != "" {
		at = aws.String(o.BaseURL)
	}
	plain := strings.HasPrefix(o.BaseURL, "http://")
	c.runtime = bedrockruntime.NewFromConfig(cfg, func(ro *bedrockruntime.Options) {
		if ro.BaseEndpoint = at; plain {
			ro.BearerAuthSigner = plainBearer{}
		}
	})
	c.control = control.NewFromConfig(cfg, func(co *control.Options) {
		if co.BaseEndpoint = at; plain {
			co.BearerAuthSigner = plainBearer{}
		}
	})
	return c, nil
}

// transport is the one that AWS's configuration asks for, with its certificates
// (AWS_CA_BUNDLE); nil: the usual one.
func transport(cfg *aws.Config) http.RoundTripper {
	if c, ok := cfg.HTTPClient.(*awshttp.BuildableClient); ok {
		return c.GetTransport()
	}
	return nil
}

// plainBearer sends a key to an address without TLS, which the SDK refuses: whoever
// configured such an address has a gateway of his own there.
type plainBearer struct{}

// SignWithBearerToken satisfies bearer.Signer.
func (plainBearer) SignWithBearerToken(_ context.Context, t bearer.Token, m bearer.Message) (bearer.Message, error) {
	if r, ok := m.(*smithyhttp.Request); ok {
		r.Header.Set("Authorization", "Bearer "+t.Value)
	}
	return m, nil
}

// Call satisfies provider.API.
func (c *Client) Call(ctx context.Context, call lm.Call) (lm.Answer, error) {
	ctx, cancel := c.timeouts.Attempt(ctx, &call)
	defer cancel()
	if call.Kind == "embed" {
		return c.embed(ctx, &call)
	}
	chat, err := provider.ParseTalk(&call)
	if err != nil {
		return lm.Answer{}, err
	}
	return c.converse(ctx, &call, chat)
}

func (c *Client) converse(ctx context.Context, call *lm.Call, chat *provider.Chat) (lm.Answer, error) {
	in, err := request(call.Model, chat)
	if err != nil {
		return lm.Answer{}, err
	}
	answer := &provider.Completion{Stream: call.Stream, Kind: call.Kind, Model: call.Model}
	e := &provider.Exchange{Streaming: call.Stream != nil, Reasoning: reasons(call.Model, chat)}
	ctx = provider.Watch(ctx, e)
	if call.Stream == nil {
		out, err := c.runtime.Converse(ctx, in)
		if err != nil {
			return lm.Answer{}, c.failure(ctx, err, e, call, false)
		}
		answer.ID = requestID(e.Header)
		if err := whole(answer, out); err != nil {
			return lm.Answer{}, err
		}
		return answer.Answer()
	}
	out, err := c.runtime.ConverseStream(ctx, streamed(in), ownCodec)
	if err != nil {
		return lm.Answer{}, c.failure(ctx, err, e, call, false)
	}
	stream := out.GetStream()
	defer stream.Close() //nolint:errcheck // it is only read
	answer.ID = requestID(e.Header)
	if err := follow(answer, stream.Events()); err != nil {
		return lm.Answer{}, err
	}
	if err := stream.Err(); err != nil && answer.Finish == "" {
		return lm.Answer{}, c.failure(ctx, err, e, call, true)
	}
	if err := context.Cause(ctx); err != nil && answer.Finish == "" {
		return lm.Answer{}, provider.Failure(ctx, err, true)
	}
	return answer.Answer()
}

// ownCodec gives a stream a codec of its own: the one of a client is written to by all
// its streams at the same time.
func ownCodec(o *bedrockruntime.Options) { o.Protocol = restjson1.New(nil) }

// requestID is AWS's, which its support asks for.
func requestID(h http.Header) string { return h.Get("X-Amzn-Requestid") }
