package openai

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	lm "github.com/lighterman/lighterman"
)

// played is what came of some lines.
type played struct {
	Frames []lm.Frame
	Err    string
	Body   any
	Usage  lm.Usage
}

// play takes lines as a stream; cold: every one is decoded by encoding/json.
func play(t testing.TB, cold bool, lines ...[]byte) (played, int) {
	var out played
	call := lm.Call{Kind: "chat", Model: "m", Key: "t/1", Stream: func(f lm.Frame) { out.Frames = append(out.Frames, f) }}
	ctx, enough := context.WithCancelCause(t.Context())
	defer enough(nil)
	s := &stream{x: &exchange{api: &API{}, ctx: ctx, enough: enough, call: &call}}
	hits := 0
	for _, line := range lines {
		if cold {
			s.hot.choice = nil
		}
		before := s.hot.choice
		if _, ok := s.hot.match(bytes.TrimPrefix(line, []byte("data: ")), &s.scratch); ok && before != nil {
			hits++
		}
		if err := s.line(line); err != nil {
			out.Err = err.Error()
			return out, hits
		}
		if s.done {
			break
		}
	}
	if s.late != nil {
		s.late.Stop()
	}
	if !s.ended() {
		s.done = true
		if len(s.choices) == 0 {
			return out, hits
		}
	}
	answer, err := s.answer()
	if err != nil {
		out.Err = err.Error()
		return out, hits
	}
	out.Usage = answer.Usage
	var body map[string]any
	if err := json.Unmarshal(answer.Body, &body); err != nil {
		t.Fatalf("the answer is no JSON: %v\n%s", err, answer.Body)
	}
	if _, named := body["created"]; named {
		body["created"] = nil // of the clock where the stream has none
	}
	out.Body = body
	return out, hits
}

var seeds = [][2]string{
	{`{"id":"a","choices":[{"index":0,"delta":{"content":"one"},"finish_reason":null}]}`, `{"id":"a","choices":[{"index":0,"delta":{"content":"two"},"finish_reason":null}]}`},
	{`{"choices":[{"index":0,"delta":{"content":"one"},"finish_reason":null}],"obfuscation":"x"}`, `{"choices":[{"index":0,"delta":{"content":"tw\n\"\\\/\u00e9\ud83d\ude00o"},"finish_reason":null}],"obfuscation":"yyy"}`},
	{`{"choices":[{"index":0,"delta":{"reasoning_content":"one","content":null}}]}`, `{"choices":[{"index":0,"delta":{"reasoning_content":"two","content":null}}]}`},
	{`{"choices":[{"index":0,"delta":{"content":"","reasoning":"one"}}]}`, `{"choices":[{"index":0,"delta":{"content":"","reasoning":"\ud800 two"}}]}`},
	{`{"choices":[{"index":0,"text":"one"}]}`, `{"choices":[{"index":0,"text":"\ud800\u0041"}]}`},
	{`{"choices":[{"index":0,"delta":{"content":"x","content":"y"}}]}`, `{"choices":[{"index":0,"delta":{"content":"x","content":"z"}}]}`},
	{`{"choices":[{"index":1,"delta":{"content":"x"}},{"index":0,"delta":{"content":"y"}}]}`, `{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":"{"}}]}}]}`},
	{`{"choices":[{"index":0,"delta":{"content":"x"},"logprobs":{"content":[{"token":"x"}]}}]}`, `{"choices":[{"index":0,"delta":{"content":"y"},"logprobs":{"content":[{"token":"x"}]}}]}`},
	{`{"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3}}`, `{"error":{"message":"no"}}`},
	{`{"p":"ab","choices":[{"index":0,"delta":{"content":"x"}}]}`, `{"p":"abc","choices":[{"index":0,"delta":{"content":"x"}}]}`},
	{`{"obfuscation":"ab","choices":[{"index":0,"delta":{"content":"x"}}],"obfuscation":"ab"}`, `{"choices":[{"index":0,"delta":{"content":"x`},
	{`{"choices":[{"index":0,"delta":{"content":"x"}}],"p":"a","obfuscation":"ab"}`, `{"choices":[{"index":0,"delta":{"content":"y"}}],"p":"b","obfuscation":"c"}`},
	{`{"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}]}`, `{"choices":[{"index":0,"delta":{"content":"y"},"finish_reason":"stop"}]}`},
	{`{"choices":[{"index":0,"delta":{"content":"x"}}]}`, `{"choices":[{"index":0,"delta":{"content":"y"}}],"usage":{"prompt_tokens":3}}`},
	{`{"choices":[{"index":0,"delta":{"content":"x","refusal":"no"}}]}`, `{"choices":[{"index":0,"delta":{"content":"x","refusal":"no"}}]}`},
	{`{"choices":[{"index":0,"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},{"type":"text","text":"a"}]}}]}`, `[DONE]`},
	{`{"choices":[{"index":0,"delta":{"reasoning_details":[{"type":"reasoning.text","index":0,"text":"a"}],"content":"x"}}]}`, `{"choices":[{"index":0,"delta":{"reasoning_details":[{"type":"reasoning.text","index":0,"text":"b"}],"content":"x"}}]}`},
}

