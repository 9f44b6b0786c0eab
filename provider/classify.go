package provider

import (
	"errors"
	"net/http"
	"strings"
	"time"

	lm "github.com/lighterman/lighterman"
)

// Signals are what an API said of a failure. All fields are optional.
type Signals struct {
	Status     int           // of HTTP
	Code       string        // error.code, an exception's name, a gRPC status
	Type       string        // error.type
	Param      string        // the request's field that is wrong
	Message    string        // for people; it is looked at, and told after Redact
	Header     http.Header   // for Retry-After
	RetryAfter time.Duration // as the body names it; the longer of this and the header's counts
	Streaming  bool          // it came after the stream had begun
}

// Classify says in our kinds what a failure means: code and type before status,
// as APIs put what matters there and share statuses. The text of the error is the
// API's, redacted: s.Message is expected to have been through Redact.
func Classify(s Signals) *lm.Error {
	kind := kindOf(s)
	wait := max(s.RetryAfter, RetryAfter(s.Header, time.Now()))
	if !waits[kind] {
		wait = 0
	}
	return &lm.Error{Kind: kind, RetryAfter: min(wait, maxRetryAfter), Err: errors.New(s.text())}
}

// waits are the kinds for which a Retry-After means something.
var waits = map[lm.Kind]bool{
	lm.RateLimited: true, lm.Overloaded: true, lm.QuotaExhausted: true, lm.ProviderFailed: true, lm.TimedOut: true, lm.StreamInterrupted: true,
}

// text tells status, code and what the API wrote.
func (s *Signals) text() string {
	var parts []string
	if s.Status != 0 {
		parts = append(parts, "HTTP "+statusText(s.Status))
	}
	switch {
	case s.Code != "":
		parts = append(parts, s.Code)
	case s.Type != "":
		parts = append(parts, s.Type)
	}
	if s.Message != "" {
		parts = append(parts, s.Message)
	}
	if len(parts) == 0 {
		return "no reason given"
	}
	return strings.Join(parts, ": ")
}

func kindOf(s Signals) lm.Kind {
	code, kind, message := strings.ToLower(s.Code), strings.ToLower(s.Type), strings.ToLower(s.Message)
	for i := range rules {
		if rules[i].matches(&s, code, kind, message) {
			return begun(&s, rules[i].kind)
		}
	}
	return begun(&s, kindOfStatus(&s))
}

// begun: a failure of the provider's own in the middle of a stream interrupted it;
// every other kind says more than that.
func begun(s *Signals, kind lm.Kind) lm.Kind {
	if s.Streaming && kind == lm.ProviderFailed {
		return lm.StreamInterrupted
	}
	return kind
}

// rule is a kind's signals: any of its words as the code or type, or any of its
// phrases in the message, where the status is one of those it is limited to.
type rule struct {
	kind     lm.Kind
	words    []string // equal to code or type
	phrases  []string // within the message
	statuses []int    // none: any
}

func (r *rule) matches(s *Signals, code, kind, message string) bool {
	if len(r.statuses) > 0 {
		found := false
		for _, status := range r.statuses {
			found = found || status == s.Status
		}
		if !found {
			return false
		}
	}
	for _, w := range r.words {
		if w == code || w == kind {
			return true
		}
	}
	return speaksOf(message, r.phrases)
}

