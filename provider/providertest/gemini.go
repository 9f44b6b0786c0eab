package providertest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	lm "github.com/lighterman/lighterman"
)

// Gemini is Google's format: that of the Gemini API, or with Vertex that of Vertex,
// which has other addresses, embeddings and listings.
type Gemini struct{ Vertex bool }

// Name satisfies Format.
func (f Gemini) Name() string {
	if f.Vertex {
		return "vertex"
	}
	return "gemini"
}

// geminiSignature is on the first function call and on texts after thoughts.
var geminiSignature = base64.StdEncoding.EncodeToString([]byte("signed by the model"))

type geminiContent struct {
	Role  string `json:"role"`
	Parts []struct {
		Text     string          `json:"text"`
		Thought  bool            `json:"thought"`
		Inline   json.RawMessage `json:"inlineData"`
		File     json.RawMessage `json:"fileData"`
		Response *struct {
			Name     string         `json:"name"`
			Response map[string]any `json:"response"`
		} `json:"functionResponse"`
	} `json:"parts"`
}

type geminiBody struct {
	Contents []geminiContent `json:"contents"`
	System   geminiContent   `json:"systemInstruction"`
	Tools    []struct {
		Functions []struct {
			Name string `json:"name"`
		} `json:"functionDeclarations"`
	} `json:"tools"`
	Config struct {
		Max int `json:"maxOutputTokens"`
	} `json:"generationConfig"`
	Content   geminiContent `json:"content"`
	Requests  []struct{ Content geminiContent }
	Instances []struct{ Content string }
}

// Read satisfies Format.
func (f Gemini) Read(r *http.Request, body []byte) (Asked, error) {
	a := Asked{Key: r.Header.Get("X-Goog-Api-Key")}
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		a.Key = bearer
	}
	path, err := f.under(r.URL.Path)
	if err != nil {
		return a, err
	}
	if r.Method == http.MethodGet && path == "" {
		a.Kind = "list"
		if r.URL.Query().Get("pageSize") == "1" {
			a.Kind = "probe"
		}
		return a, nil
	}
	model, verb, found := strings.Cut(strings.TrimPrefix(path, "/"), ":")
	if !found || model == "" || r.Method != http.MethodPost {
		return a, fmt.Errorf("no method of %s", f.Name())
	}
	a.Model = model
	var b geminiBody
	if err := json.Unmarshal(body, &b); err != nil {
		return a, err
	}
	switch verb {
	case "generateContent":
	case "streamGenerateContent":
		a.Stream = true
		if r.URL.Query().Get("alt") != "sse" {
			return a, fmt.Errorf("want alt=sse")
		}
	case "batchEmbedContents", "predict", "embedContent":
		a.Kind = "embed"
		return a, f.inputs(&a, verb, &b)
	default:
		return a, fmt.Errorf("no method of %s: %s", f.Name(), verb)
	}
	a.Kind, a.Max, a.Messages = "chat", b.Config.Max, len(b.Contents)
	return a, a.geminiChat(&b)
}

// under is what follows the address of the models.
func (f Gemini) under(path string) (string, error) {
	prefixes := []string{"/v1beta/models"}
	if f.Vertex {
		prefixes = []string{"/v1beta1/projects/test-project/locations/test-location/publishers/google/models", "/v1beta1/publishers/google/models"}
	}
	for _, p := range prefixes {
		if rest, ok := strings.CutPrefix(path, p); ok {
			return rest, nil
		}
	}
	return "", fmt.Errorf("no address of %s: %s", f.Name(), path)
}

func (f Gemini) inputs(a *Asked, verb string, b *geminiBody) error {
	if f.Vertex == (verb == "batchEmbedContents") {
		return fmt.Errorf("no method of %s: %s", f.Name(), verb)
	}
	for _, one := range b.Requests {
		a.Inputs = append(a.Inputs, one.Content.text())
	}
	for _, one := range b.Instances {
		a.Inputs = append(a.Inputs, one.Content)
	}
	if verb == "embedContent" {
		a.Inputs = []string{b.Content.text()}
	}
	return nil
}

func (c *geminiContent) text() string {
	var b strings.Builder
	for _, p := range c.Parts {
		b.WriteString(p.Text)
	}
	return b.String()
}

