package providertest

import (
	"net/http"
	"time"

	lm "github.com/lighterman/lighterman"
)

// Format is one vendor's wire format. A Format has no state.
type Format interface {
	Name() string
	// Read says what a request asks for. Error: it is none of this API, and what is
	// wrong with it; the server answers 404 and remembers it.
	Read(r *http.Request, body []byte) (Asked, error)
	// Whole is a good answer that is not streamed.
	Whole(a Asked, r Reply) Response
	// Stream is the same answer streamed, in the pieces in which the vendor sends
	// it. Exactly one piece is Terminal: a stream cut before the end of that piece
	// was interrupted, one cut behind it was not.
	Stream(a Asked, r Reply) []Piece
	// List is the answer to a listing or, where a.Kind is probe, to a probe.
	List(a Asked, offerings []lm.Offering) Response
	// Errors are the vendor's error answers, at least one for each kind that it can
	// say, with every form of Retry-After that it has.
	Errors() []ErrorCase
	// Faults are streams that begin well, with HTTP 200, and then say that something
	// is wrong.
	Faults(a Asked) []FaultCase
}

// Asked is what a request asks for, whatever the format.
type Asked struct {
	Kind     string // chat, prompt, embed, list or probe
	Model    string
	Stream   bool
	Messages int    // how many there are
	Question string // the last user message's text
	System   string
	Images   int
	Tools    []string // names of the declared ones
	Results  []string // of tools, in order
	Inputs   []string // of an embed call
	Max      int      // tokens of output; 0: not said
	Key      string   // the credential that came
	Path     string   // of the URL; the server sets it
}

// Reply is what a model says.
type Reply struct {
	Text      string
	Reasoning string
	ToolCalls []lm.ToolCall // ID, Name, Arguments
	Finish    string        // stop, length, tool_calls, content_filter; empty: what follows from the rest
	Usage     lm.Usage
	Vectors   [][]float32
}

// Response is an HTTP answer. Status 0 is 200.
type Response struct {
	Status int
	Header http.Header
	Body   string
}

// Piece is one write of a stream.
type Piece struct {
	Data     string
	Terminal bool
}

// ErrorCase is an error answer and what it means.
type ErrorCase struct {
	Name string // what happened, and where the body is from: "429 rate limit (docs)"
	Response
	Kind       lm.Kind
	RetryAfter time.Duration // to be read off it, within a second; 0: none
}

// FaultCase is a stream with HTTP 200 that goes wrong.
type FaultCase struct {
	Name   string
	Pieces []Piece
	Kind   lm.Kind
}
