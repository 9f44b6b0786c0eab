package providertest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
	lm "github.com/lighterman/lighterman"
)

// Bedrock is Amazon Bedrock: Converse and ConverseStream with AWS's event stream,
// InvokeModel for Titan's and Cohere's embeddings, and the listings.
type Bedrock struct{}

// Name satisfies Format.
func (Bedrock) Name() string { return "bedrock" }

type converseBody struct {
	Messages []struct {
		Role    string `json:"role"`
		Content []struct {
			Text       *string `json:"text"`
			Image      any     `json:"image"`
			ToolResult *struct {
				Content []struct {
					Text string `json:"text"`
				} `json:"content"`
			} `json:"toolResult"`
		} `json:"content"`
	} `json:"messages"`
	System []struct {
		Text string `json:"text"`
	} `json:"system"`
	Tools struct {
		Tools []struct {
			Spec struct {
				Name string `json:"name"`
			} `json:"toolSpec"`
		} `json:"tools"`
	} `json:"toolConfig"`
	Inference struct {
		Max int `json:"maxTokens"`
	} `json:"inferenceConfig"`
}

// Read satisfies Format.
func (Bedrock) Read(r *http.Request, body []byte) (Asked, error) {
	a := Asked{Key: strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")}
	switch r.URL.Path {
	case "/foundation-models":
		a.Kind = "list"
		return a, nil
	case "/inference-profiles":
		a.Kind = "probe"
		return a, nil
	}
	rest, isModel := strings.CutPrefix(r.URL.EscapedPath(), "/model/")
	at := strings.LastIndex(rest, "/")
	if !isModel || at < 0 || r.Method != http.MethodPost {
		return a, fmt.Errorf("no operation of bedrock: %s %s", r.Method, r.URL.Path)
	}
	a.Model, _ = url.PathUnescape(rest[:at])
	switch rest[at+1:] {
	case "invoke":
		return a, a.embedded(body)
	case "converse-stream":
		a.Stream = true
	case "converse":
	default:
		return a, fmt.Errorf("no operation of bedrock: %s", rest[at+1:])
	}
	a.Kind = "chat"
	var b converseBody
	if err := json.Unmarshal(body, &b); err != nil {
		return a, err
	}
	a.Messages, a.Max = len(b.Messages), b.Inference.Max
	for _, s := range b.System {
		a.System += s.Text
	}
	for _, m := range b.Messages {
		for _, c := range m.Content {
			switch {
			case c.Image != nil:
				a.Images++
			case c.ToolResult != nil:
				for _, t := range c.ToolResult.Content {
					a.Results = append(a.Results, t.Text)
				}
			case c.Text != nil && m.Role == "user":
				a.Question = *c.Text
			}
		}
	}
	for _, t := range b.Tools.Tools {
		a.Tools = append(a.Tools, t.Spec.Name)
	}
	return a, nil
}

func (a *Asked) embedded(body []byte) error {
	a.Kind = "embed"
	var b struct {
		Texts []string `json:"texts"`
		Text  *string  `json:"inputText"`
	}
	if err := json.Unmarshal(body, &b); err != nil {
		return err
	}
	if a.Inputs = b.Texts; b.Text != nil {
		a.Inputs = []string{*b.Text}
	}
	return nil
}

func bedrockHeader(contentType string) http.Header {
	return http.Header{"Content-Type": {contentType}, "X-Amzn-Requestid": {"5b4c1a0e-0000-4000-8000-000000000001"}}
}

func stopReason(r Reply) string {
	switch {
	case r.Finish == "content_filter":
		return "guardrail_intervened"
	case r.Finish == "length":
		return "max_tokens"
	case len(r.ToolCalls) > 0:
		return "tool_use"
	}
	return "end_turn"
}

func bedrockUsage(u lm.Usage) map[string]any {
	m := map[string]any{"inputTokens": u.Input - u.Cached, "outputTokens": u.Output, "totalTokens": u.Input + u.Output}
	if u.Cached > 0 {
		m["cacheReadInputTokens"], m["cacheWriteInputTokens"] = u.Cached, 0
	}
	return m
}

// Whole satisfies Format.
func (Bedrock) Whole(a Asked, r Reply) Response {
	if a.Kind == "embed" {
		return bedrockEmbedding(a, r)
	}
	var content []any
	if r.Reasoning != "" {
		content = append(content, map[string]any{"reasoningContent": map[string]any{"reasoningText": map[string]string{"text": r.Reasoning, "signature": "sig-1"}}})
	}
	if r.Text != "" {
		content = append(content, map[string]string{"text": r.Text})
	}
	for _, c := range r.ToolCalls {
		content = append(content, map[string]any{"toolUse": map[string]any{"toolUseId": c.ID, "name": c.Name, "input": json.RawMessage(c.Arguments)}})
	}
	return Response{Header: bedrockHeader("application/json"), Body: encoded(map[string]any{
		"metrics": map[string]int{"latencyMs": 551}, "output": map[string]any{"message": map[string]any{"role": "assistant", "content": content}},
		"stopReason": stopReason(r), "usage": bedrockUsage(r.Usage),
	})}
}

func bedrockEmbedding(a Asked, r Reply) Response {
	h := bedrockHeader("application/json")
	h.Set("X-Amzn-Bedrock-Input-Token-Count", fmt.Sprint(r.Usage.Input))
	if strings.Contains(a.Model, "cohere.") {
		return Response{Header: h, Body: encoded(map[string]any{"embeddings": r.Vectors, "id": "e1", "response_type": "embeddings_floats", "texts": a.Inputs})}
	}
	var v []float32
	if len(r.Vectors) > 0 {
		v = r.Vectors[0]
	}
	return Response{Header: h, Body: encoded(map[string]any{"embedding": v, "inputTextTokenCount": r.Usage.Input})}
}

func encoded(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // a test's own value
	}
	return string(b)
}

