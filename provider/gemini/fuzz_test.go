package gemini_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/lighterman/lighterman/provider/gemini"
)

// FuzzEvents: whatever comes, the SDK is given whole events of one line each, and
// the same ones however the bytes arrive.
func FuzzEvents(f *testing.F) {
	for _, seed := range []string{event(fine), event(fine)[:30], ": x\n\ndata: a\ndata: b\n\ndata: [DONE]\n\n", "{\n \"error\": {}\n}", "data:\n\n\r\n\r", "event: x\r\ndata: {}\r\n\r\nda"} {
		f.Add([]byte(seed), 3)
	}
	f.Fuzz(func(t *testing.T, stream []byte, size int) {
		whole := read(t, bytes.NewReader(stream), 4096)
		if again := read(t, &small{stream, max(1, size%7)}, max(1, size%5)); again != whole {
			t.Fatalf("%q, in small pieces %q", whole, again)
		}
		for rest := whole; rest != ""; {
			one, after, found := strings.Cut(rest, "\n\n")
			if data, ok := strings.CutPrefix(one, "data: "); !found || !ok || strings.TrimSpace(data) == "" || strings.Contains(data, "\n") {
				t.Fatalf("event %q in %q", one, whole)
			}
			rest = after
		}
	})
}

// small gives a few bytes at a time.
type small struct {
	left []byte
	size int
}

func (s *small) Read(p []byte) (int, error) {
	if len(s.left) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.left[:min(s.size, len(s.left))])
	s.left = s.left[n:]
	return n, nil
}

func read(t *testing.T, from io.Reader, size int) string {
	t.Helper()
	var b strings.Builder
	e := gemini.Events(io.NopCloser(from))
	p := make([]byte, size)
	for {
		n, err := e.Read(p)
		b.Write(p[:n])
		if err == io.EOF {
			return b.String()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
