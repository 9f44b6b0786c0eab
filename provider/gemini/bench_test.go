package gemini_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
	"github.com/lighterman/lighterman/provider/gemini"
)

// BenchmarkStream is the cost of a token of a stream from a server on this machine,
// the client's and the server's together.
func BenchmarkStream(b *testing.B) {
	const tokens = 1000
	stream := strings.Repeat(event(`{"candidates":[{"content":{"role":"model","parts":[{"text":" token"}]},"index":0}],"usageMetadata":{"promptTokenCount":20,"candidatesTokenCount":10,"totalTokenCount":30},"modelVersion":"gemini-2.5-flash","responseId":"kQ0BaaXJEpqk"}`), tokens) +
		event(`{"candidates":[{"content":{"role":"model","parts":[{"text":""}]},"finishReason":"STOP","index":0}]}`)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) //nolint:errcheck // a test's own request
		io.WriteString(w, stream)   //nolint:errcheck // the client may be gone
	}))
	defer server.Close()
	client, err := gemini.New(b.Context(), gemini.Options{Options: provider.Options{BaseURL: server.URL, Key: aKey}})
	if err != nil {
		b.Fatal(err)
	}
	l := chatCall(gemini25, user(""))
	seen := 0
	l.Stream = func(f lm.Frame) {
		if f.Type == lm.FrameToken {
			seen++
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begin := time.Now()
	for b.Loop() {
		if _, err := client.Call(b.Context(), l); err != nil {
			b.Fatal(err)
		}
	}
	took := time.Since(begin)
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(took.Nanoseconds())/float64(seen), "ns/token")
	b.ReportMetric(float64(after.Mallocs-before.Mallocs)/float64(seen), "allocs/token")
}

// BenchmarkEvents is the carrier's part of it: whole events for the SDK.
func BenchmarkEvents(b *testing.B) {
	one := event(`{"candidates":[{"content":{"role":"model","parts":[{"text":" token"}]},"index":0}],"usageMetadata":{"promptTokenCount":20,"candidatesTokenCount":10,"totalTokenCount":30},"modelVersion":"gemini-2.5-flash","responseId":"kQ0BaaXJEpqk"}`)
	body := gemini.Events(io.NopCloser(forever(one)))
	buffer := make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		if n, err := body.Read(buffer); n == 0 || err != nil {
			b.Fatal(n, err)
		}
	}
}

// forever repeats a text.
func forever(text string) io.Reader {
	r, w := io.Pipe()
	go func() {
		block := strings.Repeat(text, 1000)
		for {
			if _, err := io.WriteString(w, block); err != nil {
				return
			}
		}
	}()
	return r
}
