package sim_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/provider/sim"
)

func TestLog_RecordsEveryCallAndNoPrompt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "calls.jsonl")
	s := sim.New(sim.Options{CallLog: path, Worker: "w1"})
	ask(t, s, chat("sim", rivers))
	c := chat("sim", rivers)
	c.Attempt = 2
	ask(t, s, c)
	if _, err := s.Call(t.Context(), chat("nope", rivers)); err == nil {
		t.Fatal("no error")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	entries, err := sim.ReadLog(path)
	if err != nil {
		t.Fatal(err)
	}
	var events []string
	for _, e := range entries {
		events = append(events, e.Event)
		if e.TS == 0 || e.Trace != "0-a" || e.Key != "0-a/infer" || e.Worker != "w1" || e.PID != os.Getpid() {
			t.Errorf("entry %+v", e)
		}
	}
	if got := strings.Join(events, " "); got != "start end start end start error" {
		t.Errorf("events %s", got)
	}
	if entries[0].Attempt != 1 || entries[2].Attempt != 2 || entries[4].Model != "nope" {
		t.Errorf("entries %+v", entries)
	}
	if got := sim.Repeats(entries); got != 2 {
		t.Errorf("%d repeats, want 2", got)
	}
	if b, _ := os.ReadFile(path); strings.Contains(string(b), "rivers") {
		t.Errorf("the log holds the prompt:\n%s", b)
	}
}

func TestLog_LinesOfManyWritersDoNotMix(t *testing.T) {
	path := filepath.Join(t.TempDir(), "calls.jsonl")
	var wg sync.WaitGroup
	for range 8 {
		log, err := sim.OpenLog(path, strings.Repeat("w", 300))
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			for range 200 {
				log.Tool(sim.EventStart, lighterman.ToolCall{Name: "lookup", Key: "0-a/tool"})
			}
			if err := log.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	entries, err := sim.ReadLog(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := sim.Repeats(entries); len(entries) != 1600 || got != 1599 || entries[0].Model != "tool:lookup" {
		t.Errorf("%d entries, %d repeats, the first %+v", len(entries), got, entries[0])
	}
}

func TestLog_ThatCannotBeWrittenFailsTheCall(t *testing.T) {
	missing := sim.New(sim.Options{CallLog: filepath.Join(t.TempDir(), "no", "calls.jsonl")})
	if _, err := missing.Log(); err == nil {
		t.Error("Log hides that the file cannot be opened")
	}
	if _, err := missing.Call(t.Context(), chat("sim", rivers)); err == nil {
		t.Error("a call was made without its log")
	}
	closed := sim.New(sim.Options{CallLog: filepath.Join(t.TempDir(), "calls.jsonl")})
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := closed.Call(t.Context(), chat("sim", rivers)); err == nil {
		t.Error("a call was made with a closed log")
	}
	log, _ := closed.Log()
	log.Tool(sim.EventStart, lighterman.ToolCall{})
	if err := closed.Close(); err == nil || !strings.Contains(err.Error(), "write call log") {
		t.Errorf("Close hides the lost tool call: %v", err)
	}
}

func TestLog_NoneIsFine(t *testing.T) {
	s := sim.New(sim.Options{})
	log, err := s.Log()
	if log != nil || err != nil {
		t.Fatalf("Log: %v, %v", log, err)
	}
	log.Tool(sim.EventStart, lighterman.ToolCall{})
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestReadLog_LeavesOutALineInTheMakingAndNamesABadOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "calls.jsonl")
	write := func(s string) {
		if err := os.WriteFile(path, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"event":"start","key":"a"}` + "\n" + `{"event":"st`)
	if entries, err := sim.ReadLog(path); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
	write(`{"event":"start","key":"a"}` + "\nnonsense\n")
	if _, err := sim.ReadLog(path); err == nil || !strings.Contains(err.Error(), ":2:") {
		t.Errorf("error %v does not name line 2", err)
	}
	if _, err := sim.ReadLog(path + "x"); err == nil {
		t.Error("a missing file is no error")
	}
}
