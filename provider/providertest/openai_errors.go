package providertest

import (
	"net/http"
	"time"

	lm "github.com/lighterman/lighterman"
)

func failure(name string, status int, kind lm.Kind, body string) ErrorCase {
	return ErrorCase{Name: name, Response: Response{Status: status, Body: body, Header: http.Header{}}, Kind: kind}
}

// after adds headers, in pairs, and the wait that they name.
func (e ErrorCase) after(wait time.Duration, header ...string) ErrorCase {
	e.Header = e.Header.Clone()
	for i := 0; i+1 < len(header); i += 2 {
		e.Header.Set(header[i], header[i+1])
	}
	e.RetryAfter = wait
	return e
}

func (e ErrorCase) html() ErrorCase { return e.after(0, "Content-Type", "text/html") }

const gateway = "<html>\r\n<head><title>%</title></head>\r\n<body>\r\n<center><h1>%</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"

// Errors satisfies Format.
func (f OpenAI) Errors() []ErrorCase {
	switch f.Name() {
	case "openrouter":
		return openrouterErrors()
	case "mistral":
		return mistralErrors()
	case "vllm":
		return vllmErrors()
	case "azure":
		return azureErrors()
	case "ollama":
		return ollamaErrors()
	}
	return append(openaiErrors(), retryAfters()...)
}

