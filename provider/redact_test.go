package provider

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestRedact_Credentials(t *testing.T) {
	for _, key := range []string{
		"sk-proj-abcdef0123456789", "sk-ab***********wxyz", "sk_live_0123456789", "gsk_0123456789abcdef", "xai-0123456789abcdef", "hf_0123456789abcdef",
		"AIzaSyA-0123456789abcdefghijklmnop", "AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE", "ya29.a0AfH6SMBx", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-def", "Bearer abc.def.ghi",
	} {
		got := Redact("Incorrect API key provided: "+key+". Find yours there.", nil, "")
		if strings.Contains(got, key) || strings.Contains(got, key[4:10]) || !strings.HasPrefix(got, "Incorrect API key provided: ") {
			t.Errorf("%s: %q", key, got)
		}
	}
	if got := Redact("the secret is hunter2!", nil, "", "hunter2", ""); got != "the secret is […]!" {
		t.Errorf("a secret of no form: %q", got)
	}
	if got := Redact("nothing to hide: skiing, keys, task-oriented", nil, ""); got != "nothing to hide: skiing, keys, task-oriented" {
		t.Errorf("words: %q", got)
	}
}

func TestRedact_WhatTheRequestSaid(t *testing.T) {
	const secret = "my grandmother's recipe: \"one\" line\nthe other line, très bon 日本語のテキストです"
	ascii := `{"messages":[{"content":"` + asciiJSON(secret) + `"}]}`
	utf, err := json.Marshal(map[string]string{"content": secret})
	if err != nil {
		t.Fatal(err)
	}
	for form, body := range map[string]string{"UTF-8": string(utf), `\u`: ascii} {
		got := Redact("Invalid content: "+secret+" (at 3)", []byte(body), "")
		for _, piece := range []string{"grandmother", "the other line", "日本語"} {
			if strings.Contains(got, piece) {
				t.Errorf("%s: %q tells %q", form, got, piece)
			}
		}
		if !strings.HasPrefix(got, "Invalid content: ") || !strings.HasSuffix(got, " (at 3)") {
			t.Errorf("%s: %q hides too much", form, got)
		}
	}
	if got := Redact("short words are told", []byte(`{"x":"short words"}`), ""); got != "short words are told" {
		t.Errorf("less than 16 bytes in a row: %q", got)
	}
	body := []byte(`{"model":"a-very-long-model-name-2026","messages":[]}`)
	if got := Redact("no a-very-long-model-name-2026 here", body, "a-very-long-model-name-2026"); got != "no a-very-long-model-name-2026 here" {
		t.Errorf("the model's name: %q", got)
	}
}

// asciiJSON is a text as json.dumps of Python writes it.
func asciiJSON(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '"':
			b.WriteString(`\"`)
		case r == '\n':
			b.WriteString(`\n`)
		case r < 128:
			b.WriteRune(r)
		default:
			b.WriteString(`\u` + strings.ToLower(hex(r)))
		}
	}
	return b.String()
}

func hex(r rune) string {
	const digits = "0123456789abcdef"
	return string([]byte{digits[r>>12&15], digits[r>>8&15], digits[r>>4&15], digits[r&15]})
}

func TestRedact_OneShortLine(t *testing.T) {
	got := Redact("a\r\n\tb\x00\x1bc   d\xffe", nil, "")
	if got != "a b c d e" {
		t.Errorf("%q", got)
	}
	long := Redact(strings.Repeat("日", 5000), nil, "")
	if len(long) > maxText+len(elided) || !utf8.ValidString(long) || !strings.HasSuffix(long, elided) {
		t.Errorf("%d bytes, valid %t", len(long), utf8.ValidString(long))
	}
	if got := Redact("", []byte("body"), "m", "s"); got != "" {
		t.Errorf("nothing: %q", got)
	}
}

// TestRedact_RepetitionCostsNothing: an API that repeats a request of one letter would
// have kept a worker busy for minutes.
func TestRedact_RepetitionCostsNothing(t *testing.T) {
	body := []byte(strings.Repeat("a", 16<<20))
	begin := time.Now()
	got := Redact(strings.Repeat("a", 1500), body, "")
	if took := time.Since(begin); got != elided || took > 20*time.Second {
		t.Errorf("%q in %v", got, took)
	}
}

// FuzzRedact: whatever an API says, neither the secret nor 16 bytes in a row of the
// request come through, and it ends.
func FuzzRedact(f *testing.F) {
	f.Add("Invalid: the quick brown fox jumps", []byte(`{"a":"the quick brown fox jumps"}`))
	f.Add(`\u00`, []byte(`\u00\ud83d\u`))
	f.Fuzz(func(t *testing.T, text string, body []byte) {
		got := Redact(text+" s3cr3t-0f-n0-f0rm", body, "", "s3cr3t-0f-n0-f0rm")
		if strings.Contains(got, "s3cr3t-0f-n0-f0rm") || len(got) > maxText+len(elided) || !utf8.ValidString(got) {
			t.Fatalf("%q", got)
		}
		for i := 0; i+quoted <= min(len(body), 4000); i++ {
			if window := string(body[i : i+quoted]); strings.Contains(got, window) && !strings.Contains(window, elided) && strings.Contains(text, window) {
				t.Fatalf("%q tells %q", got, window)
			}
		}
	})
}
