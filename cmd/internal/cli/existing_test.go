package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
	"github.com/lighterman/lighterman/pipeline"
	"github.com/lighterman/lighterman/worker"
)

// TestEnqueue_PushedAgainAfterAFailure says so, by line and in sum, with an honest
// exit code, and --retry-failed has it done again.
func TestEnqueue_PushedAgainAfterAFailure(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server)
	var broken atomic.Bool
	var runs atomic.Int64
	broken.Store(true)
	work(t, server, func(w *worker.Worker) {
		w.Handle("flaky", func(_ context.Context, op *pipeline.Op) (any, error) {
			runs.Add(1)
			if broken.Load() && strings.Contains(string(op.Request().Body), "bad") {
				return nil, lm.Permanent(errors.New("broken"))
			}
			return "done", nil
		})
	})
	s.file("f.jsonl", chatLine("good")+"\n"+chatLine("bad")+"\n"+chatLine("bad too")+"\n")
	push := func(args ...string) ran {
		return s.run(append([]string{"enqueue", "--kind", "flaky", "--file", "f.jsonl"}, args...)...)
	}
	push("--wait").failed(exitFailed, "3 of 3  ok 1  failed 2  (permanent: 2)", "dead ls")
	s.file("f.jsonl", chatLine("fresh")+"\n"+chatLine("good")+"\n"+chatLine("bad")+"\n"+chatLine("bad too")+"\n")

	r := push("-o", "jsonl")
	r.failed(exitFailed, "f.jsonl:3: 0-|: existing failed", "f.jsonl:4: 0-|: existing failed", "enqueue: 4 requests: 1 new, 1 existing, 2 existing failed; --retry-failed tries them again")
	var statuses []string
	for line := range strings.Lines(r.out) {
		statuses = append(statuses, decode[struct{ Status string }](t, line).Status)
	}
	if got := strings.Join(statuses, ", "); got != "new, existing, existing failed, existing failed" {
		t.Errorf("statuses: %s", got)
	}
	push("--wait").failed(exitFailed, "f.jsonl:3", "f.jsonl:4", "4 requests: 0 new, 2 existing, 2 existing failed", "4 of 4  ok 2  failed 2", "dead ls")

	before := runs.Load()
	broken.Store(false)
	r = push("--wait", "--retry-failed")
	r.failed(0, "enqueue: 4 requests: 0 new, 2 existing, 2 retried", "4 of 4  ok 4  failed 0")
	if strings.Count(r.out, `"status":"retried"`) != 2 || strings.Count(r.out, `"outcome":"succeeded"`) != 4 || runs.Load() != before+2 {
		t.Errorf("retried: %d runs\n%s", runs.Load()-before, r.out)
	}
	if n := deadCount(t, server); n != 0 {
		t.Errorf("%d dead letters are left", n)
	}
	// The newest retry answers from now on.
	push("--wait", "--retry-failed").failed(0, "enqueue: 4 requests: 0 new, 4 existing", "4 of 4  ok 4  failed 0")
	if runs.Load() != before+2 {
		t.Errorf("%d runs more than the two that were retried", runs.Load()-before-2)
	}

	// One prompt with a key.
	broken.Store(true)
	one := func(args ...string) ran {
		return s.run(append([]string{"enqueue", "bad", "--kind", "flaky", "--key", "k"}, args...)...)
	}
	one("--wait").failed(exitFailed, "failed: permanent: broken")
	one().failed(exitFailed, ": existing failed; --retry-failed tries it again")
	one("--wait").failed(exitFailed, ": existing failed; --retry-failed tries it again", "failed: permanent: broken")
	broken.Store(false)
	one("--wait", "--retry-failed").failed(0, ": retried")
	one("--wait").failed(0, ": existing")
}

// TestEnqueue_PushedAgainAfterACancel: what was cancelled did not succeed either, and
// is not retried.
func TestEnqueue_PushedAgainAfterACancel(t *testing.T) {
	t.Parallel()
	s := on(t, redistest.Start(t))
	s.run("enqueue", "x", "--key", "k").ok()
	s.run("enqueue", "x", "--key", "k").failed(0, ": existing")
	s.run("lighterman", "cancel", "last").ok()
	s.run("enqueue", "x", "--key", "k", "--retry-failed").failed(exitFailed, ": existing cancelled")
}

// TestEnqueue_TellsAPersonUntilWhenAFileIsPaidOnce, and nobody else.
func TestEnqueue_TellsAPersonUntilWhenAFileIsPaidOnce(t *testing.T) {
	t.Parallel()
	s := on(t, redistest.Start(t), "LIGHTERMAN_DELIVER_RESULT_RETENTION=2h")
	s.file("f.jsonl", chatLine("1")+"\n")
	const note = "pushed again later than 2h after a line has ended, that line is paid again"
	if out := s.shown(200, "enqueue --file f.jsonl"); !strings.Contains(out, note) {
		t.Errorf("on a terminal: %s", out)
	}
	if out := s.shown(200, "enqueue --file f.jsonl"); strings.Contains(out, note) {
		t.Errorf("with nothing new: %s", out)
	}
	s.file("f.jsonl", chatLine("2")+"\n")
	s.run("enqueue", "--file", "f.jsonl").ok()
	s.file("f.jsonl", chatLine("3")+"\n")
	if out := s.shown(200, "enqueue --file f.jsonl --retention 7d"); !strings.Contains(out, "pushed again later than 7d after a line has ended, that line is paid again (--retention)") {
		t.Errorf("with a retention of its own: %s", out)
	}
}

