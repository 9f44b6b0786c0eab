// Package embedded runs a Redis inside the process, for trying Lighterman out
// without installing one: a miniredis that listens on a TCP address and whose
// keys expire as time passes. Nothing that it holds survives the process.
package embedded

import (
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// DefaultAddr is where Lighterman processes of one machine find each other when
// no Redis is configured.
const DefaultAddr = "127.0.0.1:7379"

// ErrAddrInUse is returned by Start when somebody listens on the address
// already: perhaps another Lighterman, which the caller may then join.
var ErrAddrInUse = errors.New("embedded redis: address in use")

// Bounds of the time between two ticks of the clock.
const (
	minTick = 10 * time.Millisecond
	maxTick = 500 * time.Millisecond
	// tickShare is by how much a pause is longer than the tick before it.
	tickShare = 20
)

// Server is a running embedded Redis. Its methods may be called concurrently.
type Server struct {
	m    *miniredis.Miniredis
	addr string // kept here: miniredis cannot say it once closed
	once sync.Once
	stop chan struct{} // closed by Close
	done chan struct{} // closed when the clock has stopped
}

// Start listens on addr, for example 127.0.0.1:7379, or port 0 for any free one.
// It returns an error that wraps ErrAddrInUse if the address is taken. The caller
// must Close the server.
//
// TIME, stream IDs and idle times are the wall clock's. A key expires up to one
// tick early, never late by more than one: 10 ms with up to some thousand keys,
// 500 ms with 100,000.
func Start(addr string) (*Server, error) {
	m := miniredis.NewMiniRedis()
	if err := m.StartAddr(addr); err != nil {
		m.CtxCancel()
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("%w: %w", ErrAddrInUse, err)
		}
		return nil, fmt.Errorf("start embedded redis: %w", err)
	}
	s := &Server{m: m, addr: m.Addr(), stop: make(chan struct{}), done: make(chan struct{})}
	go s.runClock()
	return s, nil
}

// runClock makes miniredis's keys grow older as time passes; by themselves they
// do not. miniredis has a mode for this (ClockTTL), but in it every command, also
// each within a script, sorts and visits all keys: 2 ms per command with 10,000
// of them. Here a tick does so, the pause after it grows with what it costs, and
// nothing expires in the middle of a script.
func (s *Server) runClock() {
	defer close(s.done)
	timer := time.NewTimer(minTick)
	defer timer.Stop()
	last := time.Now()
	for {
		select {
		case <-s.stop:
			return
		case <-timer.C:
		}
		now := time.Now() // Monotonic: a step of the wall clock expires nothing.
		s.m.FastForward(now.Sub(last))
		last = now
		timer.Reset(pause(time.Since(now)))
	}
}

// pause returns how long to wait after a tick that took cost.
func pause(cost time.Duration) time.Duration {
	return min(max(tickShare*cost, minTick), maxTick)
}

// Addr returns the host and port on which the server listens.
func (s *Server) Addr() string { return s.addr }

// URL returns the address in the form that redis.ParseURL accepts.
func (s *Server) URL() string { return "redis://" + s.addr + "/0" }

// Close ends the server and drops what it holds: it stops listening, closes all
// connections, also those that wait in a blocking command, and returns when its
// goroutines have ended. Further calls do nothing.
func (s *Server) Close() {
	s.once.Do(func() {
		close(s.stop)
		<-s.done
		s.m.Close()
	})
}
