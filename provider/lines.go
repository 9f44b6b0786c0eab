package provider

import (
	"bytes"
	"io"
)

// EventLines reads a stream of server-sent events as lines that end with LF alone: a
// byte order mark before the first one is left out, CR and CRLF become LF, as the
// standard has it (https://html.spec.whatwg.org/multipage/server-sent-events.html).
// Bytes that have none of them are not touched.
type EventLines struct {
	From io.Reader

	mark    int  // bytes of the byte order mark that were seen
	begun   bool // a byte behind it was
	afterCR bool // an LF that comes now belongs to the CR before
}

var orderMark = []byte{0xEF, 0xBB, 0xBF}

// Read satisfies io.Reader.
func (l *EventLines) Read(p []byte) (int, error) {
	for {
		n, err := l.From.Read(p)
		if n = l.clean(p[:n]); n > 0 || err != nil || len(p) == 0 {
			return n, err
		}
	}
}

// clean changes b in place and returns how much of it is left.
func (l *EventLines) clean(b []byte) int {
	if !l.begun {
		skip := 0
		for l.mark < len(orderMark) && skip < len(b) && b[skip] == orderMark[l.mark] {
			skip++
			l.mark++
		}
		if l.begun = skip < len(b) || l.mark == len(orderMark); !l.begun {
			return 0
		}
		if l.mark == len(orderMark) {
			b = b[:copy(b, b[skip:])]
		}
	}
	if !l.afterCR && bytes.IndexByte(b, '\r') < 0 {
		return len(b)
	}
	kept := 0
	for _, c := range b {
		if c == '\n' && l.afterCR {
			l.afterCR = false
			continue
		}
		if l.afterCR = c == '\r'; l.afterCR {
			c = '\n'
		}
		b[kept] = c
		kept++
	}
	return kept
}

// WithoutMark is an answer without a byte order mark before it.
func WithoutMark(answer []byte) []byte { return bytes.TrimPrefix(answer, orderMark) }

// EventHead is how much of a body IsEvents looks at.
const EventHead = len("\xef\xbb\xbfevent:")

// IsEvents reports whether a body is a stream of events, whatever its type says.
func IsEvents(body []byte) bool {
	body = WithoutMark(body)
	for _, field := range []string{"data:", "event:", "error:", "id:", ":"} {
		if bytes.HasPrefix(body, []byte(field)) {
			return true
		}
	}
	return false
}
