package producer

import (
	"context"
	"errors"
	"fmt"
	"sync"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

// Bounds of what goes out together. A flight is at most 1,000 operations, ten
// scripts in one pipeline, and about 8 MiB, so that no script blocks Redis for
// long; two flights per partition keep the connection busy while replies are
// read, and more would only make them smaller.
const (
	flightOps   = 1000
	flightBytes = 8 << 20
	flights     = 2
)

// lanes let goroutines that enqueue at the same time share round trips: the
// first operation of a partition leaves at once, what arrives while it is under
// way leaves together. There is one lane per partition, so that on Redis Cluster
// a master that is away holds up only its own.
type lanes struct {
	send func(context.Context, []lua.Operation) []lua.Accepted
	ctx  context.Context // of the flights; ends at close
	stop context.CancelFunc

	mu     sync.Mutex
	lane   map[int]*lane
	closed bool
	group  sync.WaitGroup // goroutines in fly; grows only while not closed
}

// lane is one partition's. Guarded by the lanes' mu.
type lane struct {
	waiting []*ticket // bounded by the callers: each waits for its own
	flying  int
}

// ticket is one caller's operation. answer is written before done is closed.
type ticket struct {
	op     lua.Operation
	answer lua.Accepted
	done   chan struct{}
}

func newLanes(send func(context.Context, []lua.Operation) []lua.Accepted) *lanes {
	ctx, stop := context.WithCancel(context.Background())
	return &lanes{send: send, ctx: ctx, stop: stop, lane: make(map[int]*lane)}
}

// enqueue sends one operation and returns its answer. When ctx ends first, the
// operation may still be accepted.
func (l *lanes) enqueue(ctx context.Context, op lua.Operation) lua.Accepted {
	t := &ticket{op: op, done: make(chan struct{})}
	if !l.join(t) {
		return lua.Accepted{Err: ErrClosed}
	}
	select {
	case <-t.done:
		if errors.Is(t.answer.Err, context.Canceled) { // by close: no caller's context goes along
			t.answer.Err = fmt.Errorf("%w: %w", ErrClosed, t.answer.Err)
		}
		return t.answer
	case <-ctx.Done():
		return lua.Accepted{Err: context.Cause(ctx)}
	}
}

func (l *lanes) join(t *ticket) bool {
	p := t.op.ID.Partition()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	if l.lane[p] == nil {
		l.lane[p] = &lane{}
	}
	on := l.lane[p]
	on.waiting = append(on.waiting, t)
	if on.flying < flights {
		on.flying++
		l.group.Go(func() { l.fly(on) })
	}
	return true
}

// fly sends flights until nobody waits.
func (l *lanes) fly(on *lane) {
	for {
		flight := l.board(on)
		if flight == nil {
			return
		}
		ops := make([]lua.Operation, len(flight))
		for i, t := range flight {
			ops[i] = t.op
		}
		for i, answer := range l.send(l.ctx, ops) {
			flight[i].answer = answer
			close(flight[i].done)
		}
	}
}

// board takes the next flight; nil ends the caller's flying.
func (l *lanes) board(on *lane) []*ticket {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(on.waiting) == 0 {
		on.flying--
		return nil
	}
	n, bytes := 0, 0
	for n < min(len(on.waiting), flightOps) && (n == 0 || bytes < flightBytes) {
		bytes += weight(on.waiting[n].op.Request)
		n++
	}
	flight := on.waiting[:n:n]
	on.waiting = on.waiting[n:]
	if len(on.waiting) == 0 {
		on.waiting = nil // lets the array go
	}
	return flight
}

// close stops all flights and waits for them; whoever still waits is answered.
func (l *lanes) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.stop()
	l.group.Wait()
}

// weight is about how many bytes a request takes on the wire.
func weight(r *lm.Request) int {
	n := len(r.Body) + 512
	for k, v := range r.Meta {
		n += len(k) + len(v)
	}
	return n
}