// openaiErrors are OpenAI's: platform.openai.com/docs/guides/error-codes and bodies
// as users report them.
func openaiErrors() []ErrorCase {
	return []ErrorCase{
		failure("401 wrong key (docs)", 401, lm.Unauthorized, `{"error":{"message":"Incorrect API key provided: {{key}}. You can find your API key at https://platform.openai.com/account/api-keys.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}`),
		failure("401 no key (docs)", 401, lm.Unauthorized, `{"error":{"message":"You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).","type":"invalid_request_error","param":null,"code":null}}`),
		failure("403 country (docs)", 403, lm.Unauthorized, `{"error":{"code":"unsupported_country_region_territory","message":"Country, region, or territory not supported","param":null,"type":"request_forbidden"}}`),
		failure("404 model (seen)", 404, lm.ModelNotFound, `{"error":{"message":"The model `+"`gpt-nope`"+` does not exist or you do not have access to it.","type":"invalid_request_error","param":null,"code":"model_not_found"}}`),
		failure("404 model deprecated (seen)", 404, lm.ModelNotFound, `{"error":{"message":"The model `+"`code-davinci-002`"+` has been deprecated, learn more here: https://platform.openai.com/docs/deprecations","type":"invalid_request_error","param":null,"code":"model_not_found"}}`),
		failure("404 with another field (seen)", 404, lm.InvalidRequest, `{"error":{"message":"No such File object: file-abc","type":"invalid_request_error","param":"id","code":null}}`),
		failure("404 wrong path (seen)", 404, lm.ProviderFailed, `{"error":{"message":"Invalid URL (POST /v1/chat/completion)","type":"invalid_request_error","param":null,"code":null}}`),
		failure("410", 410, lm.ModelNotFound, `{"error":{"message":"This model has been shut down.","type":"invalid_request_error","param":null,"code":null}}`),
		failure("400 context length (seen)", 400, lm.ContextOverflow, `{"error":{"message":"This model's maximum context length is 8192 tokens. However, your messages resulted in 9901 tokens. Please reduce the length of the messages.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}`),
		failure("413", 413, lm.ContextOverflow, `{"error":{"message":"Request body too large.","type":"invalid_request_error","param":null,"code":null}}`),
		failure("400 parameter (seen)", 400, lm.InvalidRequest, `{"error":{"message":"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.","type":"invalid_request_error","param":"max_tokens","code":"unsupported_parameter"}}`),
		failure("400 that quotes the request", 400, lm.InvalidRequest, `{"error":{"message":"Invalid content: {{question}}","type":"invalid_request_error","param":"messages.[0].content","code":null}}`),
		failure("409", 409, lm.ProviderFailed, `{"error":{"message":"The resource was updated by another request.","type":"invalid_request_error","param":null,"code":null}}`),
		failure("415", 415, lm.InvalidRequest, `{"error":{"message":"Unsupported content type: 'text/plain'.","type":"invalid_request_error","param":null,"code":"unsupported_content_type"}}`),
		failure("422", 422, lm.InvalidRequest, `{"error":{"message":"Unprocessable","type":"invalid_request_error","param":"messages","code":null}}`),
		failure("400 policy (seen)", 400, lm.ContentFiltered, `{"error":{"message":"Invalid prompt: your prompt was flagged as potentially violating our usage policy. Please try again with a different prompt.","type":"invalid_request_error","param":null,"code":"invalid_prompt"}}`),
		failure("400 image policy (seen)", 400, lm.ContentFiltered, `{"error":{"code":"content_policy_violation","message":"Your request was rejected as a result of our safety system.","param":null,"type":"invalid_request_error"}}`),
		failure("429 quota (docs)", 429, lm.QuotaExhausted, `{"error":{"message":"You exceeded your current quota, please check your plan and billing details. For more information on this error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}`),
		failure("400 billing hard limit (seen)", 400, lm.QuotaExhausted, `{"error":{"code":"billing_hard_limit_reached","message":"Billing hard limit has been reached","param":null,"type":"invalid_request_error"}}`),
		failure("429 account not active (seen)", 429, lm.QuotaExhausted, `{"error":{"message":"Your account is not active, please check your billing details on our website.","type":"billing_not_active","param":null,"code":"billing_not_active"}}`),
		failure("402", 402, lm.QuotaExhausted, `{"error":{"message":"Payment required","type":"invalid_request_error","param":null,"code":null}}`),
		failure("500 (docs)", 500, lm.ProviderFailed, `{"error":{"message":"The server had an error while processing your request. Sorry about that!","type":"server_error","param":null,"code":null}}`),
		failure("500 error is a text", 500, lm.ProviderFailed, `{"error":"internal"}`),
		failure("502 gateway", 502, lm.ProviderFailed, gateway).html(),
		failure("520 edge", 520, lm.ProviderFailed, "error code: 520"),
		failure("503 overloaded (docs)", 503, lm.Overloaded, `{"error":{"message":"The engine is currently overloaded, please try again later","type":"server_error","param":null,"code":null}}`).after(3*time.Second, "Retry-After", "3"),
		failure("503 slow down (docs)", 503, lm.Overloaded, `{"error":{"message":"Slow Down","type":"server_error","param":null,"code":"slow_down"}}`),
		failure("503 empty", 503, lm.Overloaded, ""),
		failure("408", 408, lm.TimedOut, `{"error":{"message":"Timed out generating response. Please try again with a shorter prompt or with max_tokens set to a lower value.","type":"internal_error","param":null,"code":null}}`),
		failure("504 gateway", 504, lm.TimedOut, gateway).html(),
		failure("301 redirect", 301, lm.ProviderFailed, "").after(0, "Location", "http://127.0.0.1:1/elsewhere"),
	}
}

// retryAfters are all forms in which a wait is named in headers.
func retryAfters() []ErrorCase {
	limit := failure("429 rate limit (docs)", 429, lm.RateLimited, `{"error":{"message":"Rate limit reached for gpt-4o in organization org-x on tokens per min (TPM): Limit 30000, Used 27500, Requested 5000. Please try again in 5s. Visit https://platform.openai.com/account/rate-limits to learn more.","type":"tokens","param":null,"code":"rate_limit_exceeded"}}`)
	named := func(name string, e ErrorCase) ErrorCase { e.Name = name; return e }
	return []ErrorCase{
		limit,
		named("429 retry-after seconds", limit.after(5*time.Second, "Retry-After", "5")),
		named("429 retry-after fraction", limit.after(2500*time.Millisecond, "Retry-After", "2.5")),
		named("429 retry-after date", limit.after(90*time.Second, "Retry-After", time.Now().Add(90*time.Second).UTC().Format(http.TimeFormat))),
		named("429 retry-after-ms", limit.after(1700*time.Millisecond, "Retry-After-Ms", "1700", "Retry-After", "60")),
		named("429 x-ratelimit-reset", limit.after(6*time.Minute, "X-Ratelimit-Remaining-Tokens", "0", "X-Ratelimit-Reset-Tokens", "6m0s", "X-Ratelimit-Remaining-Requests", "59", "X-Ratelimit-Reset-Requests", "1h0m0s")),
		named("429 absurd retry-after is capped", limit.after(24*time.Hour, "Retry-After", "31536000")),
		failure("429 without a word", 429, lm.RateLimited, ""),
	}
}

