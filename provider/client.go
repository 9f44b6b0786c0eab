package provider

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	lm "github.com/lighterman/lighterman"
)

// Bounds of what is read of an API.
const (
	maxErrorBody = 64 << 10
	// MaxAnswer is the most bytes of one answer, streamed or not, that are read.
	MaxAnswer = 64 << 20
)

// Why an attempt ended without its answer.
var (
	errFirstByte = errors.New("no first byte in time")
	errIdle      = errors.New("the stream fell silent")
	errTooLarge  = errors.New("the answer is larger than 64 MiB")
)

// Exchange is what one HTTP exchange brought, for whoever asked through NewClient:
// SDKs hide parts of it. It is written while the request runs and read after.
type Exchange struct {
	Streaming bool // set before: first byte and idle time-outs hold
	Reasoning bool // set before: the idle time-out is the longer one

	Status int
	Header http.Header
	Body   []byte // of an answer that is an error, its first 64 KiB
}

type exchangeKey struct{}

// Watch gives the context of one request that fills e.
func Watch(ctx context.Context, e *Exchange) context.Context {
	return context.WithValue(ctx, exchangeKey{}, e)
}

// NewClient is the HTTP client of an adapter: it holds the time-outs, bounds what is
// read, and fills the Exchange of its request's context. It follows no redirects,
// because a credential would go with them.
func NewClient(o Options) *http.Client {
	t := o.Timeouts.Filled()
	base := o.Transport
	if base == nil {
		dialer := &net.Dialer{Timeout: t.Connect, KeepAlive: 30 * time.Second}
		base = &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, TLSHandshakeTimeout: t.Connect,
			ForceAttemptHTTP2: true, MaxIdleConns: 256, MaxIdleConnsPerHost: 64, IdleConnTimeout: 90 * time.Second,
		}
	}
	return &http.Client{
		Transport:     &wire{base: base, timeouts: t, header: o.Header, queues: Local(o.BaseURL)},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// wire is the transport beneath an adapter.
type wire struct {
	base     http.RoundTripper
	timeouts Timeouts
	header   map[string]string
	queues   bool         // the server takes few calls at a time, and the others wait there
	heard    atomic.Int64 // when it last sent anything of any answer, in Unix nanoseconds
}

// quiet is for how long a server that queues has sent nothing at all.
func (w *wire) quiet() time.Duration { return time.Since(time.Unix(0, w.heard.Load())) }

// RoundTrip satisfies http.RoundTripper.
func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	e, watched := r.Context().Value(exchangeKey{}).(*Exchange)
	if !watched {
		e = new(Exchange)
	}
	g := &guard{wire: w}
	g.ctx, g.cancel = context.WithCancelCause(r.Context())
	r = r.Clone(g.ctx)
	if err := own(r); err != nil {
		g.end()
		return nil, err
	}
	for name, value := range w.header {
		r.Header.Set(name, value)
	}
	if e.Streaming {
		g.timer = time.AfterFunc(time.Hour, g.late)
		g.timer.Reset(w.timeouts.FirstByte) // from here on: late reads the field
	}
	resp, err := w.base.RoundTrip(r)
	if err != nil {
		defer g.end()
		return nil, g.why(err)
	}
	e.Status, e.Header = resp.StatusCode, resp.Header
	if resp.StatusCode >= http.StatusBadRequest {
		e.Body, _ = io.ReadAll(io.LimitReader(resp.Body, maxErrorBody)) // what came of it is all there is to classify
		resp.Body.Close()
		g.end()
		resp.Body = io.NopCloser(bytes.NewReader(e.Body))
		return resp, nil
	}
	g.idle = w.timeouts.Idle
	if e.Reasoning {
		g.idle = w.timeouts.Reasoning
	}
	resp.Body = &guarded{ReadCloser: resp.Body, guard: g, left: MaxAnswer}
	return resp, nil
}

