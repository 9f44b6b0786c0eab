package provider

import (
	"regexp"
	"strings"
	"unicode"
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
// body too are left out, but for the model's name.
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
	any := false
	for i := 0; i+quoted <= len(body); i++ {
		for _, from := range at[[quoted]byte(body[i:i+quoted])] {
			any = true
			for j := from; j < from+quoted; j++ {
				hidden[j] = true
			}
		}
	}
	if !any {
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
