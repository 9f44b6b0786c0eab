package gemini_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
	"github.com/lighterman/lighterman/provider/gemini"
)

// fake answers requests in turn and keeps them; the last answer stays.
type fake struct {
	*httptest.Server

	mu      sync.Mutex
	answers []string
	asked   []*http.Request
	bodies  []string
}

const (
	fine     = `{"candidates":[{"content":{"role":"model","parts":[{"text":"fine"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":1},"responseId":"r1"}`
	aKey     = "AIzaSyTheKeyOfTheTest0000000000000000"
	gemini25 = "gemini-2.5-flash"
	gemini3  = "gemini-3.5-flash"
)

// serve starts a fake. An answer that begins with a number has it as its status.
func serve(t *testing.T, answers ...string) *fake {
	t.Helper()
	f := &fake{answers: answers}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		f.mu.Lock()
		f.asked, f.bodies = append(f.asked, r), append(f.bodies, string(body))
		answer := f.answers[0]
		if len(f.answers) > 1 {
			f.answers = f.answers[1:]
		}
		f.mu.Unlock()
		w.Header().Set("Content-Type", "application/json; charset=UTF-8")
		if len(answer) > 3 && answer[0] >= '2' && answer[0] <= '5' {
			w.WriteHeader(int(answer[0]-'0')*100 + int(answer[1]-'0')*10 + int(answer[2]-'0'))
			answer = answer[4:]
		}
		io.WriteString(w, answer) //nolint:errcheck // the client may be gone
	}))
	t.Cleanup(f.Close)
	return f
}

// sent are the requests' bodies so far.
func (f *fake) sent() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.bodies...)
}

// paths are the requests' addresses so far.
func (f *fake) paths() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var paths []string
	for _, r := range f.asked {
		paths = append(paths, r.URL.RequestURI())
	}
	return paths
}

func (f *fake) header(i int, name string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked[i].Header.Get(name)
}

func (f *fake) options() gemini.Options {
	return gemini.Options{Options: provider.Options{BaseURL: f.URL, Key: aKey}}
}

func open(t *testing.T, o gemini.Options) *gemini.Client {
	t.Helper()
	c, err := gemini.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func chatCall(model, body string) lm.Call {
	return lm.Call{Kind: "chat", Model: model, Body: json.RawMessage(body), Key: "trace/step"}
}

// call makes one that must succeed, and returns the message that was answered.
func call(t *testing.T, c *gemini.Client, l lm.Call) message {
	t.Helper()
	answer, err := c.Call(t.Context(), l)
	if err != nil {
		t.Fatalf("call: %v", err)
	}
	return messageOf(t, answer)
}

type message struct {
	Content   string                    `json:"content"`
	Calls     json.RawMessage           `json:"tool_calls"`
	Reasoning string                    `json:"reasoning_content"`
	Details   []provider.ReasoningBlock `json:"reasoning_details"`
}

func messageOf(t *testing.T, a lm.Answer) message {
	t.Helper()
	var w struct {
		Choices []struct {
			Message message `json:"message"`
		} `json:"choices"`
	}
	if err := json.Unmarshal(a.Body, &w); err != nil || len(w.Choices) != 1 {
		t.Fatalf("answer %s: %v", a.Body, err)
	}
	return w.Choices[0].Message
}

// same compares JSON whatever its spaces and the order of its fields.
func same(t *testing.T, what, got, want string) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatalf("%s: the test's own JSON: %v", what, err)
	}
	if err := json.NewDecoder(bytes.NewReader([]byte(got))).Decode(&g); err != nil {
		t.Fatalf("%s: %v: %s", what, err, got)
	}
	if d := cmp.Diff(w, g); d != "" {
		t.Errorf("%s (-want +got)\n%s", what, d)
	}
}
