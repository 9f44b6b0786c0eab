package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/lighterman/lighterman/internal/redistest"
)

// shown runs a lighterman command on a terminal of so many columns.
func (s *shell) shown(columns int, command string) string {
	s.t.Helper()
	script, ok := s.t.(*testing.T)
	if !ok {
		s.t.Fatal("want a test")
	}
	inner := s.command(background, []string{"lighterman"})
	ctx, cancel := context.WithTimeout(background, 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, terminal(script), "-qec", fmt.Sprintf("stty cols %d && %s %s", columns, inner.Path, command), "/dev/null")
	cmd.Env, cmd.Dir = inner.Env, inner.Dir
	out, _ := cmd.CombinedOutput() // the exit code is not what is looked at
	return strings.ReplaceAll(string(out), "\r\n", "\n")
}

// toFile runs a command whose standard output is a file, as > does.
func (s *shell) toFile(name string, args ...string) ran {
	s.t.Helper()
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer file.Close()
	ctx, cancel := context.WithTimeout(background, 60*time.Second)
	defer cancel()
	cmd := s.command(ctx, args)
	var errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = file, &errs
	_ = cmd.Run() // the code tells
	return ran{t: s.t, args: strings.Join(args, " "), err: errs.String(), code: cmd.ProcessState.ExitCode()}
}

var codes = regexp.MustCompile(`\x1b\[[0-9;]*[A-Za-z]`)

func TestTables_FitATerminalOf80Columns(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server, "TERM=xterm")
	work(t, server, nil)
	s.run("enqueue", "Why do rivers bend, and what of those that do not?", "--queue", "interactive", "--wait").ok()
	bad := strings.TrimSpace(s.run("enqueue", "x", "--model", "sim-embed", "--wait", "-o", "id").out)
	s.run("enqueue", "x", "--queue", "a-queue-with-a-rather-long-name-of-its-own")
	for command, keeps := range map[string][]string{
		"ls":                  {bad, "COMPLETED", "failed", "MODEL", "AGE"},
		"models":              {"sim-limited", "STATUS", "active", "COST"},
		"workers":             {"inproc", "STATE", "ready", "0/64", "SEEN"},
		"dead ls":             {bad, "invalid_request", "ERROR", "HTTP 400"},
		"doctor":              {"LM001", "reachable", "SEVERITY"},
		"status":              {"interactive", "WAITING", "LAST SEEN"},
		"config env":          {"LIGHTERMAN_REDIS_URL", "DEFAULT"},
		"pools":               nil,
		"cache ls":            {"BACKEND"},
		"pools explain sim":   nil,
		"workers --ops":       {"inproc"},
		"models --observed":   nil,
		"dead ls -n 1":        {bad},
		"ls --state QUEUED":   {"QUEUED"},
		"lock":                nil,
		"reconcile --dry-run": nil,
	} {
		out := s.shown(80, command)
		if !containsAll(out, keeps) {
			t.Errorf("%s lacks one of %q:\n%s", command, keeps, out)
		}
		for line := range strings.Lines(codes.ReplaceAllString(out, "")) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 && keeps != nil {
				t.Errorf("%s: %d columns: %s", command, n, line)
			}
		}
	}
	// Elsewhere nothing is shortened, whatever COLUMNS says.
	if out := s.with("COLUMNS=40").run("lighterman", "ls").ok(); !strings.Contains(out, "a-queue-with-a-rather-long-name-of-its-own") {
		t.Errorf("ls into a pipe: %s", out)
	}
	if out := s.shown(300, "ls"); !strings.Contains(out, "a-queue-with-a-rather-long-name-of-its-own") {
		t.Errorf("ls on a wide terminal: %s", out)
	}
}

