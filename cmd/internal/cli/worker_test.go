package cli

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/embedded"
	"github.com/lighterman/lighterman/internal/redistest"
)

// startWorker starts a worker and returns it with its address when it is ready.
func (s *shell) startWorker(args ...string) (*process, string) {
	s.t.Helper()
	p := s.start(append([]string{"worker", "--http", "127.0.0.1:0"}, args...)...)
	return p, p.httpOf()
}

// httpOf is the address that a worker says it is ready on.
func (p *process) httpOf() string {
	p.t.Helper()
	ready := decode[struct{ HTTP string }](p.t, p.says(`"message":"worker ready"`))
	if _, err := url.ParseRequestURI(ready.HTTP); err != nil {
		p.t.Fatal(err)
	}
	return ready.HTTP
}

// get is the status and body of a page; 0 when nobody answers.
func get(t testing.TB, url string) (int, string) {
	t.Helper()
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

func TestWorker_SigtermDrainsWhatRuns(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server)
	p, _ := s.with("LIGHTERMAN_SIM_LATENCY=1500ms").startWorker("--name", "drainer")
	const id = "0-it"
	s.start("enqueue", question, "--id", "it")
	store := storeOf(t, server)
	until(t, "it runs", func() bool { return stateIs(t, store, id, lm.Inferring) })
	p.signal(syscall.SIGTERM)
	p.says(`"message":"draining"`, `"running":1`)
	if r := p.wait(); r.code != 0 || r.out != "" || !strings.Contains(r.err, `"message":"drained"`) {
		t.Errorf("exit %d, stdout %q, stderr:\n%s", r.code, r.out, r.err)
	}
	if trace, err := store.Trace(background, lm.TraceID(id)); err != nil || trace.State != lm.Completed || trace.CrashesTotal != 0 {
		t.Errorf("after the drain: %+v, %v", trace, err)
	}
}

func TestWorker_SecondSignalHandsOverAtOnce(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server)
	p, _ := s.with("LIGHTERMAN_SIM_LATENCY=1m").startWorker()
	const id = "0-it"
	s.start("enqueue", question, "--id", "it")
	store := storeOf(t, server)
	until(t, "it runs", func() bool { return stateIs(t, store, id, lm.Inferring) })
	p.signal(syscall.SIGINT)
	p.says(`"message":"draining"`)
	began := time.Now()
	p.signal(syscall.SIGINT)
	if r := p.wait(); r.code != 0 || time.Since(began) > 10*time.Second {
		t.Errorf("exit %d after %s, want 0 at once", r.code, time.Since(began))
	}
	if trace, err := store.Trace(background, lm.TraceID(id)); err != nil || trace.State != lm.Reclaimed || trace.Attempts+trace.CrashesTotal != 0 {
		t.Errorf("after the second signal: %+v, %v", trace, err)
	}
}

func TestWorker_HealthAndReadiness(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.WithTCP())
	_, addr := on(t, server).startWorker()
	for _, page := range []string{"/healthz", "/readyz", "/metrics", "/debug/pprof/", "/debug/pprof/goroutine"} {
		if code, body := get(t, addr+page); code != http.StatusOK {
			t.Errorf("%s: %d %s", page, code, body)
		}
	}
	if code, _ := get(t, addr+"/nope"); code != http.StatusNotFound {
		t.Errorf("/nope: %d", code)
	}
	server.Kill()
	until(t, "not ready without Redis", func() bool { code, _ := get(t, addr+"/readyz"); return code == http.StatusServiceUnavailable })
	if code, _ := get(t, addr+"/healthz"); code != http.StatusOK {
		t.Errorf("/healthz without Redis: %d", code)
	}
	server.Restart()
	until(t, "ready again", func() bool { code, _ := get(t, addr+"/readyz"); return code == http.StatusOK })
}

func TestWorker_ProfilesOnlyOnLoopback(t *testing.T) {
	t.Parallel()
	p := on(t, redistest.Start(t)).start("worker", "--http", "0.0.0.0:0")
	addr, err := url.Parse(p.httpOf())
	if err != nil {
		t.Fatal(err)
	}
	at := "http://127.0.0.1:" + addr.Port()
	if code, _ := get(t, at+"/healthz"); code != http.StatusOK {
		t.Fatalf("/healthz: %d", code)
	}
	for _, page := range []string{"/debug/pprof/", "/debug/pprof/profile", "/debug/pprof/heap", "/debug/pprof/trace", "/debug/pprof/cmdline"} {
		if code, _ := get(t, at+page); code != http.StatusNotFound {
			t.Errorf("%s on a public address: %d", page, code)
		}
	}
}

// documented are the metrics that dashboards and alerts may rely on.
var documented = []string{
	"claims_total", "wait_seconds", "handle_seconds", "endings_total", "retries_total", "dead_letters_total", "takeovers_total", "fenced_writes_total", "operations",
	"stage_seconds", "steps_restored_total", "checkpoints_total", "checkpoint_bytes_total",
}

