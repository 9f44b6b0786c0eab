package gemini

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"path"
	"slices"
	"strings"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
	"google.golang.org/genai"
)

// format names the reasoning blocks that this package writes and reads.
const format = "google-gemini-v1"

// unsigned is the signature by which the API takes a function call that it has not
// signed itself, as of another provider's model: Gemini 3 and later refuse one
// without. See "thought signatures" in the Gemini API's documentation.
var unsigned = []byte("skip_thought_signature_validator")

// request says a chat in Gemini's words. Its errors are InvalidRequest and quote
// nothing of the chat.
func request(model string, chat *provider.Chat) ([]*genai.Content, *genai.GenerateContentConfig, error) {
	w := &writer{signs: generation(model) >= 30, names: map[string]string{}}
	for i := range chat.Messages {
		if err := w.message(i, &chat.Messages[i]); err != nil {
			return nil, nil, err
		}
	}
	if len(w.contents) == 0 {
		if len(w.system) == 0 {
			return nil, nil, lm.Errorf(lm.InvalidRequest, "messages: want one that is not empty")
		}
		w.add(genai.RoleUser, w.system...) // the API wants somebody to have said something
		w.system = nil
	}
	config, err := generationConfig(model, chat)
	if err != nil {
		return nil, nil, err
	}
	if len(w.system) > 0 {
		config.SystemInstruction = &genai.Content{Parts: w.system}
	}
	return w.contents, config, nil
}

// writer collects the contents of a conversation.
type writer struct {
	signs    bool // the model wants its function calls signed
	system   []*genai.Part
	contents []*genai.Content
	names    map[string]string // of the functions, by the IDs of their calls so far
}

// add appends parts to what the role is saying.
func (w *writer) add(role string, parts ...*genai.Part) {
	if len(parts) == 0 {
		return
	}
	if n := len(w.contents); n > 0 && w.contents[n-1].Role == role {
		w.contents[n-1].Parts = append(w.contents[n-1].Parts, parts...)
		return
	}
	w.contents = append(w.contents, &genai.Content{Role: role, Parts: slices.Clone(parts)})
}

func (w *writer) message(i int, m *provider.Message) error {
	parts, err := said(i, m)
	if err != nil {
		return err
	}
	switch m.Role {
	case "system":
		w.system = append(w.system, parts...)
	case "assistant":
		w.add(genai.RoleModel, w.answered(m, parts)...)
	case "tool":
		name := w.names[m.ToolCallID]
		if name == "" {
			name = m.Name
		}
		if name == "" {
			return lm.Errorf(lm.InvalidRequest, "messages[%d].tool_call_id: no call before it has this ID", i)
		}
		w.add(genai.RoleUser, &genai.Part{FunctionResponse: &genai.FunctionResponse{ID: m.ToolCallID, Name: name, Response: result(m)}})
		for _, p := range parts {
			if p.Text == "" { // an image beside the text
				w.add(genai.RoleUser, p)
			}
		}
	default:
		w.add(genai.RoleUser, parts...)
	}
	return nil
}

// said are a message's texts and images. Empty texts are left out: the API refuses
// them.
func said(i int, m *provider.Message) ([]*genai.Part, error) {
	var parts []*genai.Part
	for j, p := range m.Parts {
		switch {
		case p.Image == nil:
			if p.Text != "" {
				parts = append(parts, &genai.Part{Text: p.Text})
			}
		case m.Role == "system":
			return nil, lm.Errorf(lm.InvalidRequest, "messages[%d].content[%d]: this provider takes texts alone from the system", i, j)
		case p.Image.URL == "":
			parts = append(parts, &genai.Part{InlineData: &genai.Blob{MIMEType: p.Image.MediaType, Data: p.Image.Data}})
		case strings.HasPrefix(p.Image.URL, "s3://"):
			return nil, lm.Errorf(lm.InvalidRequest, "messages[%d].content[%d].image_url.url: this provider reads https:// and gs://", i, j)
		default:
			parts = append(parts, &genai.Part{FileData: &genai.FileData{FileURI: p.Image.URL, MIMEType: mediaType(p.Image.URL)}})
		}
	}
	return parts, nil
}

// mediaTypes are those of images that Gemini reads.
var mediaTypes = map[string]string{
	".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp",
	".heic": "image/heic", ".heif": "image/heif", ".gif": "image/gif", ".bmp": "image/bmp", ".avif": "image/avif",
}

// mediaType goes by the extension of an address; empty: it does not say.
func mediaType(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return mediaTypes[strings.ToLower(path.Ext(u.Path))]
}

// answered is what the assistant said: thoughts that were signed, texts, calls. Of
// the reasoning only this package's own goes back.
func (w *writer) answered(m *provider.Message, parts []*genai.Part) []*genai.Part {
	var thoughts []*genai.Part
	var ofText []byte
	ofCall := map[string][]byte{}
	for _, b := range m.Reasoning {
		if b.Format != format {
			continue
		}
		switch {
		case b.ID != "":
			ofCall[b.ID] = unpacked(b.Data)
		case b.Type == "reasoning.text":
			if signature := unpacked(b.Signature); signature != nil {
				thoughts = append(thoughts, &genai.Part{Text: b.Text, Thought: true, ThoughtSignature: signature})
			}
		default:
			ofText = unpacked(b.Data)
		}
	}
	if n := len(parts); n > 0 {
		parts[n-1].ThoughtSignature = ofText
	}
	parts = append(thoughts, parts...)
	for i, c := range m.ToolCalls {
		w.names[c.ID] = c.Name
		signature := ofCall[c.ID]
		if signature == nil && i == 0 && w.signs {
			signature = unsigned
		}
		call := &genai.FunctionCall{ID: c.ID, Name: c.Name, Args: argumentsOf(c.Arguments)}
		parts = append(parts, &genai.Part{FunctionCall: call, ThoughtSignature: signature})
	}
	return parts
}

// unpacked is a signature's bytes; nil: it is none.
func unpacked(text string) []byte {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(b) == 0 {
		return nil
	}
	return b
}

// argumentsOf reads a call's arguments, none as no object. Another model may have written what is no
// object; the conversation goes on with it all the same.
func argumentsOf(text string) map[string]any {
	if args, ok := objectOf(text); ok || strings.TrimSpace(text) == "" {
		return args
	}
	return map[string]any{"arguments": text}
}

// result is what a tool said: an object as it is, another text as its output.
func result(m *provider.Message) map[string]any {
	var b strings.Builder
	for _, p := range m.Parts {
		b.WriteString(p.Text)
	}
	if response, ok := objectOf(b.String()); ok {
		return response
	}
	return map[string]any{"output": b.String()}
}

// objectOf reads a JSON object whose numbers survive as float64s, which they are
// made of on the way; the ID of a row beyond 2^53 would come out as another.
func objectOf(text string) (map[string]any, bool) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var object map[string]any
	if d.Decode(&object) != nil || object == nil || d.More() || !exact(object) {
		return nil, false
	}
	return object, true
}

func exact(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		for _, item := range v {
			if !exact(item) {
				return false
			}
		}
	case []any:
		for _, item := range v {
			if !exact(item) {
				return false
			}
		}
	case json.Number:
		if !strings.ContainsAny(v.String(), ".eE") {
			n, err := v.Int64()
			return err == nil && n >= -1<<53 && n <= 1<<53
		}
		_, err := v.Float64()
		return err == nil
	}
	return true
}
