package sim

import (
	"math"
	"strconv"
	"time"

	"github.com/lighterman/lighterman"
)

// encode writes a reply as OpenAI does: a chat.completion, a text_completion or
// an embedding list. The completion's ID is made of the call's key, so a repeat
// has the same one. A token counts as four bytes of input or one word of output.
func encode(model string, c *lighterman.Call, r *request, reply *Reply) lighterman.Answer {
	usage := lighterman.Usage{Calls: 1, Input: int64(r.size+3) / 4, Cached: int64(r.cached) / 4}
	seed := hash(c.Key)
	if c.Key == "" {
		seed = hash(c.Body)
	}
	var b []byte
	switch r.kind {
	case embed:
		b = appendEmbeddings(make([]byte, 0, 128+160*len(r.inputs)), model, r.inputs)
		b = append(b, `,"usage":{"prompt_tokens":`...)
		b = strconv.AppendInt(b, usage.Input, 10)
		b = append(b, `,"total_tokens":`...)
		b = strconv.AppendInt(b, usage.Input, 10)
		return lighterman.Answer{Body: append(b, "}}"...), Usage: usage, Model: model}
	case prompt:
		usage.Output = int64(countTokens(reply.Text))
		b = make([]byte, 0, 320+len(model)+len(reply.Text))
		b = appendHead(b, "cmpl-", "text_completion", model, seed)
		b = append(b, `,"choices":[{"text":`...)
		b = appendString(b, reply.Text)
		b = append(b, `,"index":0,"logprobs":null,"finish_reason":"stop"}]`...)
	default:
		usage.Output = int64(countTokens(reply.Text) + 8*len(reply.ToolCalls))
		b = make([]byte, 0, 384+len(model)+len(reply.Text)+192*len(reply.ToolCalls))
		b = appendHead(b, "chatcmpl-", "chat.completion", model, seed)
		b = append(b, `,"choices":[{"index":0,"message":`...)
		b = appendMessage(b, reply, seed, r.rounds)
		b = append(b, `}]`...)
	}
	b = appendUsage(b, usage)
	return lighterman.Answer{Body: append(b, '}'), Usage: usage, Model: model}
}

func appendHead(b []byte, prefix, object, model string, seed uint64) []byte {
	b = append(b, `{"id":"`...)
	b = append(b, prefix...)
	b = appendHex(b, seed)
	b = append(b, `","object":"`...)
	b = append(b, object...)
	b = append(b, `","created":`...)
	b = strconv.AppendInt(b, time.Now().Unix(), 10)
	b = append(b, `,"model":`...)
	return appendString(b, model)
}

// appendMessage writes the message and the reason for which it ended.
func appendMessage(b []byte, reply *Reply, seed uint64, round int) []byte {
	b = append(b, `{"role":"assistant","content":`...)
	if reply.Text == "" && len(reply.ToolCalls) > 0 {
		b = append(b, `null`...)
	} else {
		b = appendString(b, reply.Text)
	}
	b = append(b, `,"refusal":null`...)
	if len(reply.ToolCalls) == 0 {
		return append(b, `},"logprobs":null,"finish_reason":"stop"`...)
	}
	for i := range reply.ToolCalls {
		b = append(b, [...]string{`,"tool_calls":[`, `,`}[min(i, 1)]...)
		b = appendToolCall(b, &reply.ToolCalls[i], seed, round, i)
	}
	return append(b, `]},"logprobs":null,"finish_reason":"tool_calls"`...)
}

// appendToolCall writes one tool call. An ID left empty is made of the key, the
// round and the position.
func appendToolCall(b []byte, call *lighterman.ToolCall, seed uint64, round, i int) []byte {
	b = append(b, `{"id":`...)
	if call.ID != "" {
		b = appendString(b, call.ID)
	} else {
		b = append(b, `"call_`...)
		b = appendHex(b, mix(seed+uint64(round)<<32+uint64(i)))
		b = append(b, '"')
	}
	b = append(b, `,"type":"function","function":{"name":`...)
	b = appendString(b, call.Name)
	b = append(b, `,"arguments":`...)
	args := string(call.Arguments)
	if args == "" {
		args = "{}"
	}
	return append(appendString(b, args), "}}"...)
}

func appendUsage(b []byte, u lighterman.Usage) []byte {
	b = append(b, `,"usage":{"prompt_tokens":`...)
	b = strconv.AppendInt(b, u.Input, 10)
	b = append(b, `,"completion_tokens":`...)
	b = strconv.AppendInt(b, u.Output, 10)
	b = append(b, `,"total_tokens":`...)
	b = strconv.AppendInt(b, u.Input+u.Output, 10)
	if u.Cached > 0 {
		b = append(b, `,"prompt_tokens_details":{"cached_tokens":`...)
		b = strconv.AppendInt(b, u.Cached, 10)
		b = append(b, '}')
	}
	return append(b, '}')
}

// appendEmbeddings writes a list without its usage and end.
func appendEmbeddings(b []byte, model string, inputs []value) []byte {
	b = append(b, `{"object":"list","data":[`...)
	for i, input := range inputs {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"object":"embedding","index":`...)
		b = strconv.AppendInt(b, int64(i), 10)
		b = append(b, `,"embedding":[`...)
		for j, x := range vector(input) {
			if j > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendFloat(b, x, 'f', 6, 64)
		}
		b = append(b, `]}`...)
	}
	b = append(b, `],"model":`...)
	return appendString(b, model)
}

// vector is a text's embedding: 8 numbers of its hash, scaled to length 1.
// Equal texts have equal vectors, and that is all that they say.
func vector(input value) (v [8]float64) {
	seed := hash(input.text())
	if !input.is('"') {
		seed = hash(input)
	}
	norm := 0.0
	for i := range v {
		seed += 0x9e3779b97f4a7c15
		v[i] = float64(mix(seed)>>11)/(1<<52) - 1
		norm += v[i] * v[i]
	}
	for i := range v {
		v[i] /= math.Sqrt(norm)
	}
	return v
}

// appendHex writes 16 hex digits.
func appendHex(b []byte, x uint64) []byte {
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, hexDigits[x>>shift&15])
	}
	return b
}
