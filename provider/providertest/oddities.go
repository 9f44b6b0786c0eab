package providertest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
)

// Oddities plays the transcripts of a directory, testdata/oddities/*.txt, to an adapter:
// answers that a product really gives and others do not. One file is one answer:
//
//	Who does this, and what went wrong because of it.
//	-- call --
//	stream            (or whole: not streamed; prompt: a streamed completion; list)
//	-- answer --
//	HTTP/1.1 200 OK
//	Content-Type: text/event-stream
//
//	data: {"choices": ...
//	-- want --
//	{"text": "Hello", "usage": {"input": 3, "output": 2}}
//
// To add one, write the file: the next run plays it. The answer is sent as it stands,
// its last line break included. Where line ends or other bytes matter the section is
// called "answer quoted", and each line of it is a string as Go writes it: "data: a\r".
// What is wanted is an Oddity; fields that are left out are to be empty. Each file is
// played twice, at once and in pieces of 7 bytes.
func Oddities(t *testing.T, dir string, open func(provider.Options) (provider.API, error)) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts in %s (%v)", dir, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			o, err := readOddity(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, piece := range []int{len(o.answer), 7} {
				got := o.play(t, piece, open)
				if !reflect.DeepEqual(got, o.want) {
					t.Errorf("in pieces of %d bytes\ngot  %s\nwant %s", piece, told(got), told(o.want))
				}
			}
		})
	}
}

// Oddity is what comes of an answer.
type Oddity struct {
	Text      string         `json:"text,omitempty"`
	Reasoning string         `json:"reasoning,omitempty"`
	Calls     []OddCall      `json:"calls,omitempty"`
	Finish    string         `json:"finish,omitempty"` // left out: stop, or tool_calls with Calls
	Usage     lm.Usage       `json:"usage,omitzero"`   // without Calls
	Error     lm.Kind        `json:"error,omitempty"`
	Reason    string         `json:"reason,omitempty"` // within the error's text
	Offered   map[string]int `json:"offered,omitempty"`
	Twice     string         `json:"twice,omitempty"` // a member that the answer has more than once
}

// OddCall is a tool call of an Oddity.
type OddCall struct {
	ID        string `json:"id"`
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

func told(o Oddity) string {
	data, err := json.Marshal(o)
	return fmt.Sprintf("%s %v", data, err)
}

// transcript is a file of oddities.
type transcript struct {
	call   string
	status int
	header http.Header
	answer []byte
	want   Oddity
}

func readOddity(file string) (*transcript, error) {
	data, err := os.ReadFile(file) //nolint:gosec // a test's own
	if err != nil {
		return nil, err
	}
	o := &transcript{call: "stream"}
	for name, section := range sections(string(data)) {
		switch name {
		case "call":
			o.call = strings.TrimSpace(section)
		case "answer", "answer quoted":
			head, body, _ := strings.Cut(section, "\n\n")
			if name == "answer quoted" {
				if body, err = unquoted(body); err != nil {
					return nil, err
				}
			}
			resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(head+"\n\n")), nil)
			if err != nil {
				return nil, fmt.Errorf("the answer's head: %w", err)
			}
			_ = resp.Body.Close() // there is none
			o.status, o.header, o.answer = resp.StatusCode, resp.Header, []byte(body)
		case "want":
			d := json.NewDecoder(strings.NewReader(section))
			d.DisallowUnknownFields()
			if err := d.Decode(&o.want); err != nil {
				return nil, fmt.Errorf("what is wanted: %w", err)
			}
		default:
			return nil, fmt.Errorf("section %q: want call, answer, answer quoted or want", name)
		}
	}
	if o.status == 0 {
		return nil, fmt.Errorf("there is no answer")
	}
	return o, nil
}

// sections are the parts of a transcript by their names.
func sections(text string) map[string]string {
	out, name := map[string]string{}, ""
	for line := range strings.Lines(text) {
		if inner, found := strings.CutPrefix(strings.TrimRight(line, "\n"), "-- "); found && strings.HasSuffix(inner, " --") {
			name = strings.TrimSuffix(inner, " --")
			out[name] = ""
		} else if name != "" {
			out[name] += line
		}
	}
	return out
}

func unquoted(body string) (string, error) {
	var b strings.Builder
	for line := range strings.Lines(body) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		text, err := strconv.Unquote(line)
		if err != nil {
			return "", fmt.Errorf("%s: %w", line, err)
		}
		b.WriteString(text)
	}
	return b.String(), nil
}