// rules in their order: what is more particular comes first, so that a quota that
// is used up, which APIs call a rate limit too, is not waited for. Codes, types and
// texts are those of OpenAI, Anthropic, Google, AWS, Ollama, vLLM, OpenRouter and
// Mistral, in lower case.
var rules = []rule{
	{kind: lm.QuotaExhausted, words: []string{
		"insufficient_quota", "billing_hard_limit_reached", "billing_hard_limit", "billing_not_active", "credit_balance_exhausted", "billing_error",
		"servicequotaexceededexception", "quota_exceeded",
	}, phrases: []string{"credit balance", "exceeded your current quota, please check your plan", "insufficient credits", "spend limit", "spending limit", "api usage limits"}},
	{kind: lm.Unauthorized, words: []string{
		"invalid_api_key", "authentication_error", "permission_error", "permission_denied", "unauthenticated", "invalid_authentication", "account_deactivated",
		"accessdeniedexception", "unrecognizedclientexception", "invalidsignatureexception", "expiredtokenexception", "expiredtoken", "incompletesignature",
		"missingauthenticationtokenexception", "invalidclienttokenid", "signaturedoesnotmatch", "notauthorized", "unsupported_country_region_territory",
	}, phrases: []string{"api key not valid", "api key expired", "api_key_invalid", "security token included in the request is", "incorrect api key"}},
	{kind: lm.InvalidRequest, statuses: []int{400, 404}, phrases: []string{"did you mean to use v1/"}}, // the model is there, and does not do this kind of call
	{kind: lm.ModelNotFound, words: []string{"model_not_found", "modelnotfound", "model_deprecated", "unknown_model", "invalid_model", "deploymentnotfound"},
		phrases: []string{"decommissioned", "model has been deprecated"}},
	{kind: lm.ModelNotFound, statuses: []int{400, 404, 422}, phrases: []string{
		"model not found", "does not exist or you do not have access", "is not a valid model id", "invalid model:", "provided model identifier is invalid", "no endpoints found for",
	}},
	{kind: lm.ContextOverflow, words: []string{"context_length_exceeded", "request_too_large", "string_above_max_length", "context_window_exceeded", "exceed_context_size_error"}, phrases: []string{
		"maximum context length", "prompt is too long", "input is too long", "context length exceeded", "exceeds the maximum number of tokens", "exceeds the context window", "exceeds the context length",
		"exceed context limit", "input token count", "too many input tokens", "exceeds the available context size", "longer than the maximum model length",
	}},
	{kind: lm.ContentFiltered, words: []string{"content_filter", "content_policy_violation", "responsibleaipolicyviolation", "moderation_blocked"}, phrases: []string{
		"content management policy", "flagged by", "flagged as potentially violating", "requires moderation", "blocked by guardrail", "content filtering policy",
	}},
	{kind: lm.Overloaded, words: []string{
		"overloaded_error", "overloaded", "engine_overloaded", "service_unavailable", "serviceunavailableexception", "modelnotreadyexception", "unavailable", "slow_down",
	}, phrases: []string{"server busy", "overloaded", "maximum pending requests exceeded", "model is loading"}},
	{kind: lm.RateLimited, words: []string{
		"rate_limit_exceeded", "rate_limit_error", "rate_limited", "throttlingexception", "throttling", "toomanyrequestsexception", "requests", "tokens", "resource_exhausted",
	}, phrases: []string{"too many requests, please wait"}},
	{kind: lm.TimedOut, words: []string{"timeout_error", "modeltimeoutexception", "deadline_exceeded", "request_timeout"}},
	{kind: lm.ProviderFailed, words: []string{
		"server_error", "internal_server_error", "internalserverexception", "internal", "modelerrorexception", "internalfailure",
	}},
	{kind: lm.InvalidRequest, words: []string{"validationexception", "invalid_argument", "failed_precondition", "out_of_range"}},
	{kind: lm.StreamInterrupted, words: []string{"modelstreamerrorexception"}},
}

// kindOfStatus goes by the HTTP status where nothing more particular was said.
func kindOfStatus(s *Signals) lm.Kind {
	switch s.Status {
	case http.StatusPaymentRequired:
		return lm.QuotaExhausted
	case http.StatusTooManyRequests:
		return lm.RateLimited
	case http.StatusServiceUnavailable, 529:
		return lm.Overloaded
	case http.StatusUnauthorized:
		return lm.Unauthorized
	case http.StatusForbidden:
		return forbidden(s.Message)
	case http.StatusGone:
		return lm.ModelNotFound
	case http.StatusNotFound:
		return notFound(s)
	case http.StatusRequestEntityTooLarge:
		return lm.ContextOverflow
	case http.StatusBadRequest, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return lm.InvalidRequest
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		return lm.TimedOut
	}
	return lm.ProviderFailed // 409 too: a lock that could not be had, which the vendors' SDKs ask again
}

// forbidden: a 403 whose text speaks of the credential or of what it may do refuses
// the credential. One that says nothing, or is a page of whatever stands before the
// API, or speaks of the model alone does not: nobody knows whether the next call is
// refused too.
func forbidden(message string) lm.Kind {
	message = strings.ToLower(strings.TrimSpace(message))
	if !strings.HasPrefix(message, "<") && (speaksOf(message, wrongKey) || speaksOf(message, noRight)) {
		return lm.Unauthorized
	}
	return lm.ProviderFailed
}

// noRight are words with which a 403 speaks of what a credential may do.
var noRight = []string{
	"api key", "api-key", "api_key", "apikey", "this key", "your key", "credential", "access token", "invalid token", "bearer", "permission", "not authorized", "unauthorized", "not authorised", "not allowed", "access denied",
	"have access", "your account", "your organization", "your project",
}

func speaksOf(message string, words []string) bool {
	for _, w := range words {
		if strings.Contains(message, w) {
			return true
		}
	}
	return false
}

// notFound: a 404 that names a model says that the model is not there, one that
// names another field that the request is wrong; one that names neither comes from
// an address that is no such API.
func notFound(s *Signals) lm.Kind {
	message := strings.ToLower(s.Message)
	switch {
	case s.Param != "" && s.Param != "model":
		return lm.InvalidRequest
	case s.Param == "model", strings.Contains(message, "model"), strings.EqualFold(s.Type, "not_found_error"),
		strings.EqualFold(s.Code, "not_found"), strings.EqualFold(s.Code, "resourcenotfoundexception"):
		return lm.ModelNotFound
	}
	return lm.ProviderFailed
}
