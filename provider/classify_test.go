package provider

import (
	"net/http"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
)

// TestClassify has every signal of the table in docs/providers.md.
func TestClassify(t *testing.T) {
	for _, c := range []struct {
		name string
		s    Signals
		want lm.Kind
	}{
		{"402", Signals{Status: 402}, lm.QuotaExhausted},
		{"insufficient_quota", Signals{Status: 429, Code: "insufficient_quota"}, lm.QuotaExhausted},
		{"insufficient_quota as the type", Signals{Status: 429, Type: "insufficient_quota"}, lm.QuotaExhausted},
		{"billing_hard_limit", Signals{Status: 400, Code: "billing_hard_limit_reached"}, lm.QuotaExhausted},
		{"credit_balance_exhausted", Signals{Status: 400, Code: "credit_balance_exhausted"}, lm.QuotaExhausted},
		{"spend limit", Signals{Status: 429, Message: "This workspace has reached its spend limit."}, lm.QuotaExhausted},
		{"Anthropic 400 credit balance", Signals{Status: 400, Type: "invalid_request_error", Message: "Your credit balance is too low to access the Anthropic API."}, lm.QuotaExhausted},
		{"ServiceQuotaExceededException", Signals{Status: 400, Code: "ServiceQuotaExceededException"}, lm.QuotaExhausted},

		{"429", Signals{Status: 429}, lm.RateLimited},
		{"ThrottlingException", Signals{Status: 400, Code: "ThrottlingException"}, lm.RateLimited},
		{"RESOURCE_EXHAUSTED", Signals{Status: 429, Code: "RESOURCE_EXHAUSTED"}, lm.RateLimited},
		{"rate_limit_error without a status", Signals{Type: "rate_limit_error", Streaming: true}, lm.RateLimited},

		{"503", Signals{Status: 503}, lm.Overloaded},
		{"529", Signals{Status: 529}, lm.Overloaded},
		{"overloaded_error", Signals{Type: "overloaded_error", Streaming: true}, lm.Overloaded},
		{"ModelNotReadyException", Signals{Status: 429, Code: "ModelNotReadyException"}, lm.Overloaded},
		{"Ollama server busy", Signals{Status: 503, Type: "api_error", Message: "server busy, please try again.  maximum pending requests exceeded"}, lm.Overloaded},
		{"server busy with 500", Signals{Status: 500, Message: "server busy, please try again"}, lm.Overloaded},

		{"a chat model asked to complete", Signals{Status: 404, Type: "invalid_request_error", Param: "model", Message: "This is a chat model and not supported in the v1/completions endpoint. Did you mean to use v1/chat/completions?"}, lm.InvalidRequest},
		{"a completing model asked to chat", Signals{Status: 404, Type: "invalid_request_error", Param: "model", Message: "This is not a chat model and thus not supported in the v1/chat/completions endpoint. Did you mean to use v1/completions?"}, lm.InvalidRequest},
		{"401", Signals{Status: 401}, lm.Unauthorized},
		{"403 that says nothing", Signals{Status: 403}, lm.ProviderFailed},
		{"403 of a CDN", Signals{Status: 403, Message: "<!DOCTYPE html><title>Access denied</title>You don't have permission to access this server"}, lm.ProviderFailed},
		{"403 of a gateway, as a text", Signals{Status: 403, Message: "Forbidden"}, lm.ProviderFailed},
		{"403 that speaks of the model", Signals{Status: 403, Message: "this model requires a subscription, upgrade for access: https://ollama.com/upgrade"}, lm.ProviderFailed},
		{"403 that speaks of the key", Signals{Status: 403, Message: "This API key is not allowed to use model small"}, lm.Unauthorized},
		{"403 that speaks of a right", Signals{Status: 403, Message: "You do not have permission to call this model"}, lm.Unauthorized},
		{"403 with a code", Signals{Status: 403, Type: "permission_error"}, lm.Unauthorized},
		{"403 country", Signals{Status: 403, Code: "unsupported_country_region_territory", Message: "Country, region, or territory not supported"}, lm.Unauthorized},
		{"invalid_api_key", Signals{Status: 400, Code: "invalid_api_key"}, lm.Unauthorized},
		{"UNAUTHENTICATED", Signals{Code: "UNAUTHENTICATED"}, lm.Unauthorized},
		{"Gemini 400 API key not valid", Signals{Status: 400, Code: "INVALID_ARGUMENT", Message: "API key not valid. Please pass a valid API key."}, lm.Unauthorized},
		{"signature", Signals{Status: 403, Code: "InvalidSignatureException"}, lm.Unauthorized},
		{"token", Signals{Status: 403, Code: "ExpiredTokenException"}, lm.Unauthorized},

		{"404 that names a model", Signals{Status: 404, Message: "model 'nope' not found", Type: "api_error"}, lm.ModelNotFound},
		{"404 whose param is the model", Signals{Status: 404, Param: "model"}, lm.ModelNotFound},
		{"model_not_found", Signals{Status: 404, Code: "model_not_found"}, lm.ModelNotFound},
		{"410", Signals{Status: 410}, lm.ModelNotFound},
		{"decommissioned", Signals{Status: 400, Message: "The model has been decommissioned and is no longer supported."}, lm.ModelNotFound},
		{"Anthropic not_found_error", Signals{Status: 404, Type: "not_found_error", Message: "nope"}, lm.ModelNotFound},
		{"Azure's deployment", Signals{Status: 404, Code: "DeploymentNotFound"}, lm.ModelNotFound},

		{"413", Signals{Status: 413}, lm.ContextOverflow},
		{"context_length_exceeded", Signals{Status: 400, Code: "context_length_exceeded"}, lm.ContextOverflow},
		{"prompt is too long", Signals{Status: 400, Type: "invalid_request_error", Message: "prompt is too long: 210000 tokens > 200000 maximum"}, lm.ContextOverflow},
		{"maximum context length", Signals{Status: 400, Message: "This model's maximum context length is 8192 tokens."}, lm.ContextOverflow},

		{"content_filter", Signals{Status: 400, Code: "content_filter"}, lm.ContentFiltered},
		{"guardrail", Signals{Status: 400, Message: "Request blocked by guardrail"}, lm.ContentFiltered},
		{"moderation 403", Signals{Status: 403, Message: "Your chosen model requires moderation and your input was flagged"}, lm.ContentFiltered},
		{"flagged prompt", Signals{Status: 400, Code: "invalid_prompt", Message: "your prompt was flagged as potentially violating our usage policy"}, lm.ContentFiltered},

		{"400", Signals{Status: 400}, lm.InvalidRequest},
		{"409", Signals{Status: 409}, lm.ProviderFailed},
		{"415", Signals{Status: 415}, lm.InvalidRequest},
		{"422", Signals{Status: 422}, lm.InvalidRequest},
		{"404 with a param", Signals{Status: 404, Param: "file_id", Message: "the model's file is not there"}, lm.InvalidRequest},
		{"ValidationException", Signals{Code: "ValidationException"}, lm.InvalidRequest},

		{"500", Signals{Status: 500}, lm.ProviderFailed},
		{"502", Signals{Status: 502}, lm.ProviderFailed},
		{"520", Signals{Status: 520}, lm.ProviderFailed},
		{"301", Signals{Status: 301}, lm.ProviderFailed},
		{"404 that names nothing", Signals{Status: 404, Message: "page not found"}, lm.ProviderFailed},
		{"nothing", Signals{}, lm.ProviderFailed},

		{"408", Signals{Status: 408}, lm.TimedOut},
		{"504", Signals{Status: 504}, lm.TimedOut},
		{"DEADLINE_EXCEEDED", Signals{Code: "DEADLINE_EXCEEDED"}, lm.TimedOut},

		{"mid-stream without a word", Signals{Streaming: true}, lm.StreamInterrupted},
		{"mid-stream server_error", Signals{Streaming: true, Type: "server_error"}, lm.StreamInterrupted},
		{"mid-stream 500", Signals{Streaming: true, Status: 500}, lm.StreamInterrupted},
		{"ModelStreamErrorException", Signals{Streaming: true, Code: "ModelStreamErrorException"}, lm.StreamInterrupted},
		{"mid-stream 404 of a model", Signals{Streaming: true, Code: "model_not_found"}, lm.ModelNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Classify(c.s); got.Kind != c.want {
				t.Errorf("%+v is %s, want %s", c.s, got.Kind, c.want)
			}
		})
	}
}

