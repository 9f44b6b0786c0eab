package consumer

import (
	"container/heap"
	"context"
	"sync"
	"time"

	lm "github.com/lighterman/lighterman"
)

// What is set aside for a short time comes back when it is due, not at the next tick:
// the worker that set it aside remembers it and promotes it. If the worker dies or
// forgets it, the tick does so as before.

// Bounds of what a worker remembers of what it set aside.
const (
	alarmsMost  = 1000            // operations of a partition
	alarmsPage  = 100             // operations that one script promotes
	alarmsDelay = 5 * time.Second // longer ones wait for the tick
)

// alarm is when an operation is due.
type alarm struct {
	at time.Time // by the clock of this process
	id lm.TraceID
}

// alarms are the operations of one partition that a worker set aside for a short time.
type alarms struct {
	earlier chan struct{} // holds one value when another one is the first

	mu      sync.Mutex
	pending alarmHeap
}

func newAlarms(partitions int) []*alarms {
	all := make([]*alarms, partitions)
	for p := range all {
		all[p] = &alarms{earlier: make(chan struct{}, 1)}
	}
	return all
}

// set remembers an operation that was set aside just now. The server's clock decides
// whether it is due, and clocks drift: it is asked a little later than by this one.
func (a *alarms) set(id lm.TraceID, delay time.Duration) {
	if delay > alarmsDelay {
		return
	}
	at := time.Now().Add(delay + delay/1000 + time.Millisecond)
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.pending) >= alarmsMost {
		return
	}
	heap.Push(&a.pending, alarm{at, id})
	if a.pending[0].id == id {
		signal(a.earlier)
	}
}

// due takes out up to 100 that are due, and says for how long nothing more is.
func (a *alarms) due(now time.Time) (ids []lm.TraceID, next time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.pending) > 0 && len(ids) < alarmsPage {
		if wait := a.pending[0].at.Sub(now); wait > 0 {
			return ids, wait
		}
		ids = append(ids, heap.Pop(&a.pending).(alarm).id)
	}
	if len(a.pending) > 0 {
		return ids, 0
	}
	return ids, alarmsDelay
}

// watchAlarms promotes what this worker set aside for a short time in a partition, until
// ctx ends. What cannot be promoted, or is not due by the server's clock, waits for the
// tick.
func (c *Consumer) watchAlarms(ctx context.Context, partition int) {
	timer := time.NewTimer(alarmsDelay)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-c.alarms[partition].earlier:
		}
		ids, next := c.alarms[partition].due(time.Now())
		timer.Reset(next)
		if len(ids) == 0 {
			continue
		}
		if _, err := c.store.PromoteEach(ctx, partition, ids); err != nil && ctx.Err() == nil {
			c.log.Warn().Err(err).Int("partition", partition).Msg("promote at its time; the tick does it")
		}
	}
}

// alarmHeap orders alarms by time, for container/heap.
type alarmHeap []alarm

func (h alarmHeap) Len() int           { return len(h) }
func (h alarmHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h alarmHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push adds an alarm.
func (h *alarmHeap) Push(x any) { *h = append(*h, x.(alarm)) }

// Pop takes the last one.
func (h *alarmHeap) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	*h = (*h)[:last]
	return x
}
