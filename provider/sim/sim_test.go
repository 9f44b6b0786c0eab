package sim_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider/sim"
)

const rivers = `{"model":"sim","messages":[{"role":"user","content":"Why do rivers bend?"}]}`

func chat(model, body string) lighterman.Call {
	return lighterman.Call{Kind: "chat", Model: model, Body: json.RawMessage(body), Key: "0-a/infer", ID: "0-a", Attempt: 1}
}

func ask(t *testing.T, s *sim.Sim, c lighterman.Call) lighterman.Answer {
	t.Helper()
	answer, err := s.Call(t.Context(), c)
	if err != nil {
		t.Fatalf("Call: %v", err)
	}
	if !json.Valid(answer.Body) {
		t.Fatalf("answer is not JSON: %s", answer.Body)
	}
	return answer
}

func text(a lighterman.Answer) string { return lighterman.Result{Body: a.Body}.Text() }

func wantKind(t *testing.T, err error, want lighterman.Kind) {
	t.Helper()
	if got := lighterman.KindOf(err); got != want {
		t.Fatalf("error %v is of kind %q, want %q", err, got, want)
	}
}

func Example() {
	s := sim.New(sim.Options{})
	answer, err := s.Call(context.Background(), lighterman.Call{
		Model: "sim",
		Body:  json.RawMessage(`{"messages":[{"role":"user","content":"Why do rivers bend?"}]}`),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(lighterman.Result{Body: answer.Body}.Text())
	// Output: You asked "Why do rivers bend?": Faster water on the outside of a bend cuts the bank, and slower water on the inside lays the sand down again.
}

func TestChat_IsAChatCompletion(t *testing.T) {
	answer := ask(t, sim.New(sim.Options{}), chat("sim", rivers))
	var got struct {
		ID, Object, Model string
		Created           int64
		Choices           []struct {
			Index   int
			Message struct {
				Role, Content string
				ToolCalls     []any `json:"tool_calls"`
			}
			FinishReason string `json:"finish_reason"`
		}
		Usage struct {
			Prompt     int64 `json:"prompt_tokens"`
			Completion int64 `json:"completion_tokens"`
			Total      int64 `json:"total_tokens"`
		}
	}
	if err := json.Unmarshal(answer.Body, &got); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(got.ID, "chatcmpl-") || got.Object != "chat.completion" || got.Model != "sim" || answer.Model != "sim" {
		t.Errorf("head: %+v", got)
	}
	if age := time.Since(time.Unix(got.Created, 0)); age < 0 || age > time.Minute {
		t.Errorf("created %d is not now", got.Created)
	}
	if len(got.Choices) != 1 || got.Choices[0].Message.Role != "assistant" || got.Choices[0].FinishReason != "stop" || got.Choices[0].Message.ToolCalls != nil {
		t.Fatalf("choices: %+v", got.Choices)
	}
	if c := got.Choices[0].Message.Content; !strings.Contains(c, "Why do rivers bend?") {
		t.Errorf("answer %q does not name the question", c)
	}
	u := answer.Usage
	if u.Calls != 1 || u.Input == 0 || u.Output == 0 || got.Usage.Prompt != u.Input || got.Usage.Completion != u.Output || got.Usage.Total != u.Input+u.Output {
		t.Errorf("usage: body %+v, answer %+v", got.Usage, u)
	}
}

func TestChat_AnotherProcessGivesTheSameAnswer(t *testing.T) {
	one, two := ask(t, sim.New(sim.Options{}), chat("sim", rivers)), ask(t, sim.New(sim.Options{}), chat("sim", rivers))
	if text(one) != text(two) {
		t.Errorf("%q, then %q", text(one), text(two))
	}
	other := chat("sim", rivers)
	other.Key = "0-b/infer"
	id := func(a lighterman.Answer) string { return strings.SplitN(string(a.Body), `"`, 5)[3] }
	if three := ask(t, sim.New(sim.Options{}), other); id(one) != id(two) || id(one) == id(three) {
		t.Errorf("IDs %s, %s of one key, %s of another", id(one), id(two), id(three))
	}
}

func TestChat_EchoesTheLastUserMessageWhateverItsForm(t *testing.T) {
	long := strings.Repeat("ü", 200)
	for name, tc := range map[string]struct{ messages, want string }{
		"last of several": {`[{"role":"user","content":"first"},{"role":"assistant","content":"no"},{"role":"user","content":"second"}]`, `"second"`},
		"parts":           {`[{"role":"user","content":[{"type":"text","text":"in "},{"type":"text","text":"parts"}]}]`, `"in parts"`},
		"escapes":         {`[{"role":"user","content":"a\n\"b\" \u00fc\\ \ud800"}]`, "\"a\n\"b\" ü\\ \uFFFD\""},
		"not UTF-8":       {"[{\"role\":\"user\",\"content\":\"a\xffb\"}]", "\"a\uFFFDb\""},
		"control":         {`[{"role":"user","content":"a\u0001b"}]`, "\"a\x01b\""},
		"escaped names":   {`[{"ro\u006ce":"us\u0065r","content":"x"}]`, `"x"`},
		"long":            {`[{"role":"user","content":"` + long + `"}]`, `"` + long[:120] + `..."`},
		"no user":         {`[{"role":"system","content":"be kind"}]`, `You asked nothing:`},
		"null content":    {`[{"role":"user","content":null}]`, `You asked nothing:`},
	} {
		t.Run(name, func(t *testing.T) {
			got := text(ask(t, sim.New(sim.Options{}), chat("sim", ` { "messages" : `+tc.messages+` , "x":[1,{"messages":[]}] } `)))
			if !strings.Contains(got, tc.want) {
				t.Errorf("answer %q does not hold %q", got, tc.want)
			}
		})
	}
}

func TestPrompt_IsATextCompletion(t *testing.T) {
	for _, prompt := range []string{`"Why?"`, `["Why?"]`} {
		c := chat("sim", `{"prompt":`+prompt+`}`)
		c.Kind = "prompt"
		answer := ask(t, sim.New(sim.Options{}), c)
		if !strings.Contains(string(answer.Body), `"object":"text_completion"`) || !strings.Contains(text(answer), `"Why?"`) {
			t.Errorf("prompt %s: %s", prompt, answer.Body)
		}
	}
}

func TestEmbed_EqualTextsHaveEqualUnitVectors(t *testing.T) {
	for _, tc := range []struct {
		input string
		n     int
	}{{`"a"`, 1}, {`["a","b","a"]`, 3}, {`[1,2,3]`, 1}, {`[[1,2],[3]]`, 2}} {
		c := chat("sim-embed", `{"input":`+tc.input+`}`)
		c.Kind = "embed"
		var got struct {
			Object string
			Data   []struct {
				Object    string
				Index     int
				Embedding []float64
			}
			Model string
			Usage map[string]int64
		}
		if err := json.Unmarshal(ask(t, sim.New(sim.Options{}), c).Body, &got); err != nil {
			t.Fatal(err)
		}
		if got.Object != "list" || got.Model != "sim-embed" || len(got.Data) != tc.n || got.Usage["total_tokens"] == 0 {
			t.Fatalf("input %s: %+v", tc.input, got)
		}
		for i, d := range got.Data {
			norm := 0.0
			for _, x := range d.Embedding {
				norm += x * x
			}
			if d.Object != "embedding" || d.Index != i || len(d.Embedding) != 8 || norm < 0.999 || norm > 1.001 {
				t.Errorf("input %s, vector %d: %+v (norm %g)", tc.input, i, d, norm)
			}
		}
		if tc.n == 3 && (!cmp.Equal(got.Data[0].Embedding, got.Data[2].Embedding) || cmp.Equal(got.Data[0].Embedding, got.Data[1].Embedding)) {
			t.Errorf("a, b, a: %v", got.Data)
		}
	}
}

func TestCall_RefusesWhatNoModelCanAnswer(t *testing.T) {
	invalid := lighterman.InvalidRequest
	for name, tc := range map[string]struct {
		kind, model, body string
		want              lighterman.Kind
	}{
		"not JSON":              {"chat", "sim", `{"messages":[`, invalid},
		"empty":                 {"chat", "sim", ``, invalid},
		"a list":                {"chat", "sim", `[1]`, invalid},
		"a string":              {"chat", "sim", `"messages"`, invalid},
		"no messages":           {"chat", "sim", `{}`, invalid},
		"null messages":         {"chat", "sim", `{"messages":null}`, invalid},
		"messages is an object": {"chat", "sim", `{"messages":{"role":"user"}}`, invalid},
		"empty messages":        {"chat", "sim", `{"messages":[ ]}`, invalid},
		"message without role":  {"chat", "sim", `{"messages":[{"content":"x"}]}`, invalid},
		"message is a number":   {"chat", "sim", `{"messages":[7]}`, invalid},
		"no prompt":             {"prompt", "sim", `{"messages":[]}`, invalid},
		"two prompts":           {"prompt", "sim", `{"prompt":["a","b"]}`, invalid},
		"no input":              {"embed", "sim-embed", `{"input":[]}`, invalid},
		"too many inputs":       {"embed", "sim-embed", `{"input":["a"` + strings.Repeat(`,"a"`, 2048) + `]}`, invalid},
		"embed by a chat model": {"embed", "sim", `{"input":"a"}`, invalid},
		"chat by sim-embed":     {"chat", "sim-embed", rivers, invalid},
		"unknown kind":          {"paint", "sim", rivers, invalid},
		"unknown model":         {"chat", "gtp-4o", rivers, lighterman.ModelNotFound},
		"no model at all":       {"chat", "", `{"messages":[{"role":"user"}]}`, lighterman.ModelNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := sim.New(sim.Options{}).Call(t.Context(), lighterman.Call{Kind: tc.kind, Model: tc.model, Body: json.RawMessage(tc.body)})
			wantKind(t, err, tc.want)
		})
	}
}

func TestCall_TakesTheModelOfTheBodyWhereTheCallNamesNone(t *testing.T) {
	if a := ask(t, sim.New(sim.Options{}), chat("", rivers)); a.Model != "sim" {
		t.Errorf("answered by %q", a.Model)
	}
}

func TestSlow_StreamsExactlyItsAnswerOverItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var joined strings.Builder
		var gaps []time.Duration
		start := time.Now()
		last := start
		c := chat("sim-slow", rivers)
		c.Stream = func(f lighterman.Frame) {
			if f.Type != lighterman.FrameToken || f.Data == "" {
				t.Errorf("frame %+v", f)
			}
			joined.WriteString(f.Data)
			gaps, last = append(gaps, time.Since(last)), time.Now()
		}
		answer := ask(t, sim.New(sim.Options{}), c)
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("took %s, want 10s", took)
		}
		if joined.String() != text(answer) {
			t.Errorf("streamed %q\nanswered %q", joined.String(), text(answer))
		}
		if int64(len(gaps)) != answer.Usage.Output || len(gaps) < 50 {
			t.Errorf("%d tokens, usage says %d", len(gaps), answer.Usage.Output)
		}
		for i, g := range gaps {
			if even := 10 * time.Second / time.Duration(len(gaps)); g < even-1 || g > even+1 {
				t.Fatalf("token %d came after %s, want %s", i, g, even)
			}
		}
	})
}

