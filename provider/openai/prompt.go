package openai

import (
	"context"
	"encoding/json"
	"strings"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
)

// Prompts says how a backend is asked to go on from a prompt.
type Prompts int

// How a prompt is put. As a chat it is the one message of a user, and the answer
// comes back as the completion that was asked for.
const (
	PromptsComplete Prompts = iota // at /completions
	PromptsByName                  // there where the model's name says that it completes, else as a chat
	PromptsChat                    // as a chat
)

// chats reports whether a model is to be asked in a chat. OpenAI refuses chat models
// at /completions with the 404 of a model that is not there.
func (p Prompts) chats(model string) bool {
	switch p {
	case PromptsByName:
		for _, part := range []string{"-instruct", "davinci-", "babbage-"} {
			if strings.Contains(model, part) { // a fine-tuned one has it behind ft:
				return false
			}
		}
		return true
	case PromptsChat:
		return true
	case PromptsComplete:
	}
	return false
}

// newer names the fields of a completion that OpenAI's newer chat models refuse under
// the name they have there.
var newer = map[string]string{"max_tokens": "max_completion_tokens"}

// promptAsChat makes a prompt call as a chat. A field that chats do not have, as
// suffix, goes too, and the backend says what it thinks of it.
func (a *API) promptAsChat(ctx context.Context, call lm.Call) (lm.Answer, error) {
	renamed := newer
	if a.quirks.Prompts != PromptsByName {
		renamed = nil
	}
	body, err := provider.PromptAsChat(call.Body, renamed)
	if err != nil {
		return lm.Answer{}, err
	}
	call.Kind, call.Body = "chat", body
	answer, err := a.call(ctx, call)
	if err != nil {
		return lm.Answer{}, err
	}
	if answer.Body, err = completion(answer.Body); err != nil {
		return lm.Answer{}, lm.Errorf(lm.ProviderFailed, "the answer is no completion")
	}
	return answer, nil
}

// completion is a chat.completion as a text_completion: its choices have texts in
// place of messages, and all else stays.
func completion(chat []byte) (json.RawMessage, error) {
	w := &writer{}
	_, err := members(chat, 0, func(key []byte, from, to int) bool {
		switch field := name(key); field {
		case "object":
			w.field(field, "text_completion")
		case "choices":
			w.field(field, texts(chat[from:to]))
		default:
			w.field(field, json.RawMessage(chat[from:to]))
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	return w.end()
}

// choiceText is a choice of a text_completion.
type choiceText struct {
	Index    int             `json:"index"`
	Text     string          `json:"text"`
	Logprobs json.RawMessage `json:"logprobs"`
	Finish   string          `json:"finish_reason"`
}

// texts are a chat's choices with the text of each, which may be the model's refusal.
func texts(choices []byte) []choiceText {
	var list []struct {
		Index    int             `json:"index"`
		Logprobs json.RawMessage `json:"logprobs"`
		Finish   string          `json:"finish_reason"`
		Message  struct {
			Content json.RawMessage `json:"content"`
			Refusal string          `json:"refusal"`
		} `json:"message"`
	}
	_ = json.Unmarshal(choices, &list) // they were read before, and an answer without them was none
	out := make([]choiceText, len(list))
	for i := range list {
		c := &list[i]
		out[i] = choiceText{Index: c.Index, Text: or(lm.ContentText(c.Message.Content), c.Message.Refusal), Logprobs: c.Logprobs, Finish: c.Finish}
	}
	return out
}
