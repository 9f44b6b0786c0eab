package providertest

import (
	"fmt"
	"hash/fnv"
	"math"
	"strings"

	lm "github.com/lighterman/lighterman"
)

// DefaultReply is what the server's models say of themselves: the same for the same
// question in every format, so that results can be compared between providers.
func DefaultReply(a Asked) Reply {
	if a.Kind == "embed" {
		r := Reply{}
		for _, in := range a.Inputs {
			r.Vectors = append(r.Vectors, Vector(in))
			r.Usage.Input += int64(words(in))
		}
		return r
	}
	var b strings.Builder
	fmt.Fprintf(&b, "You said: %s", a.Question)
	if len(a.Results) > 0 {
		fmt.Fprintf(&b, " The tools said: %s", strings.Join(a.Results, "; "))
	}
	if a.Images > 0 {
		fmt.Fprintf(&b, " I see %d images.", a.Images)
	}
	r := Reply{Text: b.String()}
	r.Usage.Input = int64(words(a.System) + words(a.Question) + words(strings.Join(a.Results, " ")) + 4*a.Messages)
	r.Usage.Output = int64(words(r.Text))
	return r
}

// Vector is a text's embedding in 8 numbers of its hash, of length 1.
func Vector(text string) []float32 {
	v := make([]float32, 8)
	norm := 0.0
	for i := range v {
		h := fnv.New64a()
		fmt.Fprintf(h, "%d %s", i, text)
		v[i] = float32(h.Sum64()%2000)/1000 - 1
		norm += float64(v[i]) * float64(v[i])
	}
	for i := range v {
		v[i] /= float32(math.Sqrt(max(norm, 1e-9)))
	}
	return v
}

// DefaultOfferings are listed by a server that was given none.
func DefaultOfferings() []lm.Offering {
	return []lm.Offering{{Name: "alpha", Window: 128000}, {Name: "beta", Window: 8192}}
}

func words(text string) int { return len(strings.Fields(text)) }

// ended is a reply's finish reason as OpenAI says it.
func (r *Reply) ended() string {
	switch {
	case r.Finish != "":
		return r.Finish
	case len(r.ToolCalls) > 0:
		return "tool_calls"
	}
	return "stop"
}

// Split cuts a text into pieces of a word each, as models send it: joined they are
// the text. An empty text has none.
func Split(text string) []string {
	var pieces []string
	for text != "" {
		next := strings.IndexByte(text[1:], ' ') + 1
		if next == 0 {
			next = len(text)
		}
		pieces = append(pieces, text[:next])
		text = text[next:]
	}
	return pieces
}
