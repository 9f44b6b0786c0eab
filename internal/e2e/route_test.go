package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider/sim"
)

// pooled declares a pool of three: one is rate-limited for a while, one starts to
// fail for good, one is only for failover.
const pooled = `
models:
  - {id: limited, backend: sim, name: sim}
  - {id: breaking, backend: sim, name: sim}
  - {id: spare, backend: sim, name: sim}
pools:
  - id: chat
    members: [{model_id: limited}, {model_id: breaking}, {model_id: spare, role: failover_only}]
sim:
  faults:
    - {model: limited, kind: rate_limited, after: 10, count: 4, retry_after: 3s}
    - {model: breaking, kind: provider, after: 20}
`

// TestPool: four worker processes complete everything that is asked of a pool whose
// members fail; results tell of the switches and their reasons; nobody
// calls a member whose cooldown any worker knows for longer than a second.
func TestPool(t *testing.T) {
	f := newFleet(t, 10*time.Second)
	config := filepath.Join(t.TempDir(), "pool.yaml")
	if err := os.WriteFile(config, []byte(pooled), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		f.start(crew{config: config, slots: 2, latency: 40 * time.Millisecond})
	}
	ids := f.enqueue(rounds(600, 2000), func(i int) ask {
		body, _ := json.Marshal(map[string]any{"messages": []map[string]string{{"role": "user", "content": fmt.Sprintf("question %d?", i)}}})
		return ask{request: lm.Request{Model: "chat", Thread: fmt.Sprint("t", i%200), Body: body}}
	})
	f.awaitAll()
	results, err := f.store.Results(t.Context(), ids)
	if err != nil {
		t.Fatal(err)
	}
	by, told := map[string]int{}, ""
	for _, r := range results {
		var body struct{ Model string }
		if json.Unmarshal(r.Body, &body) != nil || r.Outcome != lm.Succeeded {
			t.Fatalf("%s: %+v", r.ID, r)
		}
		by[body.Model]++
		told += strings.Join(r.Route, "\n") + "\n"
	}
	for _, want := range []string{"limited rate_limited", "breaking error_threshold", "spare failover"} {
		if !strings.Contains(told, want) {
			t.Errorf("no result tells of %q", want)
		}
	}
	late, others := f.lateCalls("limited", 3*time.Second)
	f.Logf("%d operations by %v; %d calls of others and %d of its own while a member was cooling down for over a second", len(ids), by, others, late)
	if late > 0 || others == 0 {
		t.Errorf("%d calls of a member that was cooling down for over a second, %d of others: want none, and some", late, others)
	}
}

// lateCalls counts the calls of a member, and of others, that began while a cooldown
// ran that it had asked for more than a second before.
func (f *fleet) lateCalls(member string, cooldown time.Duration) (late, others int) {
	f.Helper()
	entries, err := sim.ReadLog(f.calls)
	if err != nil {
		f.Fatal(err)
	}
	model, errors := sim.Member(sim.Plain, member), 0
	for _, e := range entries {
		if e.Model != model || e.Event != sim.EventError {
			continue
		}
		errors++
		for _, s := range entries {
			since := time.Duration(s.TS - e.TS)
			switch {
			case s.Event != sim.EventStart || since < time.Second || since > cooldown:
			case s.Model == model:
				late++
			default:
				others++
			}
		}
	}
	if errors == 0 {
		f.Fatalf("%s was never rate-limited: void", member)
	}
	return late, others
}
