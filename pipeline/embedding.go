package pipeline

import (
	"bytes"
	"encoding/json"
	"strconv"

	lm "github.com/lighterman/lighterman"
)

// The bounds of an embedding.
const (
	maxInputs = 1 << 14 // of one operation
	// batchInput bounds the input of one call. OpenAI takes 300,000 tokens a request;
	// 512 KiB are 260,000 at two bytes a token, the least that a text or a list of
	// token numbers spends on one.
	batchInput = 512 << 10
	// maxEmbedding bounds a result: OpenAI's longest list, 2,048 vectors of 1,536 floats,
	// is 39 MB in decimal and 17 MB in base64.
	maxEmbedding = 48 << 20
)

// embeddings is an OpenAI embeddings body, opened.
type embeddings struct {
	fields map[string]json.RawMessage
	inputs []json.RawMessage // nil: one that is no list of several
}

// openEmbeddings reads a body as far as batches need. Errors are of kind
// InvalidRequest and quote nothing.
func openEmbeddings(body json.RawMessage) (*embeddings, error) {
	e := &embeddings{}
	if err := json.Unmarshal(body, &e.fields); err != nil || e.fields == nil {
		return nil, lm.Errorf(lm.InvalidRequest, `body: want an embeddings object: {"input": [...]}`)
	}
	const want = "want a text, a list of texts, a list of token numbers, or a list of such lists"
	input := e.fields["input"]
	switch first(input) {
	case 0, 'n':
		return nil, lm.Errorf(lm.InvalidRequest, "body.input: missing; %s", want)
	case '"':
		return e, filled(input, "body.input")
	case '[':
	default:
		return nil, lm.Errorf(lm.InvalidRequest, "body.input: %s", want)
	}
	var list []json.RawMessage
	if err := json.Unmarshal(input, &list); err != nil || len(list) == 0 {
		return nil, lm.Errorf(lm.InvalidRequest, "body.input: empty; %s", want)
	}
	if isNumber(list[0]) {
		return e, numbers(list, "body.input")
	}
	for i, item := range list {
		path := "body.input[" + strconv.Itoa(i) + "]"
		if err := validInput(item, path, first(list[0])); err != nil {
			return nil, err
		}
	}
	if len(list) > maxInputs {
		return nil, lm.Errorf(lm.InvalidRequest, "body.input: %d inputs, at most %d in one operation", len(list), maxInputs)
	}
	e.inputs = list
	return e, nil
}

// validInput checks one of several inputs, which begin alike.
func validInput(item json.RawMessage, path string, like byte) error {
	switch {
	case first(item) == '"' && like == '"':
		return filled(item, path)
	case first(item) == '[' && like == '[':
		var list []json.RawMessage
		if err := json.Unmarshal(item, &list); err != nil || len(list) == 0 {
			return lm.Errorf(lm.InvalidRequest, "%s: empty; want token numbers", path)
		}
		return numbers(list, path)
	case like == '"':
		return lm.Errorf(lm.InvalidRequest, "%s: want a text, as the first one is", path)
	case like == '[':
		return lm.Errorf(lm.InvalidRequest, "%s: want a list of token numbers, as the first one is", path)
	}
	return lm.Errorf(lm.InvalidRequest, "%s: want a text or a list of token numbers", path)
}

func filled(text json.RawMessage, path string) error {
	if len(text) == len(`""`) {
		return lm.Errorf(lm.InvalidRequest, "%s: an empty text; want one with something in it", path)
	}
	return nil
}

func numbers(list []json.RawMessage, path string) error {
	for i, n := range list {
		if !isNumber(n) {
			return lm.Errorf(lm.InvalidRequest, "%s[%d]: want a token number, as those before it are", path, i)
		}
	}
	return nil
}

// isNumber reports whether a JSON value is a token number.
func isNumber(v json.RawMessage) bool {
	for _, c := range v {
		if c < '0' || c > '9' {
			return false
		}
	}
	return len(v) > 0
}

// first is the byte that tells a JSON value's type; 0 where there is none.
func first(v json.RawMessage) byte {
	if len(v) == 0 {
		return 0
	}
	return v[0]
}

// split cuts the inputs into batches: of at most so many inputs, and so many bytes
// where one input alone has no more. Each ends where the next begins; the same body
// and size give the same ones.
func (e *embeddings) split(most int) (ends []int) {
	n, bytes := 0, 0
	for i, input := range e.inputs {
		if n > 0 && (n == most || bytes+len(input) > batchInput) {
			ends = append(ends, i)
			n, bytes = 0, 0
		}
		n++
		bytes += len(input)
	}
	return append(ends, len(e.inputs))
}

