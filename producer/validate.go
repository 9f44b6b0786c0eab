package producer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	lm "github.com/lighterman/lighterman"
)

// validate reports everything that is wrong with a normalized request as one
// Error of kind InvalidRequest, and a model that nobody declares as one of kind
// UnknownModel. No models: they are not looked at.
func validate(req *lm.Request, models []string) error {
	problem := req.Validate()
	var b body
	if problem == nil && builtIn(req.Kind) {
		b, problem = readBody(req)
	}
	if problem != nil {
		return &lm.Error{Kind: lm.InvalidRequest, Err: problem}
	}
	model := req.Model
	if model == "" {
		model = b.Model
	}
	if model == "" || len(models) == 0 {
		return nil
	}
	if _, ok := slices.BinarySearch(models, model); !ok && !lm.HasModel(model, models) {
		return &lm.Error{Kind: lm.UnknownModel, Err: unknownModel(model, models)}
	}
	return nil
}

// builtIn reports whether a kind's body is an OpenAI request; another handler's
// body is its own.
func builtIn(kind string) bool { return kind == lm.DefaultKind || kind == "prompt" || kind == "embed" }

// body is what a producer looks at in an OpenAI request.
type body struct {
	Model    string `json:"model"`
	Messages filled `json:"messages"`
}

// filled is whether a JSON value is a list with something in it.
type filled bool

func (f *filled) UnmarshalJSON(b []byte) error {
	switch b[0] {
	case '[':
		*f = bytes.TrimLeft(b[1:], " \t\r\n")[0] != ']'
	case 'n': // null
	default:
		return errors.New("not a list")
	}
	return nil
}

func readBody(req *lm.Request) (body, error) {
	var b body
	if err := json.Unmarshal(req.Body, &b); err != nil {
		return b, fmt.Errorf(`body: want a JSON object for kind %s, with "model", if any, a string and "messages", if any, a list`, req.Kind)
	}
	if req.Kind == lm.DefaultKind && !b.Messages {
		return b, fmt.Errorf(`body: "messages" is missing or empty; kind chat needs at least one%s`, otherKind(req.Body))
	}
	return b, nil
}

// otherKind says which kind a body without messages looks like; empty: none.
func otherKind(body json.RawMessage) string {
	var is struct{ Input, Prompt json.RawMessage }
	switch err := json.Unmarshal(body, &is); {
	case err != nil:
		return ""
	case is.Input != nil:
		return `; a body with "input" is of kind embed`
	case is.Prompt != nil:
		return `; a body with "prompt" is of kind prompt`
	default:
		return ""
	}
}

// unknownModel names the model and what may have been meant.
func unknownModel(model string, models []string) error {
	const shown = 8
	hint := ""
	if near := lm.DidYouMean(model, models); near != "" {
		hint = "; did you mean " + near + "?"
	}
	list := strings.Join(models[:min(len(models), shown)], ", ")
	if len(models) > shown {
		list += ", ..."
	}
	return fmt.Errorf("%w %q%s (declared: %s)", ErrUnknownModel, model, hint, list)
}
