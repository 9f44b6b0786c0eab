package cli

import (
	"strings"
	"testing"

	"github.com/lighterman/lighterman/fleet"
	"github.com/lighterman/lighterman/internal/redistest"
)

const driftingFile = `
backends: [{id: local, provider: sim}]
models:
  - {id: small, backend: local, name: sim-slow, context_window: 8000}
  - {id: lost, backend: local, name: sim-lost}
  - {id: odd, backend: local, name: sim, capabilities: {embed: true}}
pools:
  - {id: chat, members: [{model_id: small}, {model_id: lost}]}
groups: [{id: here, backends: [local]}, {id: one, models: [small]}]
defaults: {chat: lost}
`

// TestReconcile_ShowsDrift: one cycle by hand, what it says, and where it is shown
// from then on.
func TestReconcile_ShowsDrift(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server)
	s = s.with("LIGHTERMAN_CONFIG=" + s.file("fleet.yaml", driftingFile))
	row := func(out, name string) string {
		t.Helper()
		for line := range strings.Lines(out) {
			if strings.HasPrefix(line, name+" ") {
				return strings.Join(strings.Fields(line), " ")
			}
		}
		t.Errorf("no row of %s in\n%s", name, out)
		return ""
	}
	if out := s.run("lighterman", "models", "--observed").ok(); row(out, "small") != "small local sim-slow - 8000 - -" {
		t.Errorf("before anybody looked:\n%s", out)
	}
	if out := s.run("lighterman", "cache", "ls").ok(); out != "BACKEND  KEY  MODELS  LISTED  TRIED  FAILING\n" {
		t.Errorf("%q", out)
	}
	out := s.run("lighterman", "reconcile", "--backend", "local").ok()
	if !strings.HasPrefix(row(out, "local"), "local listed 8 ") || strings.Contains(out, "\nsim-flaky") {
		t.Errorf("%s", out)
	}
	for name, want := range map[string]string{
		"small": "small local sim-slow ok 8000 chat prompt stream -embed", "lost": "lost local sim-lost model_missing - - ", "odd": "odd local sim capability_mismatch (embed) - chat embed prompt stream ",
		"local/sim-limited": "local/sim-limited local sim-limited model_undeclared - - ",
	} {
		if got := row(out, name); !strings.HasPrefix(got, want) {
			t.Errorf("%s, want %s", got, want)
		}
	}
	if !strings.Contains(out, "defaults.chat: lost: model_missing; small could") {
		t.Errorf("the default is not ensured:\n%s", out)
	}
	got := decode[reconciled](t, s.run("lighterman", "reconcile", "-o", "json").ok())
	if len(got.Backends) != 2 || got.Backends[1].Backend != "sim" || got.Models[1].Drift != fleet.DriftMissing || len(got.Defaults) != 3 {
		t.Errorf("%+v", got)
	}
	// From then on everybody sees it.
	if out := s.run("lighterman", "models").ok(); !strings.Contains(row(out, "lost"), "standby model_missing") || !strings.Contains(row(out, "small"), "active") {
		t.Errorf("%s", out)
	}
	if out := s.run("lighterman", "models", "--observed", "--group", "one").ok(); len(strings.Split(strings.TrimSpace(out), "\n")) != 2 || !strings.HasPrefix(row(out, "small"), "small local sim-slow ok") {
		t.Errorf("%s", out)
	}
	if out := s.run("lighterman", "models", "--group", "here").ok(); strings.Contains(out, "\nsim-slow ") || row(out, "odd") == "" {
		t.Errorf("%s", out)
	}
	if v := decode[[]fleet.ModelDrift](t, s.run("lighterman", "models", "--observed", "-o", "json", "--group", "here").ok()); len(v) < 6 || v[0].ID != "small" || v[0].Listed.IsZero() {
		t.Errorf("%+v", v)
	}
	if out := s.run("lighterman", "pools", "explain", "chat", "--thread", "x").ok(); row(out, "lost") != "lost member 1 model_missing" || !strings.Contains(out, "chat  ->  small") {
		t.Errorf("%s", out)
	}
	if out := s.run("lighterman", "pools").ok(); !strings.Contains(out, "model_missing") {
		t.Errorf("%s", out)
	}
	if r := s.run("lighterman", "doctor"); !containsAll(r.out, []string{"LM022", "2 were looked at", "LM023", "lost (sim-lost on local)"}) || r.code != exitFailed {
		t.Errorf("exit %d\n%s", r.code, r.out)
	}
	if out := s.run("lighterman", "cache", "ls").ok(); !strings.Contains(row(out, "local"), " 9 ") && !strings.Contains(row(out, "local"), " 8 ") {
		t.Errorf("%s", out)
	}
	if lists := decode[[]cachedList](t, s.run("lighterman", "cache", "ls", "-o", "json").ok()); len(lists) != 2 || lists[0].Backend != "local" || lists[0].Tried.IsZero() || lists[0].Failing != "" {
		t.Errorf("%+v", lists)
	}
	if out := s.run("lighterman", "cache", "invalidate", "local").ok(); out != "1 list(s) forgotten\n" {
		t.Errorf("%q", out)
	}
	s.run("lighterman", "cache", "invalidate", "local").refused(exitFailed, `invalidate: nothing is kept of "local"`)
	if out := s.run("lighterman", "cache", "clear").ok(); out != "1 list(s) forgotten\n" {
		t.Errorf("%q", out)
	}
	s.run("lighterman", "reconcile", "--backend", "locl").refused(exitUsage, `reconcile: "locl" is no declared backend; did you mean local?`)
	s.run("lighterman", "models", "--group", "hre").refused(exitUsage, `models: "hre" is no declared group; did you mean here?`)
	s.run("lighterman", "cache", "invalidate").refused(exitUsage, "invalidate: want one backend")
	s.run("lighterman", "cache", "ls", "-o", "xml").refused(exitUsage, `--output "xml": want table, |json`)
	s.run("lighterman", "reconcile", "-o", "xml").refused(exitUsage, `--output "xml": want table, |json`)
}

// TestReconcile_EveryRole: an operator may look anew, a reader may look.
func TestReconcile_EveryRole(t *testing.T) {
	t.Parallel()
	_, as, _ := roles(t)
	read, operate := as("reader"), as("operator")
	operate.did("lighterman", "reconcile")
	read.did("lighterman", "models", "--observed")
	read.did("lighterman", "cache", "ls")
	if r := read.run("lighterman", "cache", "clear"); r.code == 0 {
		t.Error("a reader forgets lists")
	}
	operate.did("lighterman", "cache", "invalidate", "sim")
	if r := read.run("lighterman", "reconcile"); r.code == 0 {
		t.Error("a reader lists backends")
	}
}
