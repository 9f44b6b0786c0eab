package worker

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/config"
	"github.com/lighterman/lighterman/internal/embedded"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
	"github.com/lighterman/lighterman/pipeline"
	"github.com/lighterman/lighterman/producer"
	"github.com/lighterman/lighterman/provider/sim"
	"github.com/lighterman/lighterman/tool"
)

func TestMain(m *testing.M) { redistest.Main(m) }

// settings are those of a worker on a server, quiet and on any port.
func settings(s *redistest.Server) *config.Config {
	cfg := config.Default()
	if s != nil {
		cfg.Redis.URL = config.SecretURL(s.URL())
	}
	cfg.HTTP.Addr = "127.0.0.1:0"
	cfg.Log.Level = "error"
	return cfg
}

func newWorker(t testing.TB, cfg *config.Config) *Worker {
	t.Helper()
	w, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// run runs a worker until stop is called, which returns what Run returned. The
// end of the test stops it too.
func run(t testing.TB, w *Worker) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	var err error
	done := false
	stop = func() error {
		cancel()
		if !done {
			err, done = <-ended, true
		}
		return err
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return stop
}

// client enqueues on a worker's Redis.
func client(t testing.TB, s *lua.Store) *producer.Client {
	c := producer.New(s)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// ask enqueues a request and waits for its result.
func ask(t testing.TB, c *producer.Client, r lm.Request) lm.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	a, err := c.Enqueue(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	result, err := c.Wait(ctx, a.ID)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// separate is a Store of its own, which outlives the worker's.
func separate(t testing.TB, s *redistest.Server) *lua.Store {
	rdb := s.Client()
	return lua.NewStore(rdb, rdb, lua.Options{})
}

func TestRun_BuiltInKindsAndCustomFuncs(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	cfg := settings(server)
	cfg.Models = []config.Model{{ID: "small", Backend: "sim", Name: sim.Plain}}
	cfg.Defaults.Chat = "small"
	w := newWorker(t, cfg)
	var fetched atomic.Int32
	w.Handle("count", func(ctx context.Context, op *pipeline.Op) (any, error) {
		n, err := pipeline.Step(ctx, op, "fetch", func(context.Context) (int32, error) { return fetched.Add(1), nil })
		if err != nil {
			return nil, err
		}
		answer, err := op.Ask(ctx, "ask", "how many?")
		return map[string]any{"n": n, "answer": answer}, err
	})
	w.Handle("broken", func(context.Context, *pipeline.Op) (any, error) { return nil, lm.Permanent(errors.New("no")) })
	w.Handle("panics", func(_ context.Context, op *pipeline.Op) (any, error) { panic("at the disco") })
	run(t, w)
	c := client(t, separate(t, server))

	chat := json.RawMessage(`{"messages":[{"role":"user","content":"Why?"}]}`)
	for _, r := range []lm.Request{{Body: chat}, {Body: chat, Model: "small"}, {Body: chat, Model: sim.Tools}, {Kind: "prompt", Body: json.RawMessage(`{"prompt":"Why?"}`)}} {
		if got := ask(t, c, r); got.Outcome != lm.Succeeded || !strings.Contains(got.Text(), "Why?") {
			t.Errorf("%+v: %+v", r, got)
		}
	}
	if got := ask(t, c, lm.Request{Kind: "embed", Body: json.RawMessage(`{"input":"Why?"}`)}); got.Outcome != lm.Succeeded || !strings.Contains(string(got.Body), `"embedding"`) {
		t.Errorf("embed: %+v", got)
	}
	var counted struct {
		N      int32
		Answer string
	}
	if got := ask(t, c, lm.Request{Kind: "count", Body: json.RawMessage(`{}`)}); json.Unmarshal(got.Body, &counted) != nil || counted.N != 1 || !strings.Contains(counted.Answer, "how many?") {
		t.Errorf("custom kind: %s %+v", got.Body, got)
	}
	if got := ask(t, c, lm.Request{Kind: "broken", Body: json.RawMessage(`{}`)}); got.Outcome != lm.Failed || got.Err.Kind != lm.PermanentFailure || got.Attempts != 1 {
		t.Errorf("a permanent error: %+v", got)
	}
	unknown := parkedBy(t, separate(t, server), "nope", 1)[0] // for a worker that knows it
	if r, err := w.Store().Trace(t.Context(), unknown); err != nil || r.Reason != string(lm.UnknownModel) || r.WaitsFor != lm.WaitKnown+"nope" {
		t.Errorf("an unknown model: %+v %v", r, err)
	}
	names, err := w.Store().Names(t.Context())
	if err != nil || strings.Join(names, " ") != strings.Join(w.Models(), " ") || !strings.Contains(strings.Join(names, " "), "small") {
		t.Errorf("published %v, offers %v, %v", names, w.Models(), err)
	}
}

func TestTool_GoFunctionIsCalled(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	cfg := settings(server)
	cfg.Pipeline.ChatTools = []string{"weather"}
	w := newWorker(t, cfg)
	type place struct {
		Query string `json:"query"`
	}
	var keys atomic.Value
	weather, handler := tool.Func("weather", "The weather of a place.", func(_ context.Context, call lm.ToolCall, in place) (string, error) {
		keys.Store(call.Key)
		return "rain at " + in.Query, nil
	})
	if err := w.Tool(weather, handler); err != nil {
		t.Fatal(err)
	}
	if err := w.Tool(weather, handler); err == nil {
		t.Error("a second tool of the same name was taken")
	}
	run(t, w)
	got := ask(t, client(t, separate(t, server)), lm.Request{Model: sim.Tools, Body: json.RawMessage(`{"messages":[{"role":"user","content":"Leeds"}]}`)})
	if got.Outcome != lm.Succeeded || !strings.Contains(got.Text(), "rain at Leeds") {
		t.Errorf("%+v: %s", got, got.Text())
	}
	if key, _ := keys.Load().(string); !strings.HasPrefix(key, string(got.ID)) {
		t.Errorf("the tool's key is %q, want one of %s", key, got.ID)
	}
}

func TestRun_EndsWithItsContextAndFreesEverything(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	w := newWorker(t, settings(server))
	if w.URL() != "" {
		t.Errorf("URL before Listen: %q", w.URL())
	}
	if err := w.Listen(); err != nil {
		t.Fatal(err)
	}
	addr := w.URL()
	if err := w.Listen(); err != nil || w.URL() != addr {
		t.Errorf("a second Listen: %v, %q instead of %q", err, w.URL(), addr)
	}
	stop := run(t, w)
	c := client(t, separate(t, server))
	ask(t, c, lm.Request{Body: json.RawMessage(`{"messages":[{"role":"user","content":"Why?"}]}`)})
	if err := stop(); err != nil {
		t.Fatalf("run: %v", err)
	}
	if _, err := net.Dial("tcp", strings.TrimPrefix(addr, "http://")); err == nil {
		t.Error("the HTTP server still listens")
	}
	if err := w.Store().Ping(t.Context()); err == nil {
		t.Error("the connections are open")
	}
	w.Close() // again is fine
}

func TestNew_ClosedWithoutRun(t *testing.T) {
	t.Parallel()
	cfg := settings(redistest.Start(t))
	cfg.Sim.CallLog = filepath.Join(t.TempDir(), "calls.jsonl")
	w := newWorker(t, cfg)
	w.Close() // goleak in TestMain sees what is left
	if _, err := os.Stat(cfg.Sim.CallLog); err != nil {
		t.Error(err)
	}
}

func TestNew_SaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	cfg := settings(nil)
	cfg.Redis.URL = "redis://:s3cret@127.0.0.1:1"
	if _, err := New(t.Context(), cfg); !errors.Is(err, lua.ErrRedis) || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("unreachable: %v", err)
	}
	cfg = settings(redistest.Start(t))
	cfg.Sim.CallLog = "/no/such/dir/calls.jsonl"
	if _, err := New(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "sim.call_log: ") {
		t.Errorf("call log: %v", err)
	}
	cfg.Sim.CallLog, cfg.HTTP.Addr = "", "192.0.2.1:80" // TEST-NET: nobody's
	w := newWorker(t, cfg)
	if err := w.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "http.addr 192.0.2.1:80: ") {
		t.Errorf("address: %v", err)
	}
}