// own gives a request a body of its own where it cannot be read again: an SDK may
// close the one it brought as soon as the answer's head is there, while the transport
// still looks whether there is more of it, and then drops the connection.
func own(r *http.Request) error {
	if r.Body == nil || r.Body == http.NoBody || r.GetBody != nil {
		return nil
	}
	body, err := io.ReadAll(r.Body)
	r.Body.Close()
	if err != nil {
		return err
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return nil
}

// guard ends a request whose time is over.
type guard struct {
	wire   *wire
	ctx    context.Context // of the request
	cancel context.CancelCauseFunc
	timer  *time.Timer // nil: no stream
	idle   time.Duration
	began  atomic.Bool // bytes have come
}

// late ends the request: it is the timer's. One that nothing has come of goes on while a
// server that queues answers others: it waits for its turn there, and the time for the
// first byte counts from the last sign of life.
func (g *guard) late() {
	switch first := g.wire.timeouts.FirstByte; {
	case g.began.Load():
		g.cancel(errIdle)
	case g.wire.queues && g.wire.quiet() < first:
		g.timer.Reset(first - g.wire.quiet())
		if g.began.Load() { // meanwhile
			g.timer.Reset(g.idle)
		}
	default:
		g.cancel(errFirstByte)
	}
}

// why is the time-out that led to an error, else the error.
func (g *guard) why(err error) error {
	if cause := context.Cause(g.ctx); errors.Is(cause, errIdle) || errors.Is(cause, errFirstByte) {
		return cause
	}
	return err
}

// end frees the guard.
func (g *guard) end() {
	if g.timer != nil {
		g.timer.Stop()
	}
	g.cancel(nil)
}

// guarded is an answer's body: of a stream each read must bring something within
// the idle time, the first one within what is left for the first byte.
type guarded struct {
	io.ReadCloser
	guard *guard
	left  int64
}

func (b *guarded) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	switch {
	case b.left < 0:
		return 0, errTooLarge
	case err != nil:
		if err != io.EOF { //nolint:errorlint // io.Reader returns it bare
			err = b.guard.why(err)
		}
	case n > 0 && b.guard.timer != nil:
		if b.guard.wire.queues {
			b.guard.wire.heard.Store(time.Now().UnixNano())
		}
		b.guard.began.Store(true)
		b.guard.timer.Reset(b.guard.idle)
	}
	return n, err
}

// Close frees the time-outs; the request is over.
func (b *guarded) Close() error {
	b.guard.end()
	return b.ReadCloser.Close()
}

// Failure says in our kinds why a request did not bring its answer, where the API
// itself said nothing: the caller's context, a time-out, the network, or a body that
// ended or could not be read. begun: the answer had begun.
func Failure(ctx context.Context, err error, begun bool) *lm.Error {
	var network net.Error
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, context.DeadlineExceeded), errors.Is(err, errFirstByte), errors.Is(err, errIdle), errors.Is(err, context.DeadlineExceeded):
		return &lm.Error{Kind: lm.TimedOut, Err: plain(err, cause)}
	case cause != nil:
		return &lm.Error{Kind: lm.CallCancelled, Err: cause}
	case errors.Is(err, errTooLarge):
		return &lm.Error{Kind: lm.InvalidRequest, Err: errTooLarge}
	case begun:
		return &lm.Error{Kind: lm.StreamInterrupted, Err: plain(err, nil)}
	case errors.As(err, &network) && network.Timeout():
		return &lm.Error{Kind: lm.TimedOut, Err: plain(err, nil)}
	default:
		return &lm.Error{Kind: lm.ProviderFailed, Err: plain(err, nil)}
	}
}

// ErrTruncated is in the chain of the error of a stream that ended without its
// terminal marker.
var ErrTruncated = errors.New("the stream ended before its end")

// Truncated is the error of a stream that ended without its terminal marker.
func Truncated() *lm.Error { return &lm.Error{Kind: lm.StreamInterrupted, Err: ErrTruncated} }

// plain leaves the address, which may hold a credential, out of a network error.
func plain(err, cause error) error {
	for _, known := range []error{errFirstByte, errIdle} {
		if errors.Is(err, known) || errors.Is(cause, known) {
			return known
		}
	}
	if cause != nil {
		return cause
	}
	var op *net.OpError
	if errors.As(err, &op) {
		return op
	}
	var u interface{ Unwrap() error }
	if errors.As(err, &u) {
		if inner := u.Unwrap(); inner != nil {
			return inner
		}
	}
	return err
}
