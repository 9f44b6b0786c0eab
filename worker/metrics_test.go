package worker

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/provider/sim"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// TestMetrics_FollowThePrometheusConventionsAndAreDocumented: every metric of a worker
// that has worked passes promlint and is in the table of docs/operations.md.
func TestMetrics_FollowThePrometheusConventionsAndAreDocumented(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	w := newWorker(t, settings(server))
	run(t, w)
	c := client(t, separate(t, server))
	body := json.RawMessage(`{"stream":true,"messages":[{"role":"user","content":"Why?"}]}`)
	for _, r := range []lm.Request{{Body: body}, {Body: body, Model: sim.Tools}} {
		if got := ask(t, c, r); got.Outcome != lm.Succeeded {
			t.Fatalf("%+v", got)
		}
	}
	families, err := w.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "lighterman_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
	docs, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, f := range families {
		if seen[f.GetName()] = true; strings.HasPrefix(f.GetName(), "lighterman_") && !strings.Contains(string(docs), "| `"+f.GetName()+"` |") {
			t.Errorf("%s is not in docs/operations.md", f.GetName())
		}
	}
	for _, name := range []string{"tokens_total", "call_seconds", "first_token_seconds", "circuit_state", "cooldown_seconds"} {
		if !seen["lighterman_model_"+name] {
			t.Errorf("no lighterman_model_%s", name)
		}
	}
}

// TestLogs_DurationsNameTheirUnit: zerolog writes ms, which no reader of "delay": 8.2
// can know.
func TestLogs_DurationsNameTheirUnit(t *testing.T) {
	t.Parallel()
	field := regexp.MustCompile(`\.Dur\("([^"]*)"`)
	found := 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, m := range field.FindAllStringSubmatch(string(source), -1) {
			if found++; !strings.HasSuffix(m[1], "_ms") {
				t.Errorf("%s: the field %q says no unit; name it %s_ms", path, m[1], m[1])
			}
		}
		return err
	})
	if err != nil || found == 0 {
		t.Errorf("%d durations found, %v", found, err)
	}
}
