package providertest

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	lm "github.com/lighterman/lighterman"
)

// geminiFailure is an error as Google's servers indent it.
func geminiFailure(name string, status int, code, message string, kind lm.Kind, details ...string) ErrorCase {
	return ErrorCase{Name: name, Kind: kind, Response: Response{
		Status: status, Header: http.Header{"Content-Type": {"application/json; charset=UTF-8"}}, Body: geminiError(status, code, message, details...) + "\n",
	}}
}

func geminiError(status int, code, message string, details ...string) string {
	with := ""
	if len(details) > 0 {
		with = ",\n    \"details\": [\n      " + strings.Join(details, ",\n      ") + "\n    ]"
	}
	return fmt.Sprintf("{\n  \"error\": {\n    \"code\": %d,\n    \"message\": %s,\n    \"status\": \"%s\"%s\n  }\n}", status, geminiJSON(message), code, with)
}

// waits adds what RetryInfo in the body names.
func (e ErrorCase) waits(d time.Duration) ErrorCase {
	e.RetryAfter = d
	return e
}

// listed is the error as a stream without events has it: a list of one.
func (e ErrorCase) listed() ErrorCase {
	e.Body = "[" + strings.TrimSuffix(e.Body, "\n") + "\n]"
	return e
}

const (
	geminiQuotaText = "You exceeded your current quota, please check your plan and billing details. For more information on this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits."
	geminiHelp      = `{"@type": "type.googleapis.com/google.rpc.Help", "links": [{"description": "Learn more about Gemini API quotas", "url": "https://ai.google.dev/gemini-api/docs/rate-limits"}]}`
	geminiPerMinute = `{"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaMetric": "generativelanguage.googleapis.com/generate_content_free_tier_requests", "quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier", "quotaDimensions": {"location": "global", "model": "gemini-2.5-flash"}, "quotaValue": "10"}]}`
	geminiPerDay    = `{"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaMetric": "generativelanguage.googleapis.com/generate_content_free_tier_requests", "quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier", "quotaDimensions": {"location": "global", "model": "gemini-2.5-flash"}, "quotaValue": "250"}]}`
	geminiBadKey    = `{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com", "metadata": {"service": "generativelanguage.googleapis.com"}}`
	geminiKeyText   = `{"@type": "type.googleapis.com/google.rpc.LocalizedMessage", "locale": "en-US", "message": "API key not valid. Please pass a valid API key."}`
	geminiVertex429 = "Resource exhausted. Please try again later. Please refer to https://cloud.google.com/vertex-ai/generative-ai/docs/error-code-429 for more details."
	geminiTooLong   = "The input token count (1200293) exceeds the maximum number of tokens allowed (1048576)."
	geminiBusy      = "The model is overloaded. Please try again later."
)

func geminiRetry(delay string) string {
	return `{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "` + delay + `"}`
}