// openrouterErrors are OpenRouter's: openrouter.ai/docs/api-reference/errors.
func openrouterErrors() []ErrorCase {
	return []ErrorCase{
		failure("401 (docs)", 401, lm.Unauthorized, `{"error":{"message":"User not found.","code":401}}`),
		failure("402 (docs)", 402, lm.QuotaExhausted, `{"error":{"message":"Insufficient credits. Add more using https://openrouter.ai/settings/credits","code":402}}`),
		failure("403 moderation (docs)", 403, lm.ContentFiltered, `{"error":{"message":"Your chosen model requires moderation and your input was flagged","code":403,"metadata":{"reasons":["violence"],"flagged_input":"{{question}}","provider_name":"OpenAI","model_slug":"openai/gpt-4o"}}}`),
		failure("404 no endpoints (seen)", 404, lm.ModelNotFound, `{"error":{"message":"No endpoints found for nope/nope.","code":404}}`),
		failure("400 model ID (seen)", 400, lm.ModelNotFound, `{"error":{"message":"nope/nope is not a valid model ID","code":400}}`),
		failure("400 context (seen)", 400, lm.ContextOverflow, `{"error":{"message":"This endpoint's maximum context length is 8192 tokens. However, you requested about 9000 tokens (8000 of text input, 1000 in the output). Please reduce the length of either one.","code":400}}`),
		failure("400 (docs)", 400, lm.InvalidRequest, `{"error":{"message":"Provider returned error","code":400,"metadata":{"raw":"{\"error\":{\"message\":\"bad {{question}}\"}}","provider_name":"Azure"}}}`),
		failure("408 (docs)", 408, lm.TimedOut, `{"error":{"message":"Request timed out","code":408}}`),
		failure("429 (docs)", 429, lm.RateLimited, `{"error":{"message":"Rate limit exceeded: free-models-per-min.","code":429}}`).after(4*time.Second, "Retry-After", "4"),
		failure("502 (docs)", 502, lm.ProviderFailed, `{"error":{"message":"Provider returned error","code":502,"metadata":{"provider_name":"Chutes"}}}`),
		failure("503 (docs)", 503, lm.Overloaded, `{"error":{"message":"There is no available model provider that meets your routing requirements","code":503}}`),
		failure("200 with a provider's error (docs)", 200, lm.ProviderFailed, `{"error":{"message":"Provider returned error","code":502,"metadata":{"provider_name":"X"}}}`),
		failure("200 with a rate limit (docs)", 200, lm.RateLimited, `{"error":{"message":"Rate limited upstream","code":429}}`),
	}
}

