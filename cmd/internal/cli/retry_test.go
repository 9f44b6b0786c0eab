package cli

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/pipeline"
	"github.com/lighterman/lighterman/worker"
)

// stepping is a handler of three steps that counts them; the third fails for good
// until it is mended.
type stepping struct {
	mu     sync.Mutex
	calls  map[string]int
	mended atomic.Bool
}

func (h *stepping) handle(ctx context.Context, op *pipeline.Op) (any, error) {
	var all []string
	for _, name := range []string{"one", "two", "three"} {
		got, err := pipeline.Step(ctx, op, name, func(context.Context) (string, error) {
			h.mu.Lock()
			h.calls[name]++
			h.mu.Unlock()
			if name == "three" && !h.mended.Load() {
				return "", lm.Permanent(errors.New("the third is broken"))
			}
			return name, nil
		})
		if err != nil {
			return nil, err
		}
		all = append(all, got)
	}
	return strings.Join(all, " "), nil
}

func (h *stepping) called(name string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.calls[name]
}

// TestRetry_GoesOnBehindTheFinishedSteps: an operation fails for good at its third
// step; retried, it runs that one again and no other.
func TestRetry_GoesOnBehindTheFinishedSteps(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server)
	h := &stepping{calls: make(map[string]int)}
	work(t, server, func(w *worker.Worker) { w.Handle("steps", h.handle) })
	old := strings.TrimSpace(s.run("enqueue", "go", "--kind", "steps", "--key", "k", "--deadline", "1h", "--wait", "-o", "id").out)
	if out := s.run("lighterman", "show", old).ok(); !strings.Contains(out, "COMPLETED failed") {
		t.Fatalf("show: %s", out)
	}
	h.mended.Store(true)

	line := s.run("lighterman", "retry", old).lines()
	from, as, ok := strings.Cut(line[0], " -> ")
	if len(line) != 1 || !ok || from != old || as == old || strings.Contains(as, " ") {
		t.Fatalf("retry: %q", line)
	}
	store := storeOf(t, server)
	until(t, "the retry has ended", func() bool { return stateIs(t, store, as, lm.Completed) })
	out := s.run("lighterman", "show", as).ok()
	if !containsAll(out, []string{"COMPLETED succeeded", "one two three", "retry of " + old, "attempts 1 "}) {
		t.Errorf("show: %s", out)
	}
	for name, want := range map[string]int{"one": 1, "two": 1, "three": 2} {
		if n := h.called(name); n != want {
			t.Errorf("step %s was called %d times, want %d", name, n, want)
		}
	}
	if out := s.run("lighterman", "show", old).ok(); !containsAll(out, []string{"COMPLETED failed", "retried as " + as}) {
		t.Errorf("show of the failed one: %s", out)
	}
	if out := s.run("lighterman", "dead", "ls", "-o", "id").ok(); out != "" {
		t.Errorf("dead ls: %q", out)
	}
	s.run("lighterman", "dead", "show", old).refused(exitFailed, old+" is no dead letter any more: retried as "+as)

	if out := s.run("lighterman", "retry", old).ok(); out != old+" -> "+as+"  retried before\n" {
		t.Errorf("a second retry: %q", out)
	}
	type row struct {
		ID       string
		As       string `json:"retried_as"`
		Existing bool
		Error    string
	}
	r := s.run("lighterman", "retry", old, as, "0-none", old, "-o", "json")
	if r.failed(exitFailed, "retry: "+as+": only a failed operation can be retried; this one is succeeded", "retry: 0-none: no such operation"); r.code == exitFailed {
		rows := decode[[]row](t, r.out)
		if len(rows) != 3 || rows[0] != (row{old, as, true, ""}) || rows[1].Error == "" || rows[1].As != "" || rows[2].Error == "" {
			t.Errorf("%+v", rows)
		}
	}
	type shown struct {
		RetryOf string `json:"retry_of"`
	}
	if v := decode[shown](t, s.run("lighterman", "show", as, "-o", "json").ok()); v.RetryOf != old {
		t.Errorf("show -o json: %+v", v)
	}
}

// TestRetry_SaysThatACheckpointIsUnusable and goes on without.
func TestRetry_SaysThatACheckpointIsUnusable(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server)
	h := &stepping{calls: make(map[string]int)}
	work(t, server, func(w *worker.Worker) { w.Handle("steps", h.handle) })
	old := strings.TrimSpace(s.run("enqueue", "go", "--kind", "steps", "--wait", "-o", "id").out)
	if err := server.Client().HSet(background, "{lm:0}:checkpoint:"+old, "checksum", "wrong").Err(); err != nil {
		t.Fatal(err)
	}
	h.mended.Store(true)
	r := s.run("lighterman", "retry", old, "-o", "id")
	r.failed(0, "retry: "+old+": what its checkpoint lost runs again: checkpoint is corrupt")
	store := storeOf(t, server)
	until(t, "the retry has ended", func() bool { return stateIs(t, store, strings.TrimSpace(r.out), lm.Completed) })
	for name, want := range map[string]int{"one": 2, "two": 2, "three": 2} {
		if n := h.called(name); n != want {
			t.Errorf("step %s was called %d times, want %d", name, n, want)
		}
	}
}

func TestRetry_Refuses(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server)
	waits := strings.TrimSpace(s.run("enqueue", question).ok())
	off := strings.TrimSpace(s.run("enqueue", question).ok())
	s.run("lighterman", "cancel", off).ok()
	s.run("lighterman", "retry").refused(exitUsage, "retry: want one ID or more, or last")
	s.run("lighterman", "retry", "nope").refused(exitUsage, `retry: trace ID "nope"`)
	s.run("lighterman", "retry", "7-nope").refused(exitFailed, "retry: 7-nope: no such operation: the fleet's partitions end at 0")
	s.run("lighterman", "retry", waits).refused(exitFailed, "retry: "+waits+": only a failed operation can be retried; this one is QUEUED")
	s.run("lighterman", "retry", off).refused(exitFailed, "retry: "+off+": only a failed operation can be retried; this one is cancelled")
	s.run("lighterman", "retry", off, "-o", "xml").refused(exitUsage, `--output "xml"`)
}
