package cli

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lighterman/lighterman/internal/redistest"
)

const coldFile = `
models:
  - {id: a, backend: sim, name: sim}
  - {id: b, backend: sim, name: sim}
  - {id: c, backend: sim, name: sim}
  - {id: d, backend: sim, name: sim}
pools:
  - {id: cold, members: [{model_id: a}, {model_id: b}], routing: {home: first_healthy}}
  - {id: wrong, members: [{model_id: c}, {model_id: d}], routing: {home: first_healthy}}
sim:
  faults:
    - {model: a, kind: rate_limited, retry_after: 1h}
    - {model: b, kind: overloaded, retry_after: 1h}
    - {model: c, kind: rate_limited, retry_after: 1h, count: 1}
    - {model: d, kind: context_overflow, count: 1}
`

// TestShow_ExplainsTheWayToAParkAndToAFailure: with a reason for every member, as
// text and as JSON.
func TestShow_ExplainsTheWayToAParkAndToAFailure(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server)
	s = s.with("LIGHTERMAN_CONFIG=" + s.file("cold.yaml", coldFile))
	w := s.start("worker", "--http", "127.0.0.1:0", "--log-format", "json")
	w.says("worker ready")
	type shown struct {
		State  string
		Route  []string
		Result *struct{ Route []string }
	}

	failed := strings.TrimSpace(s.run("enqueue", question, "--model", "wrong", "--wait", "-o", "id").out)
	switched, ended := "wrong: c rate_limited, d failover", "wrong: c rate_limited, d context_overflow"
	if out := s.run("lighterman", "show", failed).ok(); !containsAll(out, []string{"COMPLETED failed", "route: v", switched, ended, "error: context_overflow"}) {
		t.Errorf("failed:\n%s", out)
	}
	if got := decode[shown](t, s.run("lighterman", "show", failed, "-o", "json").ok()); got.Route != nil || got.Result == nil || !containsAll(strings.Join(got.Result.Route, "\n"), []string{switched, ended}) {
		t.Errorf("failed: %+v", got)
	}

	parked := strings.TrimSpace(s.run("enqueue", question, "--model", "cold").ok())
	until(t, "it is parked", func() bool {
		return strings.Contains(s.run("lighterman", "show", parked).ok(), "(cold: all members cold)")
	})
	switched, ended = "cold: a rate_limited, b failover", "cold: a rate_limited, b overloaded"
	if out := s.run("lighterman", "show", parked).ok(); !containsAll(out, []string{"  RETRYING ", "route when it was set aside last: v", switched, ended}) {
		t.Errorf("parked:\n%s", out)
	}
	if got := decode[shown](t, s.run("lighterman", "show", parked, "-o", "json").ok()); got.State != "RETRYING" || len(got.Route) != 2 || got.Result != nil || !strings.HasSuffix(got.Route[1], ended) {
		t.Errorf("parked: %+v", got)
	}
}

const flakyFile = `
models:
  - {id: a, backend: sim, name: sim}
  - {id: b, backend: sim, name: sim}
sim:
  faults:
    - {model: a, kind: provider, count: 2}
    - {model: b, kind: provider, count: 3}
`

// TestShow_TellsWhyAttemptsEndedAndWhenItIsDue: the tries in place of an answer, the
// error of an attempt that is tried again, the time of one that waits, and the model
// that only the body names.
func TestShow_TellsWhyAttemptsEndedAndWhenItIsDue(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server)
	s = s.with("LIGHTERMAN_CONFIG=" + s.file("flaky.yaml", flakyFile))
	scheduled := strings.TrimSpace(s.fed(`{"model":"a","messages":[{"role":"user","content":"Why?"}]}`).run("enqueue", "--file", "-", "--in", "1h", "-o", "id").ok())
	if out := s.run("lighterman", "show", scheduled).ok(); !containsAll(out, []string{"RECEIVED", "model a ", "due in 59m"}) {
		t.Errorf("scheduled:\n%s", out)
	}
	if got := decode[struct {
		Due   time.Time
		Model string
	}](t, s.run("lighterman", "show", scheduled, "-o", "json").ok()); time.Until(got.Due) < 30*time.Minute || got.Model != "a" {
		t.Errorf("scheduled: %+v", got)
	}
	if out := s.run("lighterman", "ls").ok(); !strings.Contains(out, " a ") {
		t.Errorf("ls names no model:\n%s", out)
	}
	w := s.start("worker", "--http", "127.0.0.1:0", "--log-format", "json")
	w.says("worker ready")

	inPlace := strings.TrimSpace(s.run("enqueue", question, "--model", "a", "--wait", "-o", "id").ok())
	if out := s.run("lighterman", "show", inPlace).ok(); strings.Count(out, "route: a failed, again in ") != 2 || !strings.Contains(out, "attempts 1") {
		t.Errorf("tried again in place:\n%s", out)
	}
	again := strings.TrimSpace(s.run("enqueue", question, "--model", "b", "--wait", "-o", "id").ok())
	if out := s.run("lighterman", "show", again).ok(); !containsAll(out, []string{"COMPLETED succeeded", "attempts 2", "(provider)", "  attempt 1: provider: "}) {
		t.Errorf("tried again:\n%s", out)
	}
	w.says(`"level":"warn"`, `"reason":"provider"`, `"error":"provider: `, again)
	if got := decode[struct {
		Notes []struct {
			Attempt int
			Counted bool
			Text    string
		}
	}](t, s.run("lighterman", "show", again, "-o", "json").ok()); len(got.Notes) != 1 || got.Notes[0].Attempt != 1 || !got.Notes[0].Counted {
		t.Errorf("notes: %+v", got)
	}
}

// TestShow_RoundsOfToolsAreOneLine, not one for each way between the model and a tool;
// each call of a tool is a line with its name, outcome and duration.
func TestShow_RoundsOfToolsAreOneLine(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server)
	w := s.start("worker", "--http", "127.0.0.1:0", "--log-format", "json")
	w.says("worker ready")
	id := strings.TrimSpace(s.run("enqueue", question, "--model", "sim-tools", "--wait", "-o", "id").ok())
	out := s.run("lighterman", "show", id).ok()
	if strings.Count(out, "TOOL_EXECUTING") != 1 || !strings.Contains(out, "3 rounds of tools (lookup)") {
		t.Errorf("rounds are not one line:\n%s", out)
	}
	if strings.Count(out, "  tool lookup  ok  in ") != 3 {
		t.Errorf("not a line for each call of a tool:\n%s", out)
	}
	type line struct{ Kind, Name, Outcome string }
	got := decode[struct{ Steps []line }](t, s.run("lighterman", "show", id, "-o", "json").ok())
	if want := (line{"tool", "lookup", "ok"}); !slices.Equal(got.Steps, []line{want, want, want}) {
		t.Errorf("%+v", got)
	}
}
