package provider

import (
	"context"
	"net/http"
	"time"

	lm "github.com/lighterman/lighterman"
)

// API is one model API on one backend. Its methods may be called concurrently, ask
// once and end when ctx does; their errors are *lighterman.Error.
type API interface {
	// Call makes one chat, prompt or embed call of the model that Call.Model names
	// as the backend does. Where Call.Stream is set the answer is streamed into it;
	// the Answer is the same either way. A stream that ends without its terminal
	// marker is StreamInterrupted.
	Call(ctx context.Context, call lm.Call) (lm.Answer, error)
	// List is what the backend offers.
	List(ctx context.Context) ([]lm.Offering, error)
	// Probe reports whether the backend answers and takes the credential, as
	// cheaply as the API allows.
	Probe(ctx context.Context) error
}

// Options are what every adapter takes. The zero value is the API's own address
// without a credential.
type Options struct {
	BaseURL   string            // empty: the API's own
	Key       lm.Secret         // the credential; empty: none is sent
	Header    map[string]string // sent with every request beside the API's own
	Timeouts  Timeouts
	Transport http.RoundTripper // beneath the time-outs; nil: one with a connection pool of its own
}

// Timeouts of one attempt; zero fields mean the defaults.
type Timeouts struct {
	Connect   time.Duration // 5 s
	FirstByte time.Duration // of a stream's answer, 60 s; a call without a stream has Total
	Idle      time.Duration // between two reads of a stream, 60 s
	Reasoning time.Duration // the same for a model that reasons before it answers, 120 s
	Total     time.Duration // where the call names none, 10 min
	List      time.Duration // of List and Probe, 10 s
}

// Filled is t with the defaults in place of zeros.
func (t Timeouts) Filled() Timeouts {
	for _, f := range []struct {
		value *time.Duration
		usual time.Duration
	}{
		{&t.Connect, 5 * time.Second}, {&t.FirstByte, time.Minute}, {&t.Idle, time.Minute},
		{&t.Reasoning, 2 * time.Minute}, {&t.Total, 10 * time.Minute}, {&t.List, 10 * time.Second},
	} {
		if *f.value <= 0 {
			*f.value = f.usual
		}
	}
	return t
}

// Attempt gives ctx the time of one call: the call's own, else the total.
func (t Timeouts) Attempt(ctx context.Context, call *lm.Call) (context.Context, context.CancelFunc) {
	total := t.Filled().Total
	if call.Timeout > 0 {
		total = call.Timeout
	}
	return context.WithTimeout(ctx, total)
}
