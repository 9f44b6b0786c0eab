package redistest

import (
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"
)

const binary = "redis-server"

// Available reports whether a redis-server can be started here.
func Available() bool {
	_, err := exec.LookPath(binary)
	return err == nil
}

// require skips the test if there is no redis-server, and fails it where CI is
// set: there a skipped test is a lost one.
func require(t testing.TB) {
	t.Helper()
	if Available() {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("redistest: no %s in PATH, and CI is set: install it, nothing is proved without it", binary)
	}
	t.Skipf("redistest: NOT TESTED AGAINST A REAL REDIS: no %s in PATH (apt-get install redis-server, brew install redis)", binary)
}

// Server is a real redis-server that belongs to one test and ends with it. Its
// methods fail the test when something goes wrong, and may be called
// concurrently.
type Server struct {
	// Addr is the path of the unix socket, or host:port with WithTCP or Cluster.
	Addr string

	t testing.TB
	p *process
}

// Start starts a redis-server for t, waits until it answers, and ends it when t
// ends. It listens on a unix socket and keeps nothing unless options say
// otherwise. If t has failed by then, the server's log is printed.
func Start(t testing.TB, opts ...Option) *Server {
	t.Helper()
	require(t)
	var cfg config
	for _, o := range opts {
		o(&cfg)
	}
	p, err := launch(cfg)
	if err != nil {
		t.Fatalf("redistest: %v", err)
	}
	t.Cleanup(func() {
		if err := p.kill(); err != nil { // SIGTERM takes 100 ms, and there is nothing to save.
			t.Errorf("redistest: %v", err)
		}
		if t.Failed() {
			t.Logf("redistest: log of redis-server in %s:\n%s", p.dir, p.log(0))
		}
		if err := p.remove(); err != nil {
			t.Errorf("redistest: %v", err)
		}
	})
	return newServer(t, p)
}

func newServer(t testing.TB, p *process) *Server {
	s := &Server{Addr: p.sock, t: t, p: p}
	if p.port != 0 {
		s.Addr = p.tcpAddr()
	}
	return s
}

// Client returns a new client of the server that is closed when the test ends.
func (s *Server) Client() *redis.Client {
	s.t.Helper()
	rdb := redis.NewClient(s.p.options())
	s.t.Cleanup(func() { _ = rdb.Close() }) // A test may have closed it.
	return rdb
}

// ClusterClient returns a new cluster client of a server started with Cluster;
// it is closed when the test ends.
func (s *Server) ClusterClient() *redis.ClusterClient {
	s.t.Helper()
	if !s.p.cfg.cluster {
		s.t.Fatal("redistest: ClusterClient needs a server started with Cluster()")
	}
	rdb := redis.NewClusterClient(clusterOptions(s.p.options()))
	s.t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// URL returns the server's address in the form that redis.ParseURL accepts:
// redis://127.0.0.1:port/0 with WithTCP or Cluster (rediss:// with WithTLS), else
// unix:///path.
func (s *Server) URL() string {
	u := url.URL{Scheme: "unix", Path: s.Addr}
	if s.p.port != 0 {
		u = url.URL{Scheme: "redis", Host: s.Addr, Path: "/0"}
	}
	if s.p.cfg.tls {
		u.Scheme = "rediss"
	}
	if s.p.cfg.password != "" {
		u.User = url.UserPassword("", s.p.cfg.password)
	}
	return u.String()
}

// Pid returns the process ID of the server, which changes with Restart.
func (s *Server) Pid() int { return s.p.pid() }

// Dir returns the server's directory, which holds its log and its append-only
// files (in appendonlydir), for tests that damage them.
func (s *Server) Dir() string { return s.p.dir }

// Kill ends the server with SIGKILL and returns when it is gone.
func (s *Server) Kill() {
	s.t.Helper()
	s.check(s.p.kill())
}

// Stop freezes the server with SIGSTOP: it keeps its connections and answers
// nothing until Cont.
func (s *Server) Stop() {
	s.t.Helper()
	s.check(s.p.signal(syscall.SIGSTOP))
}

// Cont lets a server continue that Stop froze.
func (s *Server) Cont() {
	s.t.Helper()
	s.check(s.p.signal(syscall.SIGCONT))
}

// Restart starts the server again, at the same address and in the same
// directory, and returns when it answers. A server that still runs is ended with
// SIGTERM first. Without WithAppendOnly it comes back empty.
func (s *Server) Restart() {
	s.t.Helper()
	s.check(s.p.terminate())
	s.check(s.p.start())
}

// Log returns the end of the server's log.
func (s *Server) Log() string { return s.p.log(0) }

func (s *Server) check(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("redistest: %v", fmt.Errorf("server %s: %w", s.Addr, err))
	}
}
