package sim_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider/sim"
)

func TestScript_RepliesComeInOrderThenTheModelsOwn(t *testing.T) {
	s := sim.New(sim.Options{Script: map[string][]sim.Reply{"sim": {{Text: "one"}, {Text: "two"}}}})
	s.Push("sim", sim.Reply{Text: "three"})
	for left, want := range []string{"one", "two", "three"} {
		if got := s.Scripted("sim"); got != 3-left {
			t.Errorf("%d replies left, want %d", got, 3-left)
		}
		if got := text(ask(t, s, chat("sim", rivers))); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := text(ask(t, s, chat("sim", rivers))); !strings.Contains(got, "Why do rivers bend?") {
		t.Errorf("after the script: %q", got)
	}
}

func TestScript_MakesItsModelKnown(t *testing.T) {
	s := sim.New(sim.Options{Script: map[string][]sim.Reply{"zeta": {{Text: "z"}}, "sim": nil}})
	s.Push("alpha")
	want := []string{"sim", "sim-slow", "sim-tools", "sim-flaky", "sim-limited", "sim-embed", "alpha", "zeta"}
	if got := s.Models(); !slices.Equal(got, want) {
		t.Errorf("models %v, want %v", got, want)
	}
	if a := ask(t, s, chat("zeta", rivers)); text(a) != "z" || a.Model != "zeta" {
		t.Errorf("zeta: %s", a.Body)
	}
	if got := text(ask(t, s, chat("alpha", rivers))); !strings.Contains(got, "Why do rivers bend?") {
		t.Errorf("alpha: %q", got)
	}
}

func TestScript_ATextWithAnErrorIsAStreamThatBreaks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := lighterman.Errorf(lighterman.StreamInterrupted, "connection reset")
		s := sim.New(sim.Options{Script: map[string][]sim.Reply{"sim": {{Text: "half a sen", Err: broken, Delay: time.Second, Over: 3 * time.Second}}}})
		var got strings.Builder
		start, c := time.Now(), chat("sim", rivers)
		c.Stream = func(f lighterman.Frame) { got.WriteString(f.Data) }
		if _, err := s.Call(t.Context(), c); !errors.Is(err, broken) {
			t.Errorf("error %v", err)
		}
		if took := time.Since(start); got.String() != "half a sen" || took != 4*time.Second {
			t.Errorf("streamed %q in %s", got.String(), took)
		}
	})
}

func TestScript_ToolCallsKeepTheirIDsAndGetThoseTheyLack(t *testing.T) {
	calls := []lighterman.ToolCall{{Name: "a", ID: "mine", Arguments: json.RawMessage(`{"q":"<&\"ü"}`)}, {Name: "b"}, {Name: "b"}}
	s := sim.New(sim.Options{Script: map[string][]sim.Reply{"sim": {{Text: "Let me see.", ToolCalls: calls}}}})
	var got struct {
		Choices []struct{ Message message }
	}
	if err := json.Unmarshal(ask(t, s, chat("sim", rivers)).Body, &got); err != nil {
		t.Fatal(err)
	}
	m := got.Choices[0].Message
	if m.Content != "Let me see." || len(m.ToolCalls) != 3 {
		t.Fatalf("message %+v", m)
	}
	if c := m.ToolCalls[0]; c.ID != "mine" || c.Function.Arguments != `{"q":"<&\"ü"}` {
		t.Errorf("first call %+v", c)
	}
	if b, c := m.ToolCalls[1], m.ToolCalls[2]; b.ID == "" || b.ID == c.ID || b.Function.Arguments != "{}" {
		t.Errorf("calls without ID: %+v, %+v", b, c)
	}
}

func TestScript_ABadRequestTakesNoReply(t *testing.T) {
	s := sim.New(sim.Options{Script: map[string][]sim.Reply{"sim": {{Text: "one"}}}})
	if _, err := s.Call(t.Context(), chat("sim", `{}`)); err == nil {
		t.Fatal("no error")
	}
	if got := s.Scripted("sim"); got != 1 {
		t.Errorf("%d replies left, want 1", got)
	}
}

func TestScript_TextThatIsNotUTF8IsTheSameInStreamAndAnswer(t *testing.T) {
	s := sim.New(sim.Options{Script: map[string][]sim.Reply{"sim": {{Text: "a\xff b\"\\\t\x7f "}}}})
	var got strings.Builder
	c := chat("sim", rivers)
	c.Stream = func(f lighterman.Frame) { got.WriteString(f.Data) }
	if a := ask(t, s, c); text(a) != got.String() || got.String() != "a\uFFFD b\"\\\t\x7f " {
		t.Errorf("streamed %q, answered %q", got.String(), text(a))
	}
}