func TestClassify_AWaitIsForKindsThatPass(t *testing.T) {
	h := http.Header{"Retry-After": {"7"}}
	for status, want := range map[int]time.Duration{429: 7 * time.Second, 503: 7 * time.Second, 402: 7 * time.Second, 500: 7 * time.Second, 504: 7 * time.Second, 400: 0, 401: 0, 410: 0, 413: 0} {
		if got := Classify(Signals{Status: status, Header: h}); got.RetryAfter != want {
			t.Errorf("HTTP %d: wait %v, want %v", status, got.RetryAfter, want)
		}
	}
	if got := Classify(Signals{Status: 429, Header: h, RetryAfter: 34 * time.Second}).RetryAfter; got != 34*time.Second {
		t.Errorf("the body's 34 s and the header's 7 s make %v", got)
	}
	if got := Classify(Signals{Status: 429, Header: h, RetryAfter: time.Second}).RetryAfter; got != 7*time.Second {
		t.Errorf("the body's 1 s and the header's 7 s make %v", got)
	}
	if got := Classify(Signals{Status: 429, RetryAfter: 100 * time.Hour}).RetryAfter; got != 24*time.Hour {
		t.Errorf("100 h make %v", got)
	}
}

func TestClassify_TellsStatusCodeAndText(t *testing.T) {
	for want, s := range map[string]Signals{
		"rate_limited: HTTP 429 Too Many Requests: rate_limit_exceeded: slow": {Status: 429, Code: "rate_limit_exceeded", Type: "tokens", Message: "slow"},
		"provider: HTTP 520: odd":             {Status: 520, Type: "odd"},
		"provider: no reason given":           {},
		"unauthorized: HTTP 401 Unauthorized": {Status: 401},
	} {
		if got := Classify(s).Error(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		header string // name: value, ...
		want   time.Duration
	}{
		{"", 0},
		{"retry-after-ms: 1500", 1500 * time.Millisecond},
		{"retry-after-ms: 1500, retry-after: 60", 1500 * time.Millisecond},
		{"x-ms-retry-after-ms: 250.5, retry-after: 60", 250500 * time.Microsecond},
		{"retry-after: 34", 34 * time.Second},
		{"retry-after: 0.25", 250 * time.Millisecond},
		{"retry-after: 0", 0},
		{"retry-after: Fri; 02 Jan 2026 03:05:05 GMT", time.Minute},
		{"retry-after: Fri; 02 Jan 2026 03:00:00 GMT", 0},
		{"retry-after: -5", 0},
		{"retry-after: soon", 0},
		{"retry-after: NaN", 0},
		{"retry-after: Inf", 0},
		{"retry-after: 1e300", 24 * time.Hour},
		{"retry-after: 99999999", 24 * time.Hour},
		{"x-ratelimit-reset-requests: 6m0s, x-ratelimit-remaining-requests: 0", 6 * time.Minute},
		{"x-ratelimit-reset-requests: 6m0s, x-ratelimit-remaining-requests: 3", 0},
		{"x-ratelimit-reset-requests: 1s, x-ratelimit-remaining-requests: 0, x-ratelimit-reset-tokens: 120ms, x-ratelimit-remaining-tokens: 0", time.Second},
		{"x-ratelimit-reset-tokens: 7.66s", 7660 * time.Millisecond},
		{"x-ratelimit-reset-tokens: 12", 12 * time.Second},
		{"x-ratelimit-reset-tokens: 1767323055", 10 * time.Second},
		{"x-ratelimit-reset-tokens: 1767323055000", 10 * time.Second},
		{"x-ratelimit-reset-tokens: never", 0},
		{"anthropic-ratelimit-requests-reset: 2026-01-02T03:04:35Z, anthropic-ratelimit-requests-remaining: 0", 30 * time.Second},
		{"anthropic-ratelimit-requests-reset: 2026-01-02T03:04:35Z, anthropic-ratelimit-requests-remaining: 9", 0},
		{"anthropic-ratelimit-input-tokens-reset: 2026-01-02T03:14:05Z, anthropic-ratelimit-input-tokens-remaining: 0, anthropic-ratelimit-requests-reset: 2026-01-02T03:04:35Z, anthropic-ratelimit-requests-remaining: 0", 10 * time.Minute},
		{"anthropic-ratelimit-requests-reset: soon, anthropic-ratelimit-requests-remaining: 0", 0},
		{"retry-after: 2, x-ratelimit-reset-requests: 6m0s, x-ratelimit-remaining-requests: 0", 2 * time.Second},
	} {
		h := http.Header{}
		for _, one := range strings.Split(c.header, ", ") {
			if name, value, ok := strings.Cut(one, ": "); ok {
				h.Set(name, strings.Replace(value, ";", ",", 1))
			}
		}
		if got := RetryAfter(h, now); got != c.want {
			t.Errorf("%s: %v, want %v", c.header, got, c.want)
		}
	}
	if got := RetryAfter(nil, now); got != 0 {
		t.Errorf("no headers: %v", got)
	}
}
