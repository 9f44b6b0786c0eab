package providertest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// anthropicRequest is a body as the API takes it. A field that is not here is refused,
// as the API does.
type anthropicRequest struct {
	Model     string             `json:"model"`
	MaxTokens *int               `json:"max_tokens"`
	Messages  []anthropicTurn    `json:"messages"`
	System    []anthropicContent `json:"system"`
	Stream    bool               `json:"stream"`
	Tools     []struct {
		Name        string          `json:"name"`
		Description string          `json:"description"`
		Schema      json.RawMessage `json:"input_schema"`
		Cache       *anthropicCache `json:"cache_control"`
	} `json:"tools"`
	Choice *struct {
		Type   string `json:"type"`
		Name   string `json:"name"`
		Single bool   `json:"disable_parallel_tool_use"`
	} `json:"tool_choice"`
	Temperature *float64 `json:"temperature"`
	TopP        *float64 `json:"top_p"`
	TopK        *int     `json:"top_k"`
	Stop        []string `json:"stop_sequences"`
	Metadata    *struct {
		User string `json:"user_id"`
	} `json:"metadata"`
	Thinking *struct {
		Type    string `json:"type"`
		Budget  int    `json:"budget_tokens"`
		Display string `json:"display"`
	} `json:"thinking"`
	Output *struct {
		Effort string `json:"effort"`
		Format *struct {
			Type   string          `json:"type"`
			Schema json.RawMessage `json:"schema"`
		} `json:"format"`
	} `json:"output_config"`
	Cache *anthropicCache `json:"cache_control"`
}

type anthropicCache struct {
	Type string `json:"type"`
	TTL  string `json:"ttl"`
}

type anthropicTurn struct {
	Role    string             `json:"role"`
	Content []anthropicContent `json:"content"`
}

type anthropicContent struct {
	Type   string `json:"type"`
	Text   string `json:"text"`
	Source *struct {
		Type      string `json:"type"`
		URL       string `json:"url"`
		MediaType string `json:"media_type"`
		Data      []byte `json:"data"`
	} `json:"source"`
	ID        string             `json:"id"`
	Name      string             `json:"name"`
	Input     json.RawMessage    `json:"input"`
	ToolUseID string             `json:"tool_use_id"`
	Content   []anthropicContent `json:"content"`
	Thinking  string             `json:"thinking"`
	Signature string             `json:"signature"`
	Data      string             `json:"data"`
	Cache     *anthropicCache    `json:"cache_control"`
}

// Read satisfies Format. It is as strict as the API where an adapter is likely to err.
func (Anthropic) Read(r *http.Request, body []byte) (Asked, error) {
	if r.Header.Get("Anthropic-Version") != "2023-06-01" {
		return Asked{}, errors.New("anthropic-version: header is required")
	}
	a := Asked{Key: r.Header.Get("X-Api-Key")}
	switch r.Method + " " + r.URL.Path {
	case "GET /v1/models":
		a.Kind = "list"
		if r.URL.Query().Get("limit") == "1" {
			a.Kind = "probe"
		}
		return a, nil
	case "POST /v1/messages":
	default:
		return Asked{}, fmt.Errorf("no such address: %s %s", r.Method, r.URL.Path)
	}
	var q anthropicRequest
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&q); err != nil {
		return Asked{}, err
	}
	if _, err := d.Token(); err != io.EOF {
		return Asked{}, errors.New("something behind the body")
	}
	if err := q.check(); err != nil {
		return Asked{}, err
	}
	return q.asked(a), nil
}

func (q *anthropicRequest) asked(a Asked) Asked {
	a.Kind, a.Model, a.Stream, a.Max, a.Messages = "chat", q.Model, q.Stream, *q.MaxTokens, len(q.Messages)
	var system []string
	for _, c := range q.System {
		system = append(system, c.Text)
	}
	a.System = strings.Join(system, "\n")
	for _, t := range q.Tools {
		a.Tools = append(a.Tools, t.Name)
	}
	for _, m := range q.Messages {
		for _, c := range m.Content {
			switch c.Type {
			case "text":
				if m.Role == "user" {
					a.Question = c.Text
				}
			case "image":
				a.Images++
			case "tool_result":
				var texts []string
				for _, part := range c.Content {
					texts = append(texts, part.Text)
				}
				a.Results = append(a.Results, strings.Join(texts, ""))
			}
		}
	}
	return a
}

