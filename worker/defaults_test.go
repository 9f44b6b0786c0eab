package worker

import (
	"context"
	"testing"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/config"
	"github.com/lighterman/lighterman/fleet"
	"github.com/lighterman/lighterman/provider/sim"
)

// offers is a backend that has what it says.
type offers []string

func (o offers) List(context.Context) ([]lm.Offering, error) {
	var list []lm.Offering
	for _, name := range o {
		list = append(list, lm.Offering{Name: name})
	}
	return list, nil
}

// observed is a manager that has listed a backend openai.
func observed(t *testing.T, cfg *config.Config, names ...string) *fleet.Manager {
	t.Helper()
	m, err := fleet.New(nil, fleet.Options{Policy: fleet.InMemory, Spec: FleetSpec(cfg)})
	if err != nil {
		t.Fatal(err)
	}
	if len(names) > 0 {
		if _, err := fleet.NewReconciler(m, fleet.ReconcilerOptions{Listers: map[string]fleet.Lister{"openai": offers(names)}}).Now(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func TestDefaults_NamedOrFoundOrDeclared(t *testing.T) {
	yes := true
	declared := []config.Model{{ID: "a", Backend: "sim", Name: sim.Plain}, {ID: "e", Backend: "sim", Name: sim.Embed, Capabilities: config.Capabilities{Embed: &yes}}}
	remote := []config.Backend{{ID: "openai", Provider: "openai"}}
	for _, c := range []struct {
		name     string
		models   []config.Model
		backends []config.Backend
		defaults config.Defaults
		lists    []string
		want     [3]string
	}{
		{"named", declared, nil, config.Defaults{Chat: "x", Prompt: "y", Embed: "z"}, nil, [3]string{"x", "y", "z"}},
		{"the first declared that can", declared, nil, config.Defaults{Prompt: "nobody"}, nil, [3]string{"a", "nobody", "e"}},
		{"a small one of those found", nil, remote, config.Defaults{}, []string{"gpt-4.1", "gpt-4o-mini", "gpt-5-mini-2026", "text-embedding-3-large", "text-embedding-3-small"},
			[3]string{"openai/gpt-5-mini-2026", "openai/gpt-5-mini-2026", "openai/text-embedding-3-small"}},
		{"the smallest found, and none that only embeds", nil, remote, config.Defaults{}, []string{"a-embed:0.1b", "big:70b", "mid:8b", "small:latest", "tiny:135m"},
			[3]string{"openai/tiny:135m", "openai/tiny:135m", "openai/a-embed:0.1b"}},
		{"the first found", nil, remote, config.Defaults{}, []string{"qwen", "zephyr"}, [3]string{"openai/qwen", "openai/qwen", ""}},
		{"no simulation for a backend that is away", nil, remote, config.Defaults{}, nil, [3]string{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := config.Default()
			cfg.Models, cfg.Backends, cfg.Defaults, cfg.Fleet.AutoDiscover = c.models, c.backends, c.defaults, true
			m := observed(t, cfg, c.lists...)
			d := &defaults{named: NamedDefaults(cfg), snapshot: m.Snapshot, real: len(c.backends) > 0}
			if got := [3]string{d.model("chat"), d.model("prompt"), d.model("embed")}; got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestDefaults_FollowWhatIsFoundLater(t *testing.T) {
	cfg := config.Default()
	cfg.Backends, cfg.Defaults, cfg.Fleet.AutoDiscover = []config.Backend{{ID: "openai", Provider: "openai"}}, config.Defaults{}, true
	m := observed(t, cfg)
	d := &defaults{named: NamedDefaults(cfg), snapshot: m.Snapshot, real: true}
	if got := d.model("chat"); got != "" {
		t.Fatalf("%q before anything was found", got)
	}
	if _, err := fleet.NewReconciler(m, fleet.ReconcilerOptions{Listers: map[string]fleet.Lister{"openai": offers{"gpt-4o-mini"}}}).Now(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := d.model("chat"); got != "openai/gpt-4o-mini" {
		t.Errorf("%q", got)
	}
}
