package lua

import (
	"context"
	"sync"
	"time"
)

// maxBatch and batchBytes are the most operations and bytes of theirs that one script
// takes, so that none blocks Redis for long: about 10 ms per MiB. An operation with
// more bytes goes alone.
const (
	maxBatch   = 100
	batchBytes = 2 << 20
)

// within is how many of n operations, of which the i-th has so many bytes, make a batch:
// one at least.
func within(n int, bytes func(i int) int) int {
	n = min(n, maxBatch)
	for i, sum := 0, 0; i < n; i++ {
		if sum += bytes(i); sum > batchBytes && i > 0 {
			return i
		}
	}
	return n
}

// flights is how many batches of one script and partition may be under way at
// once: two keep the connection busy while replies are read; more would only
// make the batches smaller.
const flights = 2

// batcher lets callers that write at the same time share a round trip. The
// first caller's write leaves at once; what arrives while it is under way leaves
// together as soon as it is back. So an idle worker pays no delay and a busy one
// few round trips.
type batcher[In, Out any] struct {
	send func(ctx context.Context, partition int, in []In) ([]Out, error)
	size func(in *In) int // bytes that it carries; nil: next to none

	mu    sync.Mutex
	lanes map[int]*lane[In, Out]
}

type lane[In, Out any] struct {
	waiting []*ticket[In, Out]
	flying  int
}

// ticket is one caller's place in a batch.
type ticket[In, Out any] struct {
	in   In
	out  Out
	err  error
	done chan struct{}
}

// do sends one operation's write and waits for its answer. When ctx ends first
// the write may still happen, as with a lost reply.
func (b *batcher[In, Out]) do(ctx context.Context, partition int, in In) (Out, error) {
	t := &ticket[In, Out]{in: in, done: make(chan struct{})}
	b.mu.Lock()
	if b.lanes == nil {
		b.lanes = make(map[int]*lane[In, Out])
	}
	l := b.lanes[partition]
	if l == nil {
		l = &lane[In, Out]{}
		b.lanes[partition] = l
	}
	l.waiting = append(l.waiting, t)
	if l.flying < flights {
		l.flying++
		go b.fly(partition, l)
	}
	b.mu.Unlock()
	select {
	case <-t.done:
		return t.out, t.err
	case <-ctx.Done():
		var zero Out
		return zero, context.Cause(ctx)
	}
}

// fly sends batches until nobody waits.
func (b *batcher[In, Out]) fly(partition int, l *lane[In, Out]) {
	for {
		b.mu.Lock()
		n := within(len(l.waiting), func(i int) int { return b.bytes(l.waiting[i]) })
		if n == 0 {
			l.flying--
			b.mu.Unlock()
			return
		}
		batch := l.waiting[:n:n]
		l.waiting = l.waiting[n:]
		if len(l.waiting) == 0 {
			l.waiting = nil
		}
		b.mu.Unlock()
		b.deliver(partition, batch)
	}
}

func (b *batcher[In, Out]) bytes(t *ticket[In, Out]) int {
	if b.size == nil {
		return 0
	}
	return b.size(&t.in)
}

// batchTimeout bounds one round trip; the callers' own contexts bound their wait.
const batchTimeout = 10 * time.Second

func (b *batcher[In, Out]) deliver(partition int, batch []*ticket[In, Out]) {
	ctx, cancel := context.WithTimeout(context.Background(), batchTimeout)
	defer cancel()
	in := make([]In, len(batch))
	for i, t := range batch {
		in[i] = t.in
	}
	out, err := b.send(ctx, partition, in)
	for i, t := range batch {
		if err != nil {
			t.err = err
		} else {
			t.out = out[i]
		}
		close(t.done)
	}
}
