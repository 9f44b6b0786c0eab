package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
)

// chatLine is a line of a JSONL file; batched wraps one for OpenAI's batch API.
func chatLine(text string) string {
	return fmt.Sprintf(`{"messages":[{"role":"user","content":%q}]}`, text)
}

func batched(id, body string) string {
	return fmt.Sprintf(`{"custom_id":%q,"method":"POST","url":"/v1/chat/completions","body":%s}`, id, body)
}

const badLines = `{"messages":[{"role":"user","content":"1"}]}
nope

{"messages":[]}
{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{"messages":[{"role":"user","content":"2"}]}}
{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{"messages":[{"role":"user","content":"3"}]}}
[1]
{"messages":[{"role":"user","content":"4"}],"model":"sim-slwo"}
{"custom_id":"b","method":"GET","url":"/v1/chat/completions","body":{}}
{"custom_id":"c","method":"POST","url":"/v1/images","body":{}}
{"custom_id":"d","method":"POST","url":"/v1/chat/completions"}
{"custom_id":"","method":"POST","url":"/v1/chat/completions","body":{}}
{"custom_id":7}
{"messages":[{"role":"user","content":"secret-prompt"}]
{"messages":7}
`

// whatIsBad is what is said of badLines, and of what bound else.
var whatIsBad = []string{
	"enqueue: F:2: want a JSON object: byte 2: invalid character",
	`enqueue: F:4: body: "messages" is missing or empty`,
	`enqueue: F:6: custom_id "a": used on line 5 already`,
	"enqueue: F:7: want a JSON object: got an array",
	`enqueue: F:8: unknown model "sim-slwo"; did you mean sim-slow?`,
	`enqueue: F:9: method "GET": want POST`,
	`enqueue: F:10: url "/v1/images": want /v1/chat/completions, `,
	"enqueue: F:11: body: missing",
	"enqueue: F:12: custom_id: want 1 to 128 characters",
	"enqueue: F:13: batch line: custom_id: got a number",
	"enqueue: F:14: want a JSON object: byte 56: unexpected end",
	"enqueue: F:15: body: want a JSON object for kind chat",
}

func said(of string, lines []string, more ...string) []string {
	all := append(slices.Clone(lines), more...)
	for i := range all {
		all[i] = strings.ReplaceAll(all[i], "F:", of+":")
	}
	return all
}

func TestFile_BadLinesAreAllReportedInOrderAndNothingIsEnqueued(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server)
	s.file("f.jsonl", badLines)
	want := said("f.jsonl", whatIsBad, "enqueue: 12 of 14 lines are bad; nothing was enqueued (--skip-bad leaves them out)")
	r := s.run("enqueue", "--file", "f.jsonl")
	r.refused(exitUsage, want...)
	if strings.Contains(r.err, "secret-prompt") {
		t.Errorf("a prompt is quoted:\n%s", r.err)
	}
	s.run("enqueue", "-f", "f.jsonl", "--wait", "--out", "out.jsonl").refused(exitUsage, want...)
	if _, err := os.Stat(filepath.Join(s.dir, "out.jsonl")); err == nil {
		t.Error("--out was written for nothing")
	}
	s.fed(badLines).run("enqueue", "-").refused(exitUsage, said("stdin", whatIsBad, "12 of 14 lines are bad")...)
	if n := accepted(t, server); n != 0 {
		t.Errorf("%d operations were enqueued", n)
	}
}

func TestFile_SkipBadLeavesThemOut(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server)
	s.file("f.jsonl", badLines)
	r := s.run("enqueue", "--file", "f.jsonl", "--skip-bad", "--output", "jsonl")
	r.failed(0, said("f.jsonl", whatIsBad)...)
	if n := strings.Count(r.err, " (left out)\n"); n != len(whatIsBad) {
		t.Errorf("%d lines say that they were left out:\n%s", n, r.err)
	}
	type line struct {
		ID       string `json:"id"`
		Line     int    `json:"line"`
		CustomID string `json:"custom_id"`
	}
	var lines []line
	for text := range strings.Lines(r.out) {
		lines = append(lines, decode[line](t, text))
	}
	if len(lines) != 2 || lines[0].Line != 1 || lines[1].Line != 5 || lines[1].CustomID != "a" || lines[0].ID == lines[1].ID {
		t.Errorf("enqueued %+v, want lines 1 and 5", lines)
	}
	if n := accepted(t, server); n != 2 {
		t.Errorf("%d operations, want 2", n)
	}
	s.fed("nope\n").run("enqueue", "-", "--skip-bad").refused(exitUsage, "stdin:1: want a JSON object", "no line is good; nothing was enqueued")
}

