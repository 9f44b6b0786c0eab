package redistest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

// sharedWait bounds how long a test waits for the one that has a shared server.
const sharedWait = time.Minute

var (
	mainRuns      atomic.Bool // Main runs, and will end the shared servers
	shared        = newSharedServer(config{})
	sharedCluster = newSharedServer(config{tcp: true, cluster: true})
)

// Main runs the tests of a package, ends the servers of Shared and SharedCluster,
// and fails if a goroutine is left. It does not return.
//
//	func TestMain(m *testing.M) { redistest.Main(m) }
func Main(m *testing.M, opts ...goleak.Option) {
	// Google's SDK has it running from the start of the process.
	opts = append(opts, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
	goleak.VerifyTestMain(runner{m}, opts...)
}

// runner ends the shared servers between the last test and the check for leaks.
type runner struct{ m *testing.M }

func (r runner) Run() int {
	mainRuns.Store(true)
	code := r.m.Run()
	if err := errors.Join(shared.end(), sharedCluster.end()); err != nil {
		fmt.Fprintln(os.Stderr, "redistest:", err)
		return max(code, 1)
	}
	return code
}

// Shared returns the one redis-server of the test binary, on a unix socket,
// emptied: no keys, no scripts, no statistics. It is started at the first call
// and ended by Main, which the package's TestMain must call.
//
// A test has it until it ends; another test that asks meanwhile waits, so tests
// that use it gain nothing from being parallel. A subtest of the one that has it
// gets it too, emptied. A test that changes the configuration uses Start instead.
func Shared(t testing.TB) *Server {
	t.Helper()
	return shared.lend(t)
}

// SharedCluster is Shared with the option Cluster, which takes 2 s to start.
func SharedCluster(t testing.TB) *Server {
	t.Helper()
	return sharedCluster.lend(t)
}

// sharedServer is a server that goes from test to test.
type sharedServer struct {
	cfg  config
	turn chan struct{} // holds one value while a test has the server

	mu     sync.Mutex
	p      *process // nil before the first use
	holder string   // name of the test that has it, "" if none
}

func newSharedServer(cfg config) *sharedServer {
	return &sharedServer{cfg: cfg, turn: make(chan struct{}, 1)}
}

// lend gives t the server until t ends.
func (s *sharedServer) lend(t testing.TB) *Server {
	t.Helper()
	require(t)
	if !mainRuns.Load() {
		t.Fatalf("redistest: a shared server needs func TestMain(m *testing.M) { redistest.Main(m) }")
	}
	if !s.heldAbove(t) {
		s.take(t)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.emptyLocked(); err != nil {
		t.Fatalf("redistest: %v", err)
	}
	t.Cleanup(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.p == nil {
			return
		}
		_ = s.p.signal(syscall.SIGCONT) // In case t has stopped it; gone is fine too.
		if t.Failed() {
			t.Logf("redistest: log of the shared redis-server:\n%s", s.p.log(0))
		}
	})
	return newServer(t, s.p)
}

// heldAbove reports whether t is a subtest of the test that has the server, or
// that test itself.
func (s *sharedServer) heldAbove(t testing.TB) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.holder != "" && strings.HasPrefix(t.Name()+"/", s.holder+"/")
}

// take waits for the server and registers that t gives it back.
func (s *sharedServer) take(t testing.TB) {
	t.Helper()
	select {
	case s.turn <- struct{}{}:
	case <-time.After(sharedWait):
		s.mu.Lock()
		holder := s.holder
		s.mu.Unlock()
		t.Fatalf("redistest: %s still has the shared server after %s", holder, sharedWait)
	}
	s.hold(t.Name())
	t.Cleanup(func() {
		s.hold("")
		<-s.turn
	})
}

func (s *sharedServer) hold(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.holder = name
}

// emptyLocked starts the server, also again if a test has killed it, and removes
// what the last test left in it.
func (s *sharedServer) emptyLocked() error {
	switch {
	case s.p == nil:
		p, err := launch(s.cfg)
		if err != nil {
			return err
		}
		s.p = p
		return nil
	case !s.p.running():
		return s.p.start()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	rdb := redis.NewClient(s.p.options())
	defer rdb.Close()
	if _, err := rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.FlushAll(ctx)
		p.ScriptFlush(ctx)
		p.ConfigResetStat(ctx)
		return nil
	}); err != nil {
		return fmt.Errorf("empty the shared server: %w", err)
	}
	return nil
}

// end ends the server, after the last test.
func (s *sharedServer) end() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.p == nil {
		return nil
	}
	if err := s.p.kill(); err != nil {
		return err
	}
	return s.p.remove()
}
