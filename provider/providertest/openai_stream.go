package providertest

import (
	"maps"

	lm "github.com/lighterman/lighterman"
)

func event(v any) Piece { return Piece{Data: "data: " + compact(v) + "\n\n"} }

// chunk is a piece of a chat: delta is nil where the choices are empty.
func (f OpenAI) chunk(a Asked, delta object, finish any, more object) object {
	c := object{
		"id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT", "object": "chat.completion.chunk", "created": 1741569952, "model": a.Model,
		"choices": []object{},
	}
	if delta != nil {
		c["choices"] = []object{{"index": 0, "delta": delta, "logprobs": nil, "finish_reason": finish}}
	}
	switch f.Name() {
	case "openai", "azure":
		c["service_tier"], c["system_fingerprint"], c["usage"] = "default", "fp_44709d6fcb", nil
	case "openrouter":
		c["provider"], c["system_fingerprint"], c["service_tier"] = "OpenAI", "fp_44709d6fcb", "default"
	default:
		c["system_fingerprint"], c["service_tier"] = "fp_44709d6fcb", "default"
	}
	maps.Copy(c, more)
	return c
}

// Stream satisfies Format.
func (f OpenAI) Stream(a Asked, r Reply) []Piece {
	if a.Kind == "prompt" {
		return f.promptStream(a, r)
	}
	pieces := f.head(a)
	add := func(delta object) { pieces = append(pieces, event(f.chunk(a, delta, nil, nil))) }
	for _, piece := range Split(r.Reasoning) {
		add(object{f.reasoningField(): piece})
	}
	for _, piece := range Split(r.Text) {
		if f.Name() == "ollama" || f.Name() == "openrouter" {
			add(object{"role": "assistant", "content": piece})
		} else {
			add(object{"content": piece})
		}
	}
	for _, delta := range f.toolDeltas(r.ToolCalls) {
		add(delta)
	}
	return append(pieces, f.tail(a, r)...)
}

// head is what comes before the first token.
func (f OpenAI) head(a Asked) []Piece {
	switch f.Name() {
	case "openrouter": // its keep-alive
		return []Piece{{Data: ": OPENROUTER PROCESSING\n\n"}, {Data: ": OPENROUTER PROCESSING\n\n"}}
	case "azure": // the filter's verdict on the prompt
		return []Piece{
			event(object{"choices": []any{}, "created": 0, "id": "", "model": "", "object": "", "prompt_filter_results": []object{{"prompt_index": 0, "content_filter_results": object{}}}}),
			event(f.chunk(a, object{"role": "assistant", "content": "", "refusal": nil}, nil, nil)),
		}
	case "ollama":
		return nil
	}
	return []Piece{event(f.chunk(a, object{"role": "assistant", "content": "", "refusal": nil}, nil, nil))}
}

// toolDeltas are the calls in pieces: the first of a call names it, the others bring
// its arguments. Ollama and Mistral send each call at once.
func (f OpenAI) toolDeltas(calls []lm.ToolCall) []object {
	var out []object
	for i, c := range calls {
		args := string(c.Arguments)
		if f.Name() == "ollama" || f.Name() == "mistral" {
			out = append(out, object{"tool_calls": []object{{"index": i, "id": c.ID, "type": "function", "function": object{"name": c.Name, "arguments": args}}}})
			continue
		}
		out = append(out, object{"tool_calls": []object{{"index": i, "id": c.ID, "type": "function", "function": object{"name": c.Name, "arguments": ""}}}})
		for args != "" {
			n := min(5, len(args))
			out = append(out, object{"tool_calls": []object{{"index": i, "function": object{"arguments": args[:n]}}}})
			args = args[n:]
		}
	}
	return out
}

// tail is the finish reason, the usage and the end.
func (f OpenAI) tail(a Asked, r Reply) []Piece {
	usage := object{"usage": f.usage(r.Usage)}
	delta, extra := object{}, object(nil)
	if f.Name() == "mistral" { // in one
		delta, extra = object{"content": ""}, usage
	}
	last := event(f.chunk(a, delta, r.ended(), extra))
	last.Terminal = true
	pieces := []Piece{last}
	switch f.Name() {
	case "mistral":
	case "openrouter": // its usage comes beside an empty delta
		pieces = append(pieces, event(f.chunk(a, object{"role": "assistant", "content": ""}, nil, usage)))
	default:
		pieces = append(pieces, event(f.chunk(a, nil, nil, usage)))
	}
	return append(pieces, Piece{Data: "data: [DONE]\n\n"})
}

