package provider

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	lm "github.com/lighterman/lighterman"
)

// Chat is a chat-completions body as an adapter of another wire format reads it.
// What the API has no word for is left out there; Extra holds the fields that are
// not OpenAI's, which an adapter may know.
type Chat struct {
	Messages    []Message
	Tools       []Tool
	Choice      ToolChoice
	Parallel    *bool // parallel_tool_calls
	MaxTokens   int   // max_completion_tokens, else max_tokens; 0: not said
	Temperature *float64
	TopP        *float64
	Stop        []string
	Seed        *int64
	User        string
	Effort      string // reasoning_effort: none, minimal, low, medium, high
	Format      Format // response_format
	Extra       map[string]json.RawMessage
}

// Message is one of a conversation. Role is system (developer is read as it), user,
// assistant or tool.
type Message struct {
	Role       string
	Parts      []Part
	ToolCalls  []ToolCall // of the assistant
	ToolCallID string     // of a tool's result: which call it answers
	Name       string
	Reasoning  []ReasoningBlock // reasoning_details: what a provider wants back
}

// Part is a piece of a message's content.
type Part struct {
	Text  string
	Image *Image // else it is text
}

// Image is by URL, or by its bytes with their media type.
type Image struct {
	URL       string
	MediaType string
	Data      []byte
}

// Tool is a function that the model may call.
type Tool struct {
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Parameters  json.RawMessage `json:"parameters"`
}

// ToolCall is one that a model made.
type ToolCall struct {
	ID        string
	Name      string
	Arguments string // JSON
}

// ToolChoice says whether the model is to call a tool: empty (the API's default),
// auto, none, required, or function with its Name.
type ToolChoice struct {
	Mode string
	Name string
}

// Format is how the answer is to be written: text, json_object or json_schema.
type Format struct {
	Type   string
	Name   string
	Schema json.RawMessage
}

// ReasoningBlock is a piece of reasoning that only the provider that wrote it can
// read, kept in the message's reasoning_details as OpenRouter does. An adapter sends
// back those of its own Format and drops the others.
type ReasoningBlock struct {
	Type      string `json:"type"`                // reasoning.text, reasoning.encrypted
	Format    string `json:"format"`              // who wrote it, as anthropic-claude-v1
	ID        string `json:"id,omitempty"`        // the tool call that it belongs to
	Text      string `json:"text,omitempty"`      // of reasoning.text
	Signature string `json:"signature,omitempty"` // of reasoning.text
	Data      string `json:"data,omitempty"`      // of reasoning.encrypted
	Index     int    `json:"index"`               // its place among the message's blocks
	Origin    string `json:"origin,omitempty"`    // a hash of the account and model that it is bound to
}

// wireChat is the body as it comes.
type wireChat struct {
	Messages   []wireMessage   `json:"messages"`
	Tools      []wireTool      `json:"tools"`
	ToolChoice json.RawMessage `json:"tool_choice"`
	Parallel   *bool           `json:"parallel_tool_calls"`
	Max        int             `json:"max_tokens"`
	Completion int             `json:"max_completion_tokens"`
	Temp       *float64        `json:"temperature"`
	TopP       *float64        `json:"top_p"`
	Stop       json.RawMessage `json:"stop"`
	Seed       *int64          `json:"seed"`
	User       string          `json:"user"`
	Effort     string          `json:"reasoning_effort"`
	N          *int            `json:"n"`
	Format     *struct {
		Type   string `json:"type"`
		Schema struct {
			Name   string          `json:"name"`
			Schema json.RawMessage `json:"schema"`
		} `json:"json_schema"`
	} `json:"response_format"`
}

type wireTool struct {
	Type     string `json:"type"`
	Function Tool   `json:"function"`
}

