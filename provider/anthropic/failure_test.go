package anthropic_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider"
	"github.com/lighterman/lighterman/provider/anthropic"
	"github.com/lighterman/lighterman/provider/providertest"
)

// answering is an adapter against a server that answers as f does.
func answering(t *testing.T, f http.HandlerFunc) *anthropic.API {
	t.Helper()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	return open(t, &fake{Server: server}, nil)
}

func ask(api provider.API) error {
	_, err := api.Call(context.Background(), lm.Call{Kind: "chat", Model: "claude-test", Body: json.RawMessage(`{` + question + `}`)})
	return err
}

// An address that is no Anthropic API, as a proxy's page or a redirect to a log-in,
// answers with a good status and no stream.
func TestFailure_WhatIsNoAnthropicApi(t *testing.T) {
	for _, c := range []struct {
		name, kind, body string
		status           int
		want             lm.Kind
	}{
		{"a page", "text/html; charset=utf-8", "<html>hello</html>", 200, lm.ProviderFailed},
		{"another API's JSON", "application/json", `{"object":"chat.completion"}`, 200, lm.ProviderFailed},
		{"an error with a good status", "application/json", `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, 200, lm.Overloaded},
		{"a redirect", "text/html", "", 302, lm.ProviderFailed},
		{"nothing", "text/plain", "", 204, lm.ProviderFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			followed := false
			api := answering(t, func(w http.ResponseWriter, r *http.Request) {
				followed = followed || r.URL.Path == "/login"
				w.Header().Set("Content-Type", c.kind)
				w.Header().Set("Location", "/login")
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			})
			if err := ask(api); lm.KindOf(err) != c.want {
				t.Errorf("call: %v, want %s", err, c.want)
			}
			_, err := api.List(context.Background())
			if c.status != 200 && (lm.KindOf(err) != lm.ProviderFailed || !strings.Contains(err.Error(), "no list of models")) {
				t.Errorf("list: %v, want provider", err)
			}
			if followed {
				t.Error("the redirect was followed, and the key with it")
			}
		})
	}
}

// One request per call: what to do about a failure is the router's to say.
func TestFailure_AsksOnce(t *testing.T) {
	asked := 0
	api := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	for _, f := range []func() error{
		func() error { return ask(api) },
		func() error { _, err := api.List(context.Background()); return err },
		func() error { return api.Probe(context.Background()) },
	} {
		asked = 0
		if err := f(); lm.KindOf(err) != lm.Overloaded || asked != 1 {
			t.Errorf("%v after %d requests, want overloaded after 1", err, asked)
		}
	}
}

// Some servers keep the connection open behind message_stop: the answer has ended.
func TestFailure_ConnectionThatStaysOpenBehindTheEnd(t *testing.T) {
	release := make(chan struct{})
	api := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		stream(w, pieces(events(begins, text(0, "Yes."), ends("end_turn"), stops)...)...)
		w.(http.Flusher).Flush()
		<-release
	})
	defer close(release)
	began := time.Now()
	if m := message(t, call(t, api, `{`+question+`}`)); m["content"] != "Yes." {
		t.Errorf("message %v", m)
	}
	if took := time.Since(began); took > 20*time.Second { // the idle time-out is 60 s
		t.Errorf("took %s", took)
	}
}

// A connection is used again, which spares a handshake per call.
func TestCall_UsesItsConnectionAgain(t *testing.T) {
	seen := make(map[string]bool)
	api := answering(t, func(w http.ResponseWriter, r *http.Request) {
		seen[r.RemoteAddr] = true
		stream(w, pieces(events(begins, text(0, "Yes."), ends("end_turn"), stops)...)...)
		w.(http.Flusher).Flush() // the connection's end of the answer comes later than message_stop
	})
	for range 5 {
		call(t, api, `{`+question+`}`)
	}
	if len(seen) != 1 {
		t.Errorf("%d connections for 5 calls in a row", len(seen))
	}
}

func TestFailure_SpendLimitIsWaitedForAsItSays(t *testing.T) {
	until := time.Now().UTC().Add(3 * time.Hour).Truncate(time.Minute)
	for message, want := range map[string]time.Duration{
		"You have reached your specified API usage limits. You will regain access on " + until.Format("2006-01-02 at 15:04") + " UTC.":                      time.Until(until),
		"You have reached your specified workspace API usage limits. You will regain access on " + until.AddDate(0, 0, 9).Format("2006-01-02 at 15:04 UTC"): 24 * time.Hour,
		"You have reached your specified API usage limits. You will regain access on 2020-01-01 at 00:00 UTC.":                                              0,
		"You have reached your specified API usage limits. You will regain access on 2026-99-99 at 00:00 UTC.":                                              0,
	} {
		api := answering(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"type":"error","error":{"type":"invalid_request_error","message":%q}}`, message)
		})
		got := lm.AsError(ask(api))
		if got.Kind != lm.QuotaExhausted || (got.RetryAfter-want).Abs() > 2*time.Minute {
			t.Errorf("%s, retry after %s, want quota_exhausted, %s", got.Kind, got.RetryAfter, want)
		}
	}
}

