package tool_test

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
	"github.com/lighterman/lighterman/tool"
)

func Example() {
	var tools tool.Set
	type in struct {
		City string `json:"city" jsonschema:"description=name of the city"`
	}
	err := tools.Add(tool.Func("tide", "Tells the tide.", func(_ context.Context, _ lighterman.ToolCall, in in) (map[string]any, error) {
		return map[string]any{"city": in.City, "high": "06:40"}, nil
	}))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, arguments := range []string{`{"city":"London"}`, `{"town":"London"}`} {
		content, err := tools.Call(context.Background(), lighterman.ToolCall{Name: "tide", Arguments: json.RawMessage(arguments)})
		fmt.Println(content, err)
	}
	// Output:
	// {"city":"London","high":"06:40"} <nil>
	// {"error":"bad arguments: missing city"} <nil>
}

// one is a Set with one tool, t.
func one(t *testing.T, run tool.Handler, options ...tool.Option) *tool.Set {
	t.Helper()
	var s tool.Set
	if err := s.Add(lighterman.Tool{Name: "t"}, run, options...); err != nil {
		t.Fatal(err)
	}
	return &s
}

func returns(result any, err error) tool.Handler {
	return func(context.Context, lighterman.ToolCall) (any, error) { return result, err }
}

func TestCall_WritesResultsAsContent(t *testing.T) {
	for name, tc := range map[string]struct {
		result any
		want   string
	}{
		"text":          {"a <b>", "a <b>"},
		"bytes":         {[]byte("b"), "b"},
		"JSON":          {json.RawMessage(`{"a": 1}`), `{"a": 1}`},
		"nothing":       {nil, ""},
		"struct":        {struct{ A string }{"<&>"}, `{"A":"<&>"}`},
		"not UTF-8":     {"a\xffb", "a\uFFFDb"},
		"unwritable":    {func() {}, `{"error":"the result cannot be written as JSON: json: unsupported type: func()"}`},
		"too large":     {strings.Repeat("x", tool.MaxContent+1), `{"error":"the result of 1048577 bytes is over the bound of 1048576; ask for less"}`},
		"just in bound": {strings.Repeat("x", tool.MaxContent), strings.Repeat("x", tool.MaxContent)},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := one(t, returns(tc.result, nil)).Call(t.Context(), lighterman.ToolCall{Name: "t"})
			if err != nil || got != tc.want {
				t.Errorf("got %.100q, %v; want %.100q", got, err, tc.want)
			}
		})
	}
}

func TestCall_TellsTheModelWhatItCanMend(t *testing.T) {
	s := one(t, returns(nil, errors.New(`no "x" here`)))
	for name, want := range map[string]string{
		"t":                      `{"error":"no \"x\" here"}`,
		"u":                      `{"error":"no tool \"u\"; there are: t"}`,
		strings.Repeat("u", 999): `{"error":"no tool \"` + strings.Repeat("u", 77) + `...\"; there are: t"}`,
	} {
		if got, err := s.Call(t.Context(), lighterman.ToolCall{Name: name}); err != nil || got != want {
			t.Errorf("tool %.10s: %s, %v; want %s", name, got, err, want)
		}
	}
	if got, err := new(tool.Set).Call(t.Context(), lighterman.ToolCall{Name: "u"}); err != nil || got != `{"error":"no tool \"u\"; there are none"}` {
		t.Errorf("no tools: %s, %v", got, err)
	}
}

