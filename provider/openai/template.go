package openai

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"

	lm "github.com/lighterman/lighterman"
)

// template is a chunk of which only the text changes: what stands before and behind
// it is the chunk's before, byte for byte, so it means the same and need not be read
// again. OpenAI and Mistral hide the lengths of texts with a second text of noise.
//
//	head "text" mid               {"id":...,"delta":{"content": "text" },"finish_reason":null}]}
//	head "text" mid "noise" tail  ... ,"obfuscation": "noise" }
type template struct {
	head, mid, tail []byte
	noisy           bool
	choice          *choice // nil: there is no template yet
	frame           lm.FrameType
}

// learn makes a chunk the template: its text is b[from:to], its noise, if any behind
// the text, b[noise:end].
func (t *template) learn(b []byte, from, to, noise, end int) {
	t.head = append(t.head[:0], b[:from]...)
	if t.noisy = noise > to; t.noisy {
		t.mid = append(t.mid[:0], b[to:noise]...)
		t.tail = append(t.tail[:0], b[end:]...)
	} else {
		t.mid = append(t.mid[:0], b[to:]...)
	}
}

// match is the text of a chunk that is like the template. False: it is not, or what
// stands for the text is none; the chunk is then to be decoded. scratch is used for
// texts with escapes.
func (t *template) match(b []byte, scratch *[]byte) (string, bool) {
	if t.choice == nil || !bytes.HasPrefix(b, t.head) {
		return "", false
	}
	b = b[len(t.head):]
	n := text(b, 0)
	if n < 0 {
		return "", false
	}
	rest := b[n:]
	if !t.noisy {
		if !bytes.Equal(rest, t.mid) {
			return "", false
		}
	} else {
		if !bytes.HasPrefix(rest, t.mid) {
			return "", false
		}
		rest = rest[len(t.mid):]
		end := text(rest, 0)
		if end < 0 || !plain(rest[1:end-1]) || !bytes.Equal(rest[end:], t.tail) {
			return "", false
		}
	}
	literal := b[1 : n-1]
	if plain(literal) {
		return string(literal), true
	}
	return unescape(literal, scratch)
}

// plain reports whether a literal stands for itself.
func plain(literal []byte) bool {
	ascii := true
	for _, c := range literal {
		if c < ' ' || c == '\\' {
			return false
		}
		ascii = ascii && c < utf8.RuneSelf
	}
	return ascii || utf8.Valid(literal)
}

var escapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// unescape reads a literal as encoding/json does; false: it is none, or it has bytes
// that are no UTF-8.
func unescape(literal []byte, scratch *[]byte) (string, bool) {
	out := (*scratch)[:0]
	for i := 0; i < len(literal); i++ {
		c := literal[i]
		switch {
		case c < ' ':
			return "", false
		case c != '\\':
			out = append(out, c)
			continue
		}
		if i++; i >= len(literal) {
			return "", false
		}
		if literal[i] != 'u' {
			if escapes[literal[i]] == 0 {
				return "", false
			}
			out = append(out, escapes[literal[i]])
			continue
		}
		r, ok := hex4(literal[i+1:])
		if !ok {
			return "", false
		}
		i += 4
		if utf16.IsSurrogate(r) {
			if i == len(literal)-1 && r < 0xdc00 { // the next text may bring the other half
				return "", false
			}
			pair := rune(utf8.RuneError)
			if rest := literal[i+1:]; len(rest) >= 6 && rest[0] == '\\' && rest[1] == 'u' {
				if low, ok := hex4(rest[2:]); ok {
					if pair = utf16.DecodeRune(r, low); pair != utf8.RuneError {
						i += 6
					}
				}
			}
			r = pair
		}
		out = utf8.AppendRune(out, r)
	}
	*scratch = out
	if !utf8.Valid(out) {
		return "", false
	}
	return string(out), true
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range b[:4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}
