package consumer

import (
	"context"
	"sync"
)

// gate lets readers in, or holds them while one operation must run alone. Each
// time it closes, the claims that were handed out before are asked to hand over
// at their next stage's end.
type gate struct {
	mu       sync.Mutex
	closed   bool
	draining bool          // for good
	opened   chan struct{} // closed while the gate is open
	handOver chan struct{} // closed when the present claims are wanted back
	left     chan struct{} // closed by drain
}

func newGate() *gate {
	g := &gate{opened: make(chan struct{}), handOver: make(chan struct{}), left: make(chan struct{})}
	close(g.opened)
	return g
}

// pass waits until the gate is open; false when ctx ended first.
func (g *gate) pass(ctx context.Context) bool {
	for {
		g.mu.Lock()
		closed, opened := g.closed, g.opened
		g.mu.Unlock()
		if ctx.Err() != nil {
			return false
		}
		if !closed {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-opened:
		}
	}
}

// isOpen reports whether claims may be started now.
func (g *gate) isOpen() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return !g.closed
}

// wanted is the channel that a claim made now watches.
func (g *gate) wanted() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.handOver
}

// shut closes the gate and asks for what was handed out; false when it was shut
// already.
func (g *gate) shut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.shutLocked()
	return true
}

func (g *gate) shutLocked() {
	g.closed = true
	g.opened = make(chan struct{})
	close(g.handOver)
}

// drain shuts the gate for good; also what is handed out meanwhile is wanted back.
func (g *gate) drain() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.draining {
		g.draining = true
		close(g.left)
	}
	if !g.closed {
		g.shutLocked()
	}
}

// open opens the gate again, unless it drains.
func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.draining || !g.closed {
		return
	}
	g.closed = false
	g.handOver = make(chan struct{})
	close(g.opened)
}
