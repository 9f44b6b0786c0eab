package cli

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/pipeline"
	"github.com/lighterman/lighterman/worker"
)

// speaker is a handler that says a word whenever its test lets it, and answers
// with what it has said.
func speaker(words <-chan string) pipeline.Func {
	return func(ctx context.Context, op *pipeline.Op) (any, error) {
		var all strings.Builder
		for {
			select {
			case w, more := <-words:
				if !more {
					return all.String(), nil
				}
				kind := lm.FrameToken
				if strings.HasPrefix(w, "%") {
					kind = lm.FrameProgress
				} else {
					all.WriteString(w)
				}
				if err := op.Emit(ctx, kind, w); err != nil {
					return nil, err
				}
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}
	}
}

func TestFollow_TextAsItComesAndTheAnswerOnce(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	words := make(chan string)
	work(t, server, func(w *worker.Worker) { w.Handle("speak", speaker(words)) })
	s := on(t, server)
	p := s.start("enqueue", question, "--kind", "speak", "--follow")
	for i, w := range []string{"Faster ", "water ", "%half", "cuts."} {
		words <- w
		until(t, "the word is printed", func() bool { return strings.HasSuffix(p.out.String(), w) || i == 2 })
	}
	close(words)
	if out := p.wait().ok(); out != "Faster water cuts.\n" {
		t.Errorf("printed %q", out)
	}

	// Once more when all is over, by whoever asks, from any frame on.
	if out := s.run("lighterman", "follow", "last").ok(); out != "Faster water cuts.\n" {
		t.Errorf("follow last: %q", out)
	}
	lines := s.run("lighterman", "follow", "last", "-o", "jsonl").lines()
	var types []string
	var frames []lm.Frame
	for _, l := range lines {
		f := decode[lm.Frame](t, l)
		frames, types = append(frames, f), append(types, string(f.Type))
	}
	if !slices.Equal(types, []string{"token", "token", "progress", "token", "final"}) || frames[4].Result.Text() != "Faster water cuts." || frames[0].Epoch == 0 {
		t.Fatalf("jsonl: %q", lines)
	}
	if rest := s.run("lighterman", "follow", "last", "-o", "jsonl", "--after", frames[2].ID).lines(); !slices.Equal(rest, lines[3:]) {
		t.Errorf("--after: %q", rest)
	}
	if out := s.run("enqueue", question, "--kind", "speak", "--follow", "--timeout", "1m").ok(); out != "\n" {
		t.Errorf("an empty answer: %q", out)
	}
}

// TestFollow_AFileHoldsTheAnswerAlone: what was said before and is not the answer's is
// taken back, behind what others have written; in a pipe a new line and a word on
// standard error tell it.
func TestFollow_AFileHoldsTheAnswerAlone(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	work(t, server, func(w *worker.Worker) {
		w.Handle("turn", func(ctx context.Context, op *pipeline.Op) (any, error) {
			return "cuts the bank", op.Emit(ctx, lm.FrameToken, "cuts the rope, and more")
		})
	})
	s := on(t, server)
	const word = "the text so far is not the answer's"
	for _, how := range []int{os.O_TRUNC, os.O_APPEND} {
		path := filepath.Join(s.dir, s.file("answer.txt", "before\n"))
		file, err := os.OpenFile(path, os.O_WRONLY|how, 0)
		if err != nil {
			t.Fatal(err)
		}
		var said bytes.Buffer
		cmd := s.command(background, []string{"enqueue", question, "--kind", "turn", "--follow"})
		cmd.Stdout, cmd.Stderr = file, &said
		if err := errors.Join(cmd.Run(), file.Close()); err != nil {
			t.Fatal(err)
		}
		want := "cuts the bank\n"
		if how == os.O_APPEND {
			want = "before\n" + want
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != want || strings.Contains(said.String(), word) {
			t.Errorf("the file has %q, want %q; %v, stderr %q", got, want, err, said.String())
		}
	}
	r := s.run("enqueue", question, "--kind", "turn", "--follow")
	if r.code != 0 || r.out != "cuts the rope, and more\ncuts the bank\n" || !strings.Contains(r.err, word) {
		t.Errorf("exit %d: a pipe got %q, stderr %q", r.code, r.out, r.err)
	}
}

// TestEraser_LeavesWhatOthersWroteAlone: a file that somebody else has written to keeps
// all of it.
func TestEraser_LeavesWhatOthersWroteAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	tr := &transcript{out: file, eraser: newEraser(file)}
	for _, f := range []lm.Frame{token(1, 1, "ab"), reset(""), token(2, 1, "ax"), reset("")} {
		if err := tr.take(f); err != nil {
			t.Fatal(err)
		}
	}
	if got, _ := os.ReadFile(path); string(got) != "ax" {
		t.Errorf("after a reset: %q", got)
	}
	if _, err := file.WriteString("other"); err != nil {
		t.Fatal(err)
	}
	if err := tr.take(token(3, 1, "b")); err != nil {
		t.Fatal(err)
	}
	if got, _ := os.ReadFile(path); string(got) != "axother\nb" {
		t.Errorf("%q", got)
	}
}

func TestFollow_OfAModelThatDoesNotStream(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	work(t, server, nil)
	s := on(t, server)
	want := s.run("enqueue", question, "--wait").ok()
	if out := s.run("enqueue", question, "--follow").ok(); out != want {
		t.Errorf("--follow prints %q, --wait %q", out, want)
	}
	s.run("enqueue", question, "--model", "sim-embed", "--follow").refused(exitFailed, "enqueue: failed: invalid_request: |lighterman show 0-")
	s.run("lighterman", "follow", "last").refused(exitFailed, "follow: failed: invalid_request: |lighterman show 0-")
}

func TestFollow_GivesUpAndRefuses(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server)
	s.run("enqueue", question, "--follow", "--timeout", "200ms").failed(exitTimeout, "gave up after 200ms with 0 of 1 done; the work goes on")
	if n := accepted(t, server); n != 1 {
		t.Errorf("%d operations, want the one that goes on", n)
	}
	id := strings.TrimSpace(s.run("enqueue", question).ok())
	p := s.start("lighterman", "follow", id)
	until(t, "it is followed", func() bool { return server.Client().HExists(background, "{lm:0}:trace:"+id, "followed").Val() })
	p.signal(syscall.SIGINT)
	p.wait().refused(exitInterrupted, "follow: interrupted")

	s.run("lighterman", "follow", "0-none").refused(exitFailed, "follow: 0-none: no such operation")
	s.run("lighterman", "follow", "none").refused(exitUsage, `trace ID "none"`)
	s.run("lighterman", "follow").refused(exitUsage, "want one ID, or last")
	s.run("lighterman", "follow", id, "-o", "id").refused(exitUsage, `--output "id": want text, jsonl`)
	s.run("lighterman", "follow", id, "--after", "$").refused(exitFailed, `after "$": want the ID of a frame`)
	s.run("enqueue", question, "--follow", "--count", "2").refused(exitUsage, "--follow is for one prompt")
	s.run("enqueue", "--file", "f", "--follow").refused(exitUsage, "--follow is for one prompt")
	s.run("enqueue", question, "--follow", "--out", "f").refused(exitUsage, "--out needs --wait without --follow")
	s.run("enqueue", question, "--follow", "-o", "table").refused(exitUsage, `with --follow: --output "table": want text, jsonl`)
}

