package tool

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lighterman/lighterman"
)

// Func makes a tool of a typed function. In is a struct (or a map with string
// keys): its fields are the arguments, named and described by `json` and
// `jsonschema:"description=..."` tags, and required unless the json tag says
// omitempty or omitzero. Arguments that lack a required field, hold an unknown
// one or do not fit a type never reach fn; the model is told what is wrong.
//
// Func panics for an In that has no schema: one with a function or channel in
// it, or one that contains itself. Such a tool is added with its own schema.
func Func[In, Out any](name, description string, fn func(ctx context.Context, call lighterman.ToolCall, in In) (Out, error)) (lighterman.Tool, Handler) {
	parameters, required := schemaOf[In](name)
	t := lighterman.Tool{Name: name, Description: description, Parameters: parameters}
	return t, func(ctx context.Context, call lighterman.ToolCall) (any, error) {
		var in In
		if err := decode(call.Arguments, &in, required); err != nil {
			return nil, fmt.Errorf("bad arguments: %w", err)
		}
		return fn(ctx, call, in)
	}
}

// decode reads a call's arguments. Models are let off two habits: to send
// nothing or null where there is nothing to say, and to quote the object.
func decode(arguments json.RawMessage, in any, required []string) error {
	arguments = bytes.TrimSpace(arguments)
	if len(arguments) > 0 && arguments[0] == '"' {
		var quoted string
		if err := json.Unmarshal(arguments, &quoted); err != nil {
			return plain(err)
		}
		arguments = bytes.TrimSpace([]byte(quoted))
	}
	if len(arguments) == 0 || string(arguments) == "null" {
		arguments = json.RawMessage("{}")
	}
	var given map[string]json.RawMessage
	if err := json.Unmarshal(arguments, &given); err != nil {
		return plain(err)
	}
	missing := slices.DeleteFunc(slices.Clone(required), func(name string) bool { _, ok := given[name]; return ok })
	if len(missing) > 0 {
		return errors.New("missing " + strings.Join(missing, ", "))
	}
	d := json.NewDecoder(bytes.NewReader(arguments))
	d.DisallowUnknownFields()
	return plain(d.Decode(in))
}

// plain words a decoding error for a model, which knows nothing of Go's types.
func plain(err error) error {
	var kind *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &kind) && kind.Field == "":
		return fmt.Errorf("want a JSON object, got %s", article(kind.Value))
	case errors.As(err, &kind):
		return fmt.Errorf("%s cannot be %s", kind.Field, article(kind.Value))
	default:
		return errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
}

func article(noun string) string {
	if strings.HasPrefix(noun, "array") || strings.HasPrefix(noun, "object") {
		return "an " + noun
	}
	return "a " + noun
}
