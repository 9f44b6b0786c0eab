package config_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/lighterman/lighterman/config"
)

func printed(t *testing.T, c *config.Config) string {
	t.Helper()
	var b bytes.Buffer
	if err := c.Print(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

const printable = `
redis: {prefix: "12"}
queues:
  - {name: a, weight: 2}
backends: [{id: b, provider: sim}]
models:
  - {id: "no:1", backend: sim, name: sim}
  - {id: m, backend: b, name: sim, price: {input: 0.1}, maintenance: [{cron: "0 3 * * 0", for: 1h}], capabilities: {vision: false, embed: true}}
pools:
  - id: p
    members: [{model_id: "no:1", weight: 3}, {model_id: m, role: failover_only}]
    switch: {on_quota: false, quota_retry_after_threshold_secs: 0}
sim: {call_log: "/tmp/a b\t#c", faults: [{model: m, kind: provider, rate: 0.25}]}
`

func TestPrint_ShowsEveryValueAndItsOrigin(t *testing.T) {
	c := load(t, config.Options{
		File:      write(t, "l.yaml", "queues:\n  - {name: a, weight: 2}\nworker: {lease: 20s}\n"),
		Environ:   []string{"LIGHTERMAN_REDIS_URL=redis://user:hunter2@h:1"},
		Overrides: map[string]string{"log.level": "debug"},
	})
	got := printed(t, c)
	for _, want := range []string{
		"redis:\n  url: \"redis://user:[redacted]@h:1\"  # env LIGHTERMAN_REDIS_URL\n",
		"  prefix: lm                          # default\n",
		"queues:\n  - name: a         # " + c.Origin("queues[0].name").Name + ":2\n",
		"  lease: 20s          # " + c.Origin("worker.lease").Name + ":3\n",
		"  heartbeat: 5s       # default, a quarter of worker.lease\n",
		"  level: debug  # flag --log-level\n",
		"models: []          # default\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "hunter2") {
		t.Error("the password is printed")
	}
	for _, v := range config.Env() {
		if name := v.Path[strings.LastIndex(v.Path, ".")+1:]; !strings.Contains(got, " "+name+":") && name != "" {
			t.Errorf("%s is not printed", v.Path)
		}
	}
}

func TestPrint_ReadsBackAsTheSame(t *testing.T) {
	for _, content := range []string{"", printable} {
		c, err := config.Parse("f", []byte(content))
		if err != nil {
			t.Fatal(err)
		}
		again, err := config.Parse("printed", []byte(printed(t, c)))
		if err != nil {
			t.Fatalf("%v in\n%s", err, printed(t, c))
		}
		if diff := cmp.Diff(c, again, cmpopts.IgnoreUnexported(config.Config{}), cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
	}
}

func TestPrint_AURLFromAFile(t *testing.T) {
	secret := write(t, "url", "redis://u:hunter2@h")
	c := load(t, config.Options{Overrides: map[string]string{"redis.url_file": secret}})
	got := printed(t, c)
	if !strings.Contains(got, "# flag --redis-url-file; holds redis://u:[redacted]@h\n") || strings.Contains(got, " url:") {
		t.Error(got)
	}
	if _, err := config.Parse("printed", []byte(got)); err != nil {
		t.Error(err)
	}
}

func TestSchema_IsTheCommittedOne(t *testing.T) {
	committed, err := os.ReadFile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(committed), string(config.Schema())); diff != "" {
		t.Errorf("schema.json is not what the struct tree says; run go generate ./config\n%s", diff)
	}
}