var anthropicID = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)

// check finds what the API answers with invalid_request_error.
func (q *anthropicRequest) check() error {
	switch {
	case q.Model == "":
		return errors.New("model: Field required")
	case q.MaxTokens == nil || *q.MaxTokens < 1:
		return errors.New("max_tokens: Field required")
	case len(q.Messages) == 0:
		return errors.New("messages: at least one message is required")
	case q.Choice != nil && len(q.Tools) == 0:
		return errors.New("tool_choice: tools are required")
	case q.Thinking != nil && q.Thinking.Type == "enabled" && (q.Thinking.Budget < 1024 || q.Thinking.Budget >= *q.MaxTokens):
		return errors.New("thinking.budget_tokens: want at least 1024 and less than max_tokens")
	case q.Thinking != nil && (q.Temperature != nil || q.TopP != nil):
		return errors.New("temperature: may only be set when thinking is off")
	}
	marks := 0
	for _, t := range q.Tools {
		var schema struct{ Type string }
		if json.Unmarshal(t.Schema, &schema) != nil || schema.Type != "object" {
			return errors.New("tools: input_schema.type: Field required")
		}
		marks += mark(t.Cache)
	}
	for _, c := range q.System {
		if c.Type != "text" || strings.TrimSpace(c.Text) == "" {
			return errors.New("system: text content blocks must contain non-whitespace text")
		}
		marks += mark(c.Cache)
	}
	var open []string // tool calls that wait for their results
	for i, m := range q.Messages {
		if want := []string{"user", "assistant"}[i%2]; m.Role != want {
			return fmt.Errorf("messages.%d: roles must alternate, want %s", i, want)
		}
		results := 0
		for j, c := range m.Content {
			marks += mark(c.Cache)
			if err := c.check(m.Role); err != nil {
				return fmt.Errorf("messages.%d.content.%d: %w", i, j, err)
			}
			if c.Type == "tool_result" {
				if results != j || !slices.Contains(open, c.ToolUseID) {
					return fmt.Errorf("messages.%d.content.%d: unexpected tool_result", i, j)
				}
				results++
			}
		}
		if results != len(open) {
			return fmt.Errorf("messages.%d: tool_use ids were found without tool_result blocks immediately after", i)
		}
		open = nil
		for _, c := range m.Content {
			if c.Type == "tool_use" {
				open = append(open, c.ID)
			}
		}
	}
	if marks > 4 {
		return fmt.Errorf("a maximum of 4 blocks with cache_control may be provided. Found %d", marks)
	}
	return nil
}

func mark(c *anthropicCache) int {
	if c == nil {
		return 0
	}
	return 1
}

func (c *anthropicContent) check(role string) error {
	switch c.Type {
	case "text":
		if strings.TrimSpace(c.Text) == "" {
			return errors.New("text content blocks must contain non-whitespace text")
		}
	case "image":
		if role != "user" || c.Source == nil || c.Source.URL == "" && (len(c.Source.Data) == 0 || c.Source.MediaType == "") {
			return errors.New("image.source: Field required")
		}
	case "tool_use":
		if role != "assistant" || !anthropicID.MatchString(c.ID) || !bytes.HasPrefix(c.Input, []byte("{")) {
			return errors.New("tool_use: want an id of letters, digits, _ and -, and an object as input")
		}
	case "tool_result":
		if role != "user" {
			return errors.New("tool_result: of the user only")
		}
	case "thinking":
		if role != "assistant" || c.Signature == "" || c.Cache != nil {
			return errors.New("thinking: invalid signature")
		}
	case "redacted_thinking":
		if role != "assistant" || c.Data == "" || c.Cache != nil {
			return errors.New("redacted_thinking: Field required")
		}
	default:
		return fmt.Errorf("%q is no type of a content block", c.Type)
	}
	return nil
}