// amazonEvent is one message of AWS's event stream.
func amazonEvent(kind, name string, payload any) string {
	var b bytes.Buffer
	m := eventstream.Message{Payload: []byte(encoded(payload))}
	m.Headers.Set(":"+kind+"-type", eventstream.StringValue(name))
	m.Headers.Set(":content-type", eventstream.StringValue("application/json"))
	m.Headers.Set(":message-type", eventstream.StringValue(kind))
	if err := eventstream.NewEncoder().Encode(&b, m); err != nil {
		panic(err) // a test's own value
	}
	return b.String()
}

// Stream satisfies Format. The terminal piece is messageStop; the usage comes behind.
func (Bedrock) Stream(_ Asked, r Reply) []Piece {
	pieces := []Piece{{Data: amazonEvent("event", "messageStart", map[string]string{"role": "assistant"})}}
	add := func(name string, payload any) {
		pieces = append(pieces, Piece{Data: amazonEvent("event", name, payload)})
	}
	block := 0
	delta := func(d any) { add("contentBlockDelta", map[string]any{"contentBlockIndex": block, "delta": d}) }
	stop := func() {
		add("contentBlockStop", map[string]any{"contentBlockIndex": block})
		block++
	}
	if r.Reasoning != "" {
		for _, p := range twoPieces(r.Reasoning) {
			delta(map[string]any{"reasoningContent": map[string]string{"text": p}})
		}
		delta(map[string]any{"reasoningContent": map[string]string{"signature": "sig-1"}})
		stop()
	}
	if r.Text != "" {
		for _, p := range twoPieces(r.Text) {
			delta(map[string]string{"text": p})
		}
		stop()
	}
	for _, c := range r.ToolCalls {
		add("contentBlockStart", map[string]any{"contentBlockIndex": block, "start": map[string]any{"toolUse": map[string]string{"toolUseId": c.ID, "name": c.Name}}})
		for _, p := range twoPieces(string(c.Arguments)) {
			delta(map[string]any{"toolUse": map[string]string{"input": p}})
		}
		stop()
	}
	pieces = append(pieces, Piece{Data: amazonEvent("event", "messageStop", map[string]string{"stopReason": stopReason(r)}), Terminal: true})
	add("metadata", map[string]any{"usage": bedrockUsage(r.Usage), "metrics": map[string]int{"latencyMs": 512}})
	return pieces
}

// StreamHeader is that of an event stream.
func (Bedrock) StreamHeader() http.Header { return bedrockHeader("application/vnd.amazon.eventstream") }

// twoPieces cuts a text in the middle of a word, between characters.
func twoPieces(text string) []string {
	runes := []rune(text)
	if len(runes) < 2 {
		return []string{text}
	}
	return []string{string(runes[:len(runes)/2]), string(runes[len(runes)/2:])}
}

