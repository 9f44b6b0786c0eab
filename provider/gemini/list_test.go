package gemini_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider/gemini"
)

// onVertex makes options of a fake those of Vertex.
func onVertex(o gemini.Options) gemini.Options {
	o.Key, o.Project, o.Location = "", "p", "l"
	o.Token = func(context.Context) (lm.Secret, error) { return "token", nil }
	return o
}

func TestList_PagesAndCapabilities(t *testing.T) {
	f := serve(t,
		`{"models":[{"name":"models/gemini-2.5-pro","inputTokenLimit":1048576,"supportedGenerationMethods":["generateContent","countTokens"],"thinking":true},{"name":"models/aqa"}],"nextPageToken":"a b&c"}`,
		`{"models":[{"name":"models/gemini-embedding-001","inputTokenLimit":2048,"supportedGenerationMethods":["embedContent","countTextTokens"]},{"name":""}]}`)
	got, err := open(t, f.options()).List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	can := func(chats, embeds bool) map[lm.Capability]bool {
		return map[lm.Capability]bool{lm.CanChat: chats, lm.CanPrompt: chats, lm.CanStream: chats, lm.CanEmbed: embeds}
	}
	thinks := can(true, false)
	thinks[lm.CanThink] = true
	if d := cmp.Diff([]lm.Offering{
		{Name: "gemini-2.5-pro", Window: 1048576, Can: thinks}, {Name: "aqa"}, {Name: "gemini-embedding-001", Window: 2048, Can: can(false, true)},
	}, got); d != "" {
		t.Errorf("listed (-want +got)\n%s", d)
	}
	paths := f.paths()
	second, err := url.Parse(paths[1])
	if err != nil || len(paths) != 2 || paths[0] != "/v1beta/models?pageSize=1000" || second.Query().Get("pageToken") != "a b&c" || second.Query().Get("pageSize") != "1000" {
		t.Errorf("asked %q", paths)
	}
}

func TestList_PagesWithoutEnd(t *testing.T) {
	f := serve(t, `{"models":[{"name":"models/a"}],"nextPageToken":"again"}`)
	got, err := open(t, f.options()).List(t.Context())
	if n := len(f.paths()); err != nil || n != 100 || len(got) != 100 {
		t.Errorf("%d pages, %d models, %v", n, len(got), err)
	}
}

func TestProbe_AsksForOneModel(t *testing.T) {
	f := serve(t, `{"models":[{"name":"models/a"}],"nextPageToken":"again"}`)
	if err := open(t, f.options()).Probe(t.Context()); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff([]string{"/v1beta/models?pageSize=1"}, f.paths()); d != "" {
		t.Errorf("asked (-want +got)\n%s", d)
	}
}

func TestList_SecondPageFails(t *testing.T) {
	f := serve(t, `{"models":[{"name":"models/a"}],"nextPageToken":"b"}`, `503 {"error":{"code":503,"message":"busy","status":"UNAVAILABLE"}}`)
	if got, err := open(t, f.options()).List(t.Context()); lm.KindOf(err) != lm.Overloaded || got != nil {
		t.Errorf("%v, %v", got, err)
	}
}

func TestList_Vertex(t *testing.T) {
	f := serve(t, `{"publisherModels":[{"name":"publishers/google/models/gemini-2.5-pro","versionId":"default"},{"name":"publishers/meta/models/llama"}]}`)
	client := open(t, onVertex(f.options()))
	got, err := client.List(t.Context())
	if d := cmp.Diff([]lm.Offering{{Name: "gemini-2.5-pro"}, {Name: "publishers/meta/models/llama"}}, got); d != "" || err != nil {
		t.Errorf("listed (-want +got)\n%s %v", d, err)
	}
	if err := client.Probe(t.Context()); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff([]string{"/v1beta1/publishers/google/models?pageSize=100", "/v1beta1/publishers/google/models?pageSize=1"}, f.paths()); d != "" {
		t.Errorf("asked (-want +got)\n%s", d)
	}
}

// texts makes n inputs.
func texts(n int) []string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprint("text ", i))
	}
	return list
}

func embedCall(t *testing.T, model string, dimensions int, inputs []string) lm.Call {
	t.Helper()
	body, err := json.Marshal(map[string]any{"input": inputs, "dimensions": dimensions})
	if err != nil {
		t.Fatal(err)
	}
	return lm.Call{Kind: "embed", Model: model, Body: body}
}

// vectors writes n vectors, of which the first is [from].
func vectors(form string, from, n int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf(form, from+i))
	}
	return strings.Join(list, ",")
}