// geminiChat reads a conversation, and says where it is none that the API takes.
func (a *Asked) geminiChat(b *geminiBody) error {
	a.System = b.System.text()
	for i, c := range b.Contents {
		if c.Role != "user" && c.Role != "model" || len(c.Parts) == 0 {
			return fmt.Errorf("contents[%d]: want parts, of user or model", i)
		}
		if i > 0 && b.Contents[i-1].Role == c.Role {
			return fmt.Errorf("contents[%d]: the same role twice", i)
		}
		for _, p := range c.Parts {
			switch {
			case p.Inline != nil || p.File != nil:
				a.Images++
			case p.Response != nil:
				if p.Response.Name == "" || p.Response.Response == nil {
					return fmt.Errorf("contents[%d]: a function's response wants its name and an object", i)
				}
				a.Results = append(a.Results, geminiResult(p.Response.Response))
			case c.Role == "user" && p.Text != "":
				a.Question = p.Text
			}
		}
	}
	for _, t := range b.Tools {
		for _, f := range t.Functions {
			a.Tools = append(a.Tools, f.Name)
		}
	}
	return nil
}

func geminiResult(response map[string]any) string {
	if output, ok := response["output"].(string); ok && len(response) == 1 {
		return output
	}
	return geminiJSON(response)
}

func geminiJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // a test's own value
	}
	return string(b)
}

// geminiPart is a piece of an answer.
type geminiPart = map[string]any

// geminiFinish is a reply's end in Google's words: tool calls end as a text does.
func geminiFinish(r Reply) string {
	switch r.Finish {
	case "length":
		return "MAX_TOKENS"
	case "content_filter":
		return "SAFETY"
	}
	return "STOP"
}

func geminiUsage(u lm.Usage) map[string]any {
	m := map[string]any{
		"promptTokenCount": u.Input, "candidatesTokenCount": u.Output - u.Reasoning, "totalTokenCount": u.Input + u.Output,
		"promptTokensDetails": []any{map[string]any{"modality": "TEXT", "tokenCount": u.Input}},
	}
	if u.Reasoning > 0 {
		m["thoughtsTokenCount"] = u.Reasoning
	}
	if u.Cached > 0 {
		m["cachedContentTokenCount"] = u.Cached
	}
	return m
}

// geminiAnswer is an answer or a piece of one.
func geminiAnswer(a Asked, usage lm.Usage, finish string, parts ...geminiPart) string {
	candidate := map[string]any{"content": map[string]any{"role": "model", "parts": parts}, "index": 0}
	if finish != "" {
		candidate["finishReason"] = finish
	}
	return geminiJSON(map[string]any{
		"candidates": []any{candidate}, "usageMetadata": geminiUsage(usage), "modelVersion": a.Model, "responseId": "kQ0BaaXJEpqk",
	})
}

func geminiCalls(r Reply) []geminiPart {
	var parts []geminiPart
	for i, c := range r.ToolCalls {
		call := map[string]any{"name": c.Name, "args": json.RawMessage(c.Arguments)}
		if len(c.Arguments) == 0 {
			delete(call, "args")
		}
		if c.ID != "" {
			call["id"] = c.ID
		}
		part := geminiPart{"functionCall": call}
		if i == 0 && r.Reasoning != "" {
			part["thoughtSignature"] = geminiSignature
		}
		parts = append(parts, part)
	}
	return parts
}

// Whole satisfies Format.
func (f Gemini) Whole(a Asked, r Reply) Response {
	h := http.Header{"Content-Type": {"application/json; charset=UTF-8"}, "Server-Timing": {"gfet4t7; dur=551"}}
	if a.Kind == "embed" {
		return Response{Header: h, Body: f.embeddings(a, r)}
	}
	var parts []geminiPart
	if r.Reasoning != "" {
		parts = append(parts, geminiPart{"text": r.Reasoning, "thought": true})
	}
	if r.Text != "" {
		part := geminiPart{"text": r.Text}
		if r.Reasoning != "" && len(r.ToolCalls) == 0 {
			part["thoughtSignature"] = geminiSignature
		}
		parts = append(parts, part)
	}
	return Response{Header: h, Body: geminiAnswer(a, r.Usage, geminiFinish(r), append(parts, geminiCalls(r)...)...)}
}