// body is the body of the call for some of the inputs; all other fields stay as they
// came.
func (e *embeddings) body(from, to int) (json.RawMessage, error) {
	fields := make(map[string]json.RawMessage, len(e.fields))
	for name, value := range e.fields {
		fields[name] = value
	}
	fields["input"] = append(append([]byte{'['}, bytes.Join(raws(e.inputs[from:to]), []byte{','})...), ']')
	return compact(fields)
}

func raws(list []json.RawMessage) [][]byte {
	out := make([][]byte, len(list))
	for i := range list {
		out[i] = list[i]
	}
	return out
}

// compact writes a JSON value without changing a byte of what is in it but the space
// between.
func compact(v any) (json.RawMessage, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'}), nil
}

// vectors are the answer to one batch, as they are saved: the elements of the
// result's list, numbered and joined.
type vectors struct {
	Model  string          `json:"model"`           // the member that answered
	Named  json.RawMessage `json:"named,omitempty"` // as it calls itself
	Prompt int64           `json:"prompt"`          // tokens
	Total  int64           `json:"total"`
	Usage  lm.Usage        `json:"usage"`
	Route  []string        `json:"route,omitempty"`
	Items  json.RawMessage `json:"items"` // the list's elements as a list
}

// newVectors reads a batch's answer, whose first input has a number in the whole.
// One that does not answer each input once is the provider's failure.
func newVectors(answer *lm.Answer, from, n int) (*vectors, error) {
	var list struct {
		Model json.RawMessage `json:"model"`
		Data  []struct {
			Index     int             `json:"index"`
			Embedding json.RawMessage `json:"embedding"`
		} `json:"data"`
		Usage struct {
			Prompt int64 `json:"prompt_tokens"`
			Total  int64 `json:"total_tokens"`
		} `json:"usage"`
	}
	if err := json.Unmarshal(answer.Body, &list); err != nil {
		return nil, lm.Errorf(lm.ProviderFailed, "embed: the answer is no embedding list")
	}
	if len(list.Data) != n {
		return nil, lm.Errorf(lm.ProviderFailed, "embed: %d vectors for %d inputs", len(list.Data), n)
	}
	order := make([]json.RawMessage, n)
	size := 2
	for _, d := range list.Data {
		if d.Index < 0 || d.Index >= n || order[d.Index] != nil || first(d.Embedding) != '[' && first(d.Embedding) != '"' {
			return nil, lm.Errorf(lm.ProviderFailed, "embed: the vectors of the answer are not numbered 0 to %d", n-1)
		}
		order[d.Index] = d.Embedding
		size += len(d.Embedding) + 64
	}
	items := bytes.NewBuffer(append(make([]byte, 0, size), '['))
	for i, vector := range order {
		if i > 0 {
			items.WriteByte(',')
		}
		items.WriteString(`{"object":"embedding","index":`)
		items.WriteString(strconv.Itoa(from + i))
		items.WriteString(`,"embedding":`)
		_ = json.Compact(items, vector) // cannot fail: it was read as JSON. OpenAI puts each number on a line
		items.WriteByte('}')
	}
	items.WriteByte(']')
	return &vectors{
		Model: answer.Model, Named: list.Model, Prompt: list.Usage.Prompt, Total: list.Usage.Total,
		Usage: answer.Usage, Route: answer.Route, Items: items.Bytes(),
	}, nil
}

// joined is the whole result.
func joined(batches []*vectors) json.RawMessage {
	size, prompt, total := 256, int64(0), int64(0)
	for _, v := range batches {
		size += len(v.Items)
		prompt += v.Prompt
		total += v.Total
	}
	b := append(make([]byte, 0, size), `{"object":"list","data":[`...)
	for i, v := range batches {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, v.Items[1:len(v.Items)-1]...)
	}
	b = append(b, ']')
	if named := batches[0].Named; len(named) > 0 {
		b = append(append(b, `,"model":`...), named...)
	}
	b = append(b, `,"usage":{"prompt_tokens":`...)
	b = strconv.AppendInt(b, prompt, 10)
	b = append(b, `,"total_tokens":`...)
	b = strconv.AppendInt(b, total, 10)
	return append(b, "}}"...)
}
