package e2e

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// process is one child. It never outlives its test, and a failed test prints the
// end of its log. Its methods may be called concurrently.
type process struct {
	t     testing.TB
	name  string
	cmd   *exec.Cmd
	out   *logLines     // standard output
	log   *logLines     // standard error
	done  chan struct{} // closed when it has ended and onEnd has returned
	ended time.Time     // read after done
}

// launch starts a program. onEnd may be nil; it is called once, with the process
// gone, unless the test is over.
func launch(t testing.TB, name, path string, args, env []string, onEnd func(*process)) *process {
	t.Helper()
	p := &process{t: t, name: name, cmd: exec.Command(path, args...), out: newLogLines(), log: newLogLines(), done: make(chan struct{})}
	p.cmd.Env = append(cleanEnv(), env...)
	p.cmd.Dir = t.TempDir()
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.log
	p.cmd.SysProcAttr = sysProcAttr()
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	over := make(chan struct{})
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // how it ended is in ProcessState
		p.ended = time.Now()
		select {
		case <-over:
		default:
			if onEnd != nil {
				onEnd(p)
			}
		}
	}()
	t.Cleanup(func() {
		close(over)
		p.signal(syscall.SIGKILL)
		<-p.done
		if t.Failed() {
			t.Logf("end of the log of %s (pid %d, %s), %d lines:\n%s", name, p.pid(), p.cmd.ProcessState, p.log.count(""), p.log.tail(40))
		}
	})
	return p
}

// cleanEnv is our environment without what configures a Lighterman, and without a
// look at what this machine offers.
func cleanEnv() []string {
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "LIGHTERMAN_") {
			env = append(env, e)
		}
	}
	return append(env, "LIGHTERMAN_FLEET_DETECT=false")
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) } // one that has ended needs none

// kill ends it with SIGKILL and returns when that was sent; it is gone then.
func (p *process) kill() (sent time.Time) {
	sent = time.Now()
	p.signal(syscall.SIGKILL)
	<-p.done
	return sent
}

// freeze stops it with SIGSTOP and returns when it stands still.
func (p *process) freeze() {
	p.t.Helper()
	p.signal(syscall.SIGSTOP)
	p.awaitFrozen()
}

func (p *process) awaitFrozen() {
	p.t.Helper()
	until(p.t, 10*time.Second, p.name+" to stand still", func() bool { return processState(p.pid()) == "T" })
}

// exit waits for its end and returns the exit code, -1 after a signal.
func (p *process) exit(most time.Duration) int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(most):
		p.t.Fatalf("%s has not ended after %s", p.name, most)
	}
	return p.cmd.ProcessState.ExitCode()
}

// wasKilled reports whether it was ended by SIGKILL; only after done.
func (p *process) wasKilled() bool {
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// worker is a process that is a worker.
type worker struct {
	*process
	owner string // its consumer name
	url   string
}

// awaitReady reads the banner.
func (w *worker) awaitReady() {
	w.t.Helper()
	var banner struct{ Worker, HTTP string }
	line := w.log.await(w.t, w.process, `"worker ready"`)
	if err := json.Unmarshal([]byte(line), &banner); err != nil {
		w.t.Fatalf("banner of %s: %v", w.name, err)
	}
	w.owner, w.url = banner.Worker, banner.HTTP
}

// metric reads the sum of a counter over its labels.
func (w *worker) metric(name string) float64 {
	w.t.Helper()
	response, err := http.Get(w.url + "/metrics")
	if err != nil {
		w.t.Fatalf("metrics of %s: %v", w.name, err)
	}
	defer response.Body.Close()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		w.t.Fatalf("metrics of %s: %v", w.name, err)
	}
	sum := 0.0
	for line := range strings.Lines(string(b)) {
		series, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if series == name || strings.HasPrefix(series, name+"{") {
			n, _ := strconv.ParseFloat(value, 64)
			sum += n
		}
	}
	return sum
}

// logLines keeps what a process writes to standard error.
type logLines struct {
	mu    sync.Mutex
	lines []string
	part  []byte
	more  chan struct{} // closed and renewed when a line comes
}

func newLogLines() *logLines { return &logLines{more: make(chan struct{})} }

// Write satisfies io.Writer.
func (l *logLines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.part = append(l.part, b...)
	for {
		i := bytes.IndexByte(l.part, '\n')
		if i < 0 {
			return len(b), nil
		}
		l.lines = append(l.lines, string(l.part[:i]))
		l.part = l.part[i+1:]
		close(l.more)
		l.more = make(chan struct{})
	}
}

// find returns the first line that holds text.
func (l *logLines) find(text string) (line string, more <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.lines {
		if strings.Contains(s, text) {
			return s, l.more
		}
	}
	return "", l.more
}

// count is how many lines hold text.
func (l *logLines) count(text string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.lines {
		if strings.Contains(s, text) {
			n++
		}
	}
	return n
}

// await waits for a line that holds text.
func (l *logLines) await(t testing.TB, p *process, text string) string {
	t.Helper()
	timeout := time.After(30 * time.Second)
	for {
		line, more := l.find(text)
		if line != "" {
			return line
		}
		select {
		case <-more:
		case <-p.done:
			if line, _ := l.find(text); line != "" {
				return line
			}
			t.Fatalf("%s ended without saying %q: %s", p.name, text, p.cmd.ProcessState)
		case <-timeout:
			t.Fatalf("%s has not said %q", p.name, text)
		}
	}
}

// tail is the last n lines.
func (l *logLines) tail(n int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines[max(0, len(l.lines)-n):], "\n")
}

// until waits for a condition of which nobody tells.
func until(t testing.TB, most time.Duration, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(most); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for %s", most, what)
		}
	}
}
