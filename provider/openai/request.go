package openai

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	lm "github.com/lighterman/lighterman"
)

// paths of the kinds of call.
var paths = map[string]string{"chat": "/chat/completions", "prompt": "/completions", "embed": "/embeddings"}

// request is the body that is sent: the call's, with the model as the backend names
// it, stream as it is wanted and the usage asked for. All other fields go as they
// came, the messages undecoded, except for reasoning that the backend does not take.
// reasons: a field of the request says that the model reasons.
func (a *API) request(call *lm.Call, stream bool) (out []byte, reasons bool, err error) {
	body := []byte(call.Body)
	if !json.Valid(body) || blank(body, 0) >= len(body) || body[blank(body, 0)] != '{' {
		return nil, false, lm.Errorf(lm.InvalidRequest, "the body is no JSON object")
	}
	out = make([]byte, 0, len(body)+len(call.Model)+128)
	out = append(out, `{"model":`...)
	model, err := json.Marshal(call.Model)
	if err != nil {
		return nil, false, lm.Errorf(lm.InvalidRequest, "the model's name: %w", err)
	}
	out = append(out, model...)
	hasKey, hasOptions := false, false
	_, err = members(body, 0, func(key []byte, from, to int) bool {
		switch name(key) {
		case "model", "stream":
			return true
		case "stream_options":
			if !stream || a.quirks.NoStreamOptions {
				return true
			}
			out = append(out, `,"stream_options":`...)
			out = withUsage(out, body[from:to])
			hasOptions = true
			return true
		case "prompt_cache_key":
			hasKey = true
		case "reasoning_effort", "reasoning", "thinking", "enable_thinking":
			reasons = true
		case "messages":
			out = append(append(append(out, ','), key...), ':')
			out = a.messages(out, body[from:to])
			return true
		}
		out = append(append(append(append(out, ','), key...), ':'), body[from:to]...)
		return true
	})
	if err != nil {
		return nil, false, lm.Errorf(lm.InvalidRequest, "the body: %w", err)
	}
	if stream {
		out = append(out, `,"stream":true`...)
		if !a.quirks.NoStreamOptions && !hasOptions {
			out = append(out, `,"stream_options":{"include_usage":true}`...)
		}
	}
	if key := cacheKey(call); a.quirks.CacheKey && !hasKey && key != "" && call.Kind == "chat" {
		out = append(append(append(out, `,"prompt_cache_key":"`...), key...), '"')
	}
	return append(out, '}'), reasons, nil
}

// name is a key without its quotes, decoded where it has escapes.
func name(key []byte) string {
	if bytes.IndexByte(key, '\\') < 0 {
		return string(key[1 : len(key)-1])
	}
	var s string
	if json.Unmarshal(key, &s) != nil {
		return ""
	}
	return s
}

// withUsage keeps a caller's stream_options and asks for the usage.
func withUsage(out, options []byte) []byte {
	out = append(out, `{"include_usage":true`...)
	_, _ = members(options, 0, func(key []byte, from, to int) bool { // null has no members
		if name(key) != "include_usage" {
			out = append(append(append(append(out, ','), key...), ':'), options[from:to]...)
		}
		return true
	})
	return append(out, '}')
}

// messages copies a list of messages without the reasoning that is not sent. Where
// no message has any, which one look over the bytes tells, it goes as it is.
func (a *API) messages(out, list []byte) []byte {
	if a.quirks.Reasoning == ReasoningAll || !bytes.Contains(list, []byte("reasoning")) && !bytes.Contains(list, []byte(`\u`)) {
		return append(out, list...)
	}
	begin := len(out)
	out = append(out, '[')
	_, err := elements(list, 0, func(from, to int) bool {
		if out[len(out)-1] != '[' || len(out)-1 != begin {
			out = append(out, ',')
		}
		out = a.message(out, list[from:to])
		return true
	})
	if err != nil { // no list: the backend says so
		return append(out[:begin], list...)
	}
	return append(out, ']')
}

func (a *API) message(out, message []byte) []byte {
	begin, first := len(out), true
	out = append(out, '{')
	_, err := members(message, 0, func(key []byte, from, to int) bool {
		switch name(key) {
		case "reasoning_details":
			return true
		case "reasoning_content", "reasoning":
			if a.quirks.Reasoning == ReasoningNone {
				return true
			}
		}
		if !first {
			out = append(out, ',')
		}
		first = false
		out = append(append(append(out, key...), ':'), message[from:to]...)
		return true
	})
	if err != nil {
		return append(out[:begin], message...)
	}
	return append(out, '}')
}

// cacheKey keeps the calls of one session on one prompt cache: it is scoped by tenant
// and tells nothing. Empty: the call belongs to no session.
func cacheKey(call *lm.Call) string {
	if call.Thread == "" && call.Agent == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{"lm1", call.Tenant, call.Agent, call.Thread}, "\x00")))
	return hex.EncodeToString(sum[:16])
}