// List satisfies Format.
func (Bedrock) List(a Asked, offerings []lm.Offering) Response {
	if a.Kind == "probe" {
		return Response{Header: bedrockHeader("application/json"), Body: `{"inferenceProfileSummaries":[]}`}
	}
	var all []any
	for _, o := range offerings {
		in, out := []string{"TEXT"}, []string{"TEXT"}
		if o.Can[lm.CanVision] {
			in = append(in, "IMAGE")
		}
		if o.Can[lm.CanEmbed] {
			out = []string{"EMBEDDING"}
		}
		all = append(all, map[string]any{
			"modelArn": "arn:aws:bedrock:us-east-1::foundation-model/" + o.Name, "modelId": o.Name, "modelName": o.Name, "providerName": "Any",
			"inputModalities": in, "outputModalities": out, "responseStreamingSupported": !o.Can[lm.CanEmbed],
			"inferenceTypesSupported": []string{"ON_DEMAND"}, "modelLifecycle": map[string]string{"status": "ACTIVE"},
		})
	}
	return Response{Header: bedrockHeader("application/json"), Body: encoded(map[string]any{"modelSummaries": all})}
}

func awsError(name string, status int, kind, message string, means lm.Kind) ErrorCase {
	h := bedrockHeader("application/json")
	h.Set("X-Amzn-Errortype", kind+":http://internal.amazon.com/coral/com.amazon.bedrock/")
	return ErrorCase{Name: name, Response: Response{Status: status, Header: h, Body: encoded(map[string]string{"message": message})}, Kind: means}
}

// Errors satisfies Format. The names are those of the API reference; the texts are
// what people report.
func (Bedrock) Errors() []ErrorCase {
	after := awsError("throttled with a wait", 429, "ThrottlingException", "Too many requests, please wait before trying again.", lm.RateLimited)
	after.Header.Set("Retry-After", "7")
	after.RetryAfter = 7 * time.Second
	return []ErrorCase{
		awsError("throttled", 429, "ThrottlingException", "Too many tokens, please wait before trying again.", lm.RateLimited),
		after,
		awsError("service quota", 400, "ServiceQuotaExceededException", "Your request exceeds the service quota for your account.", lm.QuotaExhausted),
		awsError("model not ready", 429, "ModelNotReadyException", "Model is not ready for inference. Wait and try your request again.", lm.Overloaded),
		awsError("service unavailable", 503, "ServiceUnavailableException", "Bedrock is unable to process your request.", lm.Overloaded),
		awsError("access denied", 403, "AccessDeniedException", "You don't have access to the model with the specified model ID.", lm.Unauthorized),
		awsError("wrong signature", 403, "InvalidSignatureException", "The request signature we calculated does not match the signature you provided.", lm.Unauthorized),
		awsError("unknown token", 403, "UnrecognizedClientException", "The security token included in the request is invalid.", lm.Unauthorized),
		awsError("expired token", 403, "ExpiredTokenException", "The security token included in the request is expired", lm.Unauthorized),
		awsError("no such model", 404, "ResourceNotFoundException", "This model version has reached the end of its life.", lm.ModelNotFound),
		awsError("no such model ID", 400, "ValidationException", "The provided model identifier is invalid.", lm.ModelNotFound),
		awsError("too long", 400, "ValidationException", "Input is too long for requested model.", lm.ContextOverflow),
		awsError("malformed", 400, "ValidationException", "The value at messages.0.content is empty.", lm.InvalidRequest),
		awsError("internal", 500, "InternalServerException", "The system encountered an unexpected error during processing.", lm.ProviderFailed),
		awsError("model error", 424, "ModelErrorException", "The model returned an error.", lm.ProviderFailed),
		awsError("model time-out", 408, "ModelTimeoutException", "Model has timed out in processing the request.", lm.TimedOut),
		{Name: "a proxy's page", Response: Response{Status: 502, Body: "<html><body>502 Bad Gateway</body></html>"}, Kind: lm.ProviderFailed},
	}
}

// Faults satisfies Format: exceptions in the middle of a stream.
func (f Bedrock) Faults(a Asked) []FaultCase {
	begun := f.Stream(a, Reply{Text: "half an answer"})[:2]
	fault := func(name, exception, message string, kind lm.Kind) FaultCase {
		pieces := append(append([]Piece{}, begun...), Piece{Data: amazonEvent("exception", exception, map[string]string{"message": message})})
		return FaultCase{Name: name, Pieces: pieces, Kind: kind}
	}
	return []FaultCase{
		fault("throttled", "throttlingException", "Too many tokens", lm.RateLimited),
		fault("stream error", "modelStreamErrorException", "The model stopped", lm.StreamInterrupted),
		fault("internal", "internalServerException", "Unexpected", lm.StreamInterrupted),
		fault("unavailable", "serviceUnavailableException", "Try again", lm.Overloaded),
		fault("validation", "validationException", "Input is too long for requested model.", lm.ContextOverflow),
	}
}
