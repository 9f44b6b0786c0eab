package providertest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	lm "github.com/lighterman/lighterman"
)

// OpenAI is the chat-completions format as its vendors speak it, each with its own
// habits in streams and its own error bodies: openai, openrouter, mistral, vllm,
// azure and ollama (its /v1). The zero value is openai.
type OpenAI struct{ Vendor string }

// Name is the vendor.
func (f OpenAI) Name() string {
	if f.Vendor == "" {
		return "openai"
	}
	return f.Vendor
}

// openaiBody is what Read looks at.
type openaiBody struct {
	Model    string                  `json:"model"`
	Stream   bool                    `json:"stream"`
	Options  *struct{ Include bool } `json:"stream_options"`
	Messages []struct {
		Role    string          `json:"role"`
		Content json.RawMessage `json:"content"`
		Details json.RawMessage `json:"reasoning_details"`
	} `json:"messages"`
	Tools []struct {
		Function struct {
			Name string `json:"name"`
		} `json:"function"`
	} `json:"tools"`
	Prompt     string          `json:"prompt"`
	Input      json.RawMessage `json:"input"`
	Max        int             `json:"max_tokens"`
	Completion int             `json:"max_completion_tokens"`
}

// Read satisfies Format.
func (f OpenAI) Read(r *http.Request, body []byte) (Asked, error) {
	key, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if f.Name() == "azure" {
		key = r.Header.Get("Api-Key")
	}
	a := Asked{Key: key}
	if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/models") {
		a.Kind = "list"
		return a, nil
	}
	if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/key") && f.Name() == "openrouter" {
		a.Kind = "probe"
		return a, nil
	}
	switch path := r.URL.Path; {
	case r.Method != http.MethodPost:
		return a, fmt.Errorf("want POST")
	case strings.HasSuffix(path, "/chat/completions"):
		a.Kind = "chat"
	case strings.HasSuffix(path, "/completions") && f.Name() != "mistral": // it has chats, and /fim
		a.Kind = "prompt"
	case strings.HasSuffix(path, "/embeddings"):
		a.Kind = "embed"
	default:
		return a, fmt.Errorf("no such path")
	}
	if got := r.Header.Get("Content-Type"); got != "application/json" {
		return a, fmt.Errorf("Content-Type %q", got)
	}
	var b openaiBody
	if err := json.Unmarshal(body, &b); err != nil {
		return a, fmt.Errorf("body: %w", err)
	}
	if f.Name() == "mistral" && b.Options != nil {
		return a, fmt.Errorf("stream_options: extra_forbidden")
	}
	a.Model, a.Stream, a.Messages, a.Question, a.Max = b.Model, b.Stream, len(b.Messages), b.Prompt, max(b.Max, b.Completion)
	for _, t := range b.Tools {
		a.Tools = append(a.Tools, t.Function.Name)
	}
	for _, m := range b.Messages {
		text := lm.ContentText(m.Content)
		switch m.Role {
		case "system", "developer":
			a.System = text
		case "user":
			a.Question = text
			a.Images += strings.Count(string(m.Content), `"image_url":{`)
		case "tool":
			a.Results = append(a.Results, text)
		}
	}
	if len(b.Input) > 0 && json.Unmarshal(b.Input, &a.Inputs) != nil {
		var one string
		if err := json.Unmarshal(b.Input, &one); err != nil {
			return a, fmt.Errorf("input: %w", err)
		}
		a.Inputs = []string{one}
	}
	return a, nil
}

type object = map[string]any

func compact(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("providertest: %v", err)) // our own literals
	}
	return string(data)
}

