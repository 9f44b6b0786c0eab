package cli

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lighterman/lighterman/internal/redistest"
)

func TestEnqueue_BadFlagsAndArguments(t *testing.T) {
	t.Parallel()
	s := newShell(t, "LIGHTERMAN_REDIS_URL=redis://:"+secret+"@127.0.0.1:1") // refused before Redis is asked
	for _, c := range []struct{ args, says string }{
		{"", "want a prompt|--file"},
		{"a b", "want one prompt, got 2|quote it"},
		{"a --file x", "a prompt or --file, not both"},
		{"--in -5s a", "--in -5s: negative|as 90s"},
		{"--in 5 a", `invalid argument "5" for "--in"|missing unit`},
		{"--in 5s --at 2026-11-21T18:00:00Z a", "--in or --at, not both"},
		{"--at tomorrow a", `--at "tomorrow"|as 2026-`},
		{"--count 0 a", "--count 0: want 1 or more"},
		{"--count 2 --id x a", "--count 2 with --id"},
		{"--id x --file f", "--id, --key and --count are for one prompt"},
		{"--key x --file f", "--id, --key and --count are for one prompt"},
		{"--count 2 -", "--id, --key and --count are for one prompt"},
		{"--wait --timeout -1s a", "--timeout -1s: negative"},
		{"--timeout 1s a", "--timeout and --out need --wait"},
		{"--out f a", "--timeout and --out need --wait"},
		{"--output xml a", `--output "xml": want id, table, json, jsonl, text`},
		{"--output text a", "--output text needs --wait"},
		{"--queu x a", "unknown flag: --queu|--help lists the flags"},
		{"--dashes", "unknown flag: --dashes"},
		{"--redis http://:" + secret + "@h a", "--redis: want a URL that starts with redis://"},
		{"--config nope.yaml a", `--config: read "nope.yaml": no such file`},
		{"--file nope.jsonl", "--file: open nope.jsonl: no such file"},
		{"--file .", "--file: . is a directory; want a JSONL file"},
	} {
		s.run(append([]string{"enqueue"}, strings.Fields(c.args)...)...).refused(exitUsage, "enqueue: |"+c.says)
	}
	s.run("enqueue", "").refused(exitUsage, "enqueue: the prompt is empty")
}

func TestCommands_UnknownOnesNameTheNearest(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	for _, c := range []struct{ args, says string }{
		{"lighterman lss", `lighterman: "lss": unknown command|did you mean ls?`},
		{"lighterman dead sow", `dead: "sow"|did you mean show?`},
		{"lighterman config chek", `config: "chek"|did you mean check?`},
		{"worker config prnt", `config: "prnt"|did you mean print?`},
		{"lighterman xyzzy", `lighterman: "xyzzy": unknown command`},
		{"lighterman show", "show: want one ID, or last"},
		{"lighterman dead show", "show: want one ID, or last for the newest; dead ls lists them"},
		{"lighterman worker now", `worker: "now"`},
		{"lighterman dev now", `dev: "now"`},
		{"lighterman demo --count 3", "demo: --count 3: want 50 to 100000"},
		{"worker --nope", "worker: unknown flag: --nope"},
	} {
		s.run(strings.Fields(c.args)...).refused(exitUsage, c.says)
	}
}

func TestEnqueue_BadRequests(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server)
	s.run("enqueue", "--model", "sim-slwo", "a").refused(exitUsage, `enqueue: unknown model "sim-slwo"; did you mean sim-slow?|declared: sim, sim-embed`)
	s.run("enqueue", "--model", "zzzzzzzzzzzz", "--count", "3", "a").refused(exitUsage, `enqueue: unknown model "zzzzzzzzzzzz" (declared: `)
	s.run("enqueue", "--queue", "a b", "a").refused(exitUsage, `enqueue: queue: name "a b": ' ' is not one of`)
	s.run("enqueue", "--id", "x.hook", "a").refused(exitUsage, "enqueue: id: names that end in")
	s.run("enqueue", "--queue", "a b", "--kind", "c d", "a").refused(exitUsage, `kind: name "c d"`, `queue: name "a b"`)
	s.run("enqueue", "--thread", strings.Repeat("x", 257), "a").refused(exitUsage, "enqueue: thread: 257 bytes, at most 256")
	s.run("enqueue", "--wait", "--out", "no/such/dir", "a").refused(exitUsage, "enqueue: --out: open no/such/dir")
	if n := accepted(t, server); n != 0 {
		t.Errorf("%d operations were enqueued", n)
	}

	// An unknown model is the workers' to refuse with --no-check.
	s.run("enqueue", "--no-check", "--model", "sim-slwo", "a").ok()
	first := strings.TrimSpace(s.run("enqueue", "--id", "x", "a").ok())
	if again := strings.TrimSpace(s.run("enqueue", "--id", "x", "a").out); first != "0-x" || again != first {
		t.Errorf("IDs %s and %s, want 0-x twice", first, again)
	}
	s.run("enqueue", "--id", "x", "other").refused(exitUsage, "enqueue: the same ID or idempotency key was used with another request (0-x)")
	if n := accepted(t, server); n != 2 {
		t.Errorf("%d operations, want 2", n)
	}
}

