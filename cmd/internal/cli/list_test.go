package cli

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/lighterman/lighterman/internal/redistest"
)

func TestLists_OfAnEmptyFleet(t *testing.T) {
	t.Parallel()
	s := on(t, redistest.Start(t))
	if out := s.run("lighterman", "ls").lines(); len(out) != 1 || !strings.HasPrefix(out[0], "ID ") {
		t.Errorf("ls: %q", out)
	}
	for _, args := range []string{"ls -o json", "dead ls -o json"} {
		if out := s.run(append([]string{"lighterman"}, strings.Fields(args)...)...).ok(); out != "[]\n" {
			t.Errorf("%s: %q, want an empty list", args, out)
		}
	}
	status := s.run("lighterman", "status", "-o", "json").ok()
	if !containsAll(status, []string{`"queues": []`, `"consumers": []`}) {
		t.Errorf("status -o json: %s", status)
	}
	if out := s.run("lighterman", "status").ok(); !containsAll(out, []string{"QUEUE", "no worker seen yet", "ended: 0 succeeded"}) {
		t.Errorf("status: %s", out)
	}
	s.run("lighterman", "show", "last").refused(exitFailed, "show: last: no such operation; enqueue one first")
	s.run("lighterman", "show", "0-nope").refused(exitFailed, "show: 0-nope: no such operation")
	s.run("lighterman", "show", "7-nope").refused(exitFailed, "show: 7-nope: no such operation")
	s.run("lighterman", "show", "nope").refused(exitUsage, `show: trace ID "nope": want PARTITION-NAME, as in 0-01`)
	s.run("lighterman", "dead", "show", "0-nope").refused(exitFailed, "show: 0-nope is no dead letter; dead ls lists them")
	s.run("lighterman", "dead", "show", "nope").refused(exitUsage, `trace ID "nope"`)
	s.run("lighterman", "ls", "--state", "quened").refused(exitUsage, `ls: --state "QUENED": unknown; did you mean QUEUED? (states: RECEIVED, |RECLAIMED)`)
	for _, args := range []string{"ls -n 0", "ls -n -3", "dead ls -n -1"} {
		s.run(append([]string{"lighterman"}, strings.Fields(args)...)...).refused(exitUsage, "ls: -n |want 1 or more")
	}
	for _, args := range []string{"ls", "show 0-a", "status", "dead ls"} {
		s.run(append([]string{"lighterman"}, strings.Fields(args+" -o xml")...)...).refused(exitUsage, `--output "xml": want table, |json`)
	}
}

