package consumer

import (
	"context"
	"time"

	"github.com/lighterman/lighterman/lua"
)

// What only some workers can run is parked by the others under the kind or model that
// it needs, and pulled from there by those that can:
//
//	claimed by one that cannot --> parked for kind/K --pulled, with room--> claimed by one that can
//
// A worker is told when something is parked for it, by a word of who parked it and with
// every tick for as long as something waits. Without a worker that can, it waits as
// decide says.

// pullWaiting pulls what waits for this worker whenever it is told that something does,
// until ctx ends.
func (c *Consumer) pullWaiting(ctx context.Context) {
	var freed <-chan struct{} // nil unless something waits for a seat of its queue
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.skills.hurry:
		case <-freed:
		}
		freed = nil
		for {
			seats := c.slots.freed() // before the look, so that no change is missed
			left := c.pullAll(ctx)
			if left == leftForSeat {
				freed = seats
			}
			if left != leftForSlot || c.slots.wait(ctx) == 0 || !pause(ctx, gatherMost) {
				break
			}
		}
	}
}

// left is what a pull left behind that this worker could run.
type left int

const (
	leftNothing left = iota
	leftForSeat      // its queue is at its limit here
	leftForSlot      // or more than one look sees
)

// mostTargets bounds the targets of a partition that one look sees.
const mostTargets = 100

// pullAll pulls from every partition what this worker can run.
func (c *Consumer) pullAll(ctx context.Context) (most left) {
	own := c.ownSkills(time.Now())
	for p := range c.store.Partitions() {
		targets, err := c.store.WaitedFor(ctx, p, mostTargets)
		if err != nil {
			c.failedTo(ctx, "read what is waited for", err)
			return leftNothing
		}
		for _, target := range targets {
			if needsAbility(target) && own.runs(target) && c.gate.isOpen() {
				most = max(most, c.pull(ctx, p, target))
			}
		}
	}
	if !c.gate.isOpen() {
		return leftNothing
	}
	return most
}

// pull pulls what waits for a target in a partition, by queue, for as long as there is
// room.
func (c *Consumer) pull(ctx context.Context, partition int, target string) (most left) {
	parked, err := c.store.Waiting(ctx, partition, target, time.Time{}, mostTargets)
	if err != nil || len(parked) == 0 {
		c.failedTo(ctx, "read what is parked", err)
		return leftNothing
	}
	queues, err := c.store.QueuesOf(ctx, parked)
	if err != nil {
		c.failedTo(ctx, "read what is parked", err)
		return leftNothing
	}
	of := make(map[string][]lua.Parked)
	for i, p := range parked {
		if q := queues[i]; c.serves(q) && !c.orders.isPaused(q) {
			of[q] = append(of[q], p)
		}
	}
	for queue, some := range of {
		room := c.slots.take(len(some))
		seats := c.slots.seat(queue, room)
		c.slots.give(room - seats)
		switch {
		case seats < room:
			most = max(most, leftForSeat)
		case room < len(some), len(parked) == mostTargets:
			most = leftForSlot
		}
		if seats > 0 {
			c.pullSome(ctx, lua.Stream{Partition: partition, Queue: queue}, some[:seats])
		}
	}
	return most
}

// pullSome pulls operations of a queue on slots that were taken, and starts them.
func (c *Consumer) pullSome(ctx context.Context, stream lua.Stream, parked []lua.Parked) {
	entries, err := c.store.Pull(context.WithoutCancel(ctx), c.owner, stream, parked)
	c.contactWith(stream.Partition).note(err)
	if err != nil {
		c.log.Warn().Err(err).Str("queue", stream.Queue).Msg("pull; what was read waits for the sweep")
	}
	c.slots.release(stream.Queue, len(parked)-len(entries))
	c.metrics.Woken.Add(float64(len(entries)))
	r := &reader{c: c, partition: stream.Partition}
	r.start(ctx, entries, nil)
	c.putBackUnclaimed(r.refused, "surplus")
}