// An error's type is told as it is, so it must be none that smuggles text.
func TestFailure_TypeThatIsNone(t *testing.T) {
	api := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"type":"error","error":{"type":"Why? sk-ant-api03-canary","message":"no"}}`)
	})
	if err := ask(api); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("%v", err)
	}
}

func TestList_FollowsThePagesAndLeavesOutWhatIsRetired(t *testing.T) {
	var queries []string
	api := answering(t, func(w http.ResponseWriter, r *http.Request) {
		queries = append(queries, r.URL.RawQuery)
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Query().Get("after_id") == "" {
			_, _ = io.WriteString(w, `{"data":[{"type":"model","id":"claude-a","max_input_tokens":200000,"lifecycle":"active",
				"capabilities":{"image_input":{"supported":true},"thinking":{"supported":false}}}],"has_more":true,"first_id":"claude-a","last_id":"claude-a"}`)
			return
		}
		_, _ = io.WriteString(w, `{"data":[{"type":"model","id":"claude-b","capabilities":null},{"type":"model","id":"claude-c","lifecycle":"retired"}],
			"has_more":false,"first_id":"claude-b","last_id":"claude-c"}`)
	})
	got, err := api.List(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	all := map[lm.Capability]bool{lm.CanChat: true, lm.CanPrompt: true, lm.CanStream: true, lm.CanTools: true, lm.CanEmbed: false}
	sees := map[lm.Capability]bool{lm.CanVision: true, lm.CanThink: false}
	for c, can := range all {
		sees[c] = can
	}
	want := []lm.Offering{{Name: "claude-a", Window: 200000, Can: sees}, {Name: "claude-b", Can: all}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("offerings (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"limit=1000", "after_id=claude-a&limit=1000"}, queries); diff != "" {
		t.Errorf("queries (-want +got):\n%s", diff)
	}
}

// A server whose list never ends must not be listed for ever.
func TestList_EndsThoughThePagesDoNot(t *testing.T) {
	asked := 0
	api := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		asked++
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"data":[{"id":"claude-a"}],"has_more":true,"last_id":"claude-a"}`)
	})
	if _, err := api.List(context.Background()); err != nil || asked > 25 {
		t.Errorf("%v after %d pages", err, asked)
	}
}

// Every error body that the format knows, and every fault in a stream.
func TestFailure_EveryErrorOfTheFormat(t *testing.T) {
	for _, c := range (providertest.Anthropic{}).Errors() {
		t.Run(c.Name, func(t *testing.T) {
			got := lm.AsError(ask(answering(t, func(w http.ResponseWriter, _ *http.Request) {
				for name, values := range c.Header {
					w.Header()[name] = values
				}
				w.WriteHeader(c.Status)
				_, _ = io.WriteString(w, c.Body)
			})))
			if got.Kind != c.Kind || (got.RetryAfter-c.RetryAfter).Abs() > 3*time.Second {
				t.Errorf("%v, retry after %s; want %s, %s", got, got.RetryAfter, c.Kind, c.RetryAfter)
			}
		})
	}
	for _, c := range (providertest.Anthropic{}).Faults(providertest.Asked{Model: "claude-test"}) {
		t.Run(c.Name, func(t *testing.T) {
			if err := ask(answering(t, func(w http.ResponseWriter, _ *http.Request) { stream(w, c.Pieces...) })); lm.KindOf(err) != c.Kind {
				t.Errorf("%v, want %s", err, c.Kind)
			}
		})
	}
}