// mistralErrors are Mistral's, as users report them.
func mistralErrors() []ErrorCase {
	return []ErrorCase{
		failure("401 (seen)", 401, lm.Unauthorized, `{"message":"Unauthorized","request_id":"5b3bd0a1"}`),
		failure("401 detail (seen)", 401, lm.Unauthorized, `{"detail":"Unauthorized"}`),
		failure("400 model (seen)", 400, lm.ModelNotFound, `{"object":"error","message":"Invalid model: nope","type":"invalid_model","param":null,"code":"1500"}`),
		failure("400 context (seen)", 400, lm.ContextOverflow, `{"object":"error","message":"Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length","type":"invalid_request_prompt","param":null,"code":"3051"}`),
		failure("422 extra field (seen)", 422, lm.InvalidRequest, `{"object":"error","message":{"detail":[{"type":"extra_forbidden","loc":["body","messages",0,"user","name"],"msg":"Extra inputs are not permitted","input":"{{question}}"}]},"type":"invalid_request_error","param":null,"code":null}`),
		failure("422 detail (seen)", 422, lm.InvalidRequest, `{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"],"msg":"Extra inputs are not permitted","input":{"include_usage":true}}]}`),
		failure("402", 402, lm.QuotaExhausted, `{"message":"Payment Required","request_id":"5b3bd0a1"}`),
		failure("429 (seen)", 429, lm.RateLimited, `{"message":"Requests rate limit exceeded"}`).after(2*time.Second, "Retry-After", "2"),
		failure("429 capacity (seen)", 429, lm.RateLimited, `{"object":"error","message":"Service tier capacity exceeded for this model.","type":"service_tier_capacity_exceeded","param":null,"code":"3505"}`),
		failure("500 (seen)", 500, lm.ProviderFailed, `{"object":"error","message":"Service unavailable.","type":"internal_server_error","param":null,"code":"1000"}`),
		failure("503 (seen)", 503, lm.Overloaded, `{"object":"error","message":"Service unavailable.","type":"unreachable_backend","param":null,"code":"1100"}`),
		failure("504", 504, lm.TimedOut, gateway).html(),
	}
}

// vllmErrors are vLLM's: vllm/entrypoints/openai.
func vllmErrors() []ErrorCase {
	return []ErrorCase{
		failure("401 (source)", 401, lm.Unauthorized, `{"error":"Unauthorized"}`),
		failure("404 (source)", 404, lm.ModelNotFound, `{"error":{"message":"The model `+"`nope`"+` does not exist.","type":"NotFoundError","param":"model","code":404}}`),
		failure("404 before v0.10 (source)", 404, lm.ModelNotFound, `{"object":"error","message":"The model `+"`nope`"+` does not exist.","type":"NotFoundError","param":null,"code":404}`),
		failure("400 context (source)", 400, lm.ContextOverflow, `{"object":"error","message":"This model's maximum context length is 4096 tokens. However, you requested 5000 tokens (4000 in the messages, 1000 in the completion). Please reduce the length of the messages or completion.","type":"BadRequestError","param":null,"code":400}`),
		failure("400 (source)", 400, lm.InvalidRequest, `{"error":{"message":"[{'type': 'missing', 'loc': ('body', 'messages'), 'msg': 'Field required', 'input': {'x': '{{question}}'}}]","type":"BadRequestError","param":null,"code":400}}`),
		failure("500 (source)", 500, lm.ProviderFailed, `{"error":{"message":"EngineCore encountered an issue. See stack trace (above) for the root cause.","type":"InternalServerError","param":null,"code":500}}`),
		failure("503 of a gateway", 503, lm.Overloaded, "no healthy upstream").after(1*time.Second, "Retry-After", "1"),
		failure("429 of a gateway", 429, lm.RateLimited, "local_rate_limited"),
		failure("504 of a gateway", 504, lm.TimedOut, "upstream request timeout"),
	}
}

