package providertest

import (
	"net/http"
	"strings"
	"time"

	lm "github.com/lighterman/lighterman"
)

// Errors are the API's. "docs" are the vendor's pages on errors, rate limits and
// streaming; "seen" are bodies of real answers that its users reported.
func (Anthropic) Errors() []ErrorCase {
	in := func(d time.Duration) string { return time.Now().UTC().Add(d).Format(time.RFC3339) }
	limited := "This request would exceed the rate limit for your organization of 30,000 input tokens per minute. For details, refer to: https://docs.claude.com/en/api/rate-limits."
	return []ErrorCase{
		anthropicError("400 a bad field (seen)", 400, "invalid_request_error", "max_tokens: 200000 > 64000, which is the maximum allowed number of output tokens for claude-sonnet-4-5-20250929", lm.InvalidRequest),
		anthropicError("400 an unsigned thought (seen)", 400, "invalid_request_error", "messages.1.content.0: Invalid `signature` in `thinking` block", lm.InvalidRequest),
		anthropicError("400 no credit (seen)", 400, "invalid_request_error",
			"Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits.", lm.QuotaExhausted),
		anthropicError("400 spend limit (docs)", 400, "invalid_request_error",
			"You have reached your specified API usage limits. You will regain access on "+time.Now().UTC().Add(96*time.Hour).Format("2006-01-02 at 15:04")+" UTC.", lm.QuotaExhausted).
			waiting(24 * time.Hour),
		anthropicError("400 too long a prompt (seen)", 400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum", lm.ContextOverflow),
		anthropicError("400 no room for the answer (seen)", 400, "invalid_request_error",
			"input length and `max_tokens` exceed context limit: 190000 + 32000 > 200000, decrease input length or `max_tokens` and try again", lm.ContextOverflow),
		anthropicError("400 that quotes the question, as gateways do", 400, "invalid_request_error", "cannot serve {{question}} for {{key}}", lm.InvalidRequest),
		anthropicError("401 (docs)", 401, "authentication_error", "invalid x-api-key", lm.Unauthorized),
		anthropicError("402 (docs)", 402, "billing_error", "There is an issue with your billing or payment information.", lm.QuotaExhausted),
		anthropicError("403 (docs)", 403, "permission_error", "Your API key does not have permission to use the specified resource.", lm.Unauthorized),
		anthropicError("404 (seen)", 404, "not_found_error", "model: claude-nope", lm.ModelNotFound),
		anthropicError("409 (docs)", 409, "conflict_error", "The request conflicts with the current state of a resource.", lm.ProviderFailed),
		anthropicError("413 (docs)", 413, "request_too_large", "Request exceeds the maximum size", lm.ContextOverflow),
		{Name: "413 of the proxy in front (seen)", Kind: lm.ContextOverflow, Response: Response{
			Status: 413, Header: http.Header{"Content-Type": {"text/html"}, "Server": {"cloudflare"}},
			Body: "<html>\r\n<head><title>413 Request Entity Too Large</title></head>\r\n<body>\r\n<center><h1>413 Request Entity Too Large</h1></center>\r\n<hr><center>cloudflare</center>\r\n</body>\r\n</html>\r\n",
		}},
		anthropicError("429 retry-after in seconds (docs)", 429, "rate_limit_error", limited, lm.RateLimited).
			header("Retry-After", "34").header("Anthropic-Ratelimit-Input-Tokens-Remaining", "0").
			header("Anthropic-Ratelimit-Input-Tokens-Reset", in(50*time.Second)).waiting(34 * time.Second),
		anthropicError("429 resets only (docs)", 429, "rate_limit_error", limited, lm.RateLimited).
			header("Anthropic-Ratelimit-Requests-Limit", "50").header("Anthropic-Ratelimit-Requests-Remaining", "49").
			header("Anthropic-Ratelimit-Requests-Reset", in(time.Hour)).
			header("Anthropic-Ratelimit-Input-Tokens-Remaining", "0").header("Anthropic-Ratelimit-Input-Tokens-Reset", in(20*time.Second)).
			header("Anthropic-Ratelimit-Output-Tokens-Remaining", "0").header("Anthropic-Ratelimit-Output-Tokens-Reset", in(41*time.Second)).
			waiting(41 * time.Second),
		anthropicError("429 says no more (seen)", 429, "rate_limit_error", "This request would exceed your account's rate limit. Please try again later.", lm.RateLimited),
		anthropicError("500 (docs)", 500, "api_error", "Internal server error", lm.ProviderFailed),
		{Name: "502 of the proxy in front (seen)", Kind: lm.ProviderFailed, Response: Response{
			Status: 502, Header: http.Header{"Content-Type": {"text/html"}}, Body: "<html><head><title>502 Bad Gateway</title></head></html>",
		}},
		anthropicError("503 (seen)", 503, "api_error", "Service Unavailable", lm.Overloaded).header("Retry-After", "1.5").waiting(1500 * time.Millisecond),
		anthropicError("504 (docs)", 504, "timeout_error", "The request timed out while processing.", lm.TimedOut),
		anthropicError("529 (docs)", 529, "overloaded_error", "Overloaded", lm.Overloaded),
		anthropicError("529 retry-after-ms and a date", 529, "overloaded_error", "Overloaded", lm.Overloaded).
			header("Retry-After-Ms", "2500").header("Retry-After", time.Now().UTC().Add(time.Minute).Format(http.TimeFormat)).waiting(2500 * time.Millisecond),
		anthropicError("529 retry-after as a date", 529, "overloaded_error", "Overloaded", lm.Overloaded).
			header("Retry-After", time.Now().UTC().Add(time.Minute+time.Second).Format(http.TimeFormat)).waiting(time.Minute),
	}
}

func anthropicError(name string, status int, kind, message string, means lm.Kind) ErrorCase {
	c := ErrorCase{Name: name, Kind: means, Response: Response{Status: status, Header: anthropicHeader("application/json")}}
	c.Body = compact(map[string]any{
		"type": "error", "error": map[string]any{"type": kind, "message": message}, "request_id": "req_011CSHoEeqs5C35K2UUqR7Fy",
	})
	return c
}

func (c ErrorCase) header(name, value string) ErrorCase {
	c.Header.Set(name, value)
	return c
}

func (c ErrorCase) waiting(d time.Duration) ErrorCase {
	c.RetryAfter = d
	return c
}

// Faults are streams with an error event, or with what is no event of this API.
func (f Anthropic) Faults(a Asked) []FaultCase {
	good := f.Stream(a, Reply{Text: "half of an answer", Usage: lm.Usage{Input: 9, Output: 4}})
	begun := good[:len(good)-4]
	fault := func(name string, kind lm.Kind, tail ...string) FaultCase {
		c := FaultCase{Name: name, Kind: kind, Pieces: append([]Piece(nil), begun...)}
		for _, t := range tail {
			c.Pieces = append(c.Pieces, Piece{Data: t})
		}
		return c
	}
	event := func(kind, message string) string {
		return anthropicEvent("error", map[string]any{"error": map[string]any{"type": kind, "message": message}, "request_id": "req_011CSHoEeqs5C35K2UUqR7Fy"}).Data
	}
	return []FaultCase{
		fault("overloaded_error (docs)", lm.Overloaded, event("overloaded_error", "Overloaded")),
		fault("rate_limit_error", lm.RateLimited, event("rate_limit_error", "This request would exceed your account's rate limit. Please try again later.")),
		fault("timeout_error", lm.TimedOut, event("timeout_error", "The request timed out while processing.")),
		fault("api_error (seen)", lm.StreamInterrupted, event("api_error", "Internal server error")),
		fault("invalid_request_error", lm.StreamInterrupted, event("invalid_request_error", "stream aborted")),
		fault("an error event that is no JSON", lm.StreamInterrupted, "event: error\ndata: upstream connect error\n\n"),
		fault("an event that is no JSON", lm.StreamInterrupted, "event: content_block_delta\ndata: {\"type\":\"content_blo\n\n"),
		{Name: "overloaded_error before the first event", Kind: lm.Overloaded, Pieces: []Piece{{Data: event("overloaded_error", "Overloaded")}}},
		{Name: "message_stop without a stop_reason", Kind: lm.StreamInterrupted, Pieces: append(append([]Piece(nil), begun...), Piece{Data: strings.TrimSpace(good[len(good)-1].Data) + "\n\n"})},
	}
}
