package anthropic_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
	"github.com/lighterman/lighterman/provider/anthropic"
)

// canned answers every request with the same bytes, without a network: what is left
// is the adapter and the SDK.
type canned struct{ answer []byte }

func (c canned) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
	}
	return &http.Response{
		StatusCode: http.StatusOK, Request: r, ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"text/event-stream"}}, Body: io.NopCloser(newBody(c.answer)),
	}, nil
}

// newBody gives what a socket would: a few kilobytes at a time.
func newBody(b []byte) io.Reader { return &small{b} }

type small struct{ left []byte }

func (s *small) Read(p []byte) (int, error) {
	if len(s.left) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), 4096)], s.left)
	s.left = s.left[n:]
	return n, nil
}

const tokens = 1000

func manyTokens() []byte {
	all := []string{begins, `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`}
	for range tokens {
		all = append(all, `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" token"}}`)
	}
	all = append(all, `{"type":"content_block_stop","index":0}`, ends("end_turn"), stops)
	var out []byte
	for _, p := range pieces(all...) {
		out = append(out, p.Data...)
	}
	return out
}

func benchCall(b *testing.B, api provider.API) {
	b.Helper()
	n := 0
	call := lm.Call{Kind: "chat", Model: "claude-opus-5", Body: json.RawMessage(`{` + question + `}`), Stream: func(lm.Frame) { n++ }}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := api.Call(context.Background(), call); err != nil {
			b.Fatal(err)
		}
	}
	if n < tokens*b.N {
		b.Fatalf("%d frames", n)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/tokens, "ns/token")
}

// One call whose answer has 1000 tokens; ns/token is what each of them costs us, the
// call's fixed part spread over them.
func BenchmarkCall_StreamOf1000Tokens(b *testing.B) {
	api, err := anthropic.Open(anthropic.Options{Options: provider.Options{Key: "k", Transport: canned{manyTokens()}}})
	if err != nil {
		b.Fatal(err)
	}
	benchCall(b, api)
}

// The same over a socket of this machine, whose cost it includes.
func BenchmarkCall_StreamOf1000TokensOverASocket(b *testing.B) {
	answer := manyTokens()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = w.Write(answer)
	}))
	defer server.Close()
	benchCall(b, open(b, &fake{Server: server}, nil))
}
