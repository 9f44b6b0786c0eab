package lua

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
)

// refused opens a URL, and holds the error against what it must and must not say.
func refused(t *testing.T, url string, opts Options, says ...string) {
	t.Helper()
	s, err := Open(ctx, url, opts)
	if err == nil {
		_ = s.Close()
		t.Fatalf("Open(%q) succeeded", url)
	}
	text := err.Error()
	if !errors.Is(err, ErrRedis) || strings.Contains(text, "\n") || strings.Contains(text, "s3cret") || len(text) > 400 {
		t.Errorf("%q: want one line of ErrRedis without the password", text)
	}
	for _, want := range says {
		if !strings.Contains(text, want) {
			t.Errorf("%q does not say %q", text, want)
		}
	}
}

func TestOpen_SaysWhatIsWrong(t *testing.T) {
	t.Run("url", func(t *testing.T) {
		refused(t, "http://:s3cret@host", Options{}, "want redis://")
		refused(t, "redis://:s3cret@host:notaport", Options{}, "want redis://")
		refused(t, "redis://:s3cret@host/notadb", Options{}, "want redis://")
		refused(t, "redis+cluster://:s3cret@host:port", Options{}, "want redis://")
		refused(t, "redis+sentinel://:s3cret@%zz", Options{}, "want redis://")
		refused(t, "s3cret", Options{}, "want redis://")
		refused(t, "", Options{}, "want redis://")
	})
	t.Run("unreachable", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := l.Addr().String()
		l.Close()
		refused(t, "redis://:s3cret@"+addr, Options{}, "unreachable", "is it running", "LIGHTERMAN_REDIS_URL", addr)
		refused(t, "redis+cluster://:s3cret@"+addr, Options{}, "unreachable")
	})
	t.Run("silent", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // accepts in the kernel and never answers
		short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		defer cancel()
		s, err := Open(short, "redis://:s3cret@"+l.Addr().String(), Options{})
		if err == nil {
			_ = s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "unreachable") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%v", err)
		}
	})
	t.Run("old version", func(t *testing.T) {
		addr := fakeRedis(t, "redis_version:6.2.14\r\nmaxmemory_policy:noeviction\r\n")
		refused(t, "redis://"+addr, Options{}, "version 6.2.14", "7.0 or newer")
	})
}

// fakeRedis answers INFO with a text and nothing else.
func fakeRedis(t *testing.T, info string) string {
	return fakeRedisWith(t, func(word string) string {
		if word == "info" {
			return fmt.Sprintf("$%d\r\n%s\r\n", len(info), info)
		}
		return ""
	})
}

