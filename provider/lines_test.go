package provider

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// TestEventLines_EndWithLF reads each text whole and byte by byte, so that marks and
// line ends are cut at every place.
func TestEventLines_EndWithLF(t *testing.T) {
	for in, want := range map[string]string{
		"":                         "",
		"data: a\n\n":              "data: a\n\n",
		"data: a\r\n\r\nb":         "data: a\n\nb",
		"data: a\r\rdata: b\r\r":   "data: a\n\ndata: b\n\n",
		"a\r\n\rb\n\rc\r\r\nd\r":   "a\n\nb\n\nc\n\nd\n",
		"\xef\xbb\xbfdata: a\n":    "data: a\n",
		"\xef\xbb\xbf":             "",
		"\xef\xbb\xbf\xef\xbb\xbf": "\xef\xbb\xbf",
		"a\xef\xbb\xbf\n":          "a\xef\xbb\xbf\n",
		"é":                        "é",
	} {
		whole, err := io.ReadAll(&EventLines{From: strings.NewReader(in)})
		if err != nil || string(whole) != want {
			t.Errorf("%q reads %q, want %q (%v)", in, whole, want, err)
		}
		slow, err := io.ReadAll(&EventLines{From: iotest.OneByteReader(strings.NewReader(in))})
		if err != nil || string(slow) != want {
			t.Errorf("%q byte by byte reads %q, want %q (%v)", in, slow, want, err)
		}
	}
}
