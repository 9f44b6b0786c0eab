package provider

import (
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	maxText = 400   // bytes of an API's text that are kept
	quoted  = 16    // bytes in a row of a request that may not be told again
	elided  = "[…]" // in place of what was left out
)

// keyLike are credentials as their issuers write them, also in part: APIs like to
// quote the beginning and end of a wrong one.
var keyLike = regexp.MustCompile(`(?i)\b(sk|pk|rk|gsk|xai|hf|key)[-_][a-z0-9*_\-]{6,}|\bAIza[\w\-*]{6,}|\b(AKIA|ASIA)[A-Z0-9*]{6,}|\bya29\.[\w\-*.]+|\beyJ[\w\-]{8,}[\w\-.]*|\bbearer\s+\S+`)

// Redact makes an API's text fit to be stored and logged: one line of at most 400
// bytes, without anything that looks like a credential, without the secrets given,
// and without what it repeats of the request: any 16 bytes in a row that are in the
// body too, as it stands or with its JSON escapes read, are left out, but for the
// model's name.
func Redact(text string, body []byte, model string, secrets ...string) string {
	for _, s := range secrets {
		if s != "" {
			text = strings.ReplaceAll(text, s, elided)
		}
	}
	text = oneLine(text)
	if len(text) > 4*maxText { // what is cut off needs no redaction
		text = text[:4*maxText]
	}
	text = keyLike.ReplaceAllString(text, elided)
	text = withoutQuotes(text, body, model)
	if len(text) > maxText {
		text = text[:maxText] + elided
	}
	return strings.ToValidUTF8(text, "")
}

// oneLine makes all white space and control characters single blanks.
func oneLine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || r == utf8.RuneError
	}), " ")
}

// withoutQuotes leaves out what text repeats of body.
func withoutQuotes(text string, body []byte, model string) string {
	if len(text) < quoted || len(body) < quoted {
		return text
	}
	at := make(map[[quoted]byte][]int, len(text))
	for i := 0; i+quoted <= len(text); i++ {
		if window := text[i : i+quoted]; !strings.Contains(model, window) {
			at[[quoted]byte([]byte(window))] = append(at[[quoted]byte([]byte(window))], i)
		}
	}
	hidden := make([]bool, len(text))
	hides := false
	for _, form := range [][]byte{body, unescaped(body)} {
		for i := 0; i+quoted <= len(form); i++ {
			window := [quoted]byte(form[i : i+quoted])
			positions, found := at[window]
			if !found {
				continue
			}
			delete(at, window) // once is enough, however often it is repeated
			hides = true
			for _, from := range positions {
				for j := from; j < from+quoted; j++ {
					hidden[j] = true
				}
			}
		}
	}
	if !hides {
		return text
	}
	var b strings.Builder
	for i := range len(text) {
		switch {
		case !hidden[i]:
			b.WriteByte(text[i])
		case i == 0 || !hidden[i-1]:
			b.WriteString(elided)
		}
	}
	return b.String()
}

// unescaped is a body as an API tells its texts: with the escapes of JSON read, on one
// line.
func unescaped(body []byte) []byte {
	out := make([]byte, 0, len(body))
	for i := 0; i < len(body); i++ {
		if body[i] != '\\' || i+1 >= len(body) {
			out = append(out, body[i])
			continue
		}
		i++
		switch body[i] {
		case 'n', 'r', 't', 'b', 'f':
			out = append(out, ' ')
		case 'u':
			first, n := escaped(body[i+1:])
			i += n
			if utf16.IsSurrogate(first) && i+2 < len(body) && body[i+1] == '\\' && body[i+2] == 'u' {
				second, m := escaped(body[i+3:])
				first = utf16.DecodeRune(first, second)
				i += 2 + m
			}
			out = utf8.AppendRune(out, first)
		default:
			out = append(out, body[i])
		}
	}
	return []byte(oneLine(string(out)))
}

// escaped reads the four digits of a \u and says how many bytes it read.
func escaped(digits []byte) (rune, int) {
	if len(digits) < 4 {
		return utf8.RuneError, 0
	}
	v, err := strconv.ParseUint(string(digits[:4]), 16, 16)
	if err != nil {
		return utf8.RuneError, 0
	}
	return rune(v), 4
}
