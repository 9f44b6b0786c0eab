package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/config"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
	"github.com/lighterman/lighterman/worker"
	"github.com/spf13/cobra"
)

// asCommand makes the test binary one of the commands: their mains are this one
// line, so that what is tested are real processes without building any.
const asCommand = "TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if name := os.Getenv(asCommand); name != "" {
		_ = os.Unsetenv(asCommand) // the demo starts itself
		Main(map[string]func() *cobra.Command{"lighterman": Lighterman, "worker": Worker, "enqueue": Enqueue}[name]())
		os.Exit(0)
	}
	redistest.Main(m)
}

// secret is the password in every URL of these tests. No output may hold it.
const secret = "s3cret-canary"

var background = context.Background()

// shell is where a test's commands run: a directory and an environment of their own.
type shell struct {
	t     testing.TB
	env   []string
	dir   string
	stdin string
}

// newShell has no Redis; env is NAME=VALUE.
func newShell(t testing.TB, env ...string) *shell {
	return &shell{t: t, env: env, dir: t.TempDir()}
}

// on is a shell whose commands use a server.
func on(t testing.TB, s *redistest.Server, env ...string) *shell {
	return newShell(t, append(env, "LIGHTERMAN_REDIS_URL="+s.URL())...)
}

// with is the shell with more environment, or standard input.
func (s *shell) with(env ...string) *shell {
	c := *s
	c.env = append(slices.Clone(s.env), env...)
	return &c
}

func (s *shell) fed(stdin string) *shell {
	c := *s
	c.stdin = stdin
	return &c
}

// file writes a file into the shell's directory.
func (s *shell) file(name, content string) string {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return name
}

func (s *shell) command(ctx context.Context, args []string) *exec.Cmd {
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, self, args[1:]...)
	cmd.Dir = s.dir
	cmd.Env = append([]string{asCommand + "=" + args[0], "PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "GOCOVERDIR=" + os.Getenv("GOCOVERDIR"), "GORACE=atexit_sleep_ms=0", "LIGHTERMAN_FLEET_DETECT=false"}, s.env...)
	cmd.Stdin = strings.NewReader(s.stdin)
	return cmd
}

// ran is what came of a command.
type ran struct {
	t        testing.TB
	args     string
	out, err string
	code     int
}

// run runs a command to its end: lighterman, worker or enqueue, and its arguments.
func (s *shell) run(args ...string) ran {
	s.t.Helper()
	return s.start(args...).wait()
}

// process is a command that runs.
type process struct {
	t        testing.TB
	cmd      *exec.Cmd
	out, err watched
	args     string
	done     chan struct{}
	waited   bool
}

// start starts a command. One that still runs at the end of the test is killed.
func (s *shell) start(args ...string) *process {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(background, 30*time.Second)
	p := &process{t: s.t, cmd: s.command(ctx, args), args: strings.Join(args, " "), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.err
	if err := p.cmd.Start(); err != nil {
		cancel()
		s.t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // the code tells
	}()
	s.t.Cleanup(func() {
		cancel()
		<-p.done
		if s.t.Failed() && !p.waited {
			s.t.Logf("stderr of %s:\n%s", p.args, p.err.String())
		}
	})
	return p
}

// wait waits for the end, and holds the output against what is true of all output.
func (p *process) wait() ran {
	p.t.Helper()
	<-p.done
	p.waited = true
	r := ran{p.t, p.args, p.out.String(), p.err.String(), p.cmd.ProcessState.ExitCode()}
	for _, text := range []string{r.out, r.err} {
		for what, bad := range map[string]string{"the password": secret, "an escape code": "\x1b", "a panic": "goroutine "} {
			if strings.Contains(text, bad) {
				p.t.Errorf("%s: %s in its output:\n%s", r.args, what, text)
			}
		}
	}
	return r
}

func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("%s: %v", p.args, err)
	}
}

// says waits until standard error holds a line with all of the words and returns it.
func (p *process) says(words ...string) string {
	p.t.Helper()
	return p.lineOf(&p.err, words)
}

// prints is says for standard output.
func (p *process) prints(words ...string) string {
	p.t.Helper()
	return p.lineOf(&p.out, words)
}

func (p *process) lineOf(w *watched, words []string) string {
	p.t.Helper()
	found := ""
	until(p.t, p.args+" says "+strings.Join(words, " "), func() bool {
		found = lineWith(w.String(), words)
		select {
		case <-p.done:
			if found == "" {
				p.t.Fatalf("%s ended with %q", p.args, w.String())
			}
		default:
		}
		return found != ""
	})
	return found
}

