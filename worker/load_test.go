package worker

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lighterman/lighterman/config"
	"github.com/lighterman/lighterman/consumer"
	"github.com/spf13/pflag"
)

// loadWith is Load in a process of these arguments.
func loadWith(t *testing.T, args ...string) (*config.Config, error) {
	t.Helper()
	before := os.Args
	defer func() { os.Args = before }()
	os.Args = append([]string{"worker"}, args...)
	return Load()
}

func TestLoad_FlagsOverEnvironmentOverFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(file, []byte("worker: {name: f, lease: 20s, concurrency: 2}\nlog: {level: warn}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("LIGHTERMAN_WORKER_LEASE", "30s")
	t.Setenv("LIGHTERMAN_WORKER_CONCURRENCY", "3")
	t.Setenv("LIGHTERMAN_FAILPOINT", "after:claim") // not the loader's
	cfg, err := loadWith(t, "--config", file, "--concurrency", "4", "--queue", "a:2", "--queue", "b,c:1:7", "--http", "127.0.0.1:0", "--redis", "redis://h:1", "--drain-timeout", "0s", "--log-format", "json")
	if err != nil {
		t.Fatal(err)
	}
	if w := cfg.Worker; w.Name != "f" || w.Lease.Std() != 30*time.Second || w.Concurrency != 4 || w.DrainTimeout != 0 || cfg.Log.Level != "warn" || cfg.Log.Format != "json" || cfg.HTTP.Addr != "127.0.0.1:0" || cfg.Redis.URL.Reveal() != "redis://h:1" {
		t.Errorf("%+v", cfg)
	}
	want := []config.Queue{{Name: "a", Weight: 2}, {Name: "b", Weight: 1}, {Name: "c", Weight: 1, Concurrency: 7}}
	if len(cfg.Queues) != 3 || cfg.Queues[0] != want[0] || cfg.Queues[1] != want[1] || cfg.Queues[2] != want[2] {
		t.Errorf("queues %+v", cfg.Queues)
	}
	if q := consumerQueues(cfg); len(q) != 3 || q[0] != (consumer.Queue{Name: "a", Weight: 2}) || q[2] != (consumer.Queue{Name: "c", Weight: 1, Concurrency: 7}) {
		t.Errorf("the consumer is given %+v", q)
	}
	if text := QueuesText(cfg); text != "a:2 b:1 c:1:7" {
		t.Errorf("queues as text: %q", text)
	}
	t.Setenv("LIGHTERMAN_CONFIG", file)
	if cfg, err := loadWith(t); err != nil || cfg.Worker.Name != "f" || len(cfg.Queues) != 3 {
		t.Errorf("LIGHTERMAN_CONFIG: %+v, %v", cfg, err)
	}
}

func TestLoad_NothingSaidIsTheDefault(t *testing.T) {
	cfg, err := loadWith(t)
	if err != nil || cfg.Redis.URL != "" || cfg.Worker.Concurrency != 64 || cfg.Queues[0].Name != "interactive" {
		t.Errorf("%+v, %v", cfg, err)
	}
}

func TestLoad_EverythingWrongAtOnce(t *testing.T) {
	t.Setenv("LIGHTERMAN_WORKER_LEASE", "soon")
	_, err := loadWith(t, "--concurrency", "0", "--lease", "x")
	var problems config.Errors
	if !errors.As(err, &problems) || len(problems) != 3 {
		t.Fatalf("%v", err)
	}
	for _, says := range []string{"LIGHTERMAN_WORKER_LEASE: ", "--concurrency: 0 is out of range", "--lease: "} {
		if !strings.Contains(err.Error(), says) {
			t.Errorf("%q does not say %q", err, says)
		}
	}
}

func TestLoad_BadQueues(t *testing.T) {
	var problems config.Errors
	_, err := loadWith(t, "--queue", "a b", "--queue", "x:none", "--queue", "ok", "--queue", "y:-1", "--queue", ":3")
	if !errors.As(err, &problems) || len(problems) != 4 {
		t.Fatalf("%v", err)
	}
	for _, p := range problems {
		if !strings.HasPrefix(p.String(), "--queue: ") {
			t.Errorf("%s", p)
		}
	}
	// What the configuration file is held to holds for flags too.
	for _, bad := range [][]string{{"--queue", "a", "--queue", "a"}, {"--queue", "a:5000"}} {
		if cfg, err := loadWith(t, bad...); !errors.As(err, &problems) {
			t.Errorf("%v was taken: %+v", bad, cfg.Queues)
		}
	}
}

func TestAddCommonFlags_OnlyThoseNamed(t *testing.T) {
	fs := pflag.NewFlagSet("x", pflag.ContinueOnError)
	flags := AddCommonFlags(fs, "redis")
	var names []string
	fs.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if strings.Join(names, " ") != "config redis" {
		t.Errorf("flags %v", names)
	}
	if err := fs.Parse([]string{"--redis", "redis://h:1"}); err != nil {
		t.Fatal(err)
	}
	t.Setenv("LIGHTERMAN_MINE", "x")
	if cfg, err := flags.Load("LIGHTERMAN_MINE"); err != nil || cfg.Redis.URL.Reveal() != "redis://h:1" {
		t.Errorf("%+v, %v", cfg, err)
	}
	if _, err := flags.Load(); err == nil || !strings.Contains(err.Error(), "LIGHTERMAN_MINE") {
		t.Errorf("an unknown variable: %v", err)
	}
}
