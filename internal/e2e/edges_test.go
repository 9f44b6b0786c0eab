package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestKilledAtEachEdge (F1): a worker is killed at every edge of the lifecycle,
// by a failpoint in itself, and another one finishes its work.
func TestKilledAtEachEdge(t *testing.T) {
	for _, kind := range []struct {
		name  string
		ask   func(int) ask
		own   bool
		edges []string
	}{
		{"chat with tools", tools, false, []string{"read:2", "claimed:2", "inferring:5", "inferred:5", "tool:4", "before_checkpoint:6", "after_checkpoint:6", "before_end:2", "after_end:2"}},
		{"own Func", twoStep, true, []string{"gather:3", "before_checkpoint:3", "after_checkpoint:3", "inferring:3", "before_end:3"}},
	} {
		edges := kind.edges
		if full {
			edges = nil
			for _, edge := range kind.edges {
				name := edge[:len(edge)-2]
				for _, n := range []int{1, 2, 4, 7} {
					edges = append(edges, fmt.Sprintf("%s:%d", name, n))
				}
			}
		}
		for _, edge := range edges {
			t.Run(kind.name+"/"+edge, func(t *testing.T) {
				t.Parallel()
				f := newFleet(t, time.Second)
				a := f.start(crew{slots: 4, latency: 20 * time.Millisecond, own: kind.own, failpoint: edge})
				f.start(crew{slots: 2, latency: 20 * time.Millisecond, own: kind.own})
				f.enqueue(48, kind.ask)
				f.awaitAll()
				held, saved := f.provesKill(a)
				if held == 0 && !strings.HasPrefix(edge, "read") && !strings.HasPrefix(edge, "after_end") || saved == 0 && strings.HasPrefix(edge, "after_checkpoint") {
					t.Errorf("%d operations with %d saved steps were hit: this proves nothing", held, saved)
				}
				f.check()
			})
		}
	}
}

// provesKill fails a test whose fault was not reached, and says what was hit.
func (f *fleet) provesKill(a *worker) (held, saved int) {
	f.Helper()
	f.awaitFault(a)
	<-a.done
	if !a.wasKilled() {
		f.Fatalf("%s was not killed: %s", a.name, a.cmd.ProcessState)
	}
	for _, d := range f.died() {
		held += len(d.held)
		for _, r := range d.held {
			saved += len(r.saved)
		}
	}
	repeats := f.readLedger().repeats()
	f.Logf("held at the kill: %d operations with %d saved steps; calls repeated: %d", held, saved, repeats)
	if repeats > held {
		f.Errorf("%d calls were repeated, but only %d operations were in flight", repeats, held)
	}
	return held, saved
}
