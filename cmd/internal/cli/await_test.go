package cli

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/pipeline"
	"github.com/lighterman/lighterman/worker"
)

const question = "Why do rivers bend?"

func TestWait_Forms(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	work(t, server, nil)
	s := on(t, server)
	answer := strings.TrimSuffix(s.run("enqueue", question, "--wait").ok(), "\n")
	if !strings.HasPrefix(answer, `You asked "`+question+`": `) || strings.Contains(answer, "\n") {
		t.Fatalf("--wait prints %q, want the answer's text and nothing else", answer)
	}
	type line struct {
		ID, Outcome, Text string
		Body              struct{ Object string }
		Usage             struct{ Calls int }
	}
	for _, form := range []string{"json", "jsonl"} {
		a := decode[line](t, s.run("enqueue", question, "-w", "-o", form).ok())
		if a.Text != answer || a.Outcome != "succeeded" || a.Body.Object != "chat.completion" || a.Usage.Calls != 1 || !strings.HasPrefix(a.ID, "0-") {
			t.Errorf("--output %s: %+v", form, a)
		}
	}
	if id := strings.TrimSpace(s.run("enqueue", question, "-w", "-o", "id").ok()); !stateIs(t, storeOf(t, server), id, lm.Completed) {
		t.Errorf("--output id prints %q, not the ID of an ended operation", id)
	}
	if row := s.run("enqueue", question, "-w", "-o", "table").ok(); !containsAll(row, []string{"0-", "  succeeded  ", `You asked "`, "...\n"}) {
		t.Errorf("--output table prints %q", row)
	}
	if out := s.run("enqueue", question, "-w", "--out", "a.jsonl").ok(); out != "" {
		t.Errorf("with --out stdout has %q", out)
	}
	if a := decode[line](t, s.read("a.jsonl")); a.Text != answer {
		t.Errorf("--out holds %+v", a)
	}
	// A prompt that starts with dashes, other kinds, and many of one prompt.
	if out := s.run("enqueue", "--wait", "--", "--help").ok(); !strings.Contains(out, `You asked "--help"`) {
		t.Errorf("-- --help: %q", out)
	}
	if out := s.run("enqueue", "--wait", "--kind", "prompt", question).ok(); !strings.Contains(out, question) {
		t.Errorf("kind prompt: %q", out)
	}
	if out := s.run("enqueue", "--wait", "--kind", "embed", question).ok(); !strings.Contains(out, `"embedding"`) {
		t.Errorf("kind embed: %q", out)
	}
	many := s.run("enqueue", question, "-w", "--count", "3")
	many.failed(0, "3 of 3  ok 3  failed 0  ")
	for text := range strings.Lines(many.out) {
		if a := decode[line](t, text); a.Text != answer {
			t.Errorf("--count 3: %+v", a)
		}
	}
	if n := strings.Count(many.out, "\n"); n != 3 {
		t.Errorf("--count 3 printed %d lines", n)
	}
}

func (s *shell) read(name string) string {
	s.t.Helper()
	b, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err)
	}
	return string(b)
}

func TestWait_FailedOnesAreExit1WithTheReason(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	work(t, server, nil)
	s := on(t, server)
	s.run("enqueue", "--model", "sim-embed", "--wait", "a").refused(exitFailed, "enqueue: failed: invalid_request: HTTP 400: model sim-embed takes no chat calls (lighterman show 0-")
	s.file("f.jsonl", strings.Join([]string{chatLine("1"), batched("bad", `{"model":"sim-embed",`+chatLine("2")[1:]), batched("good", chatLine("3"))}, "\n"))
	r := s.run("enqueue", "--file", "f.jsonl", "--wait", "--out", "out.jsonl")
	r.refused(exitFailed, "3 of 3  ok 2  failed 1  (invalid_request: 1)  -> out.jsonl  ", "lighterman dead ls lists those that failed")

	type batchAnswer struct {
		CustomID string `json:"custom_id"`
		Line     int    `json:"line"`
		Text     string `json:"text"`
		Response *struct {
			StatusCode int    `json:"status_code"`
			RequestID  string `json:"request_id"`
			Body       struct {
				Choices []struct{ Message struct{ Content string } }
			} `json:"body"`
		} `json:"response"`
		Error *struct{ Code, Message string } `json:"error"`
	}
	got := map[int]batchAnswer{}
	for text := range strings.Lines(s.read("out.jsonl")) {
		a := decode[batchAnswer](t, text)
		got[a.Line] = a
	}
	plain, bad, good := got[1], got[2], got[3]
	if len(got) != 3 || plain.Text == "" || plain.Response != nil {
		t.Errorf("line 1: %+v", plain)
	}
	if bad.CustomID != "bad" || bad.Response != nil || bad.Error == nil || bad.Error.Code != "invalid_request" || !strings.Contains(bad.Error.Message, "sim-embed takes no chat calls") {
		t.Errorf("line 2: %+v", bad)
	}
	if good.CustomID != "good" || good.Error != nil || good.Response == nil || good.Response.StatusCode != 200 ||
		!strings.HasPrefix(good.Response.RequestID, "0-") || !strings.Contains(good.Response.Body.Choices[0].Message.Content, `"3"`) {
		t.Errorf("line 3: %+v", good)
	}
	if table := s.run("enqueue", "-f", "f.jsonl", "-w", "-o", "table").out; !containsAll(table, []string{"failed     invalid_request: HTTP 400", `succeeded  You asked "3"`}) {
		t.Errorf("--output table: %s", table)
	}
}