func TestEnqueue_FullQueueIsToldAndTheRestGoesOn(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := on(t, server, "LIGHTERMAN_LIMITS_QUEUE=2")
	r := s.run("enqueue", "--count", "3", "a")
	r.failed(exitFailed, "enqueue: the queue is full (default, limits.queue); try again", "1 of 3 requests were refused")
	if ids := strings.Fields(r.out); len(ids) != 2 {
		t.Errorf("IDs %v, want those of the two that were accepted", ids)
	}
	s.run("enqueue", "a").refused(exitFailed, "enqueue: the queue is full (default, limits.queue)")
}

func TestConfig_EverythingWrongAtOnce(t *testing.T) {
	t.Parallel()
	s := newShell(t, "LIGHTERMAN_LOG_LEVEL=loud", "LIGHTERMAN_REDISURL=redis://:"+secret+"@h")
	s.file("c.yaml", `redis: {urll: x, partitions: many}
worker:
  lease: 5
  concurency: 3
queues: [{name: "a b"}]
log: info
`)
	lines := []string{
		"c.yaml:1:9: redis.urll: unknown; did you mean url?",
		"c.yaml:1:30: redis.partitions: want a whole number, got text",
		`c.yaml:3:10: worker.lease: "5" is not a duration; want|10s`,
		"c.yaml:4:3: worker.concurency: unknown; did you mean concurrency?",
		`c.yaml:5:17: queues[0].name: name "a b"`,
		"c.yaml:6:6: log: want a mapping, got text",
		`LIGHTERMAN_LOG_LEVEL: "loud": unknown; want trace, debug`,
		"LIGHTERMAN_REDISURL: unknown; did you mean LIGHTERMAN_REDIS_URL?",
	}
	for _, command := range []string{"lighterman ls", "enqueue a", "lighterman config check"} {
		s.run(append(strings.Fields(command), "--config", "c.yaml")...).refused(exitUsage, lines...)
	}
	s = s.with("LIGHTERMAN_CONFIG=c.yaml")
	more := append(lines, `--drain-timeout: "x" is not a duration`, "--concurrency: 0 is out of range; want 1 to 10000")
	s.run("worker", "--drain-timeout", "x", "--concurrency", "0").refused(exitUsage, swap(more, 8, 9)...)
	newShell(t).run("worker", "--queue", "a b", "--queue", "x:0", "--queue", "y:1:-2", "--queue", "z:1:two").refused(exitUsage, `--queue: "a b"`, `--queue: "x:0": want NAME:WEIGHT with a weight of 1 to 1000`,
		`--queue: "y:1:-2": want NAME:WEIGHT:CONCURRENCY with a concurrency of 0 (no limit) to 10000`, `--queue: "z:1:two": want NAME:WEIGHT:CONCURRENCY`)
}

// swap exchanges two lines: flags are reported in the order of the settings.
func swap(lines []string, i, j int) []string {
	lines[i], lines[j] = lines[j], lines[i]
	return lines
}

