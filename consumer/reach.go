package consumer

import (
	"context"
	"time"

	"github.com/lighterman/lighterman/lua"
)

// reach is what a reader may read at a moment: the queues that are neither paused
// nor at their limit. The others' streams are not read at all, so that their
// entries wait where everybody finds them.
type reach struct {
	streams []lua.Stream // resume streams first
	open    []bool       // by queue, in the order of the options
	seats   int          // the least that a limited queue among them has left; 0 without one
	block   time.Duration
	changed <-chan struct{} // closed when another queue may be read, or one may not
	freed   <-chan struct{} // closed when a queue at its limit has room again
}

// limitedBlock is for how long a worker of one partition blocks while a queue is at
// its limit. The read was begun without that queue's streams, and nothing ends it
// when a place becomes free: so it must be short. With more partitions each
// of their readers blocks that much longer: together they still look at the limit
// every 50 ms, and cost no more than one would.
const limitedBlock = 50 * time.Millisecond

// reach says what may be read now. The channels are taken before anything is looked
// at, so that no change is missed.
func (r *reader) reach() reach {
	c := r.c
	at := reach{changed: c.orders.changes(), freed: c.slots.freed(), open: make([]bool, len(c.opts.Queues)), block: c.opts.Block}
	for i, q := range c.opts.Queues {
		left := c.slots.left(q.Name)
		switch {
		case c.orders.isPaused(q.Name):
			at.block = min(at.block, c.opts.Orders*45/100) // see follow
		case left == 0:
			at.block = min(at.block, limitedBlock*time.Duration(c.store.Partitions()))
		default:
			at.open[i] = true
			if left > 0 && (at.seats == 0 || left < at.seats) {
				at.seats = left
			}
		}
	}
	for _, resume := range []bool{true, false} {
		for i, q := range c.opts.Queues {
			if at.open[i] {
				at.streams = append(at.streams, lua.Stream{Partition: r.partition, Queue: q.Name, Resume: resume})
			}
		}
	}
	return at
}

// wait waits until there may be something to read; false when ctx ended.
func (at reach) wait(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-at.changed:
	case <-at.freed:
	}
	return true
}

// count is how many entries of each stream a blocking read may take: its part of
// the free slots, and of the least room that a limited queue has over its two
// streams. It is 1 at least; what is too much then is put back.
func (at reach) count(free int) int {
	count := free / len(at.streams)
	if at.seats > 0 {
		count = min(count, at.seats/2)
	}
	return max(1, count)
}

// shares gives all room to the resume streams first, then deals it to the queues.
func (at reach) shares(room int, counts []int) []lua.Share {
	shares := make([]lua.Share, 0, len(at.streams))
	for _, st := range at.streams[:len(at.streams)/2] {
		shares = append(shares, lua.Share{Stream: st, Count: room})
	}
	for i, open := range at.open {
		if open {
			shares = append(shares, lua.Share{Stream: at.streams[len(shares)], Count: counts[i]})
		}
	}
	return shares
}

// admit takes a slot, and a seat of its queue where that is limited, for each entry
// that there is room for; the rest is surplus.
func (c *Consumer) admit(entries []lua.Entry) (in, surplus []lua.Entry) {
	for _, e := range entries {
		queue := e.Stream.Queue
		switch {
		case c.slots.seat(queue, 1) == 0:
			surplus = append(surplus, e)
		case c.slots.take(1) == 0:
			c.slots.unseat(queue, 1)
			surplus = append(surplus, e)
		default:
			in = append(in, e)
		}
	}
	return in, surplus
}
