package openai

import (
	"net/url"
	"strings"

	"github.com/lighterman/lighterman/provider"
)

// Options of one backend. The zero value is OpenAI's own API.
type Options struct {
	provider.Options
	Quirks
}

// Quirks are what a vendor does otherwise than OpenAI.
type Quirks struct {
	KeyHeader string // the credential's header; empty: Authorization, as a Bearer token
	ProbePath string // what a probe gets; empty: /models
	// NoStreamOptions: stream_options is refused; usage comes without being asked for.
	NoStreamOptions bool
	// CacheKey sends prompt_cache_key, a hash of tenant, agent and thread, with calls
	// that have a thread or an agent and no key of their own.
	CacheKey bool
	// Reasoning says which reasoning of earlier answers the backend takes back.
	Reasoning Reasoning
	// Prompts says how a prompt call is put.
	Prompts Prompts
}

// Reasoning says what of the reasoning in assistant messages is sent.
type Reasoning int

// What is sent. reasoning_details are blocks that only the provider that wrote them
// can read; reasoning_content and reasoning are text.
const (
	ReasoningText Reasoning = iota // without reasoning_details
	ReasoningAll                   // as the messages have it
	ReasoningNone                  // none of the three
)

const ownURL = "https://api.openai.com/v1"

// Vendor gives the options of a vendor: openai, openrouter, mistral, vllm or azure.
// Any other name is a compatible server, which is asked as little as can be. Address,
// credential and the rest are o's; an address that is left out is the vendor's own.
func Vendor(name string, o provider.Options) Options {
	out := Options{Options: o}
	switch name {
	case "openai":
		out.BaseURL = or(o.BaseURL, ownURL)
		if isOwn(out.BaseURL) {
			out.Quirks = Quirks{CacheKey: true, Reasoning: ReasoningNone, Prompts: PromptsByName} // it refuses message fields that it does not know
		}
	case "openrouter":
		out.BaseURL = or(o.BaseURL, "https://openrouter.ai/api/v1")
		out.Quirks = Quirks{ProbePath: "/key", Reasoning: ReasoningAll} // its /models needs no credential
	case "mistral":
		out.BaseURL = or(o.BaseURL, "https://api.mistral.ai/v1")
		out.Quirks = Quirks{NoStreamOptions: true, Reasoning: ReasoningNone, Prompts: PromptsChat} // 422 extra_forbidden for the first two
	case "azure":
		out.Quirks = Quirks{KeyHeader: "Api-Key", Reasoning: ReasoningNone}
	}
	return out
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// isOwn reports whether an address is OpenAI's, its regional ones included.
func isOwn(base string) bool {
	u, err := url.Parse(base)
	if err != nil {
		return false
	}
	host := u.Hostname()
	return host == "api.openai.com" || strings.HasSuffix(host, ".api.openai.com")
}
