package openai

import (
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	lm "github.com/lighterman/lighterman"
)

// timed plays lines with the silence before each; the body then stays open.
func timed(t *testing.T, lines []string, waits []time.Duration) (lm.Answer, time.Duration, error) {
	t.Helper()
	ctx, enough := context.WithCancelCause(t.Context())
	defer enough(nil)
	body, server := io.Pipe()
	context.AfterFunc(ctx, func() { _ = server.CloseWithError(context.Cause(ctx)) }) // as a transport does
	written := make(chan struct{})
	go func() {
		defer close(written)
		for i, line := range lines {
			select {
			case <-time.After(waits[i]):
			case <-ctx.Done():
				return
			}
			if _, err := io.WriteString(server, line); err != nil {
				return
			}
		}
	}()
	call, began := lm.Call{Kind: "chat", Model: "m", Key: "t/1", Stream: func(lm.Frame) {}}, time.Now()
	answer, err := (&exchange{api: &API{}, ctx: ctx, enough: enough, call: &call}).stream(body)
	took := time.Since(began)
	enough(nil) // a writer that is left in a bubble ends it in a panic
	<-written
	return answer, took, err
}

// TestStream_WhatComesLongBehindAFinishReasonIsTheAnswer: reasoning with a finish
// reason in each chunk, a long thought, the text in pieces with one each, too.
func TestStream_WhatComesLongBehindAFinishReasonIsTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		with := func(fields string) string {
			return `data: {"choices":[{"index":0,"delta":{` + fields + `},"finish_reason":"stop"}]}` + "\n\n"
		}
		think := with(`"reasoning_content":"Hm "`)
		answer, took, err := timed(t,
			[]string{think, think, think, with(`"content":"Hel"`), with(`"content":"lo"`), with(`"content":" you"`)},
			[]time.Duration{0, 4 * time.Second, 4 * time.Second, 30 * time.Second, 4 * time.Second, 4 * time.Second})
		if got := (lm.Result{Body: answer.Body}).Text(); err != nil || got != "Hello you" {
			t.Errorf("the answer is %q, %v", got, err)
		}
		if took != 51*time.Second {
			t.Errorf("it took %v, want 46 s and 5 s that the usage is waited for", took)
		}
	})
}

// TestStream_KeepAlivesBehindTheEndAreNoAnswer: the usage is waited for 5 s, whatever
// comes in its place.
func TestStream_KeepAlivesBehindTheEndAreNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines, waits := []string{delta(`"content":"Hello"`), stop}, []time.Duration{0, 0}
		for range 20 {
			lines, waits = append(lines, ": alive\n\n", delta(`"content":""`)), append(waits, time.Second, 0)
		}
		answer, took, err := timed(t, lines, waits)
		if err != nil || took != 5*time.Second || !strings.Contains(string(answer.Body), `"Hello"`) {
			t.Errorf("%s, %v after %v", answer.Body, err, took)
		}
	})
}
