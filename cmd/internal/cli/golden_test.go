package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/lighterman/lighterman/internal/redistest"
)

// TestJSON_OneConventionForEveryCommand: snake_case names, times in RFC 3339 and none
// of the year 1, durations in seconds; and the whole of each answer as its golden file
// in testdata/json has it, with what differs from run to run replaced.
func TestJSON_OneConventionForEveryCommand(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server)
	s = s.with("LIGHTERMAN_CONFIG=" + s.file("golden.yaml", goldenFile))
	w := s.start("worker", "--http", "127.0.0.1:0", "--log-format", "json", "--name", "w1")
	w.says("worker ready")
	done := strings.TrimSpace(s.run("enqueue", question, "--model", "flaky", "--wait", "-o", "id").ok())
	_ = s.run("enqueue", question, "--model", "broken", "--wait", "-o", "id")
	until(t, "the model's call is counted", func() bool {
		return strings.Contains(s.run("lighterman", "models", "-o", "json").ok(), `"requests": 4`)
	})
	for name, args := range map[string][]string{
		"show":            {"show", done},
		"ls":              {"ls"},
		"status":          {"status"},
		"workers":         {"workers"},
		"dead_ls":         {"dead", "ls"},
		"models":          {"models"},
		"models_observed": {"models", "--observed"},
		"pools":           {"pools"},
		"pools_explain":   {"pools", "explain", "chat"},
		"lock":            {"lock"},
	} {
		t.Run(name, func(t *testing.T) {
			out := s.run(append(append([]string{"lighterman"}, args...), "-o", "json")...).ok()
			v := decode[any](t, out)
			conventional(t, name, v)
			got, err := json.MarshalIndent(normal("", v), "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			want, err := os.ReadFile(filepath.Join("testdata", "json", name+".json"))
			if err != nil || string(got) != strings.TrimSpace(string(want)) {
				t.Errorf("not as testdata/json/%s.json (%v):\n%s\n---", name, err, got)
			}
		})
	}
}

const goldenFile = `
models:
  - {id: flaky, backend: sim, name: sim}
  - {id: broken, backend: sim, name: sim}
pools:
  - {id: chat, members: [{model_id: flaky}]}
sim:
  faults:
    - {model: flaky, kind: provider, count: 3}
    - {model: broken, kind: invalid_request, count: 1}
`

var snake = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// conventional holds the names and values of an answer against the convention.
func conventional(t *testing.T, at string, v any) {
	t.Helper()
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			conventional(t, at+"[]", item)
		}
	case map[string]any:
		for name, value := range v {
			if !snake.MatchString(name) || strings.HasSuffix(name, "_ns") || strings.HasSuffix(name, "_ms") {
				t.Errorf("%s: the name %q", at, name)
			}
			if _, number := value.(float64); strings.HasSuffix(name, "_seconds") && !number {
				t.Errorf("%s.%s is %v, want a number", at, name, value)
			}
			conventional(t, at+"."+name, value)
		}
	case string:
		if strings.HasPrefix(v, "0001-") {
			t.Errorf("%s: a time that is none: %s", at, v)
		}
	}
}

// vary are the fields whose values differ from run to run or host to host.
var vary = map[string]bool{
	"host": true, "pid": true, "epoch": true, "version": true, "consumer": true, "created": true,
	"circuit_epoch": true, "snapshot": true, "running": true, "pending": true, "slots": true, "entry": true, "tokens": true,
	"error_rate": true, "usd": true, "catalog": true,
}

var (
	idLike    = regexp.MustCompile(`\b0-[0-9A-Z]{26}\b|\b(chatcmpl|sim)-[0-9a-zA-Z]{6,}\b`)
	ownerLike = regexp.MustCompile(`\bw1-[A-Za-z0-9]{8}\b`)
	numbers   = regexp.MustCompile(`v\d+|\d+\.\d+ s`)
)

// normal replaces what differs from run to run.
func normal(name string, v any) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = normal(name, v[i])
		}
		return v
	case map[string]any:
		delete(v, "presence") // once it has been counted
		for field, value := range v {
			v[field] = normal(field, value)
		}
		return v
	case string:
		if _, err := time.Parse(time.RFC3339Nano, v); err == nil {
			return "TIME"
		}
		if vary[name] {
			return "VARIES"
		}
		return numbers.ReplaceAllString(ownerLike.ReplaceAllString(idLike.ReplaceAllString(v, "ID"), "OWNER"), "N")
	case float64:
		if vary[name] || strings.HasSuffix(name, "_seconds") {
			return 0
		}
	case bool:
		if vary[name] {
			return false
		}
	}
	return v
}