// TestEnqueue_RetentionOfARequest: what --retention says is how long the result and
// the key are kept, and what is no such time is refused before anything is sent.
func TestEnqueue_RetentionOfARequest(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server)
	for _, bad := range []struct{ value, says string }{
		{"7", `--retention "7" is not a duration`}, {"-1h", `--retention "-1h": a duration cannot be negative`}, {"59s", "--retention 59s: want 60s to 30d"}, {"31d", "--retention 31d: want 60s to 30d"},
	} {
		s.run("enqueue", "x", "--retention", bad.value).refused(exitUsage, bad.says)
	}
	work(t, server, nil)
	s.file("f.jsonl", chatLine("1")+"\n")
	s.run("enqueue", "--file", "f.jsonl", "--retention", "7d", "--wait").failed(0, "1 of 1  ok 1")
	const week = 7 * 24 * time.Hour
	rdb := server.Client()
	newest, err := storeOf(t, server).Newest(background, lua.Filter{}, 1)
	if err != nil || len(newest) != 1 {
		t.Fatal(newest, err)
	}
	for _, key := range []string{"{lm:0}:result:", "{lm:0}:trace:"} {
		if ttl := rdb.PTTL(background, key+string(newest[0].ID)).Val(); ttl > week || ttl < week-time.Hour {
			t.Errorf("%s is kept for %s, want 7d", key, ttl)
		}
	}
	s.run("enqueue", "--file", "f.jsonl", "--retention", "1h").failed(0, ": existing")
}

// TestOut_TheFileOfTheRequestsIsRefused under any name, and before anything is sent.
func TestOut_TheFileOfTheRequestsIsRefused(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server)
	s.file("r.jsonl", chatLine("1")+"\n")
	at := func(name string) string { return filepath.Join(s.dir, name) }
	if err := errors.Join(os.Symlink("r.jsonl", at("symlink")), os.Link(at("r.jsonl"), at("hardlink"))); err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{"r.jsonl", "./r.jsonl", at("r.jsonl"), "symlink", "hardlink"} {
		s.run("enqueue", "--file", "r.jsonl", "--wait", "--out", out).refused(exitUsage, "--out|is the file of the requests")
	}
	s.run("enqueue", "--file", "symlink", "--wait", "--out", "hardlink").refused(exitUsage, "is the file of the requests")
	ctx, cancel := context.WithCancel(background)
	defer cancel()
	for _, c := range []struct{ args, stdout string }{{"--file - --wait --out r.jsonl", ""}, {"--file r.jsonl", "r.jsonl"}} {
		cmd := s.command(ctx, append([]string{"enqueue"}, strings.Fields(c.args)...))
		if c.stdout == "" {
			file, err := os.Open(at("r.jsonl"))
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			cmd.Stdin = file
		} else {
			file, err := os.OpenFile(at(c.stdout), os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			cmd.Stdout = file
		}
		if _ = cmd.Run(); cmd.ProcessState.ExitCode() != exitUsage {
			t.Errorf("%s: exit %d, want 2", c.args, cmd.ProcessState.ExitCode())
		}
	}
	if s.read("r.jsonl") != chatLine("1")+"\n" || accepted(t, server) != 0 {
		t.Errorf("the requests: %q, %d accepted", s.read("r.jsonl"), accepted(t, server))
	}
}

// TestOut_ResultsTakeTheFilesPlaceAtTheEnd: until then what was there stays, and with
// it its mode and the link that leads to it.
func TestOut_ResultsTakeTheFilesPlaceAtTheEnd(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server)
	s.file("old", "what was there\n")
	at := func(name string) string { return filepath.Join(s.dir, name) }
	if err := errors.Join(os.Symlink("old", at("link")), os.Chmod(at("old"), 0o640)); err != nil {
		t.Fatal(err)
	}
	s.run("enqueue", "x", "--wait", "--timeout", "1ms", "--out", "link").failed(exitTimeout, "gave up")
	if s.read("old") != "what was there\n" {
		t.Errorf("without a result: %q", s.read("old"))
	}
	work(t, server, nil)
	s.run("enqueue", "x", "--wait", "--out", "link").ok()
	link, err := os.Readlink(at("link"))
	info, statErr := os.Stat(at("old"))
	if err != nil || link != "old" || statErr != nil || info.Mode().Perm() != 0o640 || !strings.Contains(s.read("old"), `"outcome":"succeeded"`) {
		t.Errorf("link to %q (%v), %v, %q", link, err, info, s.read("old"))
	}
	if left, _ := filepath.Glob(at("*.part")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	s.run("enqueue", "x", "--wait", "--out", "/dev/full").failed(exitFailed, "enqueue: accepted: 0-", "enqueue: write to /dev/full: no space left on device")
	s.run("enqueue", "x", "--wait", "--out", ".").refused(exitUsage, "--out: . is a directory")
}
