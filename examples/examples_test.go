// Package examples holds producers in other languages. Its tests run them as
// processes against a real Redis and a real worker, with the rights that
// docs/wire.md gives a producer, and hold that page against the code.
package examples

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/config"
	"github.com/lighterman/lighterman/internal/embedded"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
	"github.com/lighterman/lighterman/provider/sim"
	"github.com/lighterman/lighterman/worker"
	"github.com/redis/go-redis/v9"
)

func TestMain(m *testing.M) { redistest.Main(m) }

var ctx = context.Background()

const (
	stream = "{lm:0}:stream:default"
	dead   = "{lm:0}:dead"
	done   = "{lm:0}:done"
	good   = `{"messages":[{"role":"user","content":"Why do rivers bend?"}]}`
)

// fleet is a Redis with one worker.
type fleet struct {
	*testing.T
	server *redistest.Server
	rdb    *redis.Client
	store  *lua.Store
	calls  string // the log of model calls
}

// start starts a worker whose model answers after a time.
func start(t *testing.T, latency time.Duration) *fleet {
	t.Helper()
	server := redistest.Start(t, redistest.WithTCP())
	f := &fleet{T: t, server: server, rdb: server.Client()}
	f.work(server.URL(), latency)
	return f
}

// work runs a worker until the test ends.
func (f *fleet) work(url string, latency time.Duration) {
	f.Helper()
	f.calls = filepath.Join(f.TempDir(), "calls")
	cfg := config.Default()
	cfg.Redis.URL = config.SecretURL(url)
	cfg.HTTP.Addr = "127.0.0.1:0"
	cfg.Log.Level = "error"
	cfg.Sim.CallLog = f.calls
	cfg.Sim.Latency = config.Duration(latency)
	w, err := worker.New(ctx, cfg)
	if err != nil {
		f.Fatal(err)
	}
	f.store = w.Store()
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- w.Run(running) }()
	f.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			f.Errorf("worker: %v", err)
		}
	})
}

// push XADDs fields in their order, and returns the entry's ID.
func (f *fleet) push(fields ...string) string {
	f.Helper()
	id, err := f.rdb.XAdd(ctx, &redis.XAddArgs{Stream: stream, Values: fields}).Result()
	if err != nil {
		f.Fatal(err)
	}
	return id
}

