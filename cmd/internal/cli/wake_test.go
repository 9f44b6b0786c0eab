package cli

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/pipeline"
	"github.com/lighterman/lighterman/worker"
)

// TestWake_BringsBackByIDAndInBulk: what is parked for an hour ends when it is woken,
// and all else says why it was not.
func TestWake_BringsBackByIDAndInBulk(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s, store := on(t, server), storeOf(t, server)
	var well atomic.Bool
	work(t, server, func(w *worker.Worker) {
		w.Handle("waits", func(context.Context, *pipeline.Op) (any, error) {
			if well.Load() {
				return "done", nil
			}
			return nil, &lm.Parked{Until: time.Now().Add(time.Hour), Reason: "sim: cooldown", For: lm.WaitModel + "sim"}
		})
	})
	parked := func(more ...string) string {
		id := strings.TrimSpace(s.run(append([]string{"enqueue", "go", "--kind", "waits", "-o", "id"}, more...)...).out)
		until(t, "it is parked", func() bool { return stateIs(t, store, id, lm.Retrying) })
		return id
	}
	ids := []string{parked(), parked(), parked("--queue", "batch"), parked("--model", "sim-slow")}
	later := strings.TrimSpace(s.run("enqueue", "go", "--in", "1h", "-o", "id").out)

	s.run("lighterman", "retry", ids[0]).refused(exitFailed, "`lighterman wake` brings it back")
	if out := s.run("lighterman", "wake", "--all", "--dry-run").ok(); out != "     4  waited for model/sim\n4 would be woken\n" {
		t.Errorf("dry run: %q", out)
	}
	well.Store(true)
	if out := s.run("lighterman", "wake", ids[0]).ok(); out != ids[0]+"  woken\n" {
		t.Errorf("wake: %q", out)
	}
	until(t, "it has ended", func() bool { return stateIs(t, store, ids[0], lm.Completed) })
	s.run("lighterman", "wake", ids[0], later, "0-none").refused(exitFailed,
		ids[0]+" is not parked: it is COMPLETED succeeded", later+" is not parked: it is scheduled for its start", "0-none: no such operation")
	if out := s.run("lighterman", "wake", "--queue", "batch", "-o", "id").ok(); out != ids[2]+"\n" {
		t.Errorf("by queue: %q", out)
	}
	if out := s.run("lighterman", "wake", "--model", "sim-slow").ok(); out != "     1  waited for model/sim\n1 woken\n" {
		t.Errorf("by model: %q", out)
	}
	if out := s.run("lighterman", "wake", "--reason", "cooldown").ok(); !strings.HasSuffix(out, "1 woken\n") {
		t.Errorf("by reason: %q", out)
	}
	if out := s.run("lighterman", "wake", "--all").ok(); out != "0 woken\n" {
		t.Errorf("of nothing: %q", out)
	}
	for _, id := range ids {
		until(t, id+" has ended", func() bool { return stateIs(t, store, id, lm.Completed) })
	}
	s.run("lighterman", "wake").refused(exitUsage, "want IDs, --model, --reason, --queue, or --all")
	s.run("lighterman", "wake", ids[0], "--all").refused(exitUsage, "give IDs, or --all or a filter, not both")
}
