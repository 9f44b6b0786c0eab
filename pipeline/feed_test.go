package pipeline

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/checkpoint"
)

// sink takes frames, or says why it does not.
type sink struct {
	mu     sync.Mutex
	err    error
	frames []lm.Frame
	calls  int
}

func (s *sink) Frames(_ context.Context, _ lm.Claim, frames []lm.Frame) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
	if s.err == nil {
		s.frames = append(s.frames, frames...)
	}
	return s.err
}

func (s *sink) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *sink) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for _, f := range s.frames {
		b.WriteString(f.Data)
	}
	return b.String()
}

// feeding is an operation whose frames go to s.
func feeding(s *sink, followed bool) *Op {
	claim := lm.Claim{ID: "op", Followed: &atomic.Bool{}, Fence: lm.NewFence("w", 1, "t", "0-1", lm.Inferring)}
	claim.Followed.Store(followed)
	return newOp(New(Options{Frames: s}), claim, &checkpoint.Book{})
}

// held is the memory of an operation's frames that are not in Redis.
func held(o *Op) (bytes int) {
	o.feed.writing.Lock()
	defer o.feed.writing.Unlock()
	o.feed.mu.Lock()
	defer o.feed.mu.Unlock()
	for _, f := range o.feed.back.open {
		bytes += cap(f.data)
	}
	for _, f := range o.feed.back.tried {
		bytes += len(f.Data)
	}
	return bytes
}

// words is a text as models stream it.
var words = strings.SplitAfter(strings.Repeat("rivers bend where the bank gives way and the sand is laid down again ", 2), " ")

// A call that nobody follows costs its record, the function that takes its frames,
// and one buffer with its place in a list: no channel, timer or goroutine.
func TestFeed_ACallThatNobodyFollowsIsCheap(t *testing.T) {
	ops := make([]*Op, 0, 1100)
	for range cap(ops) {
		ops = append(ops, feeding(&sink{}, false))
	}
	before := runtime.NumGoroutine()
	allocs := testing.AllocsPerRun(1000, func() {
		o := ops[len(ops)-1]
		ops = ops[:len(ops)-1]
		speech := o.feed.begin(t.Context())
		take := speech.take
		for _, w := range words {
			take(lm.Frame{Type: lm.FrameToken, Data: w})
		}
		if err := speech.end(true); err != nil {
			t.Fatal(err)
		}
	})
	if allocs > 4 {
		t.Errorf("%v allocations, want at most 4", allocs)
	}
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines more", n-before)
	}
}

// What waits of a long answer is bounded: where nobody follows, and where Redis is
// away while somebody does.
func TestFeed_ALongAnswersMemoryIsBounded(t *testing.T) {
	piece := strings.Repeat("x", 100)
	for _, followed := range []bool{false, true} {
		s := &sink{err: errors.New("away")}
		o := feeding(s, followed)
		speech := o.feed.begin(t.Context())
		most := 0
		for i := range 20 * maxBacklog / len(piece) {
			speech.take(lm.Frame{Type: lm.FrameToken, Data: piece})
			if i%500 == 0 {
				if followed {
					_ = o.feed.write(t.Context()) // as its goroutine does now and then
				}
				most = max(most, held(o))
			}
		}
		if limit := 5 * maxBacklog / 2; most > limit || most < maxBacklog/2 {
			t.Errorf("followed %t: up to %d bytes held, want at most %d", followed, most, limit)
		}
		s.fail(nil)
		if err := speech.end(true); err != nil {
			t.Fatal(err)
		}
		if n := held(o); n != 0 {
			t.Errorf("followed %t: %d bytes held of a call that has ended", followed, n)
		}
	}
}

// What failed is written under its numbers before what came later, and once.
func TestFeed_WhatFailedGoesFirst(t *testing.T) {
	s := &sink{err: errors.New("away")}
	o := feeding(s, true)
	for i := range 5 {
		if i == 3 {
			s.fail(nil)
		}
		if err := o.feed.emit(t.Context(), lm.FrameProgress, fmt.Sprint(i, " ")); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.text(); got != "0 1 2 3 4 " {
		t.Errorf("%q", got)
	}
	for i, f := range s.frames {
		if f.Seq != uint64(i)+1 { //nolint:gosec // small
			t.Errorf("frame %d has number %d", i, f.Seq)
		}
	}
}

// However a followed call ends, nothing of it keeps running: cancelled, parked,
// failed over, lost, or in a panic.
func TestFeed_NothingRunsOn(t *testing.T) {
	before := runtime.NumGoroutine()
	for name, end := range map[string]func(c lm.Call) (lm.Answer, error){
		"cancelled": func(lm.Call) (lm.Answer, error) { return lm.Answer{}, lm.Errorf(lm.CallCancelled, "x") },
		"parked":    func(lm.Call) (lm.Answer, error) { return lm.Answer{}, lm.Park(time.Now(), "x") },
		"failed over": func(c lm.Call) (lm.Answer, error) {
			c.Stream(lm.Frame{Type: lm.FrameReset})
			c.Stream(lm.Frame{Type: lm.FrameToken, Data: "b"})
			return lm.Answer{}, nil
		},
		"panics": func(lm.Call) (lm.Answer, error) { panic("x") },
		"speaks on": func(c lm.Call) (lm.Answer, error) {
			go func() {
				for range 100 {
					c.Stream(lm.Frame{Type: lm.FrameToken, Data: "late"})
				}
			}()
			return lm.Answer{}, nil
		},
	} {
		for _, err := range []error{nil, errors.New("away"), lm.ErrFenced} {
			s := &sink{err: err}
			o := feeding(s, true)
			o.p.opts.Caller = caller(func(c lm.Call) (lm.Answer, error) {
				c.Stream(lm.Frame{Type: lm.FrameToken, Data: strings.Repeat("a", 2*frameSize)})
				return end(c)
			})
			func() {
				defer func() { _ = recover() }()
				_, _ = o.call(t.Context(), utterance{name: "turn:1", kind: "chat", model: "m"}, nil, 0)
			}()
			if o.feed.floor != nil {
				t.Errorf("%s, %v: the floor is kept", name, err)
			}
		}
	}
	for until := time.Now().Add(20 * time.Second); runtime.NumGoroutine() > before; <-time.After(time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("%d goroutines more", runtime.NumGoroutine()-before)
		}
	}
}

type caller func(c lm.Call) (lm.Answer, error)

func (f caller) Call(_ context.Context, c lm.Call) (lm.Answer, error) { return f(c) }