// TestWait_ResultsComeAsTheyEnd holds the first line's operation back until the
// second's result is in the file.
func TestWait_ResultsComeAsTheyEnd(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	release := make(chan struct{})
	work(t, server, func(w *worker.Worker) {
		w.Handle("gate", func(ctx context.Context, op *pipeline.Op) (any, error) {
			if strings.Contains(string(op.Request().Body), "held") {
				select {
				case <-release:
				case <-ctx.Done():
					return nil, ctx.Err()
				}
			}
			return json.RawMessage(op.Request().Body), nil
		})
	})
	s := on(t, server)
	p := s.fed("{\"n\":\"held\"}\n{\"n\":\"free\"}\n").start("enqueue", "-", "--kind", "gate", "--wait", "--out", "out.jsonl")
	until(t, "the second line's result is written", func() bool {
		parts, _ := filepath.Glob(filepath.Join(s.dir, "out.jsonl.*.part"))
		return len(parts) == 1 && strings.HasSuffix(s.read(filepath.Base(parts[0])), "\n")
	})
	close(release)
	r := p.wait()
	r.failed(0, "2 of 2  ok 2  failed 0  -> out.jsonl")
	lines := strings.Split(s.read("out.jsonl"), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], `{"line":2,`) || !strings.HasPrefix(lines[1], `{"line":1,`) {
		t.Errorf("out.jsonl holds %q", lines)
	}
}

func TestWait_TimeoutAndInterrupt(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server)
	s.run("enqueue", "a", "--wait", "--timeout", "50ms").refused(exitTimeout, "enqueue: gave up after 50ms with 0 of 1 done; the work goes on")
	s.run("enqueue", "a", "--count", "2", "--wait", "--timeout", "50ms", "-o", "json").refused(exitTimeout, "gave up after 50ms with 0 of 2 done")
	for i, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		p := s.start("enqueue", "a", "--wait")
		until(t, "it is enqueued", func() bool { return accepted(t, server) == int64(4+i) })
		p.signal(sig)
		p.wait().refused(exitInterrupted, "enqueue: interrupted with 0 of 1 |")
	}
	if n := accepted(t, server); n != 5 {
		t.Errorf("%d operations wait, want all 5: the work goes on", n)
	}
	// Redis goes away while somebody waits: it may come back, so waiting goes on.
	p := s.start("enqueue", "a", "--wait", "--timeout", "1s")
	until(t, "it is enqueued", func() bool { return accepted(t, server) == 6 })
	server.Kill()
	p.wait().refused(exitTimeout, "gave up after 1s with 0 of 1 done")
	s.run("enqueue", "a").refused(exitRedis, "enqueue: redis |unreachable")
}

func TestEnqueue_OutputForms(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server)
	if ids := s.run("enqueue", "a", "--count", "3").lines(); len(ids) != 3 || ids[0] == ids[1] {
		t.Errorf("--count 3 prints %q", ids)
	}
	if ids := s.run("enqueue", "a", "--count", "2", "--key", "k").lines(); strings.Join(ids, " ") != strings.Join(strings.Fields(s.run("enqueue", "a", "--count", "2", "--key", "k").out), " ") || ids[0] == ids[1] {
		t.Errorf("--count 2 --key k enqueues again: %q", ids)
	}
	if list := decode[[]struct{ ID string }](t, s.run("enqueue", "a", "-o", "json").ok()); len(list) != 1 || list[0].ID == "" {
		t.Errorf("json: %+v", list)
	}
	if out := s.run("enqueue", "a", "-o", "table").lines(); len(out) != 2 || !strings.HasPrefix(out[0], "ID ") || len(strings.Fields(out[1])) != 4 || strings.Fields(out[1])[1] != "-" {
		t.Errorf("table: %q", out)
	}
	id := strings.TrimSpace(s.run("enqueue", "a", "--in", "1h", "--thread", "t", "--tenant", "x", "--run", "r", "--agent", "g", "--queue", "batch", "--model", "sim", "--kind", "chat").ok())
	trace, err := storeOf(t, server).Trace(background, lm.TraceID(id))
	if err != nil {
		t.Fatal(err)
	}
	if trace.State != lm.Received || trace.NotBefore.Sub(trace.Created).Round(1e9*60).Hours() != 1 || trace.Queue != "batch" ||
		trace.Thread+trace.Tenant+trace.Run+trace.Agent+trace.Model != "txrgsim" {
		t.Errorf("flags made %+v", trace)
	}
	at := strings.TrimSpace(s.run("enqueue", "a", "--at", "2099-11-21T18:00:00Z").ok())
	if trace, err := storeOf(t, server).Trace(background, lm.TraceID(at)); err != nil || trace.NotBefore.Year() != 2099 {
		t.Errorf("--at made %+v, %v", trace, err)
	}
}
