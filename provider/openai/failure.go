package openai

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
)

// refused says what an error answer means.
func (x *exchange) refused(body []byte) *lm.Error {
	s := signals(body)
	s.Status, s.Header = x.Status, x.Header
	return x.classify(s)
}

// versioned is a path with a version in it, as all APIs of the family have: /v1,
// /api/v1, /v1beta/openai, /openai/deployments/NAME.
var versioned = regexp.MustCompile(`/v[0-9][a-z0-9]*(/|$)|/openai(/|$)`)

// located tells the address that answered 404 without a word about a model or field.
// Where its base has no version it is no such API: no later try of a call there will
// do better, and a person must mend base_url.
func (x *exchange) located(e *lm.Error, at *url.URL) *lm.Error {
	if x.Status != http.StatusNotFound || e.Kind != lm.ProviderFailed {
		return e
	}
	where := provider.Redact(at.Scheme+"://"+at.Host+at.Path, nil, "", x.api.key.Reveal())
	if versioned.MatchString(x.api.base.Path) {
		return &lm.Error{Kind: e.Kind, RetryAfter: e.RetryAfter, Err: fmt.Errorf("%w at %s", e.Err, where)}
	}
	kind := e.Kind
	if x.call != nil {
		kind = lm.ModelNotFound
	}
	return &lm.Error{Kind: kind, Err: fmt.Errorf("HTTP 404 at %s: does base_url lack /v1?", where)}
}

// classify redacts and classifies. A numeric code beside HTTP 200 is the status that
// would have been, had the answer not begun.
func (x *exchange) classify(s provider.Signals) *lm.Error {
	if code, err := strconv.Atoi(s.Code); err == nil && code >= 100 && code < 600 {
		if s.Code = ""; s.Status < 400 {
			s.Status = code
		}
	}
	model := ""
	if x.call != nil {
		model = x.call.Model
	}
	s.Message = provider.Redact(s.Message, x.body, model, x.api.key.Reveal())
	s.Code, s.Type = provider.Redact(s.Code, x.body, model, x.api.key.Reveal()), provider.Redact(s.Type, x.body, model, x.api.key.Reveal())
	return provider.Classify(s)
}

// signals reads an error body in all forms that the family has: an object or a text
// in error, the fields at the top, FastAPI's detail, a list of one, or no JSON.
func signals(body []byte) provider.Signals {
	body = bytes.TrimSpace(body)
	if len(body) == 0 || body[0] == '<' { // a gateway's page
		return provider.Signals{}
	}
	if body[0] == '[' {
		var list []json.RawMessage
		if json.Unmarshal(body, &list) == nil && len(list) > 0 {
			body = list[0]
		}
	}
	var w struct {
		Error json.RawMessage `json:"error"`
	}
	if json.Unmarshal(body, &w) != nil {
		return provider.Signals{Message: string(body)}
	}
	if len(w.Error) > 0 && string(w.Error) != "null" {
		body = w.Error
	}
	return errorObject(body)
}

// errorObject reads what error holds.
func errorObject(raw json.RawMessage) provider.Signals {
	var message string
	if json.Unmarshal(raw, &message) == nil {
		return provider.Signals{Message: message}
	}
	var e struct {
		Message json.RawMessage `json:"message"`
		Detail  json.RawMessage `json:"detail"`
		Type    any             `json:"type"`
		Code    any             `json:"code"`
		Param   any             `json:"param"`
	}
	if json.Unmarshal(raw, &e) != nil {
		return provider.Signals{}
	}
	s := provider.Signals{Type: word(e.Type), Code: word(e.Code), Param: word(e.Param)}
	for _, told := range []json.RawMessage{e.Message, e.Detail} {
		if s.Message == "" {
			s.Message = detail(told)
		}
	}
	return s
}

// word is a code as a text: vendors write texts, numbers and null.
func word(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return ""
}

// detail is a message: a text, or what FastAPI found wrong, of which the place and
// the reason are told and never the input.
func detail(raw json.RawMessage) string {
	var text string
	if len(raw) == 0 || json.Unmarshal(raw, &text) == nil {
		return text
	}
	var nested struct {
		Detail json.RawMessage `json:"detail"`
	}
	if json.Unmarshal(raw, &nested) == nil && len(nested.Detail) > 0 {
		return detail(nested.Detail)
	}
	var list []struct {
		Place  []any  `json:"loc"`
		Reason string `json:"msg"`
	}
	if json.Unmarshal(raw, &list) != nil {
		return ""
	}
	var out []string
	for _, one := range list {
		out = append(out, strings.Trim(fmt.Sprint(one.Place), "[]")+": "+one.Reason)
	}
	return strings.Join(out, "; ")
}