// TestFollow_OnATerminal: states and progress beside the text.
func TestFollow_OnATerminal(t *testing.T) {
	t.Parallel()
	script := terminal(t)
	server := redistest.Start(t)
	words := make(chan string)
	work(t, server, func(w *worker.Worker) { w.Handle("speak", speaker(words)) })
	s := on(t, server, "NO_COLOR=1")
	inner := s.command(background, []string{"enqueue", question})
	cmd := exec.CommandContext(background, script, "-qec", inner.Path+" river --kind speak --follow", "/dev/null")
	cmd.Env, cmd.Dir = inner.Env, inner.Dir
	var out watched
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, "its state is told", func() bool { return strings.Contains(out.String(), "CLAIMED inproc-") })
	words <- "Faster"
	until(t, "the text is there", func() bool { return strings.Contains(out.String(), "Faster") })
	words <- "%half"
	close(words)
	if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), "Faster  -- %half --  ") {
		t.Errorf("%v: %q", err, out.String())
	}
}

func token(epoch lm.Epoch, seq uint64, data string) lm.Frame {
	return lm.Frame{Epoch: epoch, Seq: seq, Type: lm.FrameToken, Data: data}
}

func reset(data string) lm.Frame { return lm.Frame{Type: lm.FrameReset, Data: data} }