func TestCall_BoundsTheTextOfAnError(t *testing.T) {
	got, err := one(t, returns(nil, errors.New(strings.Repeat("ü", 1<<20)))).Call(t.Context(), lighterman.ToolCall{Name: "t"})
	if err != nil || len(got) > 5000 || !json.Valid([]byte(got)) || !strings.HasSuffix(got, `ü..."}`) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestCall_ReturnsWhatIsMeantForTheFleet(t *testing.T) {
	cause := errors.New("no licence")
	for name, tc := range map[string]struct {
		err  error
		kind lighterman.Kind
	}{
		"permanent":   {lighterman.Permanent(cause), lighterman.PermanentFailure},
		"retry after": {fmt.Errorf("asked: %w", lighterman.RetryAfter(time.Minute, cause)), lighterman.HandlerFailed},
		"parked":      {lighterman.Park(time.Now(), "a person must say yes"), lighterman.HandlerFailed},
		"fenced":      {fmt.Errorf("wrote: %w", lighterman.ErrFenced), lighterman.HandlerFailed},
		"handed over": {lighterman.ErrHandOver, lighterman.HandlerFailed},
	} {
		t.Run(name, func(t *testing.T) {
			for _, option := range [][]tool.Option{nil, {tool.WithTimeout(time.Minute)}} {
				got, err := one(t, returns("ignored", tc.err), option...).Call(t.Context(), lighterman.ToolCall{Name: "t"})
				if !errors.Is(err, tc.err) || lighterman.KindOf(err) != tc.kind || got != "" {
					t.Errorf("got %q, %v", got, err)
				}
			}
		})
	}
	_, err := one(t, returns(nil, lighterman.RetryAfter(time.Minute, cause))).Call(t.Context(), lighterman.ToolCall{Name: "t"})
	if got := lighterman.AsError(err).RetryAfter; got != time.Minute {
		t.Errorf("RetryAfter %s, want 1m", got)
	}
}

func TestCall_ContainsAPanicAndNamesItsLine(t *testing.T) {
	for name, run := range map[string]tool.Handler{
		"value": func(context.Context, lighterman.ToolCall) (any, error) { panic("boom") },
		"index": func(context.Context, lighterman.ToolCall) (any, error) {
			steps := strings.Fields("one two")
			return steps[len(steps)], nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := one(t, run).Call(t.Context(), lighterman.ToolCall{Name: "t"})
			if lighterman.KindOf(err) != lighterman.HandlerPanicked || !strings.Contains(err.Error(), "set_test.go:") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestCall_AnEndedContextIsAnErrorWithItsCause(t *testing.T) {
	why, called := errors.New("the claim was lost"), 0
	s := one(t, func(ctx context.Context, _ lighterman.ToolCall) (any, error) {
		called++
		<-ctx.Done()
		return nil, ctx.Err()
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(why) })
		for range 2 {
			if _, err := s.Call(ctx, lighterman.ToolCall{Name: "t"}); !errors.Is(err, why) {
				t.Errorf("error %v, want %v", err, why)
			}
		}
	})
	if called != 1 {
		t.Errorf("called %d times, want once: the second had no time left", called)
	}
}

func TestCall_ATimeoutOfTheToolIsToldToTheModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := one(t, func(ctx context.Context, _ lighterman.ToolCall) (any, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}, tool.WithTimeout(3*time.Second))
		start := time.Now()
		got, err := s.Call(t.Context(), lighterman.ToolCall{Name: "t"})
		if took := time.Since(start); err != nil || got != `{"error":"no answer within 3s"}` || took != 3*time.Second {
			t.Errorf("%s, %v after %s", got, err, took)
		}
	})
}

func TestCall_WhatIsForTheFleetIsReturnedEvenAfterTheToolsTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := one(t, func(ctx context.Context, _ lighterman.ToolCall) (any, error) {
			<-ctx.Done()
			return nil, lighterman.Permanent(ctx.Err())
		}, tool.WithTimeout(3*time.Second))
		if _, err := s.Call(t.Context(), lighterman.ToolCall{Name: "t"}); lighterman.KindOf(err) != lighterman.PermanentFailure {
			t.Errorf("error %v, want the tool's own", err)
		}
	})
}

func TestCall_AResultIsKeptEvenIfTheTimeRanOutMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s := one(t, func(ctx context.Context, _ lighterman.ToolCall) (any, error) {
			<-ctx.Done()
			return "paid", nil
		})
		if got, err := s.Call(ctx, lighterman.ToolCall{Name: "t"}); err != nil || got != "paid" {
			t.Errorf("%s, %v", got, err)
		}
	})
}

func TestAdd_ReportsAllThatIsWrong(t *testing.T) {
	var s tool.Set
	ok := returns("", nil)
	if err := s.Add(lighterman.Tool{Name: "a", Parameters: json.RawMessage(`{"type":"object"}`)}, ok); err != nil {
		t.Fatal(err)
	}
	err := s.Add(lighterman.Tool{Name: "a b", Parameters: json.RawMessage(`{"type":"string"}`)}, nil, tool.WithTimeout(-1))
	for _, want := range []string{`"a b"`, "want a name", "no handler", "negative", `got "string"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
	if err := s.Add(lighterman.Tool{Name: "a"}, ok); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("the same name again: %v", err)
	}
	if err := s.Add(lighterman.Tool{Name: "c", Parameters: json.RawMessage(`{`)}, ok); err == nil {
		t.Error("parameters that are no JSON were taken")
	}
	if err := s.Add(lighterman.Tool{Name: "b"}, ok); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range s.Declared() {
		got = append(got, d.Name)
	}
	if want := []string{"a", "b"}; !cmp.Equal(got, want) {
		t.Errorf("declared %v, want %v", got, want)
	}
}
