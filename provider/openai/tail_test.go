package openai

import (
	"context"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider/providertest"
)

// TestStream_ACancelIsSeenBetweenLines: lines that have arrived already are not told
// to somebody who has gone, nor are they an answer.
func TestStream_ACancelIsSeenBetweenLines(t *testing.T) {
	s, a := open(t, "vllm")
	s.Push(providertest.Step{Stream: []providertest.Piece{{Data: strings.Repeat(delta(`"content":"A"`), 200) + stop}}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	call, n := chat(""), 0
	call.Stream = func(lm.Frame) { n++; cancel() }
	if _, err := a.Call(ctx, call); lm.KindOf(err) != lm.CallCancelled || n != 1 {
		t.Errorf("%d frames, %v", n, err)
	}
}

func TestStream_ALineIsBounded(t *testing.T) {
	long := func(n int) []string { return []string{delta(`"content":"` + strings.Repeat("x", n) + `"`), stop} }
	if _, _, _, err := lines(t, "chat", long(maxLine+1)...); lm.KindOf(err) != lm.InvalidRequest || !strings.Contains(err.Error(), "16 MiB") {
		t.Errorf("a line of 16 MiB: %v", err)
	}
	body, _, _, err := lines(t, "chat", long(1<<20)...)
	if err != nil || len(message(t, body)["content"].(string)) != 1<<20 {
		t.Errorf("a line of 1 MiB: %v", err)
	}
}

// TestStream_TheUsageIsNotWaitedForLong: a server that keeps the connection open
// behind its answer does not hold it back for the idle time.
func TestStream_TheUsageIsNotWaitedForLong(t *testing.T) {
	t.Parallel()
	s, a := open(t, "vllm")
	text := delta(`"content":"A"`) + stop
	s.Push(providertest.Step{Stream: []providertest.Piece{{Data: text}, {Data: "never"}}, Limit: len(text), End: providertest.EndSilent})
	call, _ := streamed(chat(""))
	begin := time.Now()
	answer, err := a.Call(t.Context(), call)
	if took := time.Since(begin); err != nil || took > 40*time.Second || !strings.Contains(string(answer.Body), `"A"`) {
		t.Errorf("%s, %v after %v", answer.Body, err, took)
	}
}

func TestStream_ACutBehindTheEndIsNone(t *testing.T) {
	for _, rest := range []string{"", "d", `data: {"choices":[],"usa`, "data: [DO"} {
		if body, _, _, err := lines(t, "chat", delta(`"content":"A"`), stop, rest); err != nil || message(t, body)["content"] != "A" {
			t.Errorf("%q behind the end: %v, %v", rest, body, err)
		}
	}
}