func TestTranscript_NothingTwiceAndNothingLost(t *testing.T) {
	for name, tt := range map[string]struct {
		frames []lm.Frame
		answer string
		failed bool
		want   string
	}{
		"whole":                        {[]lm.Frame{token(1, 1, "a"), token(1, 2, "b")}, "ab", false, "ab\n"},
		"no frames":                    {nil, "ab", false, "ab\n"},
		"joined late":                  {[]lm.Frame{token(1, 2, "b")}, "ab", false, "b\nab\n"},
		"left early":                   {[]lm.Frame{token(1, 1, "a")}, "ab", false, "ab\n"},
		"more than the answer":         {[]lm.Frame{token(1, 1, "abc")}, "ab", false, "abc\nab\n"},
		"another answer":               {[]lm.Frame{token(1, 1, "xy")}, "ab", false, "xy\nab\n"},
		"said again after a reset":     {[]lm.Frame{token(1, 1, "a"), token(1, 2, "b"), reset(""), token(2, 1, "a"), token(2, 2, "bc")}, "abc", false, "abc\n"},
		"reset and another way":        {[]lm.Frame{token(1, 1, "ab"), reset(""), token(2, 1, "a"), token(2, 2, "x")}, "ax", false, "ab\nax\n"},
		"reset to a frame":             {[]lm.Frame{token(1, 1, "a"), token(1, 2, "b"), reset("1 1"), token(2, 1, "bc")}, "abc", false, "abc\n"},
		"reset to a frame of before":   {[]lm.Frame{token(1, 3, "a"), token(2, 1, "b"), token(2, 2, "c"), reset("2 1"), token(3, 1, "cd")}, "abcd", false, "abcd\n"},
		"reset and the result at once": {[]lm.Frame{token(1, 1, "ab"), reset("")}, "ab", false, "ab\n"},
		"failed after text":            {[]lm.Frame{token(1, 1, "ab")}, "", true, "ab\n"},
		"failed":                       {nil, "", true, ""},
		"progress is no text":          {[]lm.Frame{{Type: lm.FrameProgress, Data: "x"}, token(1, 2, "a")}, "a", false, "a\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			tr := &transcript{out: &out}
			for _, f := range tt.frames {
				if err := tr.take(f); err != nil {
					t.Fatal(err)
				}
			}
			r := lm.Result{Outcome: lm.Succeeded, Body: []byte(`"` + tt.answer + `"`)}
			if tt.failed {
				r = lm.Result{Outcome: lm.Failed}
			}
			if err := tr.end(r); err != nil || out.String() != tt.want {
				t.Errorf("%q %v, want %q", out.String(), err, tt.want)
			}
		})
	}
}

func TestJourney_TellsOfTakeovers(t *testing.T) {
	at := time.UnixMilli(1000)
	hop := func(ms int, worker, reason string, path ...lm.State) lm.Hop {
		return lm.Hop{Path: path, At: at.Add(time.Duration(ms) * time.Millisecond), Epoch: lm.Epoch(ms), Worker: worker, Reason: reason}
	}
	trace := lm.Trace{History: []lm.Hop{
		hop(0, "", "", lm.Received, lm.Queued), hop(1, "w-2-abcdefgh", "", lm.Claimed), hop(2, "", "lease", lm.Reclaimed), hop(3, "w1-abcdefgh", "", lm.Claimed),
	}}
	j := &journey{seen: make(map[string]bool)}
	got := strings.Join(j.news(trace, false), "|")
	if got != "w-2 died; w1 continues (claim 2)" {
		t.Errorf("%q", got)
	}
	trace.History = append(trace.History, hop(4, "", "drain", lm.Inferring, lm.Reclaimed), hop(5, "w3-x", "", lm.Claimed),
		hop(6, "", "provider", lm.Errored, lm.Retrying), hop(7, "", "", lm.Queued), hop(8, "w3-x", "", lm.Claimed))
	got = strings.Join(j.news(trace, true), "|")
	want := "INFERRING, RECLAIMED (drain)|w1 hands over; w3 continues (claim 3)|ERRORED, RETRYING (provider)|QUEUED|it is tried again (provider); w3 continues (claim 4)"
	if got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if again := j.news(trace, true); len(again) != 0 {
		t.Errorf("told twice: %q", again)
	}
}