func TestRedis_UnfitOnesAreRefusedInOneLine(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.WithTCP(), redistest.WithPassword(secret))
	_, host, _ := strings.Cut(server.URL(), "@")
	rdb := server.Client()
	try := func(url string, says string, env ...string) {
		t.Helper()
		s := newShell(t, append(env, "LIGHTERMAN_REDIS_URL="+url)...)
		s.run("enqueue", "a").refused(exitRedis, "enqueue: redis |"+says)
		s.run("lighterman", "status").refused(exitRedis, "status: redis |"+says)
		s.run("worker", "--http", "127.0.0.1:0").refused(exitRedis, "worker: redis |"+says)
	}
	try("redis://:"+secret+"@"+closedPort(t), "unreachable (connection refused); is it running?|LIGHTERMAN_REDIS_URL")
	try("unix:///no/such.sock", "/no/such.sock: unreachable (no such file")
	try("redis://:"+secret+"-not@"+host, "wrong user or password|redis.url_file")
	try("redis://"+host, "a password is required")
	try("redis://"+oldRedis(t), "version 6.2.1; want 7.0 or newer")

	newShell(t, "LIGHTERMAN_REDIS_URL="+server.URL(), "LIGHTERMAN_REDIS_PARTITIONS=4").run("enqueue", "a").ok()
	try(server.URL(), "redis.partitions|2; set it to 4", "LIGHTERMAN_REDIS_PARTITIONS=2")
	if err := rdb.ConfigSet(background, "maxmemory-policy", "allkeys-lru").Err(); err != nil {
		t.Fatal(err)
	}
	try(server.URL(), "maxmemory-policy allkeys-lru evicts|set it to noeviction", "LIGHTERMAN_REDIS_PARTITIONS=4")
}

// closedPort is an address on which nobody listens.
func closedPort(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// serveLines answers every line that clients send, until the test ends.
func serveLines(t testing.TB, answer func(line string) string) (addr string, asked <-chan string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 1000)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				for in := bufio.NewScanner(c); in.Scan(); {
					lines <- in.Text()
					fmt.Fprint(c, answer(in.Text()))
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return l.Addr().String(), lines
}

// oldRedis plays a Redis 6.2.1.
func oldRedis(t testing.TB) string {
	const info = "redis_version:6.2.1\r\nmaxmemory_policy:noeviction\r\n"
	addr, _ := serveLines(t, func(line string) string {
		switch strings.ToLower(line) { // RESP arrays; only the words matter
		case "info":
			return fmt.Sprintf("$%d\r\n%s\r\n", len(info), info)
		case "hello":
			return "-ERR unknown command 'HELLO'\r\n"
		}
		return ""
	})
	return addr
}

func TestInterrupt_WhileRedisIsSilent(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"enqueue", "a"}, {"lighterman", "ls"}} {
		addr, asked := serveLines(t, func(string) string { return "" })
		p := newShell(t, "LIGHTERMAN_REDIS_URL=redis://"+addr).start(args...)
		<-asked
		began := time.Now()
		p.signal(syscall.SIGINT)
		p.wait().refused(exitInterrupted, ": interrupted")
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("%v: heard only after %s, when the read timed out", args, took)
		}
	}
}

func TestVersion_OfEveryBinary(t *testing.T) {
	t.Parallel()
	s := newShell(t)
	for _, name := range []string{"lighterman", "worker", "enqueue"} {
		if out := s.run(name, "--version").ok(); !strings.HasPrefix(out, name+" version ") {
			t.Errorf("%s --version prints %q", name, out)
		}
	}
	if out := s.run("lighterman").ok(); !containsAll(out, []string{"dev ", "demo ", "enqueue ", "dead ", "config "}) {
		t.Errorf("lighterman alone prints no help: %s", out)
	}
}

// TestRedis_URLMistakesAreExit2: nobody was asked, and config check says them too.
func TestRedis_URLMistakesAreExit2(t *testing.T) {
	t.Parallel()
	for url, says := range map[string]string{
		"redis://h/-1":             "want a database of 0 or more",
		"redis://h:port":           "want ",
		"redis://h/zero":           "want ",
		"redis://h?ca_file=x":      "ca_file is for TLS",
		"redis+sentinel://h":       "master_name",
		"redis+cluster://h/3":      "a cluster has 0 alone",
		"redis://h?replica_only=1": "leave it out",
	} {
		s := newShell(t, "LIGHTERMAN_REDIS_URL="+url)
		for _, command := range []string{"enqueue a", "lighterman ls", "lighterman doctor", "worker --http 127.0.0.1:0", "lighterman config check"} {
			s.run(strings.Fields(command)...).refused(exitUsage, says)
		}
	}
	s := newShell(t, "LIGHTERMAN_REDIS_URL=")
	for _, command := range []string{"enqueue a", "lighterman dev", "worker", "lighterman config check"} {
		s.run(strings.Fields(command)...).refused(exitUsage, "LIGHTERMAN_REDIS_URL: set, and empty; want a URL")
	}
	newShell(t).run("lighterman", "ls", "--redis", "").refused(exitUsage, "--redis: set, and empty")
}
