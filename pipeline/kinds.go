package pipeline

import (
	"context"
	"encoding/json"
	"fmt"

	lm "github.com/lighterman/lighterman"
)

// chat is the built-in kind chat: the request's body through the model, and those of
// the worker's tools that its operator allows. The last answer is saved by the finishing write, so that a plain chat
// is four scripts in all.
func chat(ctx context.Context, op *Op) (any, error) {
	return op.converse(ctx, "", "", op.Request().Body, false, &callOptions{tools: toolRights{names: op.p.opts.ChatTools}})
}

// prompt is the built-in kind prompt: one call with the completions body as it is. A
// list of prompts goes as it is too and comes back as one answer with their choices,
// from a provider that takes lists; it is never split, because prompts that are
// operations of their own have each its own retries.
func prompt(ctx context.Context, op *Op) (any, error) {
	r := op.Request()
	answer, _, err := op.infer(ctx, utterance{name: "turn:1", kind: r.Kind}, r.Body)
	return answer, err
}

// encode makes a Func's return value the body of the result.
func encode(out any) (json.RawMessage, error) {
	switch v := out.(type) {
	case nil:
		return json.RawMessage("null"), nil
	case lm.Answer:
		return v.Body, nil
	case json.RawMessage:
		return valid(v)
	case []byte:
		return valid(v)
	default:
		return json.Marshal(v)
	}
}

func valid(b []byte) (json.RawMessage, error) {
	if !json.Valid(b) {
		return nil, fmt.Errorf("%d bytes that are not JSON; return a string for text", len(b))
	}
	return b, nil
}