func TestFile_EnqueuesNothingTwice(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server)
	lines := []string{chatLine("1"), chatLine("2"), chatLine("1"), batched("a", chatLine("1")), batched("b", chatLine("1"))}
	push := func(content string, args ...string) []string {
		t.Helper()
		r := s.fed(content).run(append([]string{"enqueue", "-"}, args...)...)
		if r.code != 0 {
			t.Errorf("exit %d: %s", r.code, r.err)
		}
		return strings.Split(strings.TrimSuffix(r.out, "\n"), "\n")
	}
	first := push(strings.Join(lines, "\n") + "\n")
	if slices.Sort(first); len(slices.Compact(slices.Clone(first))) != 5 {
		t.Fatalf("IDs %v, want five: the same line twice is two operations", first)
	}
	for name, again := range map[string]string{
		"the same":             strings.Join(lines, "\n") + "\n",
		"without the last \\n": strings.Join(lines, "\n"),
		"with CRLF":            strings.Join(lines, "\r\n") + "\r\n",
		"with a BOM":           "\ufeff" + strings.Join(lines, "\n"),
		"with blank lines":     "\n" + strings.Join(lines, "\n \n\t\n"),
	} {
		if ids := push(again); !slices.Equal(sorted(ids), first) {
			t.Errorf("%s: IDs %v, want %v", name, ids, first)
		}
	}
	if ids := push(strings.Join(lines, "\n"), "--in", "1h"); !slices.Equal(sorted(ids), first) {
		t.Errorf("with --in: IDs %v", ids)
	}
	if n := accepted(t, server); n != 5 {
		t.Errorf("%d operations, want 5", n)
	}
	// Another tenant asks for its own, and a changed line is another request.
	if ids := push(lines[0], "--tenant", "other"); slices.Contains(first, ids[0]) {
		t.Errorf("another tenant was given %s", ids[0])
	}
	if ids := push(batched("a", chatLine("changed"))); slices.Contains(first, ids[0]) {
		t.Errorf("a changed line was given %s", ids[0])
	}
}

func sorted(ids []string) []string { slices.Sort(ids); return ids }

func TestFile_HugeAndEmptyOnes(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server)
	over := chatLine(strings.Repeat("x", lm.MaxRequest)) // a line longer than what is kept
	just := chatLine(strings.Repeat("x", lm.MaxRequest-len(chatLine(""))))
	s.file("huge.jsonl", strings.Join([]string{over, chatLine("ok"), just + " ", just[:len(just)-4] + `x"}]}`, strings.Repeat(" ", lm.MaxRequest+2000) + "x"}, "\n"))
	s.run("enqueue", "--file", "huge.jsonl").refused(exitUsage,
		"huge.jsonl:1: |over the bound of 4194304", "huge.jsonl:4: body: request of 4194305 bytes is over the bound of 4194304",
		"huge.jsonl:5: line over the bound of 4194304 bytes", "3 of 5 lines are bad")
	if ids := strings.Fields(s.run("enqueue", "--file", "huge.jsonl", "--skip-bad").out); len(ids) != 2 {
		t.Errorf("IDs %v, want those of lines 2 and 3", ids)
	}
	for name, content := range map[string]string{"empty": "", "blank": "\n \r\n\n", "bom": "\ufeff"} {
		s.file(name, content)
		s.run("enqueue", "--file", name).refused(exitUsage, name+": no requests in it")
	}
	s.run("enqueue", "-").refused(exitUsage, "stdin: no requests in it")
}

func TestFile_SeveralProblemsOfOneLineStayOnOne(t *testing.T) {
	t.Parallel()
	s := on(t, redistest.Start(t))
	s.fed(chatLine("1")).run("enqueue", "-", "--queue", "a b", "--kind", "c d").
		refused(exitUsage, `stdin:1: kind: name "c d"|; queue: name "a b"`, "1 of 1 lines are bad")
}

// TestFile_WhatIsNoUTF8IsRefused with the place of the first byte that is none.
func TestFile_WhatIsNoUTF8IsRefused(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server)
	latin1 := strings.Replace(chatLine("caf? au lait"), "?", "\xe9", 1)
	s.file("latin1", chatLine("é")+"\n"+latin1+"\n"+batched("a", latin1)+"\n")
	s.run("enqueue", "--file", "latin1").refused(exitUsage, "latin1:2: column 43 (byte 43): 0xe9 is no UTF-8; is it Latin-1?", "latin1:3: column |0xe9 is no UTF-8", "2 of 3 lines are bad")
	for name, order := range map[string][2]int{"little": {0, 1}, "big": {1, 0}} {
		for _, mark := range []string{"", "\ufeff"} {
			var b strings.Builder
			for _, r := range mark + chatLine("1") + "\n" {
				pair := [2]byte{byte(r), byte(r >> 8)}
				b.WriteByte(pair[order[0]])
				b.WriteByte(pair[order[1]])
			}
			s.file(name, b.String())
			s.run("enqueue", "--file", name).refused(exitUsage, name+": UTF-16; want UTF-8")
		}
	}
	s.run("enqueue", "caf\xe9").refused(exitUsage, "the prompt: column 4 (byte 4): 0xe9 is no UTF-8")
	if n := accepted(t, server); n != 0 {
		t.Errorf("%d operations were enqueued", n)
	}
}

// TestFile_CustomIDCountsCharacters, not bytes.
func TestFile_CustomIDCountsCharacters(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server)
	long := strings.Repeat("日", 128)
	s.fed(batched(long, chatLine("1"))+"\n"+batched(long[3:]+"本", chatLine("1"))+"\n").run("enqueue", "-").ok()
	if n := accepted(t, server); n != 2 {
		t.Errorf("%d operations, want 2", n)
	}
	s.fed(batched(long+"日", chatLine("1"))+"\n").run("enqueue", "-").refused(exitUsage, "custom_id: want 1 to 128 characters", "1 of 1")
}
