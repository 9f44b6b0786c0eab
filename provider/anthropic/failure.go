package anthropic

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
)

const maxErrorBody = 64 << 10

// exchange is one request with what is needed to say what became of it.
type exchange struct {
	provider.Exchange
	ctx   context.Context // ends with the attempt
	api   *API
	asked *request // nil: a listing
}

// wireError is an error as the API writes it, in bodies and in streams.
type wireError struct {
	Error struct {
		Type    string `json:"type"`
		Message string `json:"message"`
	} `json:"error"`
}

// failure says in our kinds why a request has no answer: what the API said, else what
// became of the connection.
func (x *exchange) failure(err error) error {
	if x.Status >= http.StatusBadRequest && context.Cause(x.ctx) == nil {
		return x.classify(x.Status, x.Body, false)
	}
	return x.network(err, false)
}

// refused looks at an answer that the SDK takes for a good one. Error: it is none, or
// no stream, as a proxy or a wrong address sends; nil: it is a stream.
func (x *exchange) refused(resp *http.Response) error {
	kind := resp.Header.Get("Content-Type")
	if r := bufio.NewReader(resp.Body); resp.StatusCode == http.StatusOK && strings.HasPrefix(kind, "application/json") {
		head, _ := r.Peek(provider.EventHead) // whoever reads on meets its error
		if resp.Body = (&peeked{Reader: r, Closer: resp.Body}); provider.IsEvents(head) {
			return nil
		}
	}
	if resp.StatusCode == http.StatusOK && !strings.HasPrefix(kind, "application/json") && !strings.HasPrefix(kind, "text/html") {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	if err != nil {
		return x.network(err, true)
	}
	status := resp.StatusCode
	if status == http.StatusOK {
		status = 0
	}
	var w wireError
	if json.Unmarshal(body, &w) == nil && w.Error.Type != "" {
		return x.classify(status, body, false)
	}
	return provider.Classify(provider.Signals{Status: status, Message: "the answer is no event stream; is this address an Anthropic API?"})
}

// peeked is a body whose beginning was looked at.
type peeked struct {
	io.Reader
	io.Closer
}

// broken is an error event of a stream.
func (x *exchange) broken(data []byte) error { return x.classify(0, data, true) }

func (x *exchange) classify(status int, body []byte, streaming bool) *lm.Error {
	var w wireError
	if json.Unmarshal(body, &w) != nil {
		w = wireError{} // a proxy's page, which tells nothing
	}
	var sent []byte
	var model string
	if x.asked != nil {
		sent, model = x.asked.body, x.asked.model
	}
	return provider.Classify(provider.Signals{
		Status: status, Type: known(w.Error.Type), Header: x.Header, Streaming: streaming,
		Message:    provider.Redact(w.Error.Message, sent, model, x.api.options.Key.Reveal()),
		RetryAfter: regained(w.Error.Message, time.Now()),
	})
}

// known is an error's type if it looks like one: it is told as it is.
func known(kind string) string {
	if len(kind) > 64 || strings.Trim(kind, "abcdefghijklmnopqrstuvwxyz_0123456789") != "" {
		return ""
	}
	return kind
}

// network is a failure of which the API said nothing.
func (x *exchange) network(err error, begun bool) *lm.Error {
	return provider.Failure(x.ctx, err, begun)
}

// access is how the API says when a spend limit ends: no header does.
var access = regexp.MustCompile(`regain access on (\d{4}-\d{2}-\d{2})(?: at (\d{2}:\d{2}) UTC)?`)

// regained is for how long a used-up spend limit lasts, zero where nothing is said.
func regained(message string, now time.Time) time.Duration {
	m := access.FindStringSubmatch(message)
	if m == nil {
		return 0
	}
	clock := m[2]
	if clock == "" {
		clock = "00:00"
	}
	at, err := time.Parse("2006-01-02 15:04", m[1]+" "+clock)
	if err != nil {
		return 0
	}
	return max(at.Sub(now), 0)
}