// fakeRedisWith answers a word of a command with what answer says, and HELLO with an
// error.
func fakeRedisWith(t *testing.T, answer func(word string) string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				lines := bufio.NewScanner(c)
				for lines.Scan() { // RESP arrays; only the words matter
					switch word := strings.ToLower(lines.Text()); word {
					case "hello":
						fmt.Fprint(c, "-ERR unknown command\r\n")
					default:
						fmt.Fprint(c, answer(word))
					}
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().String()
}

func TestOpen_ChecksPasswordPolicyAndPartitions(t *testing.T) {
	s := redistest.Start(t, redistest.WithTCP(), redistest.WithPassword("s3cret"))
	url := s.URL()
	host := strings.SplitN(url, "@", 2)[1]
	refused(t, "redis://:s3cret-not@"+host, Options{}, "wrong user or password", "redis.url_file")
	refused(t, "redis://"+host, Options{}, "a password is required")

	first, err := Open(ctx, url, Options{Partitions: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if err := first.Ping(ctx); err != nil || first.Partitions() != 4 || first.Options().Retention != time.Hour {
		t.Errorf("%v, options %+v", err, first.Options())
	}
	again, err := Open(ctx, url, Options{Partitions: 4})
	if err != nil {
		t.Fatal(err)
	}
	_ = again.Close()
	refused(t, url, Options{}, "redis.partitions 4", "says 1", "set it to 4")
	if other, err := Open(ctx, url, Options{Prefix: "other"}); err != nil {
		t.Errorf("another prefix is another fleet: %v", err)
	} else {
		_ = other.Close()
	}

	rdb := s.Client()
	rdb.ConfigSet(ctx, "maxmemory-policy", "allkeys-lru")
	refused(t, url, Options{Partitions: 4}, "allkeys-lru", "evicts", "noeviction")
	rdb.ConfigSet(ctx, "maxmemory-policy", "noeviction")

	// A user who may only read can look at a fleet, and begin none.
	if err := rdb.Do(ctx, "acl", "setuser", "reader", "on", ">s3cret", "~*", "+@read", "+info").Err(); err != nil {
		t.Fatal(err)
	}
	if looking, err := Open(ctx, "redis://reader:s3cret@"+host, Options{Partitions: 4}); err != nil {
		t.Errorf("a reader: %v", err)
	} else {
		_ = looking.Close()
	}
	refused(t, "redis://reader:s3cret@"+host, Options{Partitions: 4, Prefix: "none"}, "lacks a permission")

	// At maxmemory a worker must be able to start, or nothing frees memory.
	rdb.ConfigSet(ctx, "maxmemory", "1")
	for _, prefix := range []string{"", "new"} {
		at, err := Open(ctx, url, Options{Prefix: prefix, Partitions: 4})
		if err != nil {
			t.Errorf("at maxmemory, prefix %q: %v", prefix, err)
			continue
		}
		_ = at.Close()
	}
}

func TestOpen_Forms(t *testing.T) {
	if s, err := Open(ctx, redistest.Shared(t).URL(), Options{}); err != nil {
		t.Errorf("unix: %v", err)
	} else {
		_ = s.Close()
	}
	c := redistest.SharedCluster(t).URL()
	s, err := Open(ctx, strings.Replace(c[:strings.LastIndexByte(c, '/')], "redis://", "redis+cluster://", 1), Options{Partitions: 8})
	if err != nil {
		t.Fatalf("cluster: %v", err)
	}
	defer s.Close()
	var ops []Operation
	for i := range 40 {
		ops = append(ops, Operation{ID: lm.NewTraceID(i%8, fmt.Sprint(i)), Request: request(`1`)})
	}
	for _, a := range s.Enqueue(ctx, ops) {
		if a.Err != nil {
			t.Error(a.Err)
		}
	}
}

// TestStore_OutageOfRedisIsRidden: a lost connection in the middle of it is asked
// again, with one effect; what does not pass is not.
func TestStore_OutageOfRedisIsRidden(t *testing.T) {
	server := redistest.Start(t, redistest.WithAppendOnly(), redistest.WithTCP())
	e := envOn(t, "redis", server.Client(), Options{Patience: 20 * time.Second})
	c := e.in("w1", "0-a", lm.Inferring)
	e.rdb.Do(ctx, "config", "set", "appendfsync", "always")
	e.advance(c, lm.ToolExecuting)
	server.Kill()
	done := make(chan error, 1)
	go func() {
		done <- e.s.Finish(ctx, c, Ending{Path: []lm.State{lm.Errored, lm.Completed}, Result: lm.Result{Outcome: lm.Cancelled}})
	}()
	time.Sleep(50 * time.Millisecond)
	server.Restart()
	if err := <-done; err != nil {
		t.Fatalf("finish over an outage: %v", err)
	}
	e.want("0-a", "state", "COMPLETED")
	e.counts("cancelled=1")

	server.Kill()
	e.s.opts.Patience = 30 * time.Millisecond
	start := time.Now()
	a := e.accept(Operation{ID: "0-b", Request: request(`1`)})
	if !IsPassing(a.Err) || !errors.Is(a.Err, lm.ErrUnavailable) || time.Since(start) > 3*time.Second {
		t.Errorf("%+v after %v", a, time.Since(start))
	}
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	e.s.opts.Patience = time.Minute
	if _, err := e.s.Claim(short, "w1", time.Second, []Entry{{Stream: queue, ID: "1-1", Fields: []string{"t", "0-a"}}}); err == nil {
		t.Error("a claim without Redis succeeded")
	}
}

// TestOpen_WaitsWhileRedisLoads and tells it once.
func TestOpen_WaitsWhileRedisLoads(t *testing.T) {
	loads := 3
	addr := fakeRedisWith(t, func(word string) string {
		switch {
		case word == "info":
			return "$19\r\nredis_version:7.0.1\r\n"
		case word == "hget" && loads > 0:
			loads--
			return "-LOADING Redis is loading the dataset in memory\r\n"
		case word == "hget":
			return "$1\r\n1\r\n"
		default:
			return ""
		}
	})
	var told []string
	s, err := Open(ctx, "redis://"+addr, Options{Waiting: func(why string) { told = append(told, why) }})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if loads != 0 || len(told) != 1 || !strings.Contains(told[0], "loads its data") {
		t.Errorf("%d answers LOADING are left; told %q", loads, told)
	}
	loads = 1 << 30
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if _, err := Open(short, "redis://"+addr, Options{}); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, ErrRedis) {
		t.Errorf("one that loads for ever: %v", err)
	}
}

// TestOpen_URLMistakesAreTold: they are ErrURL, and nobody is asked.
func TestOpen_URLMistakesAreTold(t *testing.T) {
	for url, says := range map[string]string{
		"redis://h/-1":                        "want a database of 0 or more",
		"redis://h/0?db=-1":                   "want a database of 0 or more",
		"unix:///run/r.sock?db=-3":            "want a database of 0 or more",
		"redis+sentinel://h/-1?master_name=m": "want a database of 0 or more",
		"redis+cluster://h/3":                 "a cluster has 0 alone",
		"redis://h:port":                      "want redis://",
		"redis://h/zero":                      "want redis://",
		"redis://h?nothing=1":                 "want redis://",
		"redis+sentinel://h":                  "master_name",
		"redis://h?ca_file=x":                 "want rediss://",
		"redis+cluster://h?read_only=1":       "leave it out",
	} {
		_, err := Open(ctx, url, Options{})
		if !errors.Is(err, ErrURL) || !errors.Is(err, ErrRedis) || !strings.Contains(err.Error(), says) || !strings.HasPrefix(err.Error(), "redis URL ") {
			t.Errorf("%s: %v", url, err)
		}
		if err := ValidURL(url); !errors.Is(err, ErrURL) {
			t.Errorf("%s: ValidURL says %v", url, err)
		}
	}
	for _, url := range []string{"redis://h", "redis://h/3", "redis://h/?db=2", "unix:///run/r.sock?db=1", "redis+cluster://h/0", "redis+cluster://h/", "redis+sentinel://h/2?master_name=m"} {
		if err := ValidURL(url); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}