func TestLists_OfWorkInAllStates(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server)
	work(t, server, nil)
	good := strings.TrimSpace(s.run("enqueue", question, "--wait", "-o", "id").ok())
	bad := strings.TrimSpace(s.run("enqueue", question, "--model", "sim-embed", "--wait", "-o", "id").out)
	waits := strings.TrimSpace(s.run("enqueue", question, "--queue", "unserved").out)
	later := strings.TrimSpace(s.run("enqueue", question, "--in", "1h").ok())

	t.Run("ls", func(t *testing.T) {
		rows := map[string]string{}
		for _, line := range s.run("lighterman", "ls").lines()[1:] {
			rows[strings.Fields(line)[0]] = line
		}
		for id, words := range map[string][]string{good: {"COMPLETED", "succeeded"}, bad: {"COMPLETED", "failed", "sim-embed"}, waits: {"QUEUED", "unserved"}, later: {"RECEIVED"}} {
			if !containsAll(rows[id], words) {
				t.Errorf("%s: %q, want %q", id, rows[id], words)
			}
		}
		type trace struct{ ID, State, Queue string }
		if list := decode[[]trace](t, s.run("lighterman", "ls", "-o", "json").ok()); len(list) != 4 || list[0].ID != later {
			t.Errorf("ls -o json: %+v, want 4, the newest first", list)
		}
		if ids := s.run("lighterman", "ls", "-o", "id", "-n", "1").lines(); len(ids) != 1 || ids[0] != later {
			t.Errorf("ls -o id -n 1: %q", ids)
		}
		for _, args := range []string{"--state QUEUED", "--state queued", "--queue unserved"} {
			out := s.run(append([]string{"lighterman", "ls", "-o", "jsonl"}, strings.Fields(args)...)...).lines()
			if len(out) != 1 || decode[trace](t, out[0]).ID != waits {
				t.Errorf("ls %s: %q", args, out)
			}
		}
	})
	t.Run("show", func(t *testing.T) {
		if out := s.run("lighterman", "show", good).ok(); !containsAll(out, []string{good + "  COMPLETED succeeded", "RECEIVED, QUEUED", "CLAIMED inproc-", "usage: 1 calls", `You asked "` + question}) {
			t.Errorf("show: %s", out)
		}
		if out := s.run("lighterman", "show", bad).ok(); !containsAll(out, []string{"COMPLETED failed", "error: invalid_request: HTTP 400"}) {
			t.Errorf("show of a failed one: %s", out)
		}
		if out := s.run("lighterman", "show", "last").ok(); !strings.HasPrefix(out, later+"  RECEIVED ") {
			t.Errorf("show last: %s", out)
		}
		type shown struct {
			ID, State string
			History   []struct{ Path []string }
			Result    *struct{ Outcome string }
		}
		if v := decode[shown](t, s.run("lighterman", "show", good, "-o", "json").ok()); v.State != "COMPLETED" || v.Result == nil || v.Result.Outcome != "succeeded" || len(v.History) < 3 {
			t.Errorf("show -o json: %+v", v)
		}
		if v := decode[shown](t, s.run("lighterman", "show", waits, "-o", "json").ok()); v.State != "QUEUED" || v.Result != nil {
			t.Errorf("show -o json of a waiting one: %+v", v)
		}
	})
	t.Run("dead", func(t *testing.T) {
		rows := s.run("lighterman", "dead", "ls").lines()
		if len(rows) != 2 || !containsAll(rows[1], []string{bad, "invalid_request", "INFERRING", "HTTP 400: model sim-embed takes no chat calls"}) || strings.Contains(rows[1], "{") {
			t.Errorf("dead ls: %q", rows)
		}
		if list := decode[[]struct{ ID, Reason string }](t, s.run("lighterman", "dead", "ls", "-o", "json").ok()); len(list) != 1 || list[0].ID != bad || list[0].Reason != "invalid_request" {
			t.Errorf("dead ls -o json: %+v", list)
		}
		if out := s.run("lighterman", "dead", "ls", "-o", "id").ok(); out != bad+"\n" {
			t.Errorf("dead ls -o id: %q", out)
		}
		out := s.run("lighterman", "dead", "show", bad).ok()
		if !containsAll(out, []string{bad, "reason invalid_request", "last state INFERRING", "worker inproc-", "ERRORED, COMPLETED (invalid_request)"}) || strings.Count(out, "HTTP 400") != 1 {
			t.Errorf("dead show: %s", out)
		}
		s.run("lighterman", "dead", "show", good).refused(exitFailed, "is no dead letter")
	})
	t.Run("status", func(t *testing.T) {
		out := s.run("lighterman", "status").ok()
		if !containsAll(out, []string{"unserved  1 ", "ended: 1 succeeded, 1 failed", "inproc-", " ago"}) {
			t.Errorf("status: %s", out)
		}
		v := decode[struct {
			Queues []struct {
				Queue            string
				Waiting, Delayed int
			}
			Consumers []struct{ Consumer string }
		}](t, s.run("lighterman", "status", "-o", "json").ok())
		if len(v.Queues) != 2 || v.Queues[0].Delayed != 1 || v.Queues[1].Waiting != 1 || len(v.Consumers) != 1 {
			t.Errorf("status -o json: %+v", v)
		}
	})
	t.Run("terminal", func(t *testing.T) { onTerminal(t, s, good) })
}

// onTerminal: colours on a terminal, none with NO_COLOR; everywhere else the shell
// of these tests holds all output against escape codes.
func onTerminal(t *testing.T, s *shell, id string) {
	script := terminal(t)
	show := func(env ...string) string {
		inner := s.with(env...).command(background, []string{"lighterman", "show", id})
		cmd := exec.CommandContext(background, script, "-qec", inner.Path+" show "+id, "/dev/null")
		cmd.Env, cmd.Dir = inner.Env, inner.Dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	if out := show(); !strings.Contains(out, "\x1b[32msucceeded\x1b[0m") {
		t.Errorf("no colour on a terminal: %q", out)
	}
	if out := show("NO_COLOR=1"); strings.Contains(out, "\x1b") || !strings.Contains(out, "succeeded") {
		t.Errorf("escape codes in spite of NO_COLOR: %q", out)
	}
}
