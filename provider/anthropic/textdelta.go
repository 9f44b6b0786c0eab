package anthropic

import (
	"bytes"
	"unicode/utf8"
)

var (
	deltaHead = []byte(`{"type":"content_block_delta","index":`)
	deltaText = []byte(`,"delta":{"type":"text_delta","text":"`)
)

// textDelta reads the event that nearly all of a stream is made of, as the API writes
// it, at a third of what encoding/json takes for it. Not ok: it is something else, or
// written otherwise, or its text has an escape; encoding/json is to read it then.
func textDelta(data []byte) (index int, text string, ok bool) {
	rest, found := bytes.CutPrefix(data, deltaHead)
	if !found {
		return 0, "", false
	}
	digits := 0
	for digits < len(rest) && digits < 6 && rest[digits] >= '0' && rest[digits] <= '9' {
		index = 10*index + int(rest[digits]-'0')
		digits++
	}
	if digits == 0 || digits > 1 && rest[0] == '0' {
		return 0, "", false
	}
	if rest, found = bytes.CutPrefix(rest[digits:], deltaText); !found {
		return 0, "", false
	}
	end := bytes.IndexByte(rest, '"')
	if end < 0 || !plainText(rest[:end]) {
		return 0, "", false
	}
	tail := bytes.TrimLeft(rest[end+1:], " \t\r\n") // the API pads its events with blanks
	if len(tail) == 0 || tail[0] != '}' {
		return 0, "", false
	}
	tail = bytes.Trim(tail[1:], " \t\r\n")
	return index, string(rest[:end]), len(tail) == 1 && tail[0] == '}'
}

// plainText: the bytes of a JSON string that mean themselves.
func plainText(b []byte) bool {
	for _, c := range b {
		if c == '\\' || c < ' ' {
			return false
		}
	}
	return utf8.Valid(b)
}