// azureErrors are Azure OpenAI's, as users report them.
func azureErrors() []ErrorCase {
	const limit = `{"error":{"code":"429","message":"Requests to the ChatCompletions_Create Operation under Azure OpenAI API version 2024-10-21 have exceeded token rate limit of your current OpenAI S0 pricing tier. Please retry after 7 seconds. Please go here: https://aka.ms/oai/quotaincrease if you would like to further increase the default rate limit."}}`
	return []ErrorCase{
		failure("401 (seen)", 401, lm.Unauthorized, `{"error":{"code":"401","message":"Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an active subscription and use a correct regional API endpoint for your resource."}}`),
		failure("404 deployment (seen)", 404, lm.ModelNotFound, `{"error":{"code":"DeploymentNotFound","message":"The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes, please wait a moment and try again."}}`),
		failure("404 resource (seen)", 404, lm.ProviderFailed, `{"error":{"code":"404","message":"Resource not found"}}`),
		failure("400 filter (seen)", 400, lm.ContentFiltered, `{"error":{"message":"The response was filtered due to the prompt triggering Azure OpenAI's content management policy. Please modify your prompt and retry.","type":null,"param":"prompt","code":"content_filter","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation","content_filter_result":{"sexual":{"filtered":true,"severity":"medium"}}}}}`),
		failure("400 context (seen)", 400, lm.ContextOverflow, `{"error":{"message":"This model's maximum context length is 8192 tokens, however you requested 9000 tokens (8000 in your prompt; 1000 for the completion). Please reduce your prompt; or completion length.","type":"invalid_request_error","param":null,"code":null}}`),
		failure("400 (seen)", 400, lm.InvalidRequest, `{"error":{"message":"Invalid value for 'temperature'","type":"invalid_request_error","param":"temperature","code":null}}`),
		failure("429 x-ms-retry-after-ms (seen)", 429, lm.RateLimited, limit).after(6800*time.Millisecond, "X-Ms-Retry-After-Ms", "6800", "Retry-After", "7"),
		failure("429 retry-after-ms (seen)", 429, lm.RateLimited, limit).after(7*time.Second, "Retry-After-Ms", "7000", "Retry-After", "7"),
		failure("403 quota (seen)", 403, lm.QuotaExhausted, `{"error":{"code":"insufficient_quota","message":"You exceeded your current quota, please check your plan and billing details."}}`),
		failure("500 (seen)", 500, lm.ProviderFailed, `{"error":{"code":"InternalServerError","message":"Backend returned unexpected response. Please contact Microsoft for help."}}`),
		failure("503 (seen)", 503, lm.Overloaded, `{"error":{"code":"ServiceUnavailable","message":"The service is temporarily unable to process your request. Please try again later."}}`),
		failure("408 (seen)", 408, lm.TimedOut, `{"error":{"code":"Timeout","message":"The operation was timeout."}}`),
	}
}

// ollamaErrors are those of Ollama's /v1: openai.NewError in its source, and seen.
func ollamaErrors() []ErrorCase {
	return []ErrorCase{
		failure("404 (seen)", 404, lm.ModelNotFound, `{"error":{"message":"model 'nope' not found","type":"api_error","param":null,"code":null}}`),
		failure("404 of v0.3 (source)", 404, lm.ModelNotFound, `{"error":{"message":"model \"nope\" not found, try pulling it first","type":"not_found_error","param":null,"code":null}}`),
		failure("503 busy (seen)", 503, lm.Overloaded, `{"error":{"message":"server busy, please try again.  maximum pending requests exceeded","type":"api_error","param":null,"code":null}}`),
		failure("400 (source)", 400, lm.InvalidRequest, `{"error":{"message":"[] is too short - 'messages'","type":"invalid_request_error","param":null,"code":null}}`),
		failure("400 context (source)", 400, lm.ContextOverflow, `{"error":{"message":"the input length exceeds the context length","type":"invalid_request_error","param":null,"code":null}}`),
		failure("400 cannot embed (source)", 400, lm.InvalidRequest, `{"error":{"message":"this model does not support embeddings","type":"invalid_request_error","param":null,"code":null}}`),
		failure("500 runner (seen)", 500, lm.ProviderFailed, `{"error":{"message":"llama runner process has terminated: signal: killed","type":"api_error","param":null,"code":null}}`),
		failure("500 native form (seen)", 500, lm.ProviderFailed, `{"error":"model requires more system memory (9.1 GiB) than is available (3.2 GiB)"}`),
		failure("404 native form (seen)", 404, lm.ModelNotFound, `{"error":"model 'nope' not found"}`),
		failure("401 of its cloud (source)", 401, lm.Unauthorized, `{"error":"unauthorized"}`),
		failure("402 of its cloud", 402, lm.QuotaExhausted, `{"error":"usage limit reached"}`),
		failure("429 of its cloud", 429, lm.RateLimited, `{"error":"too many concurrent requests"}`).after(2*time.Second, "Retry-After", "2"),
		failure("504 of a proxy", 504, lm.TimedOut, gateway).html(),
	}
}