// serve answers every request with the transcript.
func (o *transcript) serve(piece int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		for name, values := range o.header {
			w.Header()[name] = values
		}
		w.WriteHeader(o.status)
		for rest := o.answer; len(rest) > 0; {
			n := min(piece, len(rest))
			_, _ = w.Write(rest[:n])
			_ = http.NewResponseController(w).Flush()
			rest = rest[n:]
		}
	})
}

// play asks for the transcript's answer and says what came of it.
func (o *transcript) play(t *testing.T, piece int, open func(provider.Options) (provider.API, error)) Oddity {
	t.Helper()
	server := httptest.NewServer(o.serve(piece))
	defer server.Close()
	api, err := open(provider.Options{BaseURL: server.URL, Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	got := Oddity{}
	if o.call == "list" {
		var offerings []lm.Offering
		if offerings, err = api.List(t.Context()); err == nil {
			got.Offered = map[string]int{}
		}
		for _, one := range offerings {
			got.Offered[one.Name] = one.Window
		}
	} else {
		err = o.ask(t, api, &got)
	}
	if err != nil {
		got.Error = lm.KindOf(err)
		if strings.Contains(err.Error(), o.want.Reason) {
			got.Reason = o.want.Reason
		}
	}
	return got
}

// ask makes the transcript's call. It fails the test where the frames are not the
// answer's text.
func (o *transcript) ask(t *testing.T, api provider.API, got *Oddity) error {
	t.Helper()
	call := lm.Call{Kind: "chat", Model: "alpha", Body: json.RawMessage(`{"messages":[{"role":"user","content":"hi"}]}`), Key: "t/1"}
	if o.call == "prompt" {
		call.Kind, call.Body = "prompt", json.RawMessage(`{"prompt":"hi"}`)
	}
	var text, reasoning strings.Builder
	if o.call != "whole" {
		call.Stream = func(f lm.Frame) {
			switch f.Type { //nolint:exhaustive // the others are not text
			case lm.FrameToken:
				text.WriteString(f.Data)
			case lm.FrameReasoning:
				reasoning.WriteString(f.Data)
			}
		}
	}
	answer, err := api.Call(context.WithoutCancel(t.Context()), call)
	if err != nil {
		return err
	}
	if err := got.read(answer); err != nil {
		t.Fatalf("%v: %s", err, answer.Body)
	}
	if call.Stream != nil && (text.String() != got.Text || reasoning.String() != got.Reasoning) {
		t.Errorf("the frames say %q and %q, the answer %q and %q", text.String(), reasoning.String(), got.Text, got.Reasoning)
	}
	return nil
}

// read takes what an answer says.
func (o *Oddity) read(answer lm.Answer) error {
	var w struct {
		Choices []struct {
			Text    string `json:"text"`
			Finish  string `json:"finish_reason"`
			Message struct {
				Content   json.RawMessage `json:"content"`
				Reasoning string          `json:"reasoning_content"`
				Thinking  string          `json:"reasoning"`
				Calls     []struct {
					ID       string `json:"id"`
					Function struct {
						Name      string `json:"name"`
						Arguments string `json:"arguments"`
					} `json:"function"`
				} `json:"tool_calls"`
			} `json:"message"`
		} `json:"choices"`
	}
	if err := provider.Decode(answer.Body, &w); err != nil {
		return err
	}
	if len(w.Choices) != 1 {
		return fmt.Errorf("%d choices", len(w.Choices))
	}
	c := w.Choices[0]
	o.Text, o.Reasoning = c.Text+lm.ContentText(c.Message.Content), c.Message.Reasoning+c.Message.Thinking
	for _, one := range c.Message.Calls {
		o.Calls = append(o.Calls, OddCall{one.ID, one.Function.Name, one.Function.Arguments})
	}
	if c.Finish != "stop" && (c.Finish != "tool_calls" || len(o.Calls) == 0) {
		o.Finish = c.Finish
	}
	o.Usage = answer.Usage
	o.Usage.Calls = 0
	o.Twice = twice(json.NewDecoder(bytes.NewReader(answer.Body)))
	return nil
}

// twice is a name that an object of the value has more than once, empty for none.
func twice(d *json.Decoder) string {
	token, err := d.Token()
	if err != nil {
		return ""
	}
	open, nested := token.(json.Delim)
	if !nested {
		return ""
	}
	found, seen := "", map[string]bool{}
	for d.More() {
		if open == '{' {
			key, err := d.Token()
			if err != nil {
				return ""
			}
			if name, _ := key.(string); seen[name] {
				found = name
			} else {
				seen[name] = true
			}
		}
		if inner := twice(d); inner != "" {
			found = inner
		}
	}
	_, _ = d.Token() // the end
	return found
}