type wireMessage struct {
	Role       string          `json:"role"`
	Content    json.RawMessage `json:"content"`
	Name       string          `json:"name"`
	ToolCallID string          `json:"tool_call_id"`
	ToolCalls  []struct {
		ID       string `json:"id"`
		Function struct {
			Name      string `json:"name"`
			Arguments string `json:"arguments"`
		} `json:"function"`
	} `json:"tool_calls"`
	Reasoning []ReasoningBlock `json:"reasoning_details"`
}

// known are the fields of a body that are OpenAI's or ours: the rest is Extra.
var known = map[string]bool{
	"model": true, "messages": true, "tools": true, "tool_choice": true, "parallel_tool_calls": true, "max_tokens": true, "max_completion_tokens": true,
	"temperature": true, "top_p": true, "stop": true, "seed": true, "user": true, "reasoning_effort": true, "n": true, "response_format": true,
	"stream": true, "stream_options": true, "frequency_penalty": true, "presence_penalty": true, "logprobs": true, "top_logprobs": true, "logit_bias": true,
	"store": true, "metadata": true, "service_tier": true, "prompt_cache_key": true, "safety_identifier": true, "verbosity": true, "modalities": true, "audio": true, "prediction": true,
}

// ParseChat reads a chat-completions body. Its errors are InvalidRequest, name the
// place and what would be right there, and quote nothing of the body.
func ParseChat(body []byte) (*Chat, error) {
	var w wireChat
	if err := json.Unmarshal(body, &w); err != nil {
		return nil, invalid("the body is no chat-completions object: %s", jsonTrouble(err))
	}
	if len(w.Messages) == 0 {
		return nil, invalid("messages: want a list of at least one message")
	}
	if w.N != nil && *w.N != 1 {
		return nil, invalid("n: this provider answers once; leave it out, or enqueue %d operations", *w.N)
	}
	c := &Chat{
		Parallel: w.Parallel, MaxTokens: w.Completion, Temperature: w.Temp, TopP: w.TopP, Seed: w.Seed, User: w.User, Effort: w.Effort,
	}
	if c.MaxTokens == 0 {
		c.MaxTokens = w.Max
	}
	for i := range w.Messages {
		m, err := w.Messages[i].parse(i)
		if err != nil {
			return nil, err
		}
		c.Messages = append(c.Messages, m)
	}
	for i, t := range w.Tools {
		if t.Type != "" && t.Type != "function" || t.Function.Name == "" {
			return nil, invalid("tools[%d]: want a function with a name", i)
		}
		c.Tools = append(c.Tools, t.Function)
	}
	if f := w.Format; f != nil {
		c.Format = Format{Type: f.Type, Name: f.Schema.Name, Schema: f.Schema.Schema}
	}
	var err error
	if c.Choice, err = parseChoice(w.ToolChoice); err != nil {
		return nil, err
	}
	if c.Stop, err = parseStop(w.Stop); err != nil {
		return nil, err
	}
	c.Extra = extra(body)
	return c, nil
}

func (w *wireMessage) parse(i int) (Message, error) {
	m := Message{Role: w.Role, Name: w.Name, ToolCallID: w.ToolCallID, Reasoning: w.Reasoning}
	switch w.Role {
	case "developer":
		m.Role = "system"
	case "system", "user", "assistant":
	case "tool":
		if w.ToolCallID == "" {
			return m, invalid("messages[%d].tool_call_id: missing; a tool's result names its call", i)
		}
	default:
		return m, invalid("messages[%d].role: want system, developer, user, assistant or tool", i)
	}
	for _, c := range w.ToolCalls {
		m.ToolCalls = append(m.ToolCalls, ToolCall{ID: c.ID, Name: c.Function.Name, Arguments: c.Function.Arguments})
	}
	var err error
	if m.Parts, err = parseContent(w.Content); err != nil {
		return m, invalid("messages[%d].content%s", i, err)
	}
	return m, nil
}

