package cli

import (
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/fleet"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/router"
)

const poolsFile = `
models:
  - {id: a, backend: sim, name: sim}
  - {id: b, backend: sim, name: sim}
  - {id: c, backend: sim, name: sim}
pools:
  - id: chat
    members: [{model_id: a}, {model_id: b}, {model_id: c, role: failover_only}]
`

func TestPools_ListAndExplain(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server)
	s = s.with("LIGHTERMAN_CONFIG=" + s.file("pools.yaml", poolsFile))
	if out := s.run("lighterman", "pools").ok(); !containsAll(out, []string{"chat  deterministic  thread  a", "failover_only  1       healthy"}) {
		t.Errorf("list:\n%s", out)
	}
	server.Client().HSet(background, "{lm:fleet}:pool:chat", "active", "a b c", "recovered", "b=quota_reset")
	if out := s.run("lighterman", "pools").ok(); !containsAll(out, []string{"BACK BY", "healthy  -", "healthy  quota_reset"}) {
		t.Errorf("after a recovery:\n%s", out)
	}
	// agent-x homes to b among a and b (golden vectors).
	if out := s.run("lighterman", "pools", "explain", "chat", "--key", "agent-x").ok(); !containsAll(out, []string{"chat  ->  b  (home)", `key "agent-x"   home b`, "a       member         1       healthy"}) {
		t.Errorf("explain:\n%s", out)
	}
	m, err := fleet.New(storeOf(t, server), fleet.Options{Spec: fleet.Spec{Models: []fleet.ModelSpec{{ID: "a", Backend: "sim"}, {ID: "b", Backend: "sim"}, {ID: "c", Backend: "sim"}}}})
	if err != nil {
		t.Fatal(err)
	}
	key := fleet.NewSessionKey("chat", "acme", fleet.ScopeThread, "t")
	if _, err := m.ChangeSession(background, key, fleet.SessionChange{Kind: fleet.Bind, To: "a", Home: "b"}); err != nil {
		t.Fatal(err)
	}
	if err := m.Record(background, fleet.Outcome{Model: "b", Backend: "sim", Kind: lm.RateLimited, RetryAfter: time.Hour}); err != nil {
		t.Fatal(err)
	}
	out := s.run("lighterman", "pools", "explain", "chat", "--thread", "t", "--tenant", "acme").ok()
	if !containsAll(out, []string{"chat  ->  a  (session)", "session on a, 0 switches", "b       member         1       cooldown for 59m"}) {
		t.Errorf("explain with a session:\n%s", out)
	}
	e := decode[router.Explanation](t, s.run("lighterman", "pools", "explain", "chat", "--agent", "agent-x", "-o", "json").ok())
	if e.Member != "a" || e.Reason != router.ByHome || e.Members[1].Reason != router.ColdCooldown || time.Until(e.Members[1].Until) < 50*time.Minute {
		t.Errorf("json: %+v", e)
	}
	s.run("lighterman", "pools", "explain", "caht").refused(exitUsage, "did you mean chat?")
	s.run("lighterman", "pools", "explain").refused(exitUsage, "want one pool")
}

func TestPools_WithoutRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server)
	s = s.with("LIGHTERMAN_CONFIG="+s.file("pools.yaml", poolsFile), "LIGHTERMAN_REDIS_URL=unix:///nowhere/redis.sock")
	got := s.run("lighterman", "pools", "explain", "chat", "--key", "thread-1", "-o", "json")
	if e := decode[router.Explanation](t, got.out); got.code != 0 || e.Member != "a" || !strings.Contains(got.err, "Redis does not answer") {
		t.Errorf("exit %d, %+v, stderr %q", got.code, e, got.err)
	}
	after := s.file("after.yaml", strings.Replace(poolsFile, "c, role: failover_only", "c", 1))
	if out := s.run("lighterman", "pools", "simulate", "--file", after, "--keys", "3000").ok(); !containsAll(out, []string{"chat: 3", "% of 3000 keys would home elsewhere", "c       0.0 %"}) {
		t.Errorf("simulate:\n%s", out)
	}
	if shifts := decode[[]router.Shift](t, s.run("lighterman", "pools", "simulate", "chat", "--file", after, "-o", "json").ok()); len(shifts) != 1 || shifts[0].Keys != 20000 || shifts[0].Moved < 0.31 || shifts[0].Moved > 0.36 {
		t.Errorf("json: %+v", shifts)
	}
	s.run("lighterman", "pools", "simulate").refused(exitUsage, "--file")
	s.run("lighterman", "pools", "simulate", "nope", "--file", after).refused(exitUsage, "nope")
}