func (f OpenAI) promptStream(a Asked, r Reply) []Piece {
	chunk := func(text string, finish any) object {
		return object{
			"id": "cmpl-7iA7iJjj8V2zOkCGvWF2hAkDWBQZe", "object": "text_completion", "created": 1690759702, "model": a.Model,
			"choices": []object{{"text": text, "index": 0, "logprobs": nil, "finish_reason": finish}},
		}
	}
	var pieces []Piece
	for _, piece := range Split(r.Text) {
		pieces = append(pieces, event(chunk(piece, nil)))
	}
	last := chunk("", r.ended())
	if f.Name() == "mistral" {
		last["usage"] = f.usage(r.Usage)
	}
	end := event(last)
	end.Terminal = true
	pieces = append(pieces, end)
	if f.Name() != "mistral" {
		usage := chunk("", nil)
		usage["choices"], usage["usage"] = []object{}, f.usage(r.Usage)
		pieces = append(pieces, event(usage))
	}
	return append(pieces, Piece{Data: "data: [DONE]\n\n"})
}

// Faults satisfies Format.
func (f OpenAI) Faults(a Asked) []FaultCase {
	good := f.Stream(a, Reply{Text: "It began well and", Usage: lm.Usage{Input: 1, Output: 1}})
	begun := good[:len(good)-3]
	with := func(more ...Piece) []Piece { return append(append([]Piece(nil), begun...), more...) }
	done := Piece{Data: "data: [DONE]\n\n"}
	faults := []FaultCase{
		{"error object mid-stream (OpenAI: server_error)", with(event(object{"error": object{
			"message": "The server had an error processing your request. Sorry about that!", "type": "server_error", "param": nil, "code": nil,
		}})), lm.StreamInterrupted},
		{"rate limit mid-stream", with(event(object{"error": object{
			"message": "Rate limit reached", "type": "tokens", "param": nil, "code": "rate_limit_exceeded",
		}}), done), lm.RateLimited},
		{"overloaded mid-stream", with(event(object{"error": object{
			"message": "That model is currently overloaded with other requests.", "type": "server_error", "param": nil, "code": nil,
		}})), lm.Overloaded},
		{"an error that is a text", with(event(object{"error": "something went wrong"})), lm.StreamInterrupted},
		{"a chunk that is no JSON", with(Piece{Data: "data: {\"choices\":[{\"index\":0,\"delta\":{\"con\n\n"}, done), lm.StreamInterrupted},
		{"content_filter as the finish reason", with(event(f.chunk(a, object{}, "content_filter", nil)), done), lm.ContentFiltered},
		{"[DONE] and nothing before", []Piece{done}, lm.StreamInterrupted},
		{"nothing at all", []Piece{{Data: ""}}, lm.StreamInterrupted},
	}
	switch f.Name() {
	case "openrouter": // docs/api-reference/errors: the error beside a choice that finishes with error
		chunk := f.chunk(a, object{"content": ""}, "error", object{"error": object{"code": "server_error", "message": "Provider disconnected"}})
		faults = append(faults, FaultCase{"provider disconnected, finish_reason error (docs)", with(event(chunk), done), lm.StreamInterrupted},
			FaultCase{"a numeric code mid-stream (docs)", with(event(object{"error": object{"code": 429, "message": "Rate limited upstream"}})), lm.RateLimited})
	case "vllm": // entrypoints/openai/serving_chat: create_streaming_error_response, then [DONE]
		faults = append(faults, FaultCase{"internal error, then [DONE] (source)", with(event(object{"error": object{
			"message": "EngineCore encountered an issue. See stack trace (above) for the root cause.", "type": "InternalServerError", "param": nil, "code": 500,
		}}), done), lm.StreamInterrupted})
	case "ollama": // the runner dies: a clean end (seen)
		faults = append(faults, FaultCase{"the runner dies: a clean end without a word (seen)", begun, lm.StreamInterrupted})
	}
	return faults
}
