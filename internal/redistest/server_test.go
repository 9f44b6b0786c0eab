package redistest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lighterman/lighterman/internal/redistest"
)

func TestStart_AnswersAndKeepsNothing(t *testing.T) {
	s := redistest.Start(t)
	rdb, ctx := s.Client(), t.Context()
	if err := rdb.Ping(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"maxmemory-policy": "noeviction", "appendonly": "no", "save": "", "port": "0"}
	for key, value := range want {
		got, err := rdb.ConfigGet(ctx, key).Result()
		if err != nil || got[key] != value {
			t.Errorf("CONFIG GET %s = %q, %v, want %q", key, got[key], err, value)
		}
	}
}

func TestStart_SendsNothingOfItsOwn(t *testing.T) {
	s := redistest.Start(t)
	rdb, ctx := s.Client(), t.Context()
	for range 3 {
		if err := rdb.Ping(ctx).Err(); err != nil {
			t.Fatal(err)
		}
	}
	stats, err := rdb.Info(ctx, "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(stats, "\r\n") {
		name, _, ok := strings.Cut(line, ":")
		switch strings.TrimPrefix(name, "cmdstat_") {
		case "ping", "hello", "info":
		default:
			if ok {
				t.Errorf("unexpected command on the server: %s", line)
			}
		}
	}
}

func TestStart_GoneAfterCleanup(t *testing.T) {
	var pid int
	var dir string
	for name, hurt := range map[string]func(*redistest.Server){
		"running": func(*redistest.Server) {},
		"stopped": (*redistest.Server).Stop,
		"killed":  (*redistest.Server).Kill,
	} {
		t.Run(name, func(t *testing.T) {
			s := redistest.Start(t)
			pid, dir = s.Pid(), s.Dir()
			hurt(s)
		})
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("%s: process %d after cleanup: %v, want %v", name, pid, err, syscall.ESRCH)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: directory %s after cleanup: %v", name, dir, err)
		}
	}
}

func TestKill_EndsTheProcess(t *testing.T) {
	s := redistest.Start(t)
	rdb := s.Client()
	s.Kill()
	if err := syscall.Kill(s.Pid(), 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process after Kill: %v, want %v", err, syscall.ESRCH)
	}
	if err := rdb.Ping(t.Context()).Err(); err == nil {
		t.Error("PING after Kill succeeded")
	}
	s.Kill() // A second one does nothing.
}