// parseContent reads a text or a list of parts. An error begins as a place does.
func parseContent(content json.RawMessage) ([]Part, error) {
	if len(content) == 0 || string(content) == "null" {
		return nil, nil
	}
	var text string
	if json.Unmarshal(content, &text) == nil {
		return []Part{{Text: text}}, nil
	}
	var parts []struct {
		Type  string `json:"type"`
		Text  string `json:"text"`
		Image struct {
			URL string `json:"url"`
		} `json:"image_url"`
		Refusal string `json:"refusal"`
	}
	if json.Unmarshal(content, &parts) != nil {
		return nil, fmt.Errorf(": want a text or a list of parts")
	}
	var out []Part
	for i, p := range parts {
		switch p.Type {
		case "text":
			out = append(out, Part{Text: p.Text})
		case "refusal":
			out = append(out, Part{Text: p.Refusal})
		case "image_url":
			image, err := parseImage(p.Image.URL)
			if err != nil {
				return nil, fmt.Errorf("[%d].image_url.url: %w", i, err)
			}
			out = append(out, Part{Image: image})
		default:
			return nil, fmt.Errorf("[%d].type: this provider takes text and image_url", i)
		}
	}
	return out, nil
}

// parseImage reads https:// or data:image/png;base64,....
func parseImage(url string) (*Image, error) {
	rest, isData := strings.CutPrefix(url, "data:")
	if !isData {
		if !strings.HasPrefix(url, "https://") && !strings.HasPrefix(url, "http://") && !strings.HasPrefix(url, "gs://") && !strings.HasPrefix(url, "s3://") {
			return nil, fmt.Errorf("want an address with https:// or data:image/TYPE;base64,DATA")
		}
		return &Image{URL: url}, nil
	}
	head, data, found := strings.Cut(rest, ",")
	media, isBase64 := strings.CutSuffix(head, ";base64")
	if !found || !isBase64 || !strings.HasPrefix(media, "image/") {
		return nil, fmt.Errorf("want data:image/TYPE;base64,DATA")
	}
	decoded, err := base64.StdEncoding.DecodeString(data)
	if err != nil {
		return nil, fmt.Errorf("its base64 is broken")
	}
	return &Image{MediaType: media, Data: decoded}, nil
}

func parseChoice(raw json.RawMessage) (ToolChoice, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return ToolChoice{}, nil
	}
	var mode string
	if json.Unmarshal(raw, &mode) == nil {
		switch mode {
		case "auto", "none", "required":
			return ToolChoice{Mode: mode}, nil
		}
	}
	var named struct {
		Function struct {
			Name string `json:"name"`
		} `json:"function"`
	}
	if json.Unmarshal(raw, &named) != nil || named.Function.Name == "" {
		return ToolChoice{}, invalid("tool_choice: want auto, none, required or a function with its name")
	}
	return ToolChoice{Mode: "function", Name: named.Function.Name}, nil
}

func parseStop(raw json.RawMessage) ([]string, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return nil, nil
	}
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return []string{one}, nil
	}
	var many []string
	if json.Unmarshal(raw, &many) != nil {
		return nil, invalid("stop: want a text or a list of texts")
	}
	return many, nil
}

func extra(body []byte) map[string]json.RawMessage {
	var all map[string]json.RawMessage
	if json.Unmarshal(body, &all) != nil {
		return nil
	}
	for name := range all {
		if known[name] {
			delete(all, name)
		}
	}
	return all
}

func invalid(format string, args ...any) error {
	return lm.Errorf(lm.InvalidRequest, format, args...)
}

// jsonTrouble says where JSON is wrong without quoting it.
func jsonTrouble(err error) string {
	switch e := err.(type) { //nolint:errorlint // encoding/json returns them bare
	case *json.UnmarshalTypeError:
		return e.Field + " has the wrong type, " + e.Value
	case *json.SyntaxError:
		return fmt.Sprintf("no JSON from byte %d on", e.Offset)
	}
	return "no JSON"
}
