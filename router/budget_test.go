package router

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/fleet"
)

// What is reserved for a call: its answers at their longest, as far as is known.
func TestMayCost(t *testing.T) {
	text := strings.Repeat("x", 298) // and its quotes: 100 tokens, 1 and those around the message
	chat := func(more string) string {
		return `{"messages":[{"role":"user","content":"` + text + `"}]` + more + `}`
	}
	for _, tt := range []struct {
		name, kind, body string
		change           func(*fleet.ModelSpec)
		input, output    int
	}{
		{"it says max_tokens", "chat", chat(`,"max_tokens":70`), nil, 109, 70},
		{"it says max_completion_tokens", "chat", chat(`,"max_completion_tokens":80`), nil, 109, 80},
		{"several choices", "chat", chat(`,"max_tokens":70,"n":3`), nil, 109, 210},
		{"the model's longest answer", "chat", chat(""), func(m *fleet.ModelSpec) { m.MaxOutput = 500 }, 109, 500},
		{"the call's before the model's", "chat", chat(`,"max_tokens":70`), func(m *fleet.ModelSpec) { m.MaxOutput = 500 }, 109, 70},
		{"room in the context", "chat", chat(""), func(m *fleet.ModelSpec) { m.Window = 1075 }, 109, 1000},
		{"a wide context", "chat", chat(""), func(m *fleet.ModelSpec) { m.Window = 1_000_000 }, 109, 4096},
		{"nothing is known", "chat", chat(""), nil, 109, 4096},
		{"an image", "chat", `{"max_tokens":1,"messages":[{"content":[{"type":"image_url","image_url":{"url":"data:` + text + `"}}]}]}`, nil, 1609, 1},
		{"tools", "chat", `{"max_tokens":1,"messages":[],"tools":[{"a":"` + text[:290] + `xx"}]}`, nil, 101, 1},
		{"prompts", "prompt", `{"prompt":["a","b"],"max_tokens":10,"n":2}`, nil, 4, 40},
		{"an embedding", "embed", `{"input":"` + text + `"}`, nil, 101, 0},
	} {
		spec := pool("a")
		m := &spec.Models[0]
		m.Budget, m.Price = fleet.Budget{USD: 1}, fleet.Price{Input: 1e6, Output: 1e9}
		if tt.change != nil {
			tt.change(m)
		}
		snap, p := snapshot(spec, nil)
		n := needsOf(snap, p, &lm.Call{Kind: tt.kind, Body: []byte(tt.body)})
		if got, want := mayCost(m, &n), float64(tt.input)+1000*float64(tt.output); got != want {
			t.Errorf("%s: %.0f, want %.0f", tt.name, got, want)
		}
	}
}

// Two calls of 0.00039 USD at the same time on a budget of 0.0005 USD: one is made.
func TestRouter_ABudgetIsNotPassedByCallsAtTheSameTime(t *testing.T) {
	for name, tt := range map[string]struct {
		body  string
		most  int
		calls int
	}{
		"max_tokens":         {`{"max_tokens":165,"messages":[{"role":"user","content":"hello"}]}`, 0, 1},
		"the model's answer": {`{"messages":[{"role":"user","content":"hello"}]}`, 165, 1},
		"nothing is known":   {`{"messages":[{"role":"user","content":"hello"}]}`, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				spec := pool("a")
				m := &spec.Models[0]
				m.Budget, m.Price, m.MaxOutput = fleet.Budget{USD: 0.0005}, fleet.Price{Input: 1, Output: 2}, tt.most
				one, two, truth, _ := shared(t, spec)
				serve := providerFunc(func(ctx context.Context, _ lm.Call) (lm.Answer, error) {
					return lm.Answer{Usage: lm.Usage{Calls: 1, Input: 60, Output: 165}}, pause(ctx, time.Second)
				})
				one.opts.Providers["b-a"], two.opts.Providers["b-a"] = serve, serve
				results := make(chan string)
				for i, r := range []*Router{one, two} {
					go func() {
						results <- said(r.Call(t.Context(), newCall(op(fmt.Sprint("0-", i)), func(c *lm.Call) { c.Body = []byte(tt.body) })))
					}()
				}
				got := <-results + ", " + <-results
				state, err := truth.System(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				v := state.Models[0]
				if want := 0.00039 * float64(tt.calls); math.Abs(v.BudgetUsed-want) > 1e-9 || v.Requests != int64(tt.calls) || strings.Count(got, "parked chat: budget_exceeded") != 2-tt.calls {
					t.Errorf("%s: used %g in %d calls, want %g", got, v.BudgetUsed, v.Requests, want)
				}
				if tt.calls == 0 && !strings.Contains(got, "max_output of a") {
					t.Errorf("%s: it does not say what helps", got)
				}
			})
		})
	}
}
