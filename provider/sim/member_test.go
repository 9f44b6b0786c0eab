package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lighterman/lighterman"
)

// talk is a conversation of n messages that begins as all others do.
func talk(n int) []byte {
	messages := []string{`{"role":"system","content":"` + strings.Repeat("a long instruction ", 40) + `"}`}
	for i := 1; i < n; i++ {
		messages = append(messages, fmt.Sprintf(`{"role":"user","content":"message %d"}`, i))
	}
	return []byte(`{"messages":[` + strings.Join(messages, ",") + `]}`)
}

func cachedOf(t *testing.T, s *Sim, model string, n int) int64 {
	t.Helper()
	a, err := s.Call(t.Context(), lighterman.Call{Kind: "chat", Model: model, Body: talk(n)})
	if err != nil {
		t.Fatal(err)
	}
	var body struct {
		Usage struct {
			Details struct {
				Cached int64 `json:"cached_tokens"`
			} `json:"prompt_tokens_details"`
		} `json:"usage"`
	}
	if err := json.Unmarshal(a.Body, &body); err != nil || body.Usage.Details.Cached != a.Usage.Cached || a.Usage.Cached > a.Usage.Input {
		t.Fatalf("%s %v, usage %+v", a.Body, err, a.Usage)
	}
	return a.Usage.Cached
}

func TestCache_ByMemberPrefixAndTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{})
		a, b := Member(Plain, "a"), Member(Plain, "b")
		if n := cachedOf(t, s, a, 3); n != 0 {
			t.Errorf("%d tokens cached of a first call", n)
		}
		three := cachedOf(t, s, a, 3)
		longer := cachedOf(t, s, a, 5)
		if three == 0 || longer != three || cachedOf(t, s, a, 5) <= longer {
			t.Errorf("cached %d, then %d of a longer talk: want the common beginning", three, longer)
		}
		if n := cachedOf(t, s, b, 3); n != 0 {
			t.Errorf("b has %d tokens of a's cache", n)
		}
		time.Sleep(4 * time.Minute)
		if cachedOf(t, s, a, 3) != three {
			t.Error("gone after 4 minutes")
		}
		time.Sleep(4 * time.Minute)
		if cachedOf(t, s, a, 3) != three {
			t.Error("a use must refresh it")
		}
		time.Sleep(cacheFor)
		if n := cachedOf(t, s, a, 3); n != 0 {
			t.Errorf("%d tokens left after 5 idle minutes", n)
		}
		if cachedOf(t, s, Plain, 3); cachedOf(t, s, Plain, 3) != 0 {
			t.Error("a built-in model answers by the call alone and caches nothing")
		}
	})
}

func TestCache_IsBounded(t *testing.T) {
	var c promptCache
	now := time.Now()
	list := func(i int) value { return value(fmt.Sprintf(`["%d"]`, i)) }
	for i := range maxPrefixes + 10 {
		c.serve("m", list(i), now)
	}
	if n := len(c.until); n > maxPrefixes {
		t.Errorf("%d prefixes", n)
	}
}

func TestMember_BehavesAsItsBaseWithItsOwnScript(t *testing.T) {
	s := New(Options{Script: map[string][]Reply{Member(Plain, "a"): {{Text: "scripted"}}}, Limit: 1, Window: time.Hour})
	ask := func(model string) string {
		a, err := s.Call(t.Context(), lighterman.Call{Kind: "chat", Model: model, Body: talk(2)})
		if err != nil {
			return string(lighterman.KindOf(err))
		}
		return lighterman.Result{Body: a.Body}.Text()
	}
	if a, b := ask("sim@a"), ask("sim@b"); a != "scripted" || b != ask(Plain) {
		t.Errorf("%q and %q", a, b)
	}
	for _, m := range []string{"sim-limited@a", "sim-limited@b"} {
		if first, second := ask(m), ask(m); first == "rate_limited" || second != "rate_limited" {
			t.Errorf("%s: %q, then %q: want a limit of its own", m, first, second)
		}
	}
	if got := ask("nothing@a"); got != "model_not_found" {
		t.Error(got)
	}
}

func TestFault_WhenAndHow(t *testing.T) {
	for _, c := range []struct {
		fault Fault
		want  string // of 8 calls
	}{
		{Fault{Kind: lighterman.ProviderFailed}, "xxxxxxxx"},
		{Fault{Kind: lighterman.ProviderFailed, After: 3}, "...xxxxx"},
		{Fault{Kind: lighterman.RateLimited, RetryAfter: time.Minute, After: 1, Count: 2}, ".xx....."},
		{Fault{Kind: lighterman.ProviderFailed, Rate: 1e-9}, "........"},
	} {
		c.fault.Model = "sim@a"
		s := New(Options{Faults: []Fault{c.fault}})
		got := ""
		for range 8 {
			_, err := s.Call(context.Background(), lighterman.Call{Kind: "chat", Model: "sim@a", Body: talk(1)})
			switch {
			case err == nil:
				got += "."
			case lighterman.KindOf(err) == c.fault.Kind && lighterman.AsError(err).RetryAfter == c.fault.RetryAfter:
				got += "x"
			default:
				t.Fatal(err)
			}
			if _, err := s.Call(context.Background(), lighterman.Call{Kind: "chat", Model: "sim@b", Body: talk(1)}); err != nil {
				t.Fatalf("another member: %v", err)
			}
		}
		if got != c.want {
			t.Errorf("%+v: %s, want %s", c.fault, got, c.want)
		}
	}
	s, failed := New(Options{Faults: []Fault{{Model: "sim@a", Kind: lighterman.ProviderFailed, Rate: 0.25}}}), 0
	for i := range 2000 {
		if _, err := s.Call(context.Background(), lighterman.Call{Kind: "chat", Model: "sim@a", Key: fmt.Sprint(i), Body: talk(1)}); err != nil {
			failed++
		}
	}
	if failed < 400 || failed > 600 {
		t.Errorf("%d of 2000 fail at a rate of a quarter", failed)
	}
}
