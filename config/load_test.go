package config_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/lighterman/lighterman/config"
)

// load is config.Load without the test's own environment.
func load(t *testing.T, o config.Options) *config.Config {
	t.Helper()
	if o.Environ == nil {
		o.Environ = []string{}
	}
	c, err := config.Load(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// refused is the error of a Load, by line.
func refused(t *testing.T, o config.Options) []string {
	t.Helper()
	if o.Environ == nil {
		o.Environ = []string{}
	}
	c, err := config.Load(o)
	var problems config.Errors
	if !errors.As(err, &problems) || c != nil {
		t.Fatalf("Load = %v, %v; want an Errors", c, err)
	}
	return strings.Split(err.Error(), "\n")
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLoad_WithoutAnythingIsTheDefault(t *testing.T) {
	c := load(t, config.Options{})
	want := config.Default()
	if diff := cmp.Diff(want.Queues, c.Queues); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want.Worker, c.Worker); diff != "" {
		t.Error(diff)
	}
	w := config.Worker{Concurrency: 64, Lease: config.Duration(10 * time.Second), Heartbeat: config.Duration(2500 * time.Millisecond),
		Presence: "on", DrainTimeout: config.Duration(25 * time.Second), MaxAttempts: 5, CrashLimit: 3}
	if diff := cmp.Diff(w, c.Worker); diff != "" {
		t.Error(diff)
	}
	if c.Limits != (config.Limits{MaxAge: config.Duration(7 * 24 * time.Hour), Checkpoint: 8 << 20, Queue: 1_000_000}) {
		t.Errorf("limits %+v", c.Limits)
	}
	if err := want.Validate(); err != nil {
		t.Error(err)
	}
}

func TestLoad_TheStrongerSourceWins(t *testing.T) {
	file := write(t, "l.yaml", "worker: {concurrency: 1, lease: 20s, max_attempts: 1}\n")
	c := load(t, config.Options{
		File:      file,
		Environ:   []string{"LIGHTERMAN_WORKER_CONCURRENCY=2", "LIGHTERMAN_WORKER_MAX_ATTEMPTS=2", "LIGHTERMAN_WORKER_LEASE="},
		Overrides: map[string]string{"worker.concurrency": "3"},
	})
	w := c.Worker
	if w.Concurrency != 3 || w.MaxAttempts != 2 || w.Lease != config.Duration(20*time.Second) || w.CrashLimit != 3 {
		t.Errorf("%+v; want flag 3, environment 2, file 20s, default 3", w)
	}
	for path, want := range map[string]string{
		"worker.concurrency": "flag --worker-concurrency", "worker.max_attempts": "env LIGHTERMAN_WORKER_MAX_ATTEMPTS",
		"worker.lease": file + ":1", "worker.crash_limit": "default",
	} {
		if got := c.Origin(path).String(); got != want {
			t.Errorf("%s is from %q, want %q", path, got, want)
		}
	}
	if w.Heartbeat != config.Duration(5*time.Second) {
		t.Errorf("heartbeat %s; want a quarter of the lease that was found", w.Heartbeat)
	}
}

func TestLoad_FindsTheFile(t *testing.T) {
	a, b := write(t, "a.yaml", "redis: {prefix: a}\n"), write(t, "b.yaml", "\ufeffredis: {prefix: b}\n")
	environ := []string{"LIGHTERMAN_CONFIG=" + b}
	if c := load(t, config.Options{Environ: environ}); c.Redis.Prefix != "b" {
		t.Errorf("prefix %q, want that of LIGHTERMAN_CONFIG", c.Redis.Prefix)
	}
	if c := load(t, config.Options{Environ: environ, File: a}); c.Redis.Prefix != "a" {
		t.Errorf("prefix %q, want that of the named file", c.Redis.Prefix)
	}
}

func TestLoad_ReportsEverySourceAtOnce(t *testing.T) {
	file := write(t, "l.yaml", "worker:\n  lease: 0s\n  concurency: 5\n")
	got := refused(t, config.Options{
		File:      file,
		Environ:   []string{"LIGHTERMAN_WORKER_MAX_ATTEMPTS=many", "LIGHTERMAN_REDIS_PREFX=x", "OTHER=1", "LIGHTERMAN_MINE=1"},
		IgnoreEnv: []string{"LIGHTERMAN_MINE"},
		Overrides: map[string]string{"worker.drain_timeout": "-1s", "log.level": "inof", "worker.lease": "10s", "no.such": "1"},
		Flags:     map[string]string{"worker.drain_timeout": "--drain-timeout"},
	})
	want := []string{
		file + ":2:10: worker.lease: 0s is out of range; want 100ms to 1h",
		file + ":3:3: worker.concurency: unknown; did you mean concurrency?",
		`LIGHTERMAN_WORKER_MAX_ATTEMPTS: "many" is not a whole number in decimal`,
		"LIGHTERMAN_REDIS_PREFX: unknown; did you mean LIGHTERMAN_REDIS_PREFIX?",
		`--log-level: "inof": unknown; did you mean info?`,
		"--no-such: unknown",
		`--drain-timeout: "-1s": a duration cannot be negative`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLoad_ConfigFileThatCannotBeRead(t *testing.T) {
	if got := refused(t, config.Options{File: "/no/such"}); got[0] != `--config: read "/no/such": no such file or directory` {
		t.Error(got)
	}
	if got := refused(t, config.Options{Environ: []string{"LIGHTERMAN_CONFIG=/"}}); got[0] != `LIGHTERMAN_CONFIG: read "/": is a directory` {
		t.Error(got)
	}
	big := write(t, "big.yaml", strings.Repeat("#", 1<<20+1))
	if got := refused(t, config.Options{File: big}); !strings.HasSuffix(got[0], "is larger than 1MiB") {
		t.Error(got)
	}
}

func TestLoad_URLFile(t *testing.T) {
	secret := write(t, "url", "redis://u:hunter2@h:1\n")
	c := load(t, config.Options{Environ: []string{"LIGHTERMAN_REDIS_URL_FILE=" + secret}})
	if got := c.Redis.URL.Reveal(); got != "redis://u:hunter2@h:1" {
		t.Errorf("url %q", got)
	}
	c = load(t, config.Options{
		Environ:   []string{"LIGHTERMAN_REDIS_URL_FILE=" + secret},
		Overrides: map[string]string{"redis.url": "redis://flag"},
	})
	if c.Redis.URL.Reveal() != "redis://flag" || c.Redis.URLFile != "" {
		t.Errorf("%+v; want the flag's URL alone", c.Redis)
	}
	c = load(t, config.Options{
		Environ:   []string{"LIGHTERMAN_REDIS_URL=redis://env"},
		Overrides: map[string]string{"redis.url_file": secret},
	})
	if c.Redis.URL.Reveal() != "redis://u:hunter2@h:1" {
		t.Errorf("%+v; want the flag's file", c.Redis)
	}
}

func TestLoad_RefusedURLsAreNotShown(t *testing.T) {
	empty, wrong := write(t, "empty", " \n"), write(t, "wrong", "http://u:hunter2@h")
	for name, environ := range map[string][]string{
		"is set too":               {"LIGHTERMAN_REDIS_URL=redis://u:hunter2@h", "LIGHTERMAN_REDIS_URL_FILE=" + wrong},
		"is empty":                 {"LIGHTERMAN_REDIS_URL_FILE=" + empty},
		"starts with redis://":     {"LIGHTERMAN_REDIS_URL_FILE=" + wrong},
		"did you mean redis.url?":  {"LIGHTERMAN_REDIS_URL_FILE=redis://u:hunter2@h"},
		"not a URL":                {"LIGHTERMAN_REDIS_URL=redis://u:hunter2 @h:x"},
		"must be escaped":          {"LIGHTERMAN_REDIS_URL=redis://u:1/hunter2@h"},
		"no host":                  {"LIGHTERMAN_REDIS_URL=redis://"},
		"no path":                  {"LIGHTERMAN_REDIS_URL=unix://"},
		"mean LIGHTERMAN_REDIS_UR": {"LIGHTERMAN_REDIS=redis://u:hunter2@h"},
		"no such file":             {"LIGHTERMAN_REDIS_URL_FILE=/no/such"},
	} {
		got := strings.Join(refused(t, config.Options{Environ: environ}), "\n")
		if !strings.HasPrefix(got, "LIGHTERMAN_REDIS") || !strings.Contains(got, name) || strings.Contains(got, "hunter2") {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestValidate_AConfigPutTogetherByHand(t *testing.T) {
	c := &config.Config{Queues: []config.Queue{{Name: "a"}, {Name: "a", Weight: -1}}, Worker: config.Worker{Lease: config.Duration(time.Second)}}
	c.Fill()
	if c.Queues[0].Weight != 1 || c.Worker.Heartbeat != config.Duration(250*time.Millisecond) || c.Redis.Prefix != "lm" {
		t.Errorf("not filled: %+v", c)
	}
	want := "queues[1].weight: -1 is out of range; want 1 to 1000\n" + `queues[1].name: "a" is taken by queues[0].name`
	if err := c.Validate(); err == nil || err.Error() != want {
		t.Errorf("got %v, want\n%s", err, want)
	}
}
