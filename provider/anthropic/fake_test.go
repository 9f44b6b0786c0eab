package anthropic_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
	"github.com/lighterman/lighterman/provider/anthropic"
	"github.com/lighterman/lighterman/provider/providertest"
)

// fake answers as providertest.Anthropic does and keeps what was asked: it fails the
// test where the API would refuse the request.
type fake struct {
	*httptest.Server
	answer func(w http.ResponseWriter, a providertest.Asked) bool // in place of the usual

	mu      sync.Mutex
	bodies  [][]byte
	headers []http.Header
}

func newServer(t *testing.T) *fake {
	f := &fake{}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		f.mu.Lock()
		f.bodies, f.headers = append(f.bodies, body), append(f.headers, r.Header)
		f.mu.Unlock()
		asked, err := providertest.Anthropic{}.Read(r, body)
		if err != nil {
			t.Errorf("the API would refuse this: %v\n%s", err, body)
		}
		if f.answer != nil && f.answer(w, asked) {
			return
		}
		stream(w, providertest.Anthropic{}.Stream(asked, providertest.Reply{Text: "Because.", Usage: lm.Usage{Input: 5, Output: 2}})...)
	}))
	t.Cleanup(f.Close)
	return f
}

// stream writes pieces as an event stream.
func stream(w http.ResponseWriter, pieces ...providertest.Piece) {
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	for _, p := range pieces {
		_, _ = io.WriteString(w, p.Data)
	}
}

func (f *fake) last(t *testing.T) []byte {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.bodies) == 0 {
		t.Fatal("nothing was asked")
	}
	return f.bodies[len(f.bodies)-1]
}

func (f *fake) header() http.Header {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.headers[len(f.headers)-1]
}

func (f *fake) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.bodies)
}

func open(t testing.TB, f *fake, change func(*anthropic.Options)) *anthropic.API {
	t.Helper()
	o := anthropic.Options{Options: provider.Options{BaseURL: f.URL, Key: "sk-ant-api03-canary-1234567890"}}
	if change != nil {
		change(&o)
	}
	api, err := anthropic.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return api
}

func call(t *testing.T, api provider.API, body string) lm.Answer {
	t.Helper()
	answer, err := api.Call(context.Background(), lm.Call{Kind: "chat", Model: "claude-test", Body: json.RawMessage(body)})
	if err != nil {
		t.Fatalf("call: %v", err)
	}
	return answer
}

func object(t *testing.T, data []byte) map[string]any {
	t.Helper()
	var o map[string]any
	if err := json.Unmarshal(data, &o); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
	return o
}
