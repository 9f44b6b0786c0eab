package anthropic

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"strings"

	"github.com/anthropics/anthropic-sdk-go"

	"github.com/lighterman/lighterman/provider"
)

type (
	block  = anthropic.ContentBlockParamUnion
	result = anthropic.ToolResultBlockParamContentUnion
)

// messages translates the conversation: what the system says goes in front of it, what
// tools said becomes the user's turn, and turns of one role in a row become one. Text
// of nothing but white space is left out, which the API refuses.
func (t *translation) messages() error {
	for i := range t.chat.Messages {
		m := &t.chat.Messages[i]
		var err error
		switch m.Role {
		case "system":
			err = t.system(i, m)
		case "tool":
			err = t.result(i, m)
		case "assistant":
			var blocks []block
			if blocks, err = t.assistant(i, m); err == nil {
				t.turn(anthropic.MessageParamRoleAssistant, blocks)
			}
		default:
			var blocks []block
			if blocks, err = parts(i, m.Parts); err == nil {
				t.turn(anthropic.MessageParamRoleUser, blocks)
			}
		}
		if err != nil {
			return err
		}
	}
	if len(t.params.Messages) == 0 {
		return invalid("messages: want one of the user that says something")
	}
	t.trimPrefill()
	return nil
}

func (t *translation) turn(role anthropic.MessageParamRole, blocks []block) {
	if len(blocks) == 0 {
		return
	}
	if n := len(t.params.Messages); n > 0 && t.params.Messages[n-1].Role == role {
		t.params.Messages[n-1].Content = append(t.params.Messages[n-1].Content, blocks...)
		return
	}
	t.params.Messages = append(t.params.Messages, anthropic.MessageParam{Role: role, Content: blocks})
}

func (t *translation) system(i int, m *provider.Message) error {
	for _, p := range m.Parts {
		if p.Image != nil {
			return invalid("messages[%d].content: this provider takes text only from the system", i)
		}
		if !blank(p.Text) {
			t.params.System = append(t.params.System, anthropic.TextBlockParam{Text: p.Text})
		}
	}
	return nil
}

// result makes a tool's message the part of a user's turn that answers the call.
func (t *translation) result(i int, m *provider.Message) error {
	r := anthropic.ToolResultBlockParam{ToolUseID: toolID(m.ToolCallID)}
	blocks, err := parts(i, m.Parts)
	if err != nil {
		return err
	}
	for _, b := range blocks {
		r.Content = append(r.Content, result{OfText: b.OfText, OfImage: b.OfImage})
	}
	t.turn(anthropic.MessageParamRoleUser, []block{{OfToolResult: &r}})
	return nil
}

// assistant is what the model said: its thoughts at their places among the text and
// the tool calls.
func (t *translation) assistant(i int, m *provider.Message) ([]block, error) {
	said, err := parts(i, m.Parts)
	if err != nil {
		return nil, err
	}
	for _, c := range m.ToolCalls {
		said = append(said, anthropic.NewToolUseBlock(toolID(c.ID), input(c.Arguments), c.Name))
	}
	if len(said) == 0 {
		return nil, nil // thoughts alone are no turn
	}
	var all []block
	for _, th := range t.thoughts(m) {
		for len(all) < th.at && len(said) > 1 { // something is to follow the last thought
			all, said = append(all, said[0]), said[1:]
		}
		all = append(all, th.block)
	}
	return append(all, said...), nil
}

// input is a call's arguments as the object that the API wants. What another model
// wrote that is none stays readable in one.
func input(arguments string) json.RawMessage {
	var fields map[string]json.RawMessage
	if strings.TrimSpace(arguments) == "" {
		return json.RawMessage("{}")
	}
	if json.Unmarshal([]byte(arguments), &fields) == nil && fields != nil {
		return json.RawMessage(arguments)
	}
	quoted, err := json.Marshal(map[string]string{"arguments": arguments})
	if err != nil {
		return json.RawMessage("{}")
	}
	return quoted
}

// toolID is the ID of a call as the API takes it, in letters, digits, - and _. Other
// providers' may hold more; the same ID always becomes the same.
func toolID(id string) string {
	fits := func(r rune) bool {
		return r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	}
	if id != "" && strings.IndexFunc(id, func(r rune) bool { return !fits(r) }) < 0 {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return "call_" + hex.EncodeToString(sum[:12])
}

// parts are the blocks of a message's content.
func parts(i int, content []provider.Part) ([]block, error) {
	var out []block
	for j, p := range content {
		switch {
		case p.Image != nil:
			b, err := image(p.Image)
			if err != nil {
				return nil, invalid("messages[%d].content[%d].image_url.url: %s", i, j, err)
			}
			out = append(out, b)
		case !blank(p.Text):
			out = append(out, anthropic.NewTextBlock(p.Text))
		}
	}
	return out, nil
}

type wrong string

func (w wrong) Error() string { return string(w) }

func image(m *provider.Image) (block, error) {
	if m.URL != "" {
		if !strings.HasPrefix(m.URL, "https://") && !strings.HasPrefix(m.URL, "http://") {
			return block{}, wrong("this provider takes https:// or data:image/TYPE;base64,...")
		}
		return anthropic.NewImageBlock(anthropic.URLImageSourceParam{URL: m.URL}), nil
	}
	switch m.MediaType {
	case "image/jpeg", "image/png", "image/gif", "image/webp":
	case "image/jpg":
		m.MediaType = "image/jpeg"
	default:
		return block{}, wrong("this provider takes jpeg, png, gif and webp")
	}
	return anthropic.NewImageBlockBase64(m.MediaType, base64.StdEncoding.EncodeToString(m.Data)), nil
}

func blank(text string) bool { return strings.TrimSpace(text) == "" }

// trimPrefill takes white space off the end of an answer that the model is to go on
// with: the API refuses it.
func (t *translation) trimPrefill() {
	last := t.params.Messages[len(t.params.Messages)-1]
	if last.Role != anthropic.MessageParamRoleAssistant {
		return
	}
	if text := last.Content[len(last.Content)-1].OfText; text != nil {
		text.Text = strings.TrimRight(text.Text, " \t\r\n")
	}
}
