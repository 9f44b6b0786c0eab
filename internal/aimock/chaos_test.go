package aimock_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/aimock"
	"github.com/lighterman/lighterman/provider"
)

// told are the formats whose error bodies the mock has right.
var told = []string{"openai", "azure", "openrouter", "anthropic"}

// slow is a text in pieces of 4 bytes, 10 ms apart, so that what is sent before a
// fault has arrived when it comes.
var slow = strings.Repeat("water and sand. ", 40)

// TestChaos has the mock fail its answers in every format: 429 and then 200, streams
// that are cut after some chunks or some time, connections that are closed before a
// byte, and HTTP 200 with no JSON. It prints the matrix with -v.
func TestChaos(t *testing.T) {
	content := map[string]any{"content": slow}
	limited := aimock.Fixture{Response: map[string]any{"status": 429, "retryAfter": 7, "error": map[string]string{
		"message": "Rate limit reached for requests", "type": "rate_limit_error", "code": "rate_limit_exceeded",
	}}}
	fixtures := []aimock.Fixture{
		{Match: aimock.Match{UserMessage: "cut after chunks"}, Response: content, ChunkSize: 4, Latency: 10, TruncateAfterChunks: 8},
		{Match: aimock.Match{UserMessage: "cut after a time"}, Response: content, ChunkSize: 4, Latency: 10, DisconnectAfterMilli: 500},
		{Match: aimock.Match{UserMessage: "all is well"}, Response: content, ChunkSize: 64},
	}
	for i := range 4 { // whole: 429, 200; streamed: 429, 200
		f := aimock.Fixture{Response: content}
		if i%2 == 0 {
			f = limited
		}
		f.Match = aimock.Match{UserMessage: "limited", SequenceIndex: &i}
		fixtures = append(fixtures, f)
	}
	m := begin(t, fixtures)
	m.each(t, "limited", limit)
	for _, question := range []string{"cut after chunks", "cut after a time"} {
		m.each(t, question, func(t *testing.T, f *format, api provider.API, _ string) { cut(t, f, api, question) })
	}
	for _, name := range []string{"disconnect", "malformed"} {
		m.header = map[string]string{"X-Aimock-Chaos-" + name: "1"}
		m.each(t, name, broken)
	}
	m.print(t)
}

// limit: the first answer is 429, the second one good.
func limit(t *testing.T, f *format, api provider.API, _ string) {
	for _, stream := range []func(lm.Frame){nil, func(lm.Frame) {}} {
		call := chat(f, message("user", "limited"))
		call.Stream = stream
		_, err := api.Call(t.Context(), call)
		var e *lm.Error
		if !errors.As(err, &e) {
			t.Fatalf("429 was no error of ours: %v", err)
		}
		if slices.Contains(told, f.name) && (e.Kind != lm.RateLimited || e.RetryAfter != 7*time.Second) {
			t.Errorf("%s, again after %v; want %s, after 7s: %v", e.Kind, e.RetryAfter, lm.RateLimited, err)
		}
		answer, err := api.Call(t.Context(), call)
		if err != nil {
			t.Fatalf("after the 429: %v", err)
		}
		if text := (lm.Result{Body: answer.Body}).Text(); text != slow {
			t.Errorf("after the 429: %q", text)
		}
	}
}

// cut: what came of the stream was handed on, and the call is interrupted.
func cut(t *testing.T, f *format, api provider.API, question string) {
	var got strings.Builder
	call := chat(f, message("user", question))
	call.Stream = func(one lm.Frame) {
		if one.Type == lm.FrameToken {
			got.WriteString(one.Data)
		}
	}
	_, err := api.Call(t.Context(), call)
	if lm.KindOf(err) != lm.StreamInterrupted {
		t.Errorf("kind %s, want %s: %v", lm.KindOf(err), lm.StreamInterrupted, err)
	}
	if n := got.Len(); n == 0 || n >= len(slow) || !strings.HasPrefix(slow, got.String()) {
		t.Errorf("%d bytes of %d were handed on: %q", n, len(slow), got.String())
	}
}

// broken: an answer that is none is the provider's failure; a stream that is none may
// also count as one that was interrupted.
func broken(t *testing.T, f *format, api provider.API, _ string) {
	for _, stream := range []func(lm.Frame){nil, func(lm.Frame) {}} {
		call := chat(f, message("user", "all is well"))
		call.Stream = stream
		_, err := api.Call(t.Context(), call)
		if kind := lm.KindOf(err); kind != lm.ProviderFailed && (stream == nil || kind != lm.StreamInterrupted) {
			t.Errorf("streamed %t: kind %q, want %s: %v", stream != nil, kind, lm.ProviderFailed, err)
		}
	}
}
