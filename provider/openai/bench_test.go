package openai

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
)

const tokens = 1000

// chunks is a stream of tokens as OpenAI writes it, noise included.
func chunks(n int) []byte {
	var b bytes.Buffer
	const head = `data: {"id":"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT","object":"chat.completion.chunk","created":1741569952,"model":"gpt-5-mini-2025-08-07","service_tier":"default","system_fingerprint":"fp_44709d6fcb","choices":[{"index":0,"delta":{`
	b.WriteString(head + `"role":"assistant","content":"","refusal":null},"finish_reason":null}],"usage":null,"obfuscation":"x1"}` + "\n\n")
	for i := range n {
		fmt.Fprintf(&b, `%s"content":" word%d"},"finish_reason":null}],"usage":null,"obfuscation":"%s"}`+"\n\n", head, i, strings.Repeat("aZ3", i%5+1))
	}
	b.WriteString(head + `},"finish_reason":"stop"}],"usage":null,"obfuscation":"x"}` + "\n\n")
	b.WriteString(`data: {"id":"chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT","object":"chat.completion.chunk","created":1741569952,"model":"gpt-5-mini-2025-08-07","choices":[],"usage":{"prompt_tokens":10,"completion_tokens":1000,"total_tokens":1010}}` + "\n\ndata: [DONE]\n\n")
	return b.Bytes()
}

func serveChunks(tb testing.TB, body []byte) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = w.Write(body)
	}))
	tb.Cleanup(s.Close)
	return s.URL
}

func streaming(frames *int) lm.Call {
	return lm.Call{
		Kind: "chat", Model: "gpt-5-mini", Body: json.RawMessage(`{"messages":[{"role":"user","content":"go"}]}`), Key: "t/1",
		Stream: func(f lm.Frame) {
			if f.Type == lm.FrameToken {
				*frames++
			}
		},
	}
}

// BenchmarkDecode is the codec alone: what a token costs beside the network.
func BenchmarkDecode(b *testing.B) {
	body := chunks(tokens)
	n := 0
	call := streaming(&n)
	b.ReportAllocs()
	for b.Loop() {
		ctx, enough := context.WithCancelCause(b.Context())
		x := &exchange{api: &API{}, ctx: ctx, enough: enough, call: &call}
		if _, err := x.stream(bytes.NewReader(body)); err != nil {
			b.Fatal(err)
		}
	}
	perToken(b, n)
}

// BenchmarkStream is a whole call against a local server. BenchmarkRawRead is the
// same request with nothing done with its answer: the difference is our overhead.
func BenchmarkStream(b *testing.B) {
	a, err := New(Options{Options: provider.Options{BaseURL: serveChunks(b, chunks(tokens))}})
	if err != nil {
		b.Fatal(err)
	}
	n := 0
	call := streaming(&n)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Call(b.Context(), call); err != nil {
			b.Fatal(err)
		}
	}
	perToken(b, n)
}

func BenchmarkRawRead(b *testing.B) {
	address := serveChunks(b, chunks(tokens))
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		resp, err := http.Post(address, "application/json", strings.NewReader(`{"messages":[]}`))
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		n += tokens
	}
	perToken(b, n)
}

// perToken checks that every token came and reports what one costs.
func perToken(b *testing.B, n int) {
	if n != b.N*tokens {
		b.Fatalf("%d tokens in %d answers of %d", n, b.N, tokens)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/token")
}

// TestStream_AllocationsPerToken: at most two each, whatever the machine does.
func TestStream_AllocationsPerToken(t *testing.T) {
	body := chunks(tokens)
	n := 0
	call := streaming(&n)
	got := testing.AllocsPerRun(10, func() {
		ctx, enough := context.WithCancelCause(t.Context())
		x := &exchange{api: &API{}, ctx: ctx, enough: enough, call: &call}
		if _, err := x.stream(bytes.NewReader(body)); err != nil {
			t.Fatal(err)
		}
		enough(nil)
	}) / tokens
	t.Logf("%.2f allocations per token", got)
	if got > 2 {
		t.Errorf("%.2f allocations per token, want at most 2", got)
	}
}

// TestFirstToken_TimeAddedByUs compares the time to the first token through the
// adapter with that of a raw read of the same server. The figure of 200 µs at the
// 99th percentile is held with LIGHTERMAN_E2E=full; a machine under load gets 20 ms.
func TestFirstToken_TimeAddedByUs(t *testing.T) {
	rounds, bound := 300, 20*time.Millisecond
	if os.Getenv("LIGHTERMAN_E2E") == "full" {
		rounds, bound = 3000, 200*time.Microsecond
	}
	address := serveChunks(t, chunks(1))
	a, err := New(Options{Options: provider.Options{BaseURL: address}})
	if err != nil {
		t.Fatal(err)
	}
	client := provider.NewClient(provider.Options{})
	body := []byte(`{"model":"gpt-5-mini","messages":[{"role":"user","content":"go"}],"stream":true,"stream_options":{"include_usage":true}}`)
	raw := func() time.Duration {
		begin := time.Now()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address+"/chat/completions", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.ReadFull(resp.Body, make([]byte, 64)); err != nil {
			t.Fatal(err)
		}
		took := time.Since(begin)
		_, _ = io.Copy(io.Discard, resp.Body)
		return took
	}
	ours := func() time.Duration {
		var took time.Duration
		begin := time.Now()
		call := streaming(new(int))
		call.Stream = func(f lm.Frame) {
			if f.Type == lm.FrameToken && took == 0 {
				took = time.Since(begin)
			}
		}
		if _, err := a.Call(t.Context(), call); err != nil {
			t.Fatal(err)
		}
		return took
	}
	for range 50 {
		raw()
		ours()
	}
	with, without := make([]time.Duration, rounds), make([]time.Duration, rounds)
	for i := range rounds { // in turns, so that the machine's moods meet both
		without[i], with[i] = raw(), ours()
	}
	slices.Sort(with)
	slices.Sort(without)
	at := func(list []time.Duration, p float64) time.Duration { return list[int(float64(len(list)-1)*p)] }
	added := at(with, 0.99) - at(without, 0.99)
	t.Logf("first token: raw p50 %v p99 %v, through us p50 %v p99 %v; added p50 %v p99 %v",
		at(without, 0.5), at(without, 0.99), at(with, 0.5), at(with, 0.99), at(with, 0.5)-at(without, 0.5), added)
	if added > bound {
		t.Errorf("we add %v at the 99th percentile, want less than %v", added, bound)
	}
}