func (f OpenAI) usage(u lm.Usage) object {
	w := object{"prompt_tokens": u.Input, "completion_tokens": u.Output, "total_tokens": u.Input + u.Output}
	if f.Name() == "ollama" { // it counts neither
		return w
	}
	if f.Name() != "mistral" || u.Cached > 0 {
		w["prompt_tokens_details"] = object{"cached_tokens": u.Cached, "audio_tokens": 0}
	}
	if f.Name() == "openai" || f.Name() == "azure" || u.Reasoning > 0 {
		w["completion_tokens_details"] = object{"reasoning_tokens": u.Reasoning, "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}
	}
	return w
}

// reasoningField is where a vendor writes reasoning.
func (f OpenAI) reasoningField() string {
	switch f.Name() {
	case "openrouter", "ollama":
		return "reasoning"
	}
	return "reasoning_content"
}

// Whole satisfies Format.
func (f OpenAI) Whole(a Asked, r Reply) Response {
	switch a.Kind {
	case "embed":
		data := []object{}
		for i, v := range r.Vectors {
			data = append(data, object{"object": "embedding", "index": i, "embedding": v})
		}
		return Response{Body: compact(object{
			"object": "list", "data": data, "model": a.Model, "usage": object{"prompt_tokens": r.Usage.Input, "total_tokens": r.Usage.Input},
		})}
	case "prompt":
		return Response{Body: compact(object{
			"id": "cmpl-uqkvlQyYK7bGYrRHQ0eXlWi7", "object": "text_completion", "created": 1589478378, "model": a.Model,
			"choices": []object{{"text": r.Text, "index": 0, "logprobs": nil, "finish_reason": r.ended()}}, "usage": f.usage(r.Usage),
		})}
	}
	message := object{"role": "assistant", "content": r.Text, "refusal": nil, "annotations": []any{}}
	if r.Text == "" && len(r.ToolCalls) > 0 {
		message["content"] = nil
	}
	if r.Reasoning != "" {
		message[f.reasoningField()] = r.Reasoning
	}
	if len(r.ToolCalls) > 0 {
		calls := []object{}
		for _, c := range r.ToolCalls {
			calls = append(calls, object{"id": c.ID, "type": "function", "function": object{"name": c.Name, "arguments": string(c.Arguments)}})
		}
		message["tool_calls"] = calls
	}
	return Response{Body: compact(object{
		"id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT", "object": "chat.completion", "created": 1741569952, "model": a.Model,
		"choices": []object{{"index": 0, "message": message, "logprobs": nil, "finish_reason": r.ended()}},
		"usage":   f.usage(r.Usage), "service_tier": "default", "system_fingerprint": "fp_44709d6fcb",
	})}
}

// List satisfies Format.
func (f OpenAI) List(a Asked, offerings []lm.Offering) Response {
	if a.Kind == "probe" {
		return Response{Body: `{"data":{"label":"sk-or-v1-0e6...1c96","limit":100,"usage":0,"is_free_tier":false,"limit_remaining":100}}`}
	}
	data := []object{}
	for _, o := range offerings {
		m := object{"id": o.Name, "object": "model", "created": 1686935002, "owned_by": f.Name()}
		switch f.Name() {
		case "openrouter":
			m["context_length"] = o.Window
			inputs, params := []string{"text"}, []string{"max_tokens", "temperature"}
			if o.Can[lm.CanVision] {
				inputs = append(inputs, "image")
			}
			if o.Can[lm.CanTools] {
				params = append(params, "tools", "tool_choice")
			}
			if o.Can[lm.CanThink] {
				params = append(params, "reasoning", "include_reasoning")
			}
			m["architecture"] = object{"modality": strings.Join(inputs, "+") + "->text", "input_modalities": inputs, "output_modalities": []string{"text"}, "tokenizer": "GPT", "instruct_type": nil}
			m["supported_parameters"] = params
		case "vllm":
			m["max_model_len"] = o.Window
		case "mistral":
			m["max_context_length"] = o.Window
			m["capabilities"] = object{"completion_chat": true, "completion_fim": false, "function_calling": o.Can[lm.CanTools], "fine_tuning": false, "vision": o.Can[lm.CanVision]}
		}
		data = append(data, m)
	}
	return Response{Body: compact(object{"object": "list", "data": data})}
}
