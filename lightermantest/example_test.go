package lightermantest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lightermantest"
	"github.com/lighterman/lighterman/pipeline"
	"github.com/lighterman/lighterman/provider/sim"
)

// summarise is a handler as one writes it: a step that is done once, and a
// question to a model.
func summarise(ctx context.Context, op *pipeline.Op) (any, error) {
	page, err := pipeline.Step(ctx, op, "fetch", func(ctx context.Context) (string, error) {
		return fetch(ctx, op.Request().Meta["url"], op.Key("fetch")) // once checkpointed, never run again; Key is stable over takeovers
	})
	if err != nil {
		return nil, err // transient: retried with backoff; lighterman.Permanent(err): dead-letter
	}
	return op.Ask(ctx, "summary", "Summarise:\n"+page) // sticky pool, failover, tokens stream to followers
}

func fetch(ctx context.Context, url, key string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", lighterman.Permanent(err)
	}
	req.Header.Set("Idempotency-Key", key)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	return string(page), err
}

// pages serves a page about rivers, at /gone nothing, and tells told of each
// request's key.
func pages(told func(key string)) *httptest.Server {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		told(r.Header.Get("Idempotency-Key"))
		if r.URL.Path == "/gone" {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, "Rivers bend.")
	}))
	server.Config.SetKeepAlivesEnabled(false)
	server.Start()
	return server
}

// summaryOf asks for a summary of a page.
func summaryOf(url string) lighterman.Request {
	return lighterman.Request{Kind: "summarise", Body: json.RawMessage(`{}`), Meta: map[string]string{"url": url}}
}

// Example runs a handler whose worker is killed after the model has answered and
// before the answer is saved: the page is not fetched again, the model is asked
// again.
func Example() {
	t := &exampleT{} // in a test, its *testing.T
	defer t.end()
	server := pages(func(string) {})
	defer server.Close()

	fleet := lightermantest.Run(t, lightermantest.Options{}, func(w *lightermantest.Worker) {
		w.Handle("summarise", summarise)
	})
	fleet.Script("sim", sim.Reply{Text: "never saved"}, sim.Reply{Text: "They bend."})
	fleet.KillAt("after call", 1)

	id := fleet.Enqueue(summaryOf(server.URL))
	result := fleet.Wait(id)

	fmt.Println(result.Outcome, result.Text())
	for _, call := range fleet.CallsOf(id) {
		fmt.Println(call.Worker, call.What, call.Name, strings.TrimPrefix(call.Key, string(id)+"/"))
	}
	fleet.AssertCalledOnce(id, "fetch")
	// Output:
	// succeeded They bend.
	// w1 step fetch step/fetch
	// w1 model summary chat/summary/turn:1
	// w2 model summary chat/summary/turn:1
}

// ExampleFleet_AssertMembers scripts a pool: its first member is rate-limited, and
// the other one answers, also the next question of the same thread.
func ExampleFleet_AssertMembers() {
	t := &exampleT{} // in a test, its *testing.T
	defer t.end()
	fleet := lightermantest.Run(t, lightermantest.Options{Config: `
models:
  - {id: large, backend: sim, name: sim}
  - {id: small, backend: sim, name: sim}
pools:
  - {id: chat, members: [{model_id: large}, {model_id: small, role: failover_only}]}
`}, func(w *lightermantest.Worker) {
		w.Handle("greet", func(ctx context.Context, op *pipeline.Op) (any, error) {
			return op.Ask(ctx, "greeting", "Greet the world.")
		})
	})
	fleet.Script("large", sim.Reply{Err: &lighterman.Error{Kind: lighterman.RateLimited, RetryAfter: time.Minute}})
	fleet.Script("small", sim.Reply{Text: "Hello, world."}, sim.Reply{Text: "Hello again."})

	greet := lighterman.Request{Kind: "greet", Model: "chat", Thread: "t1", Body: json.RawMessage(`{}`)}
	first := fleet.Enqueue(greet)
	result := fleet.AssertSucceeded(first)
	fmt.Println(result.Text())
	for _, way := range result.Route {
		fmt.Println(way[strings.Index(way, " ")+1:]) // without the snapshot's version
	}
	second := fleet.Enqueue(greet)
	fmt.Println(fleet.AssertSucceeded(second).Text())
	fleet.AssertMembers(first, "large", "small")
	fleet.AssertMembers(second, "small")
	// Output:
	// Hello, world.
	// chat: large rate_limited, small failover
	// Hello again.
}

// exampleT stands in for a *testing.T, which an example has not.
type exampleT struct{ cleanups []func() }

func (t *exampleT) Helper()                           {}
func (t *exampleT) Cleanup(f func())                  { t.cleanups = append(t.cleanups, f) }
func (t *exampleT) Errorf(format string, args ...any) { fmt.Printf(format+"\n", args...) }
func (t *exampleT) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func (t *exampleT) end() {
	for i := len(t.cleanups) - 1; i >= 0; i-- {
		t.cleanups[i]()
	}
}