func TestSlow_TakesAsLongWhenNobodyListens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		ask(t, sim.New(sim.Options{SlowFor: 3 * time.Second}), chat("sim-slow", rivers))
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("took %s", took)
		}
	})
}

func TestSlow_StopsAtOnceWhenItsContextEnds(t *testing.T) {
	why := errors.New("the claim was lost")
	for name, tc := range map[string]struct {
		end     func(context.Context) (context.Context, context.CancelFunc)
		timeout time.Duration
		want    lighterman.Kind
	}{
		"cancel": {end: func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancelCause(ctx)
			timer := time.AfterFunc(2*time.Second, func() { cancel(why) })
			return ctx, func() { timer.Stop(); cancel(nil) }
		}, want: lighterman.CallCancelled},
		"deadline": {end: func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 2*time.Second)
		}, want: lighterman.TimedOut},
		"call timeout": {end: context.WithCancel, timeout: 2 * time.Second, want: lighterman.TimedOut},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := tc.end(t.Context())
				defer cancel()
				start, c, tokens := time.Now(), chat("sim-slow", rivers), 0
				c.Timeout = tc.timeout
				c.Stream = func(lighterman.Frame) { tokens++ }
				_, err := sim.New(sim.Options{}).Call(ctx, c)
				wantKind(t, err, tc.want)
				if took := time.Since(start); took != 2*time.Second {
					t.Errorf("stopped after %s, want 2s", took)
				}
				if tokens == 0 {
					t.Error("no token before the end")
				}
				if name == "cancel" && !errors.Is(err, why) {
					t.Errorf("error %v hides its cause", err)
				}
			})
		})
	}
}

