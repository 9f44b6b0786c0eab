package config_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/lighterman/lighterman/config"
)

func TestEnv_ListsEverySettingOnce(t *testing.T) {
	seen := map[string]config.Variable{}
	for _, v := range config.Env() {
		if _, twice := seen[v.Name]; twice {
			t.Errorf("%s names two settings", v.Name)
		}
		if !strings.HasSuffix(v.Desc, ".") && !strings.HasSuffix(v.Desc, "-") {
			t.Errorf("%s: %q is no sentence", v.Name, v.Desc)
		}
		seen[v.Name] = v
	}
	for name, want := range map[string][2]string{
		"LIGHTERMAN_CONFIG":               {"", ""},
		"LIGHTERMAN_REDIS_URL":            {"redis.url", ""},
		"LIGHTERMAN_REDIS_URL_FILE":       {"redis.url_file", ""},
		"LIGHTERMAN_WORKER_DRAIN_TIMEOUT": {"worker.drain_timeout", "25s"},
		"LIGHTERMAN_WORKER_HEARTBEAT":     {"worker.heartbeat", "a quarter of worker.lease"},
		"LIGHTERMAN_SIM_CALL_LOG":         {"sim.call_log", ""},
	} {
		v, ok := seen[name]
		if !ok || v.Path != want[0] || v.Default != want[1] {
			t.Errorf("%s: %+v, want path and default %q", name, v, want)
		}
	}
}

func TestEnv_EveryVariableIsReadWithItsDefault(t *testing.T) {
	var environ []string
	for _, v := range config.Env() {
		if v.Default != "" && !strings.Contains(v.Default, " ") {
			environ = append(environ, v.Name+"="+v.Default)
		}
	}
	c := load(t, config.Options{Environ: environ})
	if diff := cmp.Diff(config.Default().Worker, c.Worker); diff != "" {
		t.Error(diff)
	}
	if got := c.Origin("limits.queue").String(); got != "env LIGHTERMAN_LIMITS_QUEUE" {
		t.Error(got)
	}
}

func TestLoad_UnknownVariables(t *testing.T) {
	for _, c := range []struct{ name, entry, want string }{
		{"slip", "LIGHTERMAN_WORKER_LAESE=1s", "LIGHTERMAN_WORKER_LAESE: unknown; did you mean LIGHTERMAN_WORKER_LEASE?"},
		{"nothing near", "LIGHTERMAN_FROBNICATE=1", "LIGHTERMAN_FROBNICATE: unknown"},
		{"empty", "LIGHTERMAN_FROBNICATE=", "LIGHTERMAN_FROBNICATE: unknown"},
		{"section", "LIGHTERMAN_LOG=debug", "LIGHTERMAN_LOG: unknown; did you mean LIGHTERMAN_LOG_LEVEL?"},
		{"list", "LIGHTERMAN_QUEUES=a", "LIGHTERMAN_QUEUES: queues is a list, which only the configuration file can hold"},
		{"item of a list", "LIGHTERMAN_MODELS_0_ID=a", "LIGHTERMAN_MODELS_0_ID: models is a list, which only the configuration file can hold"},
		{"port that is no service's", "LIGHTERMAN_HTTP_PORT=80", "LIGHTERMAN_HTTP_PORT: unknown"},
	} {
		if diff := cmp.Diff([]string{c.want}, refused(t, config.Options{Environ: []string{c.entry, c.entry}})); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

func TestLoad_KubernetesServiceVariablesAreNotMistakes(t *testing.T) {
	load(t, config.Options{Environ: []string{
		"LIGHTERMAN_SERVICE_HOST=10.0.0.1", "LIGHTERMAN_SERVICE_PORT=80", "LIGHTERMAN_SERVICE_PORT_HTTP=80", "LIGHTERMAN_PORT=tcp://10.0.0.1:80",
		"LIGHTERMAN_PORT_80_TCP=tcp://10.0.0.1:80", "LIGHTERMAN_PORT_80_TCP_PROTO=tcp", "LIGHTERMAN_PORT_80_TCP_PORT=80", "LIGHTERMAN_PORT_80_TCP_ADDR=10.0.0.1",
		"LIGHTERMAN_WORKER_SERVICE_HOST=10.0.0.1", "LIGHTERMAN_WORKER_PORT=tcp://10.0.0.1:80",
	}})
}