// Errors satisfies Format: the Gemini API's troubleshooting page, google.rpc's error
// details, and bodies as users report them (docs, seen).
func (f Gemini) Errors() []ErrorCase {
	common := []ErrorCase{
		geminiFailure("429 per minute, RetryInfo (seen)", 429, "RESOURCE_EXHAUSTED", geminiQuotaText, lm.RateLimited, geminiPerMinute, geminiHelp, geminiRetry("34s")).waits(34 * time.Second),
		geminiFailure("429 per minute, fraction (seen)", 429, "RESOURCE_EXHAUSTED", geminiQuotaText+"\nPlease retry in 20.04466179s.", lm.RateLimited, geminiHelp, geminiPerMinute, geminiRetry("20.044661790s")).waits(20044 * time.Millisecond),
		geminiFailure("429 as a list (seen)", 429, "RESOURCE_EXHAUSTED", geminiQuotaText, lm.RateLimited, geminiPerMinute, geminiRetry("8s")).listed().waits(8 * time.Second),
		geminiFailure("429 per minute, no wait (seen)", 429, "RESOURCE_EXHAUSTED", geminiQuotaText, lm.RateLimited, geminiPerMinute, geminiHelp),
		geminiFailure("429 without details (seen)", 429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota).", lm.RateLimited),
		geminiFailure("429 per day (seen)", 429, "RESOURCE_EXHAUSTED", geminiQuotaText, lm.QuotaExhausted, geminiPerDay, geminiHelp, geminiRetry("13s")).waits(13 * time.Second),
		geminiFailure("429 per day and minute (seen)", 429, "RESOURCE_EXHAUSTED", geminiQuotaText, lm.QuotaExhausted, geminiPerMinute, geminiPerDay),
		geminiFailure("429 no free tier (seen)", 429, "RESOURCE_EXHAUSTED", geminiQuotaText+"\n* Quota exceeded for metric: generativelanguage.googleapis.com/generate_content_free_tier_requests, limit: 0, model: gemini-2.5-pro\nPlease retry in 20.04466179s.", lm.QuotaExhausted, geminiHelp, geminiRetry("20s")).waits(20 * time.Second),
		geminiFailure("429 quota without a word of when (seen)", 429, "RESOURCE_EXHAUSTED", geminiQuotaText, lm.QuotaExhausted),
		geminiFailure("503 overloaded (docs)", 503, "UNAVAILABLE", geminiBusy, lm.Overloaded),
		geminiFailure("503 high demand (seen)", 503, "UNAVAILABLE", "This model is currently experiencing high demand. Spikes in demand are usually temporary. Please try again later.", lm.Overloaded),
		geminiFailure("503 as a list", 503, "UNAVAILABLE", geminiBusy, lm.Overloaded).listed(),
		geminiFailure("500 (docs)", 500, "INTERNAL", "An internal error has occurred. Please retry or report in https://developers.generativeai.google/guide/troubleshooting", lm.ProviderFailed),
		geminiFailure("504 (docs)", 504, "DEADLINE_EXCEEDED", "The request timed out. Please try again.", lm.TimedOut),
		geminiFailure("400 too long (seen)", 400, "INVALID_ARGUMENT", geminiTooLong, lm.ContextOverflow),
		geminiFailure("400 too long as a list (seen)", 400, "INVALID_ARGUMENT", geminiTooLong, lm.ContextOverflow).listed(),
		geminiFailure("400 that quotes the request", 400, "INVALID_ARGUMENT", "Invalid value at 'contents[0].parts[0]' (text), \"{{question}}\"", lm.InvalidRequest,
			`{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [{"field": "contents[0].parts[0]", "description": "Invalid value"}]}`),
		geminiFailure("400 function responses (seen)", 400, "INVALID_ARGUMENT", "Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn.", lm.InvalidRequest),
		geminiFailure("400 no such country (docs)", 400, "FAILED_PRECONDITION", "User location is not supported for the API use.", lm.Unauthorized),
		{Name: "404 a page of the front end", Response: Response{Status: 404, Header: http.Header{"Content-Type": {"text/html; charset=UTF-8"}}, Body: "<!DOCTYPE html>\n<html lang=en>\n  <title>Error 404 (Not Found)!!1</title>\n  <p><b>404.</b> <ins>That’s an error.</ins>\n  <p>The requested URL <code>/v1/models/x</code> was not found on this server.\n"}, Kind: lm.ProviderFailed},
		{Name: "502 a page of the front end", Response: Response{Status: 502, Header: http.Header{"Content-Type": {"text/html; charset=UTF-8"}}, Body: "<!DOCTYPE html>\n<html lang=en>\n  <title>Error 502 (Server Error)!!1</title>\n"}, Kind: lm.ProviderFailed},
		{Name: "503 empty", Response: Response{Status: 503}, Kind: lm.Overloaded},
		{Name: "301 redirect", Response: Response{Status: 301, Header: http.Header{"Location": {"http://127.0.0.1:1/elsewhere"}}}, Kind: lm.ProviderFailed},
	}
	if f.Vertex {
		return append(vertexErrors(), common...)
	}
	return append([]ErrorCase{
		geminiFailure("400 wrong key (seen)", 400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", lm.Unauthorized, geminiBadKey, geminiKeyText),
		geminiFailure("400 no such key (seen)", 400, "INVALID_ARGUMENT", "API Key not found. Please pass a valid API key.", lm.Unauthorized, geminiBadKey),
		geminiFailure("400 expired key (seen)", 400, "INVALID_ARGUMENT", "API key expired. Please renew the API key.", lm.Unauthorized, geminiBadKey),
		geminiFailure("403 leaked key (seen)", 403, "PERMISSION_DENIED", "Your API key was reported as leaked. Please use another API key.", lm.Unauthorized),
		geminiFailure("403 that quotes the key", 403, "PERMISSION_DENIED", "Permission denied: Consumer 'api_key:{{key}}' has been suspended.", lm.Unauthorized),
		geminiFailure("404 model (seen)", 404, "NOT_FOUND", "models/gemini-nope is not found for API version v1beta, or is not supported for generateContent. Call ListModels to see the list of available models and their supported methods.", lm.ModelNotFound),
		geminiFailure("400 billing (docs)", 400, "FAILED_PRECONDITION", "Gemini API free tier is not available in your country. Please enable billing on your project in Google AI Studio.", lm.Unauthorized),
		geminiFailure("429 prepaid credits (seen)", 429, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted. Please go to AI Studio at https://ai.studio/projects to manage your project and billing.", lm.QuotaExhausted),
	}, common...)
}

func vertexErrors() []ErrorCase {
	return []ErrorCase{
		geminiFailure("401 token (seen)", 401, "UNAUTHENTICATED", "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.", lm.Unauthorized,
			`{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "ACCESS_TOKEN_TYPE_UNSUPPORTED", "metadata": {"method": "google.cloud.aiplatform.v1beta1.PredictionService.GenerateContent", "service": "aiplatform.googleapis.com"}}`),
		geminiFailure("403 right (seen)", 403, "PERMISSION_DENIED", "Permission 'aiplatform.endpoints.predict' denied on resource '//aiplatform.googleapis.com/projects/test-project/locations/test-location/publishers/google/models/gemini-2.5-pro' (or it may not exist).", lm.Unauthorized,
			`{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "IAM_PERMISSION_DENIED", "domain": "aiplatform.googleapis.com", "metadata": {"permission": "aiplatform.endpoints.predict"}}`),
		geminiFailure("403 service off (seen)", 403, "PERMISSION_DENIED", "Vertex AI API has not been used in project test-project before or it is disabled.", lm.Unauthorized,
			`{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "SERVICE_DISABLED", "domain": "googleapis.com"}`),
		geminiFailure("404 publisher model (seen)", 404, "NOT_FOUND", "Publisher Model `projects/test-project/locations/test-location/publishers/google/models/gemini-nope` was not found or your project does not have access to it. Please ensure you are using a valid model version. For more information, see: https://cloud.google.com/vertex-ai/generative-ai/docs/learn/model-versions", lm.ModelNotFound),
		geminiFailure("429 shared quota (docs)", 429, "RESOURCE_EXHAUSTED", geminiVertex429, lm.RateLimited),
		geminiFailure("429 shared quota as a list (seen)", 429, "RESOURCE_EXHAUSTED", geminiVertex429, lm.RateLimited).listed(),
		geminiFailure("429 per minute (seen)", 429, "RESOURCE_EXHAUSTED", "Quota exceeded for aiplatform.googleapis.com/generate_content_requests_per_minute_per_project_per_base_model with base model: gemini-pro. Please submit a quota increase request. https://cloud.google.com/vertex-ai/docs/generative-ai/quotas-genai.", lm.RateLimited),
		geminiFailure("400 too long (seen)", 400, "INVALID_ARGUMENT", "Unable to submit request because the input token count is 1200293 but model only supports up to 1048576. Reduce the input token count and try again.", lm.ContextOverflow),
	}
}

// Faults satisfies Format: what a stream with HTTP 200 may still turn into. An error
// comes as an event, or bare, and even after the end (vercel/ai issue 5217).
func (f Gemini) Faults(a Asked) []FaultCase {
	usage := lm.Usage{Input: 7, Output: 3}
	begun := geminiEvent(geminiAnswer(a, usage, "", geminiPart{"text": "Half an"}))
	ended := geminiEvent(geminiAnswer(a, usage, "STOP", geminiPart{"text": ""}))
	bare := func(text string) Piece { return Piece{Data: text + "\n"} }
	event := func(status int, code, message string, details ...string) Piece {
		return geminiEvent(strings.ReplaceAll(geminiError(status, code, message, details...), "\n", ""))
	}
	finish := func(reason string) Piece {
		return geminiEvent(geminiAnswer(a, usage, reason, geminiPart{"text": ""}))
	}
	blocked := geminiEvent(geminiJSON(map[string]any{
		"promptFeedback": map[string]any{"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": geminiUsage(lm.Usage{Input: 7}), "modelVersion": a.Model,
	}))
	malformed := geminiEvent(geminiJSON(map[string]any{"candidates": []any{map[string]any{
		"content": map[string]any{}, "finishReason": "MALFORMED_FUNCTION_CALL", "finishMessage": "Malformed function call: print(default_api.x(", "index": 0,
	}}}))
	return []FaultCase{
		{"overloaded, bare", []Piece{begun, bare(geminiError(503, "UNAVAILABLE", geminiBusy))}, lm.Overloaded},
		{"overloaded, bare, after the end (seen)", []Piece{begun, ended, bare(geminiError(503, "UNAVAILABLE", geminiBusy))}, lm.Overloaded},
		{"quota, a bare list", []Piece{begun, bare("[" + geminiError(429, "RESOURCE_EXHAUSTED", geminiQuotaText, geminiPerMinute, geminiRetry("9s")) + "]")}, lm.RateLimited},
		{"overloaded, an event (seen)", []Piece{begun, event(503, "UNAVAILABLE", geminiBusy)}, lm.Overloaded},
		{"rate limit, an event", []Piece{begun, event(429, "RESOURCE_EXHAUSTED", geminiVertex429)}, lm.RateLimited},
		{"quota of the day, an event", []Piece{begun, event(429, "RESOURCE_EXHAUSTED", geminiQuotaText, geminiPerDay)}, lm.QuotaExhausted},
		{"internal, an event", []Piece{begun, event(500, "INTERNAL", "Internal error encountered.")}, lm.StreamInterrupted},
		{"time-out, an event", []Piece{begun, event(504, "DEADLINE_EXCEEDED", "Deadline expired before operation could complete.")}, lm.TimedOut},
		{"SAFETY", []Piece{begun, finish("SAFETY")}, lm.ContentFiltered},
		{"RECITATION", []Piece{begun, finish("RECITATION")}, lm.ContentFiltered},
		{"BLOCKLIST", []Piece{begun, finish("BLOCKLIST")}, lm.ContentFiltered},
		{"PROHIBITED_CONTENT", []Piece{begun, finish("PROHIBITED_CONTENT")}, lm.ContentFiltered},
		{"the prompt is blocked", []Piece{blocked}, lm.ContentFiltered},
		{"MALFORMED_FUNCTION_CALL (seen)", []Piece{malformed}, lm.ProviderFailed},
		{"OTHER", []Piece{begun, finish("OTHER")}, lm.ProviderFailed},
		{"an event that is no JSON", []Piece{begun, {Data: "data: {\"candidates\": [{\"con\r\n\r\n"}, ended}, lm.StreamInterrupted},
		{"an event of another shape", []Piece{begun, geminiEvent(`{"candidates":"none"}`), ended}, lm.StreamInterrupted},
		{"no finishReason: a clean end", []Piece{begun}, lm.StreamInterrupted},
		{"nothing at all", []Piece{{Data: ""}}, lm.StreamInterrupted},
	}
}
