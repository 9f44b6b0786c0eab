package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/lighterman/lighterman"
	"go.yaml.in/yaml/v4"
)

// prints is every way by which a value gets into a log by accident.
func prints(t *testing.T, v any) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T|%v"} {
		args := []any{v}
		if strings.HasPrefix(verb, "%T") {
			args = append(args, v)
		}
		out[verb] = fmt.Sprintf(verb, args...)
	}
	j, err := json.Marshal(map[string]any{"v": v})
	if err != nil {
		t.Fatal(err)
	}
	y, err := yaml.Dump(map[string]any{"v": v})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("m", "v", v)
	out["json"], out["yaml"], out["slog"] = string(j), string(y), log.String()
	out["in a struct"] = fmt.Sprintf("%+v", struct{ V any }{v})
	return out
}

func TestSecret_NeverPrints(t *testing.T) {
	for how, text := range prints(t, lighterman.Secret("hunter2")) {
		if !strings.Contains(text, redacted) || strings.Contains(text, "hunter2") || strings.Contains(text, "68756e74657232") {
			t.Errorf("%s: %s", how, text)
		}
	}
	if got := fmt.Sprint(lighterman.Secret("")); got != "" {
		t.Errorf("an empty secret prints as %q", got)
	}
	if lighterman.Secret("hunter2").Reveal() != "hunter2" {
		t.Error("Reveal does not")
	}
}

func TestSecretURL_NeverPrintsItsPassword(t *testing.T) {
	for how, text := range prints(t, SecretURL("redis://user:hunter2@host:6379/1")) {
		if !strings.Contains(text, "redis://user:[redacted]@host:6379/1") || strings.Contains(text, "hunter2") {
			t.Errorf("%s: %s", how, text)
		}
	}
}

func TestSecretURL_PrintsWhatIsNoSecret(t *testing.T) {
	for _, c := range []struct{ url, want string }{
		{"", ""},
		{"redis://127.0.0.1:6379", "redis://127.0.0.1:6379"},
		{"redis://:pw@h", "redis://:[redacted]@h"},
		{"rediss://user:p%2Fw@h:1/2?db=3", "rediss://user:[redacted]@h:1/2?db=3"},
		{"redis://user:p@w@h", "redis://user:[redacted]@h"},
		{"redis://token@h", "redis://[redacted]@h"},
		{"unix://user:pw@/run/redis.sock?db=1", "unix://user:[redacted]@/run/redis.sock?db=1"},
		{"redis://h?master_name=m&sentinel_password=pw&addr=b:1", "redis://h?master_name=m&sentinel_password=[redacted]&addr=b:1"},
		{"redis://user:p#w@h", redacted},
		{"redis://h/0#pw", redacted},
		{"redis://user:1/w@h", redacted},
		{"user:pw@h", redacted},
		{"http://user:pw@h", redacted},
		{"\x00", redacted},
	} {
		if got := SecretURL(c.url).String(); got != c.want {
			t.Errorf("%q prints as %q, want %q", c.url, got, c.want)
		}
	}
}
