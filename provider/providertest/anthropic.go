package providertest

import (
	"fmt"
	"net/http"

	lm "github.com/lighterman/lighterman"
)

// Anthropic is the Messages API as of its version 2023-06-01: the shapes of its API
// reference and streaming pages, and of its SDK v1.84.
type Anthropic struct{}

// Name satisfies Format.
func (Anthropic) Name() string { return "anthropic" }

// Whole is a message that is not streamed.
func (Anthropic) Whole(a Asked, r Reply) Response {
	content := []map[string]any{}
	for _, b := range anthropicBlocks(r) {
		content = append(content, b.whole)
	}
	m := anthropicMessage(a, r)
	m["content"], m["stop_reason"], m["usage"] = content, anthropicStop(r), anthropicUsage(r.Usage)
	return Response{Header: anthropicHeader("application/json"), Body: compact(m)}
}

// Stream is the same message in events.
func (Anthropic) Stream(a Asked, r Reply) []Piece {
	start := anthropicMessage(a, r)
	begun := anthropicUsage(r.Usage)
	begun["output_tokens"] = 1
	delete(begun, "output_tokens_details")
	start["usage"] = begun
	pieces := []Piece{anthropicEvent("message_start", map[string]any{"message": start})}
	for i, b := range anthropicBlocks(r) {
		pieces = append(pieces, anthropicEvent("content_block_start", map[string]any{"index": i, "content_block": b.start}))
		if i == 0 {
			pieces = append(pieces, anthropicEvent("ping", nil))
		}
		for _, d := range b.deltas {
			pieces = append(pieces, anthropicEvent("content_block_delta", map[string]any{"index": i, "delta": d}))
		}
		pieces = append(pieces, anthropicEvent("content_block_stop", map[string]any{"index": i}))
	}
	end := anthropicEvent("message_stop", nil)
	end.Terminal = true
	return append(pieces, anthropicEvent("message_delta", map[string]any{
		"delta": map[string]any{"stop_reason": anthropicStop(r), "stop_sequence": nil}, "usage": anthropicUsage(r.Usage),
	}), end)
}

// List is one page of /v1/models. It knows of what an offering says whether it sees
// and thinks.
func (Anthropic) List(_ Asked, offerings []lm.Offering) Response {
	data := []map[string]any{}
	for _, o := range offerings {
		m := map[string]any{
			"type": "model", "id": o.Name, "display_name": o.Name, "created_at": "2026-02-04T00:00:00Z", "lifecycle": "active",
			"deprecated_at": nil, "retires_at": nil, "line": nil, "max_input_tokens": o.Window, "max_tokens": 64000,
		}
		if len(o.Can) > 0 {
			thinks := supported(o.Can[lm.CanThink])
			thinks["types"] = map[string]any{"adaptive": supported(o.Can[lm.CanThink]), "enabled": supported(false)}
			m["capabilities"] = map[string]any{
				"image_input": supported(o.Can[lm.CanVision]), "thinking": thinks, "structured_outputs": supported(true), "batch": supported(true),
			}
		}
		data = append(data, m)
	}
	page := map[string]any{"data": data, "has_more": false, "first_id": nil, "last_id": nil}
	if len(offerings) > 0 {
		page["first_id"], page["last_id"] = offerings[0].Name, offerings[len(offerings)-1].Name
	}
	return Response{Header: anthropicHeader("application/json"), Body: compact(page)}
}

func supported(yes bool) map[string]any { return map[string]any{"supported": yes} }

// anthropicBlock is a content block, whole and in pieces.
type anthropicBlock struct {
	whole  map[string]any
	start  map[string]any
	deltas []map[string]any
}

func anthropicBlocks(r Reply) []anthropicBlock {
	var blocks []anthropicBlock
	if r.Reasoning != "" {
		b := anthropicBlock{
			whole: map[string]any{"type": "thinking", "thinking": r.Reasoning, "signature": anthropicSignature},
			start: map[string]any{"type": "thinking", "thinking": "", "signature": ""},
		}
		for _, p := range Split(r.Reasoning) {
			b.deltas = append(b.deltas, map[string]any{"type": "thinking_delta", "thinking": p})
		}
		blocks = append(blocks, b.with(map[string]any{"type": "signature_delta", "signature": anthropicSignature}))
	}
	if r.Text != "" {
		b := anthropicBlock{whole: map[string]any{"type": "text", "text": r.Text}, start: map[string]any{"type": "text", "text": ""}}
		for _, p := range Split(r.Text) {
			b.deltas = append(b.deltas, map[string]any{"type": "text_delta", "text": p})
		}
		blocks = append(blocks, b)
	}
	for _, c := range r.ToolCalls {
		b := anthropicBlock{
			whole: map[string]any{"type": "tool_use", "id": c.ID, "name": c.Name, "input": c.Arguments},
			start: map[string]any{"type": "tool_use", "id": c.ID, "name": c.Name, "input": map[string]any{}},
		}
		b = b.with(map[string]any{"type": "input_json_delta", "partial_json": ""})
		for rest := string(c.Arguments); rest != ""; {
			n := min(7, len(rest))
			for n < len(rest) && rest[n]&0xc0 == 0x80 { // not within a character
				n++
			}
			b = b.with(map[string]any{"type": "input_json_delta", "partial_json": rest[:n]})
			rest = rest[n:]
		}
		blocks = append(blocks, b)
	}
	return blocks
}

func (b anthropicBlock) with(delta map[string]any) anthropicBlock {
	b.deltas = append(b.deltas, delta)
	return b
}

// anthropicSignature looks like one: base64 of what only the vendor can read.
const anthropicSignature = "EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pkiMOYds="

func anthropicMessage(a Asked, r Reply) map[string]any {
	return map[string]any{
		"id": "msg_01XFDUDYJgAACzvnptvVoYEL", "type": "message", "role": "assistant", "model": a.Model,
		"content": []any{}, "stop_reason": nil, "stop_sequence": nil,
	}
}

func anthropicStop(r Reply) string {
	switch {
	case r.Finish == "length":
		return "max_tokens"
	case r.Finish == "content_filter":
		return "refusal"
	case r.Finish == "tool_calls" || r.Finish == "" && len(r.ToolCalls) > 0:
		return "tool_use"
	}
	return "end_turn"
}

// anthropicUsage is a usage as the API counts it: what came from the cache is not
// among the input.
func anthropicUsage(u lm.Usage) map[string]any {
	w := map[string]any{
		"input_tokens": u.Input - u.Cached, "cache_creation_input_tokens": 0, "cache_read_input_tokens": u.Cached, "output_tokens": u.Output,
	}
	if u.Reasoning > 0 {
		w["output_tokens_details"] = map[string]any{"thinking_tokens": u.Reasoning}
	}
	return w
}

func anthropicEvent(kind string, fields map[string]any) Piece {
	body := map[string]any{"type": kind}
	for name, value := range fields {
		body[name] = value
	}
	return Piece{Data: fmt.Sprintf("event: %s\ndata: %s\n\n", kind, compact(body))}
}

func anthropicHeader(kind string) http.Header {
	h := http.Header{}
	h.Set("Content-Type", kind)
	h.Set("Request-Id", "req_018EeWyXxfu5pfWkrYcMdjWG")
	return h
}
