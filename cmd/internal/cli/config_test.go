package cli

import (
	"strings"
	"testing"

	"github.com/lighterman/lighterman/config"
)

func TestConfig_Commands(t *testing.T) {
	t.Parallel()
	s := newShell(t, "LIGHTERMAN_REDIS_URL=redis://:"+secret+"@127.0.0.1:1/3")
	s.file("c.yaml", "worker: {lease: 20s}\nmodels: [{id: small, backend: sim, name: sim-slow}]\n")
	for _, root := range []string{"lighterman", "worker"} {
		if out := s.run(root, "config", "check", "--config", "c.yaml").ok(); out != "ok\n" {
			t.Errorf("%s config check: %q", root, out)
		}
		out := s.run(root, "config", "print", "--config", "c.yaml", "--concurrency", "7").ok()
		for _, words := range []string{"url: |[redacted]@127.0.0.1:1/3|# env LIGHTERMAN_REDIS_URL", "lease: 20s|# c.yaml:1", "concurrency: 7|# flag --concurrency", "heartbeat: 5s|# default, a quarter", "id: small|# c.yaml:2"} {
			if lineWith(out, strings.Split(words, "|")) == "" {
				t.Errorf("%s config print has no line %q:\n%s", root, words, out)
			}
		}
		if schema := s.run(root, "config", "schema").ok(); schema != string(config.Schema()) {
			t.Errorf("%s config schema prints something else", root)
		}
		env := s.run(root, "config", "env").ok()
		for _, v := range config.Env() {
			if lineWith(env, []string{v.Name + " ", v.Desc}) == "" {
				t.Errorf("%s config env does not list %s", root, v.Name)
			}
		}
		if out := s.run(root, "config").ok(); !containsAll(out, []string{"check ", "print ", "schema ", "env "}) {
			t.Errorf("%s config alone prints no help: %s", root, out)
		}
	}
	// What is printed reads back.
	plain := newShell(t)
	plain.file("back.yaml", plain.run("worker", "config", "print", "--lease", "40s").ok())
	if out := plain.run("worker", "config", "print", "-c", "back.yaml").ok(); lineWith(out, []string{"lease: 40s", "# back.yaml:"}) == "" {
		t.Errorf("read back: %s", out)
	}
	// A password in a file of its own.
	plain.file("url", "redis://:"+secret+"@127.0.0.1:1\n")
	if out := plain.with("LIGHTERMAN_REDIS_URL_FILE=url").run("worker", "config", "print").ok(); !strings.Contains(out, "holds redis://:[redacted]@127.0.0.1:1") {
		t.Errorf("url_file: %s", out)
	}
	plain.with("LIGHTERMAN_REDIS_URL_FILE=url").run("enqueue", "a").refused(exitRedis, "enqueue: redis |unreachable")
}

// TestConfigCheck_TellsOfAMissingKey, which is no mistake of the file.
func TestConfigCheck_TellsOfAMissingKey(t *testing.T) {
	t.Parallel()
	s := newShell(t, "MY_KEY="+secret)
	s.file("c.yaml", `backends:
  - {id: a, provider: openai}
  - {id: b, provider: openai, base_url: "http://127.0.0.1:1/v1", api_key_env: NOT_SET_HERE}
  - {id: c, provider: anthropic, api_key_file: /no/such/file}
  - {id: d, provider: vertex, project: p, location: l, credentials_file: /no/such/file}
  - {id: e, provider: mistral, api_key_env: MY_KEY}
`)
	r := s.run("lighterman", "config", "check", "--config", "c.yaml")
	r.failed(0, "check: backend a: no key; set OPENAI_API_KEY", "check: backend b: NOT_SET_HERE holds no key", `check: backend c: read "/no/such/file"`, "check: backend d: credentials_file: |no such file")
	if r.out != "ok\n" {
		t.Errorf("%q", r.out)
	}
}