func (f Gemini) embeddings(a Asked, r Reply) string {
	usage := map[string]any{"promptTokenCount": r.Usage.Input}
	var list []any
	for i, v := range r.Vectors {
		if !f.Vertex {
			list = append(list, map[string]any{"values": v})
			continue
		}
		tokens := r.Usage.Input
		if i > 0 { // all of them are told with the first
			tokens = 0
		}
		list = append(list, map[string]any{"embeddings": map[string]any{
			"values": v, "statistics": map[string]any{"truncated": false, "token_count": tokens},
		}})
	}
	switch {
	case !f.Vertex:
		return geminiJSON(map[string]any{"embeddings": list, "usageMetadata": usage})
	case strings.Contains(a.Model, "gemini") && a.Model != "gemini-embedding-001" && len(r.Vectors) == 1:
		return geminiJSON(map[string]any{"embedding": map[string]any{"values": r.Vectors[0]}, "usageMetadata": usage, "truncated": false})
	}
	return geminiJSON(map[string]any{"predictions": list, "metadata": map[string]any{"billableCharacterCount": 4 * r.Usage.Input}})
}

func geminiEvent(data string) Piece { return Piece{Data: "data: " + data + "\r\n\r\n"} }

// Stream satisfies Format. The last event says finishReason and is the terminal one;
// every event says the usage so far.
func (f Gemini) Stream(a Asked, r Reply) []Piece {
	so := lm.Usage{Input: r.Usage.Input, Cached: r.Usage.Cached}
	var pieces []Piece
	add := func(parts ...geminiPart) { pieces = append(pieces, geminiEvent(geminiAnswer(a, so, "", parts...))) }
	for _, text := range geminiPieces(r.Reasoning) {
		add(geminiPart{"text": text, "thought": true})
	}
	so.Reasoning, so.Output = r.Usage.Reasoning, r.Usage.Reasoning
	for _, text := range geminiPieces(r.Text) {
		add(geminiPart{"text": text})
	}
	for _, call := range geminiCalls(r) {
		add(call)
	}
	last := geminiPart{"text": ""}
	if r.Reasoning != "" && len(r.ToolCalls) == 0 {
		last["thoughtSignature"] = geminiSignature
	}
	end := geminiEvent(geminiAnswer(a, r.Usage, geminiFinish(r), last))
	end.Terminal = true
	return append(pieces, end)
}

// geminiPieces cuts a text at its blanks: a few words come at a time.
func geminiPieces(text string) []string {
	words := strings.SplitAfter(text, " ")
	var pieces []string
	for len(words) > 0 {
		n := min(3, len(words))
		if piece := strings.Join(words[:n], ""); piece != "" {
			pieces = append(pieces, piece)
		}
		words = words[n:]
	}
	return pieces
}

// List satisfies Format.
func (f Gemini) List(_ Asked, offerings []lm.Offering) Response {
	list := []any{}
	for _, o := range offerings {
		if f.Vertex {
			list = append(list, map[string]any{"name": "publishers/google/models/" + o.Name, "versionId": "default", "launchStage": "GA"})
			continue
		}
		methods := []string{"generateContent", "countTokens", "createCachedContent", "batchGenerateContent"}
		if o.Can[lm.CanEmbed] {
			methods = []string{"embedContent", "countTextTokens", "countTokens", "asyncBatchEmbedContent"}
		}
		m := map[string]any{
			"name": "models/" + o.Name, "version": "001", "displayName": o.Name, "outputTokenLimit": 65536,
			"supportedGenerationMethods": methods, "temperature": 1, "topP": 0.95, "topK": 64, "maxTemperature": 2,
		}
		if o.Window > 0 {
			m["inputTokenLimit"] = o.Window
		}
		if o.Can[lm.CanThink] {
			m["thinking"] = true
		}
		list = append(list, m)
	}
	name := "models"
	if f.Vertex {
		name = "publisherModels"
	}
	return Response{Header: http.Header{"Content-Type": {"application/json; charset=UTF-8"}}, Body: geminiJSON(map[string]any{name: list})}
}
