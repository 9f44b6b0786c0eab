package sim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/lighterman/lighterman"
)

// The events of a call. A start without an end or error is a call whose
// process died.
const (
	EventStart = "start"
	EventEnd   = "end"
	EventError = "error"
)

// LogEntry is one line of a call log. It never holds a prompt or an answer.
type LogEntry struct {
	TS      int64              `json:"ts_ns"` // Unix time
	Event   string             `json:"event"`
	Trace   lighterman.TraceID `json:"trace_id"`
	Key     string             `json:"key"`
	Model   string             `json:"model"` // "tool:NAME" for a tool call
	Attempt int                `json:"attempt"`
	Worker  string             `json:"worker"`
	PID     int                `json:"pid"`
	Usage   *Used              `json:"usage,omitempty"` // of a model's answer
}

// Used is what an answer was charged for, in tokens: what a vendor's bill says.
type Used struct {
	Input  int64 `json:"input"`
	Cached int64 `json:"cached,omitempty"`
	Output int64 `json:"output"`
}

// Log appends calls to a JSONL file that many processes may share: each line is
// one write to a file opened for appending, so lines never mix, and a line that
// was written stays when the process is killed. A nil Log records nothing. All
// methods may be called concurrently.
type Log struct {
	file   *os.File
	worker string
	pid    int

	mu  sync.Mutex
	err error // the first that Tool met
}

// OpenLog opens or creates a call log; worker names this process in its lines.
func OpenLog(path, worker string) (*Log, error) {
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open call log: %w", err)
	}
	return &Log{file: file, worker: worker, pid: os.Getpid()}, nil
}

// Append writes one line; time, worker and process are filled in.
func (l *Log) Append(event string, e LogEntry) error {
	if l == nil {
		return nil
	}
	e.TS, e.Event, e.Worker, e.PID = time.Now().UnixNano(), event, l.worker, l.pid
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("write call log: %w", err)
	}
	if _, err := l.file.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("write call log: %w", err)
	}
	return nil
}

// Tool records an event of a tool call; it is the hook that tool.Lookup takes.
// Its first error is returned by Close.
func (l *Log) Tool(event string, call lighterman.ToolCall) {
	err := l.Append(event, LogEntry{Trace: call.Trace, Key: call.Key, Model: "tool:" + call.Name})
	if err == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
	}
}

// Close closes the file and returns the first error that Tool met with it.
func (l *Log) Close() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.err, l.file.Close())
}

// ReadLog reads a call log, whose last line may be in the middle of being
// written and is left out then. The error names the line that is wrong.
func ReadLog(path string) ([]LogEntry, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read call log: %w", err)
	}
	var entries []LogEntry
	for line := range bytes.Lines(b) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break
		}
		var e LogEntry
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("read call log: %s:%d: %w", path, len(entries)+1, err)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// Repeats counts the starts beyond the first of each key: calls that were made
// again, because a process died in the middle, a claim was taken over, or the
// call had failed.
func Repeats(entries []LogEntry) int {
	repeats := 0
	for _, n := range Starts(entries) {
		repeats += n - 1
	}
	return repeats
}

// Starts counts the starts of each key.
func Starts(entries []LogEntry) map[string]int {
	starts := map[string]int{}
	for _, e := range entries {
		if e.Event == EventStart {
			starts[e.Key]++
		}
	}
	return starts
}
