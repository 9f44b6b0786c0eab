package providertest

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"

	lm "github.com/lighterman/lighterman"
)

// geminiSignature is on the first function call and on texts after thoughts.
var geminiSignature = base64.StdEncoding.EncodeToString([]byte("signed by the model"))

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