func TestRestart_KeepsDataWithAppendOnlyAfterKill(t *testing.T) {
	for name, tc := range map[string]struct {
		opts []redistest.Option
		want error
	}{
		"appendonly": {[]redistest.Option{redistest.WithAppendOnly()}, nil},
		"default":    {nil, redis.Nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := redistest.Start(t, tc.opts...)
			rdb, ctx, pid := s.Client(), t.Context(), s.Pid()
			if err := rdb.Set(ctx, "k", "v", 0).Err(); err != nil {
				t.Fatal(err)
			}
			s.Kill()
			s.Restart()
			if s.Pid() == pid {
				t.Error("process ID is unchanged")
			}
			if _, err := s.Client().Get(ctx, "k").Result(); !errors.Is(err, tc.want) {
				t.Errorf("GET after Restart: %v, want %v", err, tc.want)
			}
			s.Restart() // Of a server that runs.
			if err := s.Client().Ping(ctx).Err(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestStop_FreezesUntilCont(t *testing.T) {
	s := redistest.Start(t)
	rdb := s.Client()
	s.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := rdb.Ping(ctx).Err(); err == nil {
		t.Error("PING of a stopped server succeeded")
	}
	s.Cont()
	if err := rdb.Ping(t.Context()).Err(); err != nil {
		t.Errorf("PING after Cont: %v", err)
	}
}

func TestURL_IsWhatParseURLAccepts(t *testing.T) {
	for name, opts := range map[string][]redistest.Option{
		"unix":           nil,
		"unix, password": {redistest.WithPassword(`p@s "s\#w:r/d`)},
		"tcp":            {redistest.WithTCP()},
		"tcp, password":  {redistest.WithTCP(), redistest.WithPassword("p@ss")},
		"cluster":        {redistest.Cluster()},
	} {
		t.Run(name, func(t *testing.T) {
			s := redistest.Start(t, opts...)
			o, err := redis.ParseURL(s.URL())
			if err != nil {
				t.Fatal(err)
			}
			rdb := redis.NewClient(o)
			defer rdb.Close()
			if err := rdb.Ping(t.Context()).Err(); err != nil {
				t.Errorf("PING at %s: %v", s.URL(), err)
			}
			if err := s.Client().Ping(t.Context()).Err(); err != nil {
				t.Errorf("PING by Client: %v", err)
			}
		})
	}
}

func TestWithPassword_IsRequired(t *testing.T) {
	s := redistest.Start(t, redistest.WithPassword("secret"))
	o := redistest.Options("unix", s.Addr)
	rdb := redis.NewClient(o)
	defer rdb.Close()
	if err := rdb.Ping(t.Context()).Err(); err == nil || !strings.HasPrefix(err.Error(), "NOAUTH") {
		t.Errorf("PING without password: %v, want NOAUTH", err)
	}
}

func TestWithConfig_OverridesTheDefault(t *testing.T) {
	s := redistest.Start(t, redistest.WithConfig("maxmemory-policy", "allkeys-lru"), redistest.WithConfig("save", "900 1 300 10"))
	got, err := s.Client().ConfigGet(t.Context(), "maxmemory-policy").Result()
	if err != nil || got["maxmemory-policy"] != "allkeys-lru" {
		t.Errorf("maxmemory-policy = %v, %v", got, err)
	}
}

func TestCluster_RaisesCrossSlot(t *testing.T) {
	t.Parallel() // It waits for 2 s.
	s := redistest.Start(t, redistest.Cluster())
	const script = `redis.call('SET', KEYS[1], 1); return redis.call('SET', KEYS[2], 1)`
	for name, rdb := range map[string]redis.UniversalClient{"client": s.Client(), "cluster client": s.ClusterClient()} {
		if err := rdb.Eval(t.Context(), script, []string{"{a}1", "{b}1"}).Err(); err == nil || !strings.HasPrefix(err.Error(), "CROSSSLOT") {
			t.Errorf("%s: EVAL with keys in two slots: %v, want CROSSSLOT", name, err)
		}
		if err := rdb.Eval(t.Context(), script, []string{"{a}1", "{a}2"}).Err(); err != nil {
			t.Errorf("%s: EVAL with keys in one slot: %v", name, err)
		}
	}
}

func TestCluster_HasItsAddressInURL(t *testing.T) {
	s := redistest.SharedCluster(t)
	if want := "redis://" + s.Addr + "/0"; s.URL() != want {
		t.Errorf("URL = %s, want %s", s.URL(), want)
	}
}

func TestCluster_KeepsItsSlotsOverRestart(t *testing.T) {
	t.Parallel() // It waits for 2 s.
	s := redistest.Start(t, redistest.Cluster())
	rdb := s.ClusterClient()
	s.Kill()
	s.Restart()
	if err := rdb.Set(t.Context(), "k", "v", 0).Err(); err != nil {
		t.Errorf("SET after Restart: %v", err)
	}
}

func TestStart_WithoutServerSkipsOrFailsInCI(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if redistest.Available() {
		t.Fatal("Available without a redis-server in PATH")
	}
	for ci, want := range map[string]string{"": "skip", "true": "fatal"} {
		t.Setenv("CI", ci)
		f := &fakeT{TB: t}
		done := make(chan struct{})
		go func() { // Skip and Fatal end the goroutine.
			defer close(done)
			redistest.Start(f)
		}()
		<-done
		if f.ended != want {
			t.Errorf("CI=%q: Start ended by %q, want %q", ci, f.ended, want)
		}
	}
}

// fakeT records how a test was ended, without ending the one around it. It ends
// the goroutine that runs the test, as testing.T does.
type fakeT struct {
	testing.TB
	ended, text string
}

func (f *fakeT) Helper()                           {}
func (f *fakeT) Skipf(format string, args ...any)  { f.end("skip", fmt.Sprintf(format, args...)) }
func (f *fakeT) Fatalf(format string, args ...any) { f.end("fatal", fmt.Sprintf(format, args...)) }

func (f *fakeT) end(how, text string) {
	f.ended, f.text = how, text
	runtime.Goexit()
}

func TestStart_ReportsWhatTheServerSays(t *testing.T) {
	f := &fakeT{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		redistest.Start(f, redistest.WithConfig("no-such-directive", "1"))
	}()
	<-done
	if !strings.Contains(f.text, "no-such-directive") {
		t.Errorf("Start of a bad configuration says %q, want the server's complaint", f.text)
	}
}

func TestStart_SocketPathIsShort(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), strings.Repeat("long", 30)))
	if s := redistest.Start(t); len(s.Addr) > 40 {
		t.Errorf("socket path %s has %d bytes", s.Addr, len(s.Addr))
	}
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		redistest.Start(b)
	}
}