// TestEmbed_AsItIsSent: at most as many inputs as the API takes, in order, with the
// tokens of all.
func TestEmbed_AsItIsSent(t *testing.T) {
	const predicted = `{"embeddings":{"values":[%d],"statistics":{"token_count":2,"truncated":false}}}`
	gemini := func(from, n int) string {
		return `{"embeddings":[` + vectors(`{"values":[%d]}`, from, n) + fmt.Sprintf(`],"usageMetadata":{"promptTokenCount":%d}}`, 2*n)
	}
	vertex := func(from, n int) string { return `{"predictions":[` + vectors(predicted, from, n) + `]}` }
	single := func(from, _ int) string {
		return fmt.Sprintf(`{"embedding":{"values":[%d]},"usageMetadata":{"promptTokenCount":2}}`, from)
	}
	for _, c := range []struct {
		name, model, path, first string
		vertex                   bool
		inputs                   int
		sizes                    []int
		answer                   func(from, n int) string
	}{
		{"the Gemini API", "gemini-embedding-001", "/v1beta/models/gemini-embedding-001:batchEmbedContents",
			`{"requests":[{"model":"models/gemini-embedding-001","content":{"role":"user","parts":[{"text":"text 0"}]},"outputDimensionality":1}]}`, false, 1, []int{1}, gemini},
		{"more than a batch", "gemini-embedding-001", "/v1beta/models/gemini-embedding-001:batchEmbedContents", "", false, 230, []int{100, 100, 30}, gemini},
		{"Vertex", "text-embedding-005", "/v1beta1/projects/p/locations/l/publishers/google/models/text-embedding-005:predict",
			`{"instances":[{"content":"text 0"},{"content":"text 1"}],"parameters":{"outputDimensionality":1}}`, true, 2, []int{2}, vertex},
		{"Vertex, more than a batch", "text-embedding-005", "/v1beta1/projects/p/locations/l/publishers/google/models/text-embedding-005:predict", "", true, 251, []int{250, 1}, vertex},
		{"Vertex, one at a time", "gemini-embedding-001", "/v1beta1/projects/p/locations/l/publishers/google/models/gemini-embedding-001:predict", "", true, 2, []int{1, 1}, vertex},
		{"Vertex, by embedContent", "gemini-embedding-2", "/v1beta1/projects/p/locations/l/publishers/google/models/gemini-embedding-2:embedContent",
			`{"content":{"role":"user","parts":[{"text":"text 0"}]},"embedContentConfig":{"outputDimensionality":1}}`, true, 2, []int{1, 1}, single},
	} {
		t.Run(c.name, func(t *testing.T) {
			var answers []string
			from := 0
			for _, n := range c.sizes {
				answers = append(answers, c.answer(from, n))
				from += n
			}
			f := serve(t, answers...)
			o := f.options()
			if c.vertex {
				o = onVertex(o)
			}
			answer, err := open(t, o).Call(t.Context(), embedCall(t, c.model, 1, texts(c.inputs)))
			if err != nil {
				t.Fatal(err)
			}
			var list struct {
				Data []struct {
					Index     int
					Embedding []float32
				}
			}
			if err := json.Unmarshal(answer.Body, &list); err != nil || len(list.Data) != c.inputs {
				t.Fatalf("%d vectors, %v", len(list.Data), err)
			}
			for i, d := range list.Data {
				if d.Index != i || len(d.Embedding) != 1 || d.Embedding[0] != float32(i) {
					t.Fatalf("vector %d is %+v", i, d)
				}
			}
			if want := (lm.Usage{Calls: 1, Input: int64(2 * c.inputs)}); answer.Usage != want {
				t.Errorf("usage %+v, want %+v", answer.Usage, want)
			}
			paths := f.paths()
			if len(paths) != len(c.sizes) || paths[0] != c.path {
				t.Errorf("asked %q", paths)
			}
			if c.first != "" {
				same(t, "sent", f.sent()[0], c.first)
			}
		})
	}
}

// TestEmbed_Wrong: too few vectors, none at all, a failure at the second batch.
func TestEmbed_Wrong(t *testing.T) {
	full := `{"embeddings":[` + vectors(`{"values":[%d]}`, 0, 100) + `]}`
	for name, c := range map[string]struct {
		answers []string
		kind    lm.Kind
	}{
		"too few":      {[]string{`{"embeddings":[` + vectors(`{"values":[%d]}`, 0, 99) + `]}`}, lm.ProviderFailed},
		"an empty one": {[]string{`{"embeddings":[{},` + vectors(`{"values":[%d]}`, 0, 99) + `]}`}, lm.ProviderFailed},
		"no list":      {[]string{`{"embeddings":"none"}`}, lm.ProviderFailed},
		"the second":   {[]string{full, `429 {"error":{"code":429,"message":"x","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"3s"}]}}`}, lm.RateLimited},
	} {
		f := serve(t, c.answers...)
		if _, err := open(t, f.options()).Call(t.Context(), embedCall(t, "gemini-embedding-001", 0, texts(101))); lm.KindOf(err) != c.kind {
			t.Errorf("%s: %v, want %s", name, err, c.kind)
		}
		if n := len(f.paths()); n != len(c.answers) {
			t.Errorf("%s: %d requests", name, n)
		}
	}
}
