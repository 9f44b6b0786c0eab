package openai

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
	"github.com/lighterman/lighterman/provider/providertest"
)

// toward sends what is meant for a vendor's own address to a server of ours.
type toward struct{ host string }

func (t toward) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL = &url.URL{Scheme: "http", Host: t.host, Path: r.URL.Path}
	return http.DefaultTransport.RoundTrip(r)
}

// atHome is a vendor at its own address.
func atHome(t *testing.T, vendor, base string) (*providertest.Server, *API) {
	t.Helper()
	s := providertest.NewServer(providertest.OpenAI{Vendor: vendor})
	t.Cleanup(s.Close)
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	a, err := New(Vendor(vendor, provider.Options{BaseURL: base, Key: "k", Transport: toward{u.Host}}))
	if err != nil {
		t.Fatal(err)
	}
	return s, a
}

// TestPrompt_ByModel: chat models are asked in a chat where they are refused at
// /completions, and the answer is a completion, whole and streamed.
func TestPrompt_ByModel(t *testing.T) {
	const asked, limit = "prompt", `"max_tokens":9`
	for _, c := range []struct {
		vendor, base, model string
		kind, sent          string
	}{
		{"openai", "", "gpt-4o-mini", "chat", `"max_completion_tokens":9`},
		{"openai", "https://eu.api.openai.com/v1", "o4-mini", "chat", `"max_completion_tokens":9`},
		{"openai", "", "ft:gpt-4.1-nano:us::a", "chat", `"max_completion_tokens":9`},
		{"openai", "", "gpt-3.5-turbo-instruct", asked, limit},
		{"openai", "", "davinci-002", asked, limit},
		{"openai", "", "ft:babbage-002:us::a", asked, limit},
		{"openai", "http://gateway/v1", "gpt-4o-mini", asked, limit},
		{"openrouter", "", "openai/gpt-4o-mini", asked, limit},
		{"vllm", "http://gateway/v1", "qwen", asked, limit},
		{"mistral", "", "mistral-small-latest", "chat", limit},
	} {
		for _, stream := range []bool{false, true} {
			s, a := atHome(t, c.vendor, c.base)
			s.Push(providertest.Say(providertest.Reply{Text: "and they lived on", Usage: lm.Usage{Input: 3, Output: 4}}))
			call := lm.Call{Kind: "prompt", Model: c.model, Body: json.RawMessage(`{"model":"pool","prompt":"Once upon","max_tokens":9,"temperature":0.5}`), Key: "t/1"}
			frames := &[]lm.Frame{}
			if stream {
				call, frames = streamed(call)
			}
			answer, err := a.Call(t.Context(), call)
			if err != nil {
				t.Errorf("%s %s: %v", c.vendor, c.model, err)
				continue
			}
			seen := s.Calls()[0]
			if seen.Kind != c.kind || seen.Question != "Once upon" || seen.Model != c.model {
				t.Errorf("%s %s: asked %+v", c.vendor, c.model, seen.Asked)
			}
			if !strings.Contains(string(seen.Body), c.sent) || !strings.Contains(string(seen.Body), `"temperature":0.5`) {
				t.Errorf("%s %s: sent %s", c.vendor, c.model, seen.Body)
			}
			var got struct {
				Object  string
				Choices []map[string]any
			}
			if err := json.Unmarshal(answer.Body, &got); err != nil {
				t.Fatal(err)
			}
			if text := (lm.Result{Body: answer.Body}).Text(); got.Object != "text_completion" || len(got.Choices) != 1 || got.Choices[0]["message"] != nil || text != "and they lived on" {
				t.Errorf("%s %s: answer %s", c.vendor, c.model, answer.Body)
			}
			if answer.Usage.Input != 3 || answer.Usage.Output != 4 || stream && len(*frames) == 0 {
				t.Errorf("%s %s: usage %+v, %d frames", c.vendor, c.model, answer.Usage, len(*frames))
			}
		}
	}
}

// TestPrompt_AsAChat: what cannot be put so is refused here, and what a prompt's
// caller sees of a failure is the same.
func TestPrompt_AsAChat(t *testing.T) {
	s, a := atHome(t, "openai", "")
	for _, body := range []string{`{"prompt":["a","b"]}`, `{"prompt":[1,2]}`, `{"prompt":null}`, `{}`, `[]`} {
		_, err := a.Call(t.Context(), lm.Call{Kind: "prompt", Model: "gpt-4o", Body: json.RawMessage(body)})
		if lm.KindOf(err) != lm.InvalidRequest {
			t.Errorf("%s: %v", body, err)
		}
	}
	if n := len(s.Calls()); n != 0 {
		t.Errorf("%d of them were sent", n)
	}
	s.Push(providertest.Step{Answer: &providertest.Response{Status: 429, Body: `{"error":{"message":"slow","code":"rate_limit_exceeded"}}`}})
	if _, err := a.Call(t.Context(), lm.Call{Kind: "prompt", Model: "gpt-4o", Body: json.RawMessage(`{"prompt":["a"]}`)}); lm.KindOf(err) != lm.RateLimited {
		t.Errorf("%v", err)
	}
}

func TestCompletion_OfAChat(t *testing.T) {
	got, err := completion([]byte(`{"id":"chatcmpl-1","object":"chat.completion","created":12345678901234567890,"model":"m","choices":[
		{"index":0,"message":{"role":"assistant","content":"é\"","refusal":null},"logprobs":null,"finish_reason":"stop"},
		{"index":1,"message":{"role":"assistant","content":null,"refusal":"I will not."},"finish_reason":"length"}],"usage":{"total_tokens":1.0},"system_fingerprint":"f"}`))
	want := `{"id":"chatcmpl-1","object":"text_completion","created":12345678901234567890,"model":"m","choices":[` +
		`{"index":0,"text":"é\"","logprobs":null,"finish_reason":"stop"},{"index":1,"text":"I will not.","logprobs":null,"finish_reason":"length"}],` +
		`"usage":{"total_tokens":1.0},"system_fingerprint":"f"}`
	if diff := cmp.Diff(want, string(got)); diff != "" || err != nil {
		t.Error(diff, err)
	}
}