func TestListen_TakesTheNextFreePort(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	l, err := listen(taken.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	first, next := taken.Addr().(*net.TCPAddr).Port, l.Addr().(*net.TCPAddr).Port
	if next <= first || next > first+portsTried {
		t.Errorf("port %d after %d", next, first)
	}
	// Behind the last port there is none.
	last, err := net.Listen("tcp", "127.0.0.1:65535")
	if err != nil {
		t.Skipf("port 65535 is taken: %v", err)
	}
	defer last.Close()
	if l, err := listen("127.0.0.1:65535"); !errors.Is(err, syscall.EADDRINUSE) {
		if err == nil {
			l.Close()
		}
		t.Errorf("65535 is taken: %v", err)
	}
	for _, bad := range []string{"nohost", "127.0.0.1:http", ""} {
		if l, err := listen(bad); err == nil {
			l.Close()
			t.Errorf("listen(%q) succeeded", bad)
		}
	}
}

func TestReadyz_FollowsRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	w := newWorker(t, settings(server))
	t.Cleanup(w.Close)
	if err := w.Listen(); err != nil {
		t.Fatal(err)
	}
	status := func(page string) int {
		c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := c.Get(w.URL() + page)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	if status("/readyz") != http.StatusOK || status("/healthz") != http.StatusOK {
		t.Error("not ready with Redis")
	}
	server.Stop() // frozen: it keeps the connection and says nothing
	if began := time.Now(); status("/readyz") != http.StatusServiceUnavailable || time.Since(began) > 4*time.Second {
		t.Errorf("frozen Redis: ready, or told only after %s", time.Since(began))
	}
	if status("/healthz") != http.StatusOK {
		t.Error("not healthy with a frozen Redis")
	}
	server.Cont()
	for status("/readyz") != http.StatusOK { // the test's own timeout bounds it
		if t.Context().Err() != nil {
			t.Fatal("never ready again")
		}
	}
}

// TestRedis_SaysWhereTheQueueIs, and never the password.
func TestRedis_SaysWhereTheQueueIs(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.WithTCP(), redistest.WithPassword("s3cret"))
	w := newWorker(t, settings(server))
	t.Cleanup(w.Close)
	if got := w.Redis(); got != "redis://:[redacted]@"+server.Addr+"/0" || w.Embedded() {
		t.Errorf("%q, embedded %v", got, w.Embedded())
	}
}

