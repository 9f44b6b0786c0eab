package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
)

// TestEnqueueFile_ThousandAnswersThoughAWorkerIsKilled: the command waits for
// 1,000 requests of a file while one of two workers dies.
func TestEnqueueFile_ThousandAnswersThoughAWorkerIsKilled(t *testing.T) {
	const n = 1000
	f := newFleet(t, time.Second)
	victim := f.start(crew{slots: 64, latency: 250 * time.Millisecond})
	f.start(crew{slots: 64, latency: 250 * time.Millisecond})
	dir := t.TempDir()
	in, out := filepath.Join(dir, "requests.jsonl"), filepath.Join(dir, "answers.jsonl")
	var file bytes.Buffer
	for i := range n {
		file.Write(chatBody(question(i)))
		file.WriteByte('\n')
	}
	if err := os.WriteFile(in, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	command := launch(t, "enqueue", binary(t, "enqueue"), []string{"--redis", f.redis.URL(), "--file", in, "--wait", "--out", out, "--timeout", "60s"}, nil, nil)
	until(t, patience, "300 results", func() bool { n, _ := f.rdb.HGet(t.Context(), "{lm:0}:stats", "succeeded").Int(); return n >= 300 })
	f.adopt()
	victim.kill()
	if code := command.exit(patience); code != 0 {
		t.Errorf("enqueue ended with %d: %s", code, command.log.tail(5))
	}
	f.checkAnswers(out, n)
	f.awaitAll()
	f.check()
	held := len(f.died()[0].held)
	t.Logf("killed with %d in flight: %s", held, strings.TrimSpace(command.log.tail(1)))
	if held == 0 {
		t.Error("the killed worker held nothing: void")
	}
}

// checkAnswers: one line per request, with an ID of its own and the answer to its
// own question.
func (f *fleet) checkAnswers(path string, n int) {
	f.Helper()
	file, err := os.Open(path)
	if err != nil {
		f.Fatal(err)
	}
	defer file.Close()
	ids, lines := make(map[lm.TraceID]bool), make(map[int]bool)
	scan := bufio.NewScanner(file)
	for scan.Scan() {
		var a struct {
			Line    int
			ID      lm.TraceID
			Outcome lm.Outcome
			Text    string
		}
		if err := json.Unmarshal(scan.Bytes(), &a); err != nil {
			f.Fatalf("%s: %v", scan.Text(), err)
		}
		if a.Outcome != lm.Succeeded || ids[a.ID] || lines[a.Line] || !strings.Contains(a.Text, question(a.Line-1)) {
			f.Errorf("answer %s", scan.Text())
		}
		ids[a.ID], lines[a.Line] = true, true
	}
	if len(ids) != n || len(lines) != n || scan.Err() != nil {
		f.Errorf("%d IDs and %d lines, want %d (%v)", len(ids), len(lines), n, scan.Err())
	}
}

// adopt takes what somebody else has enqueued for our own: plain chats.
func (f *fleet) adopt() {
	f.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, k := range f.keys() {
		name, ok := strings.CutPrefix(k, "{lm:0}:trace:")
		if id := lm.TraceID(name); ok && f.asked[id].outcome == "" {
			f.asked[id] = ask{request: lm.Request{Model: "sim"}, outcome: lm.Succeeded, told: "Why do rivers bend?"}
			f.order = append(f.order, id)
		}
	}
}