func TestTable_ShortensTheLeastImportantColumnsFirst(t *testing.T) {
	t.Parallel()
	draw := func(width int, adjust func(*table)) string {
		var b bytes.Buffer
		tab := newTable(&b, "ID", "WHO", "EMPTY", "COUNT", "NOTE")
		tab.width = width
		adjust(tab)
		tab.row("0-abc", "worker-of-the-north", "-", 1234, "a note\nof two lines")
		tab.row("0-d", "日本日本日本日本", "", 5, "\x1b[31m")
		if err := tab.flush(); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	least := func(tab *table) { tab.least("NOTE", "WHO", "EMPTY", "COUNT") }
	for _, c := range []struct {
		width  int
		adjust func(*table)
		want   string
	}{
		{0, least, "ID     WHO                  EMPTY  COUNT  NOTE\n" +
			"0-abc  worker-of-the-north  -      1234   a note of two lines\n" +
			"0-d    日本日本日本日本            5      \x1b[31m\n"},
		{53, least, "ID     WHO                  COUNT  NOTE\n" +
			"0-abc  worker-of-the-north  1234   a note of two lin…\n" +
			"0-d    日本日本日本日本     5      ␛[31m\n"},
		{40, least, "ID     WHO             COUNT  NOTE\n" +
			"0-abc  worker-of-the…  1234   a note of…\n" +
			"0-d    日本日本日本…   5      ␛[31m\n"},
		{30, least, "ID     WHO               COUNT\n" +
			"0-abc  worker-of-the-n…  1234\n" +
			"0-d    日本日本日本日本  5\n"},
		{9, least, "ID\n0-abc\n0-d\n"},
		{4, least, "ID\n0-a…\n0-d\n"},
	} {
		if got := draw(c.width, c.adjust); got != c.want {
			t.Errorf("width %d:\n%s\nwant\n%s", c.width, got, c.want)
		}
	}
	var b bytes.Buffer
	tab := newTable(&b, "CODE", "WHAT").fold()
	tab.width = 20
	tab.row("LM1", "one two three four five")
	if err := tab.flush(); err != nil || b.String() != "CODE  WHAT\nLM1   one two three\n      four five\n" {
		t.Errorf("folded: %v\n%s", err, b.String())
	}
}

// TestScreen_ControlSequencesOfOthersAreShown: an answer and an error that hold
// them, on a terminal and in a pipe.
func TestScreen_ControlSequencesOfOthersAreShown(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server, "TERM=xterm")
	work(t, server, nil)
	const evil = "a\x1b]0;title\x07b\u009b31mc\rd\x7fe"
	s.file("evil", evil)
	out := s.shown(200, `enqueue "$(cat evil)" --wait`)
	if !strings.Contains(out, "a␛]0;title␇b\\u009b31mc␍d␡e") || strings.ContainsAny(out, "\x1b\x07\u009b\x7f\r") {
		t.Errorf("answer on a terminal: %q", out)
	}
	if out = s.shown(200, `enqueue "$(cat evil)" --follow`); strings.ContainsAny(codes.ReplaceAllString(out, ""), "\x1b\x07\u009b\x7f\r") {
		t.Errorf("followed on a terminal: %q", out)
	}
	for _, command := range []string{`enqueue x --model "$(cat evil)"`, `show "$(cat evil)"`, `ls --state "$(cat evil)"`, `drain "$(cat evil)"`, `show last`} {
		if out = s.shown(200, command); strings.ContainsAny(codes.ReplaceAllString(out, ""), "\x1b\x07\u009b\x7f\r") {
			t.Errorf("%s on a terminal: %q", command, out)
		}
	}
	raw, err := s.command(background, []string{"enqueue", evil, "--wait"}).Output()
	if err != nil || !strings.Contains(string(raw), evil) {
		t.Errorf("in a pipe: %v %q, want the bytes as they are", err, raw)
	}
}

func TestScreen_CharactersThatComeInParts(t *testing.T) {
	t.Parallel()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s := &screen{file: write, terminal: true}
	for _, part := range []string{"\xe2", "\x82", "\xac", "\xff", "ok\xc2", "\x9b", green + "g" + plainText} {
		if n, err := s.Write([]byte(part)); n != len(part) || err != nil {
			t.Errorf("%q: %d, %v", part, n, err)
		}
	}
	_ = write.Close()
	if got, _ := io.ReadAll(read); string(got) != "€"+`\xff`+"ok"+`\u009b`+"\x1b[32mg\x1b[0m" {
		t.Errorf("%q", got)
	}
}

// TestScreen_DumbTerminalGetsNoCodes: no colours, and no line that is drawn over.
func TestScreen_DumbTerminalGetsNoCodes(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server, "TERM=dumb")
	work(t, server, nil)
	s.run("enqueue", "x", "--wait").ok()
	for _, command := range []string{"show last", "doctor", "enqueue x --count 50 --wait --out f", "worker --redis redis://127.0.0.1:1"} {
		if out := s.shown(80, command); strings.ContainsAny(out, "\x1b\r") {
			t.Errorf("%s: %q", command, out)
		}
	}
}

// TestStdout_ThatIsFullIsAnError with exit 1, and the IDs that were accepted are told
// on standard error.
func TestStdout_ThatIsFullIsAnError(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server)
	work(t, server, nil)
	s.run("enqueue", "x", "--wait").ok()
	for _, args := range []string{"lighterman ls", "lighterman ls -o json", "lighterman ls -o id", "lighterman status", "lighterman models -o json", "lighterman config env",
		"lighterman config print", "lighterman config schema", "lighterman --help", "lighterman --version", "lighterman pause q", "lighterman doctor"} {
		r := s.toFile("/dev/full", strings.Fields(args)...)
		if r.code != exitFailed || strings.Count(r.err, "write to stdout: no space left on device") != 1 {
			t.Errorf("%s > /dev/full: exit %d, stderr %q", args, r.code, r.err)
		}
	}
	for _, args := range []string{"", "-o json", "-o jsonl", "-o table", "--wait", "--wait -o jsonl", "--follow"} {
		before := len(idsOf(s))
		r := s.toFile("/dev/full", append([]string{"enqueue", "x"}, strings.Fields(args)...)...)
		ids := idsOf(s)
		if len(ids) != before+1 || r.code != exitFailed || !containsAll(r.err, []string{"write to stdout: no space left on device", "accepted: " + ids[0] + "\n"}) {
			t.Errorf("enqueue %s > /dev/full: exit %d, stderr %q, IDs %q", args, r.code, r.err, ids)
		}
	}
}

// idsOf lists the operations, newest first.
func idsOf(s *shell) []string {
	return strings.Fields(s.run("lighterman", "ls", "-o", "id", "-n", "100").ok())
}