func TestName_FitsAConsumerName(t *testing.T) {
	t.Parallel()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ configured, want string }{
		{"w1", "w1"},
		{"a b/c:d", "a_b_c_d"},
		{"café", "caf__"},
		{strings.Repeat("x", 55), strings.Repeat("x", 55)},
		{strings.Repeat("x", 300), strings.Repeat("x", 55)},
		{"", strings.Map(func(r rune) rune {
			if lm.ValidName(string(r)) != nil {
				return '_'
			}
			return r
		}, host[:min(len(host), 55)])},
	} {
		w := &Worker{cfg: &config.Config{Worker: config.Worker{Name: c.configured}}}
		if got := w.name(); got != c.want || lm.ValidName(got) != nil || lm.ValidName(got+"-12345678") != nil {
			t.Errorf("name %q: %q, want %q", c.configured, got, c.want)
		}
	}
	// The longest name that the configuration takes is the whole name of the owner.
	cfg := settings(redistest.Start(t))
	cfg.Worker.Name = strings.Repeat("n", 55)
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	w := newWorker(t, cfg)
	defer w.Close()
	if owner := w.consumer.Owner(); !strings.HasPrefix(owner, cfg.Worker.Name+"-") || len(owner) > 64 {
		t.Errorf("owner %q of %d bytes", owner, len(owner))
	}
}

func TestNew_EmbeddedDefault(t *testing.T) {
	t.Parallel()
	defaultAddr(t)
	first := newWorker(t, settings(nil))
	if !first.Embedded() || first.Redis() != "embedded "+embedded.DefaultAddr {
		t.Errorf("the first: embedded %v, %q", first.Embedded(), first.Redis())
	}
	second := newWorker(t, settings(nil))
	if second.Embedded() || second.Redis() != "embedded elsewhere "+embedded.DefaultAddr {
		t.Errorf("the second: embedded %v, %q", second.Embedded(), second.Redis())
	}
	stop := run(t, second)
	c := producer.New(first.Store())
	if got := ask(t, c, lm.Request{Body: json.RawMessage(`{"messages":[{"role":"user","content":"Why?"}]}`)}); got.Outcome != lm.Succeeded {
		t.Errorf("%+v", got)
	}
	_ = c.Close()
	if err := stop(); err != nil {
		t.Error(err)
	}
	first.Close()
	if conn, err := net.Dial("tcp", embedded.DefaultAddr); err == nil {
		conn.Close()
		t.Error("the embedded Redis outlives its worker")
	}

	// Somebody else's port is no Redis: said, not joined.
	l, err := net.Listen("tcp", embedded.DefaultAddr)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			_, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			c.Close()
		}
	}()
	if w, err := New(t.Context(), settings(nil)); !errors.Is(err, lua.ErrRedis) || !strings.Contains(err.Error(), embedded.DefaultAddr) || strings.Contains(err.Error(), "\n") {
		if err == nil {
			w.Close()
		}
		t.Errorf("a web server on the port: %v", err)
	}
}

// defaultAddr gives a test the embedded Redis's own port: tests of other packages
// ask for it too, so a lock file goes from one to the next.
func defaultAddr(t testing.TB) {
	t.Helper()
	lock, err := os.OpenFile(filepath.Join(os.TempDir(), "lighterman-test-7379.lock"), os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lock.Close() }) // which unlocks it
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", embedded.DefaultAddr)
	if err != nil {
		t.Skipf("somebody has %s: %v", embedded.DefaultAddr, err)
	}
	_ = l.Close()
}
