package cli

import (
	"strings"
	"testing"

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
