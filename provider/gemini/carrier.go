package gemini

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
)

// flow is one request and what came of it. The carrier writes it while the request
// runs; it is read after.
type flow struct {
	provider.Exchange
	keep bool // set before: whole is wanted

	whole  []byte // the answer
	token  string // that it was sent with, to be kept out of texts
	broken error  // the network's, in the middle of a stream
	stray  []byte // what a stream held beside its events: an error, most often
}

type flowKey struct{}

// watch gives the context of the request that f is about.
func (f *flow) watch(ctx context.Context) context.Context {
	return context.WithValue(provider.Watch(ctx, &f.Exchange), flowKey{}, f)
}

// errStray is a stream with something in it that is no event.
var errStray = errors.New("the stream holds what is no event")

// ended is why a stream ended that the SDK saw end well.
func (f *flow) ended(ctx context.Context) error {
	switch {
	case f.stray != nil:
		return errStray
	case f.broken != nil:
		return f.broken
	}
	return ctx.Err()
}

// carrier is the transport beneath the SDK: it puts the credential on requests, and
// gives streams to the SDK in whole events only.
type carrier struct {
	base  http.RoundTripper
	key   lm.Secret
	token func(context.Context) (credential, error) // nil: a key opens the API
}

// RoundTrip satisfies http.RoundTripper.
func (c *carrier) RoundTrip(r *http.Request) (*http.Response, error) {
	f, _ := r.Context().Value(flowKey{}).(*flow)
	if f == nil {
		f = new(flow)
	}
	r = r.Clone(r.Context())
	r.Header.Del("X-Goog-Api-Key") // the placeholder
	if c.key != "" {
		r.Header.Set("X-Goog-Api-Key", c.key.Reveal())
	}
	if c.token != nil {
		opened, err := c.token(r.Context())
		if err != nil {
			return nil, err
		}
		f.token = opened.token
		r.Header.Set("Authorization", "Bearer "+opened.token)
		if opened.quota != "" {
			r.Header.Set("X-Goog-User-Project", opened.quota)
		}
	}
	resp, err := c.base.RoundTrip(r)
	if err != nil || resp.StatusCode >= http.StatusMultipleChoices {
		return resp, err
	}
	switch {
	case f.Streaming:
		resp.Body = &events{body: resp.Body, lines: bufio.NewReaderSize(&provider.EventLines{From: resp.Body}, 16<<10), flow: f}
	case f.keep:
		f.whole, err = io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			return nil, err
		}
		resp.Body = io.NopCloser(bytes.NewReader(f.whole))
	}
	return resp, nil
}

// events is a stream's body as the SDK can read it: "data: JSON" and a blank line
// each, and nothing else. An event without its blank line is not given on, because
// a stream cut there is no whole one. Errors end it like its end and are kept in the
// flow: the SDK would log them.
type events struct {
	body  io.Closer
	lines *bufio.Reader
	flow  *flow
	event []byte // being read
	ready []byte // of it, not yet taken
	done  bool
}

// Read satisfies io.Reader.
func (e *events) Read(p []byte) (int, error) {
	for len(e.ready) == 0 {
		if e.done {
			return 0, io.EOF
		}
		e.next()
	}
	n := copy(p, e.ready)
	e.ready = e.ready[n:]
	return n, nil
}

// Close satisfies io.Closer. It tells of no error: the SDK would log it.
func (e *events) Close() error {
	e.body.Close()
	return nil
}

var (
	dataField = []byte("data:")
	oneBlank  = []byte(" ")
	doneMark  = []byte("[DONE]") // of gateways that write OpenAI's
)

// next reads up to the end of an event.
func (e *events) next() {
	e.event = append(e.event[:0], "data: "...)
	for {
		from := len(e.event)
		err := e.line()
		line := bytes.TrimRight(e.event[from:], "\r\n")
		if err != nil {
			e.done = true
			if !errors.Is(err, io.EOF) {
				e.flow.broken = err
			} else if len(line) > 0 && (e.flow.stray != nil || !field(line)) {
				e.flow.stray = append(e.flow.stray, line...)
			}
			return
		}
		switch {
		case len(line) == 0:
			if data := bytes.TrimSpace(e.event[len("data: "):from]); len(data) > 0 && !bytes.Equal(data, doneMark) {
				e.event = append(e.event[:from], "\n\n"...)
				e.ready = e.event
				return
			}
			e.event = e.event[:len("data: ")]
		case bytes.HasPrefix(line, dataField):
			kept := copy(e.event[from:], bytes.TrimPrefix(line[len(dataField):], oneBlank))
			e.event = e.event[:from+kept]
		default:
			if !field(line) || e.flow.stray != nil {
				e.flow.stray = append(append(e.flow.stray, line...), '\n')
			}
			e.event = e.event[:from]
		}
	}
}

// line appends the next line to the event.
func (e *events) line() error {
	for {
		piece, err := e.lines.ReadSlice('\n')
		e.event = append(e.event, piece...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return err
		}
	}
}

// field reports whether a line is one of an event stream, or the beginning of one: a
// comment or another field than data.
func field(line []byte) bool {
	for _, name := range []string{":", "data:", "event:", "id:", "retry:"} {
		if bytes.HasPrefix(line, []byte(name)) || bytes.HasPrefix([]byte(name), line) {
			return true
		}
	}
	return false
}