func TestCall_AnEndedContextIsNotCalled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := sim.New(sim.Options{}).Call(ctx, chat("sim", rivers))
	wantKind(t, err, lighterman.CallCancelled)
}

func TestLatency_IsWaitedPerModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sim.New(sim.Options{Latency: func(model string) time.Duration {
			if model == "sim" {
				return time.Minute
			}
			return 0
		}})
		start := time.Now()
		ask(t, s, chat("sim", rivers))
		if took := time.Since(start); took != time.Minute {
			t.Errorf("sim took %s", took)
		}
		start = time.Now()
		ask(t, s, chat("sim-tools", rivers))
		if took := time.Since(start); took != 0 {
			t.Errorf("sim-tools took %s", took)
		}
	})
}

func TestLimited_RefusesMoreThanItsRateAndSaysUntilWhen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := sim.New(sim.Options{})
		for range 5 {
			ask(t, s, chat("sim-limited", rivers))
			time.Sleep(100 * time.Millisecond)
		}
		_, err := s.Call(t.Context(), chat("sim-limited", rivers))
		wantKind(t, err, lighterman.RateLimited)
		wait := lighterman.AsError(err).RetryAfter
		if wait != 500*time.Millisecond {
			t.Fatalf("RetryAfter %s, want 500ms", wait)
		}
		time.Sleep(wait - 1)
		if _, err := s.Call(t.Context(), chat("sim-limited", rivers)); err == nil {
			t.Error("answered before RetryAfter was over")
		}
		time.Sleep(time.Nanosecond)
		ask(t, s, chat("sim-limited", rivers))
		if _, err := s.Call(t.Context(), chat("sim-limited", rivers)); err == nil {
			t.Error("answered a sixth call within one second")
		}
	})
}

func TestFlaky_FailsThreeOfTenAndAlwaysRecovers(t *testing.T) {
	s := sim.New(sim.Options{})
	failed := func(key string, attempt int) bool {
		c := chat("sim-flaky", rivers)
		c.Key, c.Attempt = key, attempt
		_, err := s.Call(t.Context(), c)
		if err != nil {
			wantKind(t, err, lighterman.ProviderFailed)
		}
		return err != nil
	}
	const n = 5000
	first, both := 0, 0
	for i := range n {
		key := fmt.Sprintf("0-%d/infer", i)
		one := failed(key, 1)
		if one != failed(key, 1) || one != failed(key, 0) {
			t.Fatalf("%s: the same attempt went another way", key)
		}
		if one {
			first++
			if failed(key, 2) {
				both++
			}
		}
		if failed(key, 4) || failed(key, 5) {
			t.Fatalf("%s: fails past its third attempt", key)
		}
	}
	if share := float64(first) / n; share < 0.27 || share > 0.33 {
		t.Errorf("%.3f of first attempts fail, want 0.3", share)
	}
	if share := float64(both) / float64(first); share < 0.25 || share > 0.35 {
		t.Errorf("%.3f of second attempts fail after a failed first, want 0.3", share)
	}
}