// until waits for a condition.
func (f *fleet) until(what string, is func() bool) {
	f.Helper()
	for end := time.Now().Add(30 * time.Second); !is(); {
		if time.Now().After(end) {
			f.Fatalf("waited 30 s for: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// drained waits until every entry has been dealt with, and checks that nothing
// is left in the stream or its pending list.
func (f *fleet) drained() {
	f.Helper()
	f.until("an empty stream", func() bool { return f.rdb.XLen(ctx, stream).Val() == 0 })
	pending, err := f.rdb.XPending(ctx, stream, lua.Group).Result()
	if err != nil || pending.Count != 0 {
		f.Errorf("%+v pending (%v)", pending, err)
	}
}

func (f *fleet) result(id lm.TraceID) lm.Result {
	f.Helper()
	results, err := f.store.Results(ctx, []lm.TraceID{id})
	if err != nil {
		f.Fatal(err)
	}
	return results[0]
}

// lastEnded is the operation that ended last.
func (f *fleet) lastEnded() lm.Result {
	f.Helper()
	ended, err := f.store.Ended(ctx, 0, 1)
	if err != nil || len(ended) == 0 {
		f.Fatalf("nothing has ended (%v)", err)
	}
	return f.result(ended[0].ID)
}

// modelCalls counts how often each call was begun.
func (f *fleet) modelCalls() int {
	f.Helper()
	entries, err := sim.ReadLog(f.calls)
	if err != nil {
		f.Fatal(err)
	}
	n := 0
	for _, starts := range sim.Starts(entries) {
		n += starts
	}
	return n
}

// counts are the calls of Redis commands so far, by command.
func (f *fleet) counts(command string) (n int) {
	f.Helper()
	for line := range strings.Lines(f.rdb.Info(ctx, "commandstats").Val()) {
		if rest, ok := strings.CutPrefix(line, "cmdstat_"+command+":calls="); ok {
			_, _ = fmt.Sscanf(rest, "%d", &n)
		}
	}
	return n
}

// asProducer is the server's address for a user with the rights that
// docs/wire.md gives a producer.
func (f *fleet) asProducer() string {
	f.Helper()
	var rule string
	for line := range strings.Lines(wire(f.T)) {
		if strings.HasPrefix(line, "ACL SETUSER producer ") {
			rule = strings.TrimSpace(line)
		}
	}
	var args []any
	for _, arg := range strings.Fields(strings.Replace(rule, ">PASSWORD", ">secret", 1)) {
		args = append(args, arg)
	}
	if len(args) < 10 {
		f.Fatalf("docs/wire.md has no rule for producers: %q", rule)
	}
	if err := f.rdb.Do(ctx, args...).Err(); err != nil {
		f.Fatalf("%s: %v", rule, err)
	}
	return "redis://producer:secret@" + f.server.Addr + "/0"
}

// wire is docs/wire.md.
func wire(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../docs/wire.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// run runs an example and returns its standard output, standard error and exit
// status.
func run(t *testing.T, url, stdin string, command ...string) (stdout, stderr string, status int) {
	t.Helper()
	limited, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(limited, command[0], command[1:]...)
	cmd.Env = append(os.Environ(), "LIGHTERMAN_REDIS_URL="+url, "LIGHTERMAN_FLEET_DETECT=false")
	var out, diag bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &diag
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || limited.Err() != nil {
		t.Fatalf("%q: %v %v\n%s", command, err, limited.Err(), diag.String())
	}
	return out.String(), diag.String(), cmd.ProcessState.ExitCode()
}

// missing skips a test for want of a program, and fails it in CI: there a skipped
// test is a lost one.
func missing(t *testing.T, what, install string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("examples: %s, and CI is set: %s", what, install)
	}
	t.Skipf("examples: EXAMPLE NOT TESTED: %s (%s)", what, install)
}

// python is an interpreter that has redis-py: the one in PATH may be another than
// the system's, which sees the system's packages.
func python(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"python3", "/usr/bin/python3"} {
		path, err := exec.LookPath(name)
		if err == nil && exec.Command(path, "-c", "import redis").Run() == nil {
			return path
		}
	}
	missing(t, "no python3 can import redis", "apt-get install python3-redis, or pip install redis")
	return ""
}

func node(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("node")
	if err != nil {
		missing(t, "no node in PATH", "install Node 20 or newer")
	}
	if _, err := os.Stat("node/node_modules/redis"); err != nil {
		missing(t, "no npm packages", "npm ci in examples/node")
	}
	return path
}

func redisCLI(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("redis-cli"); err != nil {
		missing(t, "no redis-cli in PATH", "apt-get install redis-tools")
	}
}

// example is how one of them is run.
type example struct {
	name    string
	command func(t *testing.T) []string
	body    bool // it takes a body from stdin and prints the answer's, not texts
}

var examples = []example{
	{name: "python", command: func(t *testing.T) []string { return []string{python(t), "python/enqueue.py"} }},
	{name: "node", command: func(t *testing.T) []string { return []string{node(t), "node/enqueue.mjs"} }},
	{name: "redis-cli", body: true, command: func(t *testing.T) []string {
		redisCLI(t)
		return []string{"redis-cli/enqueue.sh"}
	}},
}

// ask runs an example with a name, a question and perhaps a model.
func (e example) ask(t *testing.T, command []string, url, name, question, model string) (stdout, stderr string, status int) {
	t.Helper()
	command = append(command[:len(command):len(command)], name)
	if e.body {
		body := fmt.Sprintf(`{"messages":[{"role":"user","content":%q}]}`, question)
		if model != "" {
			body = fmt.Sprintf(`{"model":%q,`, model) + body[1:]
		}
		return run(t, url, body, command...)
	}
	command = append(command, question)
	if model != "" {
		command = append(command, model)
	}
	return run(t, url, "", command...)
}

// printed is what an example prints of a result.
func (e example) printed(r lm.Result) string {
	if e.body {
		return string(r.Body) + "\n"
	}
	return r.Text() + "\n"
}

func TestExamples(t *testing.T) {
	const question = "Why do rivers \"bend\"?\nOù? 河"
	for _, e := range examples {
		t.Run(e.name, func(t *testing.T) {
			command := e.command(t)
			f := start(t, 500*time.Millisecond)
			url := f.asProducer()

			began := time.Now()
			stdout, stderr, status := e.ask(t, command, url, "order-42", question, "")
			took := time.Since(began)
			r := f.lastEnded()
			if status != 0 || stderr != "" || r.Outcome != lm.Succeeded || !strings.HasPrefix(string(r.ID), "0-order-42-") || stdout != e.printed(r) {
				t.Fatalf("%s: status %d, %q, stderr %q; the result is %q", r.ID, status, stdout, stderr, e.printed(r))
			}
			if !strings.Contains(r.Text(), "河") {
				t.Errorf("the question did not arrive whole: %q", r.Text())
			}
			if reads := f.counts("xread"); reads < 1 || reads > 2 || took > 8*time.Second {
				t.Errorf("waited %s with %d reads of notices; want the notice to wake it", took, reads)
			}

			again, stderr, status := e.ask(t, command, url, "order-42", question, "")
			if status != 0 || again != stdout || f.modelCalls() != 1 {
				t.Errorf("again: status %d, %q %q, %d model calls", status, again, stderr, f.modelCalls())
			}

			stdout, stderr, status = e.ask(t, command, url, "order-42", question, "sim-embed")
			if status != 1 || stdout != "" || !strings.Contains(stderr, "invalid_request") || !strings.Contains(stderr, string(f.lastEnded().ID)) {
				t.Errorf("a failed one: status %d, %q, stderr %q", status, stdout, stderr)
			}

			stdout, stderr, status = e.ask(t, command, url, "not a name", question, "")
			if want := map[bool]int{false: 1, true: 2}[e.body]; status != want || stdout != "" || !strings.Contains(stderr, "refused: invalid_field") && !strings.Contains(stderr, "NAME: want") {
				t.Errorf("a refused one: status %d, %q, stderr %q", status, stdout, stderr)
			}

			stdout, stderr, status = run(t, url, "", command...)
			if status != 2 || stdout != "" || !strings.Contains(stderr, "usage:") {
				t.Errorf("no arguments: status %d, %q, stderr %q", status, stdout, stderr)
			}

			stdout, stderr, status = e.ask(t, command, "redis://127.0.0.1:1", "order-42", question, "")
			if status != 1 || stdout != "" || strings.Count(stderr, "\n") != 1 {
				t.Errorf("no Redis: status %d, %q, stderr %q", status, stdout, stderr)
			}
			f.drained()
		})
	}
}

// TestExamples_Embedded: they work with the Redis inside `lighterman dev` too.
func TestExamples_Embedded(t *testing.T) {
	server, err := embedded.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	f := &fleet{T: t}
	f.work(server.URL(), 200*time.Millisecond)
	for _, e := range examples {
		t.Run(e.name, func(t *testing.T) {
			command := e.command(t)
			stdout, stderr, status := e.ask(t, command, server.URL(), e.name, "Why do rivers bend?", "")
			if r := f.lastEnded(); status != 0 || stdout != e.printed(r) {
				t.Errorf("status %d, %q, stderr %q; the result is %q", status, stdout, stderr, e.printed(r))
			}
			stdout, stderr, status = e.ask(t, command, server.URL(), e.name, "Why do rivers bend?", "sim-embed")
			if status != 1 || stdout != "" || !strings.Contains(stderr, "invalid_request") {
				t.Errorf("a failed one: status %d, %q, stderr %q", status, stdout, stderr)
			}
			if _, stderr, status = e.ask(t, command, server.URL(), "not a name", "?", ""); status == 0 || !strings.Contains(stderr, "not a name") && !strings.Contains(stderr, "NAME") {
				t.Errorf("a refused one: status %d, stderr %q", status, stderr)
			}
		})
	}
}

// TestProducerRights: what the page's ACL user must not be able to do.
func TestProducerRights(t *testing.T) {
	f := start(t, 0)
	f.asProducer()
	for _, command := range [][]any{
		{"XADD", dead, "*", "t", "0-a"},
		{"XADD", done, "*", "t", "0-a"},
		{"XADD", "{lm:0}:resume:default", "*", "t", "0-a"},
		{"XADD", "{other:0}:stream:default", "*", "body", "1"},
		{"HSET", "{lm:0}:trace:0-a", "state", "COMPLETED"},
		{"HGETALL", "{lm:0}:request:0-a"},
		{"HGETALL", "{lm:0}:checkpoint:0-a"},
		{"DEL", stream},
		{"XGROUP", "DESTROY", stream, lua.Group},
		{"EVAL", "return 1", "0"},
		{"KEYS", "*"},
		{"CONFIG", "GET", "*"},
		{"FLUSHALL"},
	} {
		answer, err := f.rdb.Do(ctx, append([]any{"ACL", "DRYRUN", "producer"}, command...)...).Text()
		if err != nil || answer == "OK" {
			t.Errorf("%v: %q %v; want it forbidden", command, answer, err)
		}
	}
}
