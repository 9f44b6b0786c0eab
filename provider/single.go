package provider

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"

	lm "github.com/lighterman/lighterman"
)

// Embed is an embeddings body.
type Embed struct {
	Inputs     []string
	Dimensions int  // 0: the model's
	Base64     bool // encoding_format
}

// ParseEmbed reads an embeddings body whose input is a text or a list of texts:
// tokens mean something to one vendor only. Errors as those of ParseChat.
func ParseEmbed(body []byte) (*Embed, error) {
	var w struct {
		Input      json.RawMessage `json:"input"`
		Dimensions int             `json:"dimensions"`
		Encoding   string          `json:"encoding_format"`
	}
	if err := json.Unmarshal(body, &w); err != nil {
		return nil, invalid("the body is no embeddings object: %s", jsonTrouble(err))
	}
	e := &Embed{Dimensions: w.Dimensions, Base64: w.Encoding == "base64"}
	var one string
	if json.Unmarshal(w.Input, &one) == nil {
		e.Inputs = []string{one}
		return e, nil
	}
	if json.Unmarshal(w.Input, &e.Inputs) != nil || len(e.Inputs) == 0 {
		return nil, invalid("input: this provider takes a text or a list of texts")
	}
	return e, nil
}

// Answer makes the embedding list of the vectors, one per input in order.
func (e *Embed) Answer(model string, vectors [][]float32, usage lm.Usage) (lm.Answer, error) {
	if len(vectors) != len(e.Inputs) {
		return lm.Answer{}, lm.Errorf(lm.ProviderFailed, "%d vectors for %d inputs", len(vectors), len(e.Inputs))
	}
	type item struct {
		Object    string `json:"object"`
		Index     int    `json:"index"`
		Embedding any    `json:"embedding"`
	}
	data := make([]item, len(vectors))
	for i, v := range vectors {
		data[i] = item{Object: "embedding", Index: i, Embedding: v}
		if e.Base64 {
			data[i].Embedding = packed(v)
		}
	}
	usage.Calls = 1
	body, err := json.Marshal(map[string]any{
		"object": "list", "model": model, "data": data,
		"usage": map[string]int64{"prompt_tokens": usage.Input, "total_tokens": usage.Input},
	})
	if err != nil { // a number that JSON has no word for
		return lm.Answer{}, lm.Errorf(lm.ProviderFailed, "encode the vectors: %w", err)
	}
	return lm.Answer{Body: body, Usage: usage, Model: model}, nil
}

// packed is a vector as OpenAI's base64: little-endian float32s.
func packed(v []float32) string {
	b := make([]byte, 0, 4*len(v))
	for _, f := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}
	return base64.StdEncoding.EncodeToString(b)
}

// ParseTalk reads the body of a chat or prompt call as a chat.
func ParseTalk(call *lm.Call) (*Chat, error) {
	if call.Kind == "prompt" {
		return ParsePrompt(call.Body)
	}
	return ParseChat(call.Body)
}

// ParsePrompt reads a completions body as a chat of one user message, for APIs that
// only chat. Errors as those of ParseChat.
func ParsePrompt(body []byte) (*Chat, error) {
	chat, err := PromptAsChat(body, nil)
	if err != nil {
		return nil, err
	}
	return ParseChat(chat)
}

// PromptAsChat writes a completions body as a chat-completions body of one user
// message. All other fields stay as they are, under the names that renamed has for
// them. Errors as those of ParseChat.
func PromptAsChat(body []byte, renamed map[string]string) ([]byte, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return nil, invalid("the body is no completions object: %s", jsonTrouble(err))
	}
	prompt := fields["prompt"]
	var list []string
	if json.Unmarshal(prompt, &list) == nil && len(list) == 1 {
		prompt, _ = json.Marshal(list[0]) // a string always can be
	}
	var text *string
	if json.Unmarshal(prompt, &text) != nil || text == nil {
		return nil, invalid("prompt: this provider takes one text")
	}
	delete(fields, "prompt")
	for from, to := range renamed {
		if value, ok := fields[from]; ok && fields[to] == nil {
			fields[to] = value
			delete(fields, from)
		}
	}
	messages, err := json.Marshal([]map[string]string{{"role": "user", "content": *text}})
	if err != nil {
		return nil, invalid("prompt: %s", jsonTrouble(err))
	}
	fields["messages"] = messages
	chat, err := json.Marshal(fields)
	if err != nil {
		return nil, invalid("the body: %s", jsonTrouble(err))
	}
	return chat, nil
}