// lineWith is the first complete line with all of the words.
func lineWith(text string, words []string) string {
	for line := range strings.Lines(text) {
		if strings.HasSuffix(line, "\n") && containsAll(line, words) {
			return strings.TrimSuffix(line, "\n")
		}
	}
	return ""
}

func containsAll(text string, words []string) bool {
	return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) })
}

// watched is output that is read while it is written.
type watched struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *watched) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(b)
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// ok fails the test unless the command succeeded, silently on standard error, and
// returns its output.
func (r ran) ok() string {
	r.t.Helper()
	if r.code != 0 || r.err != "" {
		r.t.Fatalf("%s: exit %d\nstdout: %s\nstderr: %s", r.args, r.code, r.out, r.err)
	}
	return r.out
}

// lines are the lines of what the command wrote to standard output.
func (r ran) lines() []string { return strings.Split(strings.TrimSuffix(r.ok(), "\n"), "\n") }

// refused holds a command that did nothing against its code and what it said: one
// line each on standard error, with the command's name in front and these words in
// it, and nothing on standard output.
func (r ran) refused(code int, lines ...string) {
	r.t.Helper()
	r.failed(code, lines...)
	if r.out != "" {
		r.t.Errorf("%s: wrote to stdout: %s", r.args, r.out)
	}
}

// failed is refused for a command that may have written to standard output. Words
// of a line are separated by a bar.
func (r ran) failed(code int, lines ...string) {
	r.t.Helper()
	if r.code != code {
		r.t.Errorf("%s: exit %d, want %d; stderr: %s", r.args, r.code, code, r.err)
	}
	got := strings.Split(strings.TrimSuffix(r.err, "\n"), "\n")
	if len(got) != len(lines) {
		r.t.Errorf("%s: %d lines on stderr, want %d:\n%s", r.args, len(got), len(lines), r.err)
		return
	}
	for i, words := range lines {
		if !containsAll(got[i], strings.Split(words, "|")) {
			r.t.Errorf("%s: line %q does not say %q", r.args, got[i], words)
		}
	}
}

// decode reads JSON output.
func decode[T any](t testing.TB, text string) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("not JSON: %v\n%s", err, text)
	}
	return v
}

// until waits for a condition.
func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	late := time.After(25 * time.Second)
	for !holds() {
		select {
		case <-late:
			t.Fatalf("never: %s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// storeOf is a way to a server past the commands.
func storeOf(t testing.TB, s *redistest.Server) *lua.Store {
	rdb := s.Client()
	return lua.NewStore(rdb, rdb, lua.Options{})
}

// accepted counts the operations that a server has accepted and not ended.
func accepted(t testing.TB, s *redistest.Server) int64 {
	t.Helper()
	counts, err := storeOf(t, s).Counts(background, 0)
	if err != nil {
		t.Fatal(err)
	}
	return counts.Sum("waiting") + counts.Sum("running") + counts.Sum("delayed")
}

// stateIs reports whether an operation is in one of the states.
func stateIs(t testing.TB, s *lua.Store, id string, states ...lm.State) bool {
	t.Helper()
	trace, err := s.Trace(background, lm.TraceID(id))
	if err != nil && !errors.Is(err, lm.ErrNotFound) {
		t.Fatal(err)
	}
	return slices.Contains(states, trace.State)
}

// work runs a worker in this process until the test ends. adjust, if any, is
// called before it runs.
func work(t testing.TB, s *redistest.Server, adjust func(*worker.Worker)) {
	t.Helper()
	cfg := config.Default()
	cfg.Redis.URL = config.SecretURL(s.URL())
	cfg.HTTP.Addr = "127.0.0.1:0"
	cfg.Log.Level = "error"
	cfg.Worker.Name = "inproc"
	w, err := worker.New(background, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if adjust != nil {
		adjust(w)
	}
	ctx, stop := context.WithCancel(background)
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("worker: %v", err)
		}
	})
}

// terminal is the path of script(1), which gives a command a terminal. Without it
// the test is skipped, in CI it fails.
func terminal(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("script")
	if err == nil {
		return path
	}
	if os.Getenv("CI") != "" {
		t.Fatal("no script(1) to make a terminal")
	}
	t.Skip("no script(1) to make a terminal")
	return ""
}
