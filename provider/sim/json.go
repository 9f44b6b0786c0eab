package sim

import (
	"bytes"
	"encoding/json"
	"iter"
	"unicode/utf8"

	"github.com/lighterman/lighterman"
)

// value is one JSON value without space around it, cut out of a text that
// json.Valid has accepted. All its methods rely on that: they look for where
// things end and check nothing. Reading a body so costs no allocation.
type value []byte

func (v value) is(first byte) bool { return len(v) > 0 && v[0] == first }

// members are an object's names, unquoted, and values, in order; none for any
// other value.
func (v value) members() iter.Seq2[[]byte, value] {
	return func(yield func([]byte, value) bool) {
		if !v.is('{') {
			return
		}
		for i := space(v, 1); v[i] != '}'; {
			end := valueEnd(v, i)
			name := v[i:end]
			i = space(v, space(v, end)+1) // over the colon
			end = valueEnd(v, i)
			if !yield(name.unquoted(), v[i:end]) {
				return
			}
			i = next(v, end)
		}
	}
}

// elements are an array's values in order; none for any other value.
func (v value) elements() iter.Seq[value] {
	return func(yield func(value) bool) {
		if !v.is('[') {
			return
		}
		for i := space(v, 1); v[i] != ']'; {
			end := valueEnd(v, i)
			if !yield(v[i:end]) {
				return
			}
			i = next(v, end)
		}
	}
}

// text is a string's text in valid UTF-8; empty for any other value.
func (v value) text() string { return string(v.unquoted()) }

// unquoted is text without the copy where nothing is escaped, which leaves it
// to the caller not to change it.
func (v value) unquoted() []byte {
	if !v.is('"') {
		return nil
	}
	inner := v[1 : len(v)-1]
	if bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner) {
		return inner
	}
	var s string
	_ = json.Unmarshal(v, &s) // cannot fail: v is a valid JSON string
	return []byte(s)
}

// content is the text of a message's content: a string or a list of parts.
func (v value) content() string {
	if v.is('[') {
		return lighterman.ContentText(json.RawMessage(v))
	}
	return v.text()
}

// space skips white space from i on.
func space(v []byte, i int) int {
	for i < len(v) && (v[i] == ' ' || v[i] == '\n' || v[i] == '\t' || v[i] == '\r') {
		i++
	}
	return i
}

// next skips what separates two members or elements.
func next(v []byte, i int) int {
	i = space(v, i)
	if v[i] == ',' {
		i = space(v, i+1)
	}
	return i
}

// valueEnd is the index behind the value that starts at i.
func valueEnd(v []byte, i int) int {
	for depth := 0; i < len(v); i++ {
		switch v[i] {
		case '"':
			i = stringEnd(v, i)
			if depth == 0 {
				return i + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i // of a number or word, ended by its container
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\n', '\t', '\r':
			if depth == 0 {
				return i
			}
		}
	}
	return i
}

// stringEnd is the index of the quote that ends the string that starts at i.
func stringEnd(v []byte, i int) int {
	for i++; v[i] != '"'; i++ {
		if v[i] == '\\' {
			i++
		}
	}
	return i
}

const hexDigits = "0123456789abcdef"

// appendString writes a text of valid UTF-8 as a JSON string.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	done := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[done:i]...)
		done = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(append(b, s[done:]...), '"')
}
