package consumer

import (
	"context"
	"sync"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

// mostDoubts bounds the entries of a partition that are remembered after claims of unknown
// outcome; a sweep takes over what is beyond.
const mostDoubts = 1000

// doubts are the entries, by partition, of claims whose replies were lost: they may be
// this worker's without its knowledge, and nothing of them runs. Its methods may be
// called concurrently.
type doubts struct {
	mu sync.Mutex
	of map[int][]lua.Entry
}

// add remembers a batch of one stream. Of each it keeps whose entry it is, no body.
func (d *doubts) add(batch []lua.Entry) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.of == nil {
		d.of = make(map[int][]lua.Entry)
	}
	p := batch[0].Stream.Partition
	for _, e := range batch[:min(len(batch), mostDoubts-len(d.of[p]))] {
		id, own := e.Own()
		if !own {
			id = lua.Derive(e).ID
		}
		d.of[p] = append(d.of[p], lua.Entry{Stream: e.Stream, ID: e.ID, Fields: []string{"t", string(id)}})
	}
}

func (d *doubts) take(partition int) []lua.Entry {
	d.mu.Lock()
	defer d.mu.Unlock()
	entries := d.of[partition]
	delete(d.of, partition)
	return entries
}

// settleDoubts gives back what claims of unknown outcome took, by the claims' own tokens, and
// puts back what they did not take. Nothing is counted, because no handler has begun.
// While there is no contact the entries wait for the next call.
func (c *Consumer) settleDoubts(partition int) {
	for _, batch := range byStream(c.doubts.take(partition)) {
		taken, err := c.store.WithRecords(context.Background(), batch)
		if err != nil {
			c.doubts.add(batch)
			continue
		}
		var waiting []lua.Taken
		for _, t := range taken {
			r := &t.Record
			switch {
			case r.Entry != t.Entry.Names() || c.held.has(*r): // it went on meanwhile
			case r.State == lm.Claimed && r.Owner == c.owner:
				if lua.IsPassing(c.disclaim(r)) {
					c.doubts.add([]lua.Entry{t.Entry})
				}
			case r.State == lm.Queued || r.State == lm.Reclaimed:
				waiting = append(waiting, t)
			}
		}
		if len(waiting) == 0 {
			continue
		}
		if _, err := c.takeover(context.Background(), "contact", false, waiting); err != nil {
			c.doubts.add(batch)
		}
	}
}

// disclaim gives a claim back that this worker made without learning of it.
func (c *Consumer) disclaim(r *lua.Record) error {
	claim := lm.Claim{
		ID: r.ID, KeyHash: r.Unique, Request: lm.Request{Queue: r.Queue, Reply: r.Reply},
		Fence: lm.NewFence(r.Owner, r.Epoch, r.Token, r.Entry, lm.Claimed),
	}
	err := c.store.Release(context.Background(), claim, "contact")
	c.contactWith(r.ID.Partition()).note(err)
	if err != nil {
		c.log.Warn().Err(err).Str("trace_id", string(r.ID)).Msg("give back a claim of unknown outcome")
	}
	return err
}