// TestWorker_MetricsAndLogsTellAllButSecrets takes two workers through all that is
// counted, a takeover included, at the most talkative log level.
func TestWorker_MetricsAndLogsTellAllButSecrets(t *testing.T) {
	t.Parallel()
	const canary = "prompt-canary-7f3a"
	server := redistest.Start(t, redistest.WithTCP(), redistest.WithPassword(secret))
	s := on(t, server)
	store := storeOf(t, server)
	first, _ := s.with("LIGHTERMAN_SIM_LATENCY=1m").startWorker("--name", "first", "--log-level", "trace", "--lease", "1s")
	held := strings.TrimSpace(s.run("enqueue", canary, "--model", "sim-tools").ok())
	until(t, "the first worker runs it", func() bool { return stateIs(t, store, held, lm.Inferring) })

	second, addr := s.startWorker("--name", "second", "--log-level", "trace", "--lease", "1s")
	first.signal(syscall.SIGKILL)
	until(t, "the second worker ends it", func() bool { return stateIs(t, store, held, lm.Completed) })
	s.run("enqueue", canary, "--model", "sim-embed", "--wait")
	unknown := strings.TrimSpace(s.run("enqueue", canary, "--kind", "nobodys").out) // nobody handles it, which is said
	until(t, "one is set aside", func() bool { return stateIs(t, store, unknown, lm.Retrying) })

	metrics := ""
	until(t, "a tick counts what is in Redis", func() bool {
		_, metrics = get(t, addr+"/metrics")
		return strings.Contains(metrics, `lighterman_operations{partition="0",queue="default",state="delayed"} 1`)
	})
	for _, name := range documented {
		if !strings.Contains(metrics, "# TYPE lighterman_"+name+" ") {
			t.Errorf("no lighterman_%s in /metrics", name)
		}
	}
	for _, line := range []string{
		`lighterman_dead_letters_total{reason="invalid_request"} 1`, `lighterman_endings_total{outcome="failed"} 1`, `lighterman_endings_total{outcome="succeeded"} 1`,
		`lighterman_retries_total{reason="unknown_kind"} 1`, "lighterman_fenced_writes_total 0",
	} {
		if !strings.Contains(metrics, line+"\n") {
			t.Errorf("/metrics has no %q", line)
		}
	}
	second.signal(syscall.SIGTERM)
	if code := second.wait().code; code != 0 {
		t.Errorf("exit %d", code)
	}
	<-first.done
	for what, text := range map[string]string{"first's log": first.err.String(), "second's log": second.err.String(), "metrics": metrics} {
		for _, bad := range []string{secret, canary} {
			if strings.Contains(text, bad) {
				t.Errorf("%s: %s in it", what, bad)
			}
		}
	}
	for line := range strings.Lines(second.err.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not a JSON line: %s", line)
		}
	}
	if lineWith(second.err.String(), []string{held, `"message":"put back"`, `"from":"first-`}) == "" {
		t.Errorf("the takeover is not logged:\n%s", second.err.String())
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

func TestDev_EverythingInOneProcessAndOthersJoin(t *testing.T) {
	t.Parallel()
	defaultAddr(t)
	s := newShell(t)
	s.run("enqueue", "a").refused(exitRedis, "enqueue: redis: none is configured, and no Lighterman answers on 127.0.0.1:7379; start `lighterman dev`, or set LIGHTERMAN_REDIS_URL")

	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	dev := s.start("lighterman", "dev", "--http", taken.Addr().String())
	dev.prints("lighterman ", "redis embedded 127.0.0.1:7379", "nothing survives this process; LIGHTERMAN_REDIS_URL uses yours")
	dev.prints("models ", "sim, sim-embed, sim-flaky")
	line := dev.prints("worker w1 ready", "64 slots, queues interactive:6 default:3 batch:1")
	dev.prints("try ", "enqueue \"Why do rivers bend?\" --wait")
	_, after, _ := strings.Cut(line, "http://127.0.0.1:")
	if got, err := strconv.Atoi(after); err != nil || got <= port || got > port+100 {
		t.Errorf("%d is taken, and %q names no port behind it", port, line)
	}
	if code, _ := get(t, "http://127.0.0.1:"+after+"/readyz"); code != http.StatusOK {
		t.Errorf("/readyz: %d", code)
	}

	if out := s.run("enqueue", question, "--wait").ok(); !strings.HasPrefix(out, "You asked") {
		t.Errorf("enqueue --wait: %q", out)
	}
	joined, _ := s.startWorker("--name", "w2", "--queue", "side")
	if ready := joined.says("worker ready"); !strings.Contains(ready, "embedded elsewhere 127.0.0.1:7379") || strings.Contains(ready, "nothing_survives") {
		t.Errorf("the second worker says %s", ready)
	}
	if ready := dev.says("worker ready"); !strings.Contains(ready, `"nothing_survives_this_process":true`) {
		t.Errorf("dev logs %s", ready)
	}
	if out := s.run("enqueue", question, "--wait", "--queue", "side").ok(); !strings.HasPrefix(out, "You asked") {
		t.Errorf("by the second worker: %q", out)
	}
	if out := s.run("lighterman", "status").ok(); !containsAll(out, []string{"w1-", "w2-", "side "}) {
		t.Errorf("status: %s", out)
	}
	joined.signal(syscall.SIGTERM)
	if code := joined.wait().code; code != 0 {
		t.Errorf("w2: exit %d", code)
	}
	if out := s.run("lighterman", "show", "last").ok(); !strings.Contains(out, "COMPLETED succeeded") {
		t.Errorf("show last: %s", out)
	}
	s.with("LIGHTERMAN_REDIS_PARTITIONS=3").run("enqueue", "a").refused(exitRedis, "redis.partitions|3; set it to 1")
	dev.signal(syscall.SIGINT)
	if r := dev.wait(); r.code != 0 {
		t.Errorf("dev: exit %d, stderr:\n%s", r.code, r.err)
	}
}
