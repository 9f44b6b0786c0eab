package providertest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
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
