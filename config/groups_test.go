package config_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/lighterman/lighterman/config"
)

const grouped = `backends: [{id: local, provider: sim}]
models:
  - {id: a, backend: local, name: sim}
groups:
  - {id: eu, backends: [local, sim], models: [a, sim-slow]}
  - id: named
    models:
      - a
fleet: {reconcile_interval: 0s, auto_discover: true, list_cache: 10m, backend_timeout: 5s, probe_on_start: true}
`

// Groups and the settings of the reconciler, as they are read and printed.
func TestParse_Groups(t *testing.T) {
	c, err := config.Parse("f", []byte(grouped))
	if err != nil {
		t.Fatal(err)
	}
	want := []config.Group{{ID: "eu", Backends: []string{"local", "sim"}, Models: []string{"a", "sim-slow"}}, {ID: "named", Models: []string{"a"}}}
	if diff := cmp.Diff(want, c.Groups); diff != "" {
		t.Error(diff)
	}
	if f := c.Fleet; f.ReconcileInterval != 0 || !f.AutoDiscover || f.ListCache.Std() != 10*time.Minute || f.BackendTimeout.Std() != 5*time.Second || !f.ProbeOnStart {
		t.Errorf("%+v", f)
	}
	if f := config.Default().Fleet; f.ReconcileInterval.Std() != time.Minute || f.AutoDiscover || f.ListCache.Std() != time.Hour || f.BackendTimeout.Std() != 10*time.Second || f.ProbeOnStart {
		t.Errorf("defaults: %+v", f)
	}
	text := printed(t, c)
	if !strings.Contains(text, "backends: [local, sim]") {
		t.Errorf("printed:\n%s", text)
	}
	again, err := config.Parse("again", []byte(text))
	if err != nil || cmp.Diff(c.Groups, again.Groups, cmpopts.EquateEmpty()) != "" || again.Fleet != c.Fleet {
		t.Errorf("read back: %v %+v", err, again.Groups)
	}
}

// Every problem of groups is told at once, with its place.
func TestParse_AllProblemsOfGroupsAtOnce(t *testing.T) {
	const bad = `backends: [{id: local, provider: sim}]
groups:
  - {id: eu, backends: [locl, local, local]}
  - {id: eu, models: [nope, {a: 1}]}
  - {id: "a b", backends: local}
  - {backends: [sim]}
  - {id: empty}
fleet: {reconcile_interval: -1s, list_cache: 0s, backend_timeout: 1ms, auto_discover: yes please}
`
	_, err := config.Parse("f", []byte(bad))
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		`f:3:25: groups[0].backends[0]: "locl" is not declared; did you mean local?`,
		`f:3:38: groups[0].backends[2]: "local" is taken by groups[0].backends[1] in line 3`,
		`f:4:10: groups[1].id: "eu" is taken by groups[0].id in line 3`,
		`f:4:23: groups[1].models[0]: "nope" is not declared`,
		`f:4:29: groups[1].models[1]: `,
		`f:5:10: groups[2].id: `,
		`f:5:27: groups[2].backends: want a list`,
		`groups[3].id: missing`,
		`f:7:5: groups[4]: has neither backends nor models`,
		`f:8:29: fleet.reconcile_interval: `, `fleet.list_cache: `, `fleet.backend_timeout: `, `fleet.auto_discover: `,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s\nis not in\n%s", want, err)
		}
	}
}