// FuzzTemplate: a line that is read by the template means what encoding/json makes of
// it. The third line is the second again, which the second may have made a template.
func FuzzTemplate(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s[0]), []byte(s[1]))
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		if bytes.ContainsAny(a, "\n\r") || bytes.ContainsAny(b, "\n\r") {
			return // two lines
		}
		line := func(data []byte) []byte { return append(append([]byte("data: "), data...), '\n') }
		hot, _ := play(t, false, line(a), line(a), line(b), line(b))
		cold, _ := play(t, true, line(a), line(a), line(b), line(b))
		if d := cmp.Diff(cold, hot); d != "" {
			t.Errorf("%s\n%s\n%s", a, b, d)
		}
	})
}

// FuzzTexts is FuzzTemplate for chunks that differ in their text and noise only.
func FuzzTexts(f *testing.F) {
	f.Add([]byte("one"), []byte("x"), []byte(`t\u00e9\n`), []byte("yy"))
	f.Add([]byte("one"), []byte("x"), []byte("\xff"), []byte("\x01"))
	f.Add([]byte(""), []byte(""), []byte(`"}`), []byte(`\x`))
	f.Add([]byte("one"), []byte("x"), []byte("two"), []byte(`\x`))
	f.Add([]byte("one"), []byte("x"), []byte("two"), []byte("\x01"))
	f.Add([]byte("one"), []byte("x"), []byte("two"), []byte(`"},{"`))
	f.Fuzz(func(t *testing.T, text1, noise1, text2, noise2 []byte) {
		if bytes.ContainsAny(bytes.Join([][]byte{text1, noise1, text2, noise2}, nil), "\n\r") {
			return
		}
		line := func(text, noise []byte) []byte {
			return fmt.Appendf(nil, `data: {"id":"a","choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":null}],"obfuscation":"%s"}`+"\n", text, noise)
		}
		hot, _ := play(t, false, line(text1, noise1), line(text2, noise2), line(text1, noise2))
		cold, _ := play(t, true, line(text1, noise1), line(text2, noise2), line(text1, noise2))
		if d := cmp.Diff(cold, hot); d != "" {
			t.Errorf("%q %q %q %q\n%s", text1, noise1, text2, noise2, d)
		}
	})
}

// FuzzUnescape: a literal is read as encoding/json reads it, or left to it.
func FuzzUnescape(f *testing.F) {
	for _, s := range []string{`a`, `\n\t\"\\\/\b\f\r`, `\u00e9`, `\ud83d\ude00`, `\ud83d`, `\ude00\ud83d`, `\ud83d\u0041`, "é\x80", `\x`, `\u12`, "\x1f", `\ud800\ud800\udc00`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, literal []byte) {
		if text(append(append([]byte{'"'}, literal...), '"'), 0) != len(literal)+2 {
			return // it is no literal, or more than one
		}
		var scratch []byte
		got, ok := unescape(literal, &scratch)
		var want string
		err := json.Unmarshal(append(append([]byte{'"'}, literal...), '"'), &want)
		if ok && (err != nil || got != want) {
			t.Errorf("%q reads as %q, want %q (%v)", literal, got, want, err)
		}
		if !ok && err == nil && bytes.Equal([]byte(want), bytes.ToValidUTF8([]byte(want), nil)) && !bytes.ContainsRune([]byte(want), '\uFFFD') {
			t.Errorf("%q is left to encoding/json, which reads %q", literal, want)
		}
		if plain(literal) && (err != nil || want != string(literal)) {
			t.Errorf("%q is plain, but reads %q (%v)", literal, want, err)
		}
	})
}

func TestTemplate_IsUsed(t *testing.T) {
	for i, s := range seeds[:5] {
		_, hits := play(t, false, []byte("data: "+s[0]), []byte("data: "+s[1]), []byte("data: "+s[1]))
		if hits != 2 {
			t.Errorf("seed %d: %d of 2 lines were read by the template", i, hits)
		}
	}
}
