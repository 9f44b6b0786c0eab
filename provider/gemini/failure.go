package gemini

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
	"google.golang.org/genai"
)

// failed says in our kinds why a request brought no answer. err is the SDK's, whose
// text holds requests and answers and is therefore never told.
func (c *Client) failed(ctx context.Context, f *flow, err error, call *lm.Call) error {
	var known *lm.Error
	if errors.As(err, &known) { // of the credential or of the answer
		return known
	}
	redact := func(text string) string {
		return provider.Redact(text, call.Body, call.Model, c.key.Reveal(), f.token)
	}
	if f.Status >= http.StatusMultipleChoices {
		return classify(parse(f.Body), f, redact)
	}
	var event genai.APIError
	var unreachable *url.Error
	switch {
	case errors.As(err, &event):
		body, _ := json.Marshal(map[string]any{"error": event}) // it came as JSON
		return classify(parse(body), f, redact)
	case errors.Is(err, errStray):
		if e := parse(f.stray); e.Code != 0 || e.Status != "" {
			return classify(e, f, redact)
		}
		return &lm.Error{Kind: lm.StreamInterrupted, Err: errStray}
	case errors.As(err, &unreachable):
		return provider.Failure(ctx, unreachable.Err, false)
	case f.Status == 0:
		if ctx.Err() != nil {
			return provider.Failure(ctx, err, false)
		}
		return lm.Errorf(lm.InvalidRequest, "the SDK cannot say this request to the API")
	case f.broken != nil:
		return provider.Failure(ctx, f.broken, true)
	}
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	if errors.Is(err, errShape) || errors.As(err, &syntax) || errors.As(err, &kind) {
		if f.Streaming {
			return lm.Errorf(lm.StreamInterrupted, "the stream holds an event that is not the API's")
		}
		return &lm.Error{Kind: lm.ProviderFailed, Err: errShape}
	}
	return provider.Failure(ctx, err, true)
}

// apiError is Google's: google.rpc.Status as JSON.
type apiError struct {
	Code    int      `json:"code"`
	Message string   `json:"message"`
	Status  string   `json:"status"`
	Details []detail `json:"details"`
}

// detail is any of google.rpc's: ErrorInfo, RetryInfo and QuotaFailure are read.
type detail struct {
	Type       string `json:"@type"`
	Reason     string `json:"reason"`
	RetryDelay string `json:"retryDelay"`
	Violations []struct {
		QuotaID string `json:"quotaId"`
		Metric  string `json:"quotaMetric"`
	} `json:"violations"`
}

// parse reads an error's body: an object, or a list of one as a stream without events
// has it. What is no JSON is the message, unless it is a page.
func parse(body []byte) apiError {
	var one struct {
		Error apiError `json:"error"`
	}
	if json.Unmarshal(body, &one) == nil {
		return one.Error
	}
	var list []struct {
		Error apiError `json:"error"`
	}
	if json.Unmarshal(body, &list) == nil && len(list) > 0 {
		return list[0].Error
	}
	text := strings.TrimSpace(string(body))
	if strings.HasPrefix(text, "<") || strings.HasPrefix(text, "{") || strings.HasPrefix(text, "[") {
		text = ""
	}
	return apiError{Message: text}
}

// classify says what Google's error means. Beyond what all APIs share it knows that
// the same text tells of a quota per minute and of one per day.
func classify(e apiError, f *flow, redact func(string) string) *lm.Error {
	s := provider.Signals{Status: f.Status, Code: e.Status, Message: redact(e.Message), Header: f.Header}
	if f.Status < http.StatusMultipleChoices { // it came in a good answer
		s.Status, s.Streaming = e.Code, f.Streaming
	}
	if strings.ContainsAny(s.Code, " \t") || len(s.Code) > 48 { // the SDK's, of a body without one
		s.Code = ""
	}
	for _, d := range e.Details {
		if wait, err := time.ParseDuration(d.RetryDelay); err == nil {
			s.RetryAfter = wait
		}
	}
	failure := provider.Classify(s)
	if kind := e.kind(s.RetryAfter > 0); kind != "" {
		failure.Kind = kind
		if kind == lm.Unauthorized {
			failure.RetryAfter = 0
		}
	}
	return failure
}

// kind is what only Google's details and texts tell; empty: nothing.
func (e *apiError) kind(retried bool) lm.Kind {
	message := strings.ToLower(e.Message)
	for _, d := range e.Details {
		if strings.HasPrefix(d.Reason, "API_KEY_") || strings.HasPrefix(d.Reason, "ACCESS_TOKEN_") || d.Reason == "CREDENTIALS_MISSING" {
			return lm.Unauthorized
		}
	}
	switch e.Status {
	case "RESOURCE_EXHAUSTED":
		return e.quota(message, retried)
	case "FAILED_PRECONDITION":
		// Of the account, not of the request: another backend takes it.
		if strings.Contains(message, "location is not supported") || strings.Contains(message, "enable billing") {
			return lm.Unauthorized
		}
	}
	return ""
}

// quota tells one that is used up for the day, or that there is none, from one that
// is soon there again.
func (e *apiError) quota(message string, retried bool) lm.Kind {
	limited := retried
	for _, d := range e.Details {
		for _, v := range d.Violations {
			limited = true
			if id := v.QuotaID + v.Metric; strings.Contains(id, "PerDay") || strings.Contains(id, "per_day") || strings.Contains(id, "PerMonth") {
				return lm.QuotaExhausted
			}
		}
	}
	for _, used := range []string{"per_day", "per day", "limit: 0,", "credits are depleted", "spending cap", "spend cap"} {
		if strings.Contains(message, used) {
			return lm.QuotaExhausted
		}
	}
	if limited {
		return lm.RateLimited
	}
	return ""
}
