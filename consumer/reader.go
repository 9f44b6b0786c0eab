package consumer

import (
	"context"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/failpoint"
	"github.com/lighterman/lighterman/lua"
)

// errorPause is the wait after a read that failed, so that a lost Redis or a
// missing group is no busy loop.
const errorPause = 250 * time.Millisecond

// read is the reader of one partition: it reads what there is room for, claims
// it and starts it.
func (c *Consumer) read(ctx context.Context, partition int) {
	r := &reader{c: c, partition: partition, streams: c.streams(partition), wheel: newWheel(c.opts.Queues), backlog: true}
	defer func() { c.putBackUnclaimed(r.refused, "drain") }()
	for c.gate.pass(ctx) {
		free := r.room(ctx)
		if free == 0 {
			return
		}
		entries, taken, err := r.next(free)
		if err != nil {
			r.failed(ctx, err)
			continue
		}
		if !r.start(ctx, entries, taken) && !pause(ctx, time.Second) {
			return
		}
	}
}

// reader is one partition's reading state.
type reader struct {
	c         *Consumer
	partition int
	streams   []lua.Stream
	wheel     *wheel
	backlog   bool        // the last read was full: read by weights, without blocking
	refused   []lua.Entry // read, but the claim was refused for memory
	healed    time.Time   // when a lost group was last made again
}

// With a backlog a reader waits for half of the slots, but only so long.
const (
	gatherShare = 2
	gatherMost  = 2 * time.Millisecond
)

// room waits for free slots and says how many are.
func (r *reader) room(ctx context.Context) int {
	if !r.backlog {
		return r.c.slots.wait(ctx)
	}
	return r.c.slots.gather(ctx, r.c.opts.Concurrency/gatherShare, gatherMost)
}

// next reads entries and takes slots for them. A backlog is read by one script
// that keeps to the room and the weights; else one blocking read over all
// streams brings whatever comes first, at most free/k of each of the k streams.
func (r *reader) next(free int) (entries []lua.Entry, taken int, err error) {
	if len(r.refused) > 0 {
		entries, r.refused = r.refused, nil
		return entries, r.c.slots.take(len(entries)), nil
	}
	if r.backlog {
		if taken = r.c.slots.take(free); taken == 0 {
			return nil, 0, nil // another partition's reader was faster
		}
		sent := time.Now()
		entries, err = r.c.store.Read(context.Background(), r.c.owner, r.shares(taken), taken)
		r.c.contact.answered(time.Since(sent), err)
		r.backlog = err == nil && len(entries) == taken
		r.c.slots.give(taken - len(entries))
		if err != nil || len(entries) > 0 {
			return entries, len(entries), err
		}
	}
	count := max(1, free/len(r.streams))
	sent := time.Now()
	entries, err = r.c.store.Block(r.c.owner, r.streams, count, r.c.opts.Block)
	r.c.contact.answered(time.Since(sent)-r.c.opts.Block, err)
	perStream := make(map[lua.Stream]int)
	for _, e := range entries {
		perStream[e.Stream]++
		r.backlog = r.backlog || perStream[e.Stream] == count
	}
	return entries, r.c.slots.take(len(entries)), err
}

// shares gives all room to the resume streams first, then deals it to the
// queues by weight.
func (r *reader) shares(room int) []lua.Share {
	counts := r.wheel.spin(room)
	shares := make([]lua.Share, len(r.streams))
	for i, st := range r.streams {
		shares[i] = lua.Share{Stream: st, Count: room}
		if !st.Resume {
			shares[i].Count = counts[i-len(counts)]
		}
	}
	return shares
}

// failed waits a little after an error. A group that is missing is made again and
// read at once, but for one that is lost over and over.
func (r *reader) failed(ctx context.Context, err error) {
	r.backlog = true
	if lua.IsNoGroup(err) {
		r.c.log.Warn().Int("partition", r.partition).Msg("consumer group lost, creating it again")
		again := time.Since(r.healed) < errorPause
		r.healed = time.Now()
		if err = r.c.store.EnsureGroups(ctx, r.streams); err == nil && !again {
			return
		}
	}
	if err != nil && ctx.Err() == nil {
		r.c.log.Warn().Err(err).Int("partition", r.partition).Msg("read streams")
	}
	pause(ctx, errorPause)
}

// start claims entries and runs them on the taken slots; entries without a slot
// are put back at once. It reports false when Redis has no memory for claims, so
// that the reader waits.
func (r *reader) start(ctx context.Context, entries []lua.Entry, taken int) bool {
	c := r.c
	if len(entries) > 0 && (ctx.Err() != nil || !c.gate.isOpen()) {
		c.slots.give(taken)
		taken = 0
	}
	c.putBackUnclaimed(entries[taken:], "surplus")
	room := true
	for _, batch := range byStream(entries[:taken]) {
		batch, gone := c.adopt(batch)
		c.slots.give(gone)
		if len(batch) == 0 {
			continue
		}
		failpoint.At("read")
		renewed := c.held.since() // before the sending: the lease may run from then on
		claims, err := c.store.Claim(context.Background(), c.owner, c.opts.Lease, batch)
		c.contact.note(err)
		if err != nil {
			c.slots.give(len(batch))
			c.log.Warn().Err(err).Int("entries", len(batch)).Msg("claim; the entries wait for the sweep")
			continue
		}
		failpoint.At("claimed")
		for i := range claims {
			answer := &claims[i]
			switch {
			case answer.Verdict == lua.ClaimOK:
				c.metrics.claimed(answer.Record.Queue, &answer.Claim)
				c.begin(answer, renewed)
				continue
			case lua.IsOutOfMemory(answer.Err):
				room = false
				r.refused = append(r.refused, batch[i])
			case lua.IsWrongType(answer.Err):
				c.mend(batch[i])
			case answer.Err != nil:
				c.log.Error().Err(answer.Err).Str("entry", batch[i].Names()).Msg("claim")
			default:
				c.metrics.refused(answer.Verdict)
				c.log.Debug().Str("entry", batch[i].Names()).Str("verdict", string(answer.Verdict)).Msg("entry not claimed")
			}
			c.slots.give(1)
		}
	}
	return room
}

// mend looks at an operation whose claim was refused because a key of it is of
// another type, and no claim would ever succeed: it is dead-lettered now, where
// the janitor would find it within the hour.
func (c *Consumer) mend(e lua.Entry) {
	taken, err := c.store.WithRecords(context.Background(), []lua.Entry{e})
	if err == nil {
		var repaired []lua.Repaired
		repaired, err = c.store.Repair(context.Background(), []lm.TraceID{taken[0].Record.ID})
		if err == nil {
			c.log.Warn().Str("entry", e.Names()).Str("answer", string(repaired[0])).Msg("a key of an operation is of another type")
			return
		}
	}
	c.log.Error().Err(err).Str("entry", e.Names()).Msg("claim")
}

// byStream splits entries into claim batches: one stream each, at most 100.
func byStream(entries []lua.Entry) [][]lua.Entry {
	var batches [][]lua.Entry
	for len(entries) > 0 {
		n := 1
		for n < len(entries) && n < 100 && entries[n].Stream == entries[0].Stream {
			n++
		}
		batches = append(batches, entries[:n])
		entries = entries[n:]
	}
	return batches
}

// adopt makes foreign entries of one stream operations, and returns those that
// can be claimed, in order, and how many are gone.
func (c *Consumer) adopt(batch []lua.Entry) (claimable []lua.Entry, gone int) {
	var foreign []lua.Entry
	for _, e := range batch {
		if _, own := e.Own(); !own {
			foreign = append(foreign, e)
		}
	}
	if len(foreign) == 0 {
		return batch, 0
	}
	adoptions, err := c.store.Adopt(context.Background(), c.owner, foreign)
	c.contact.note(err)
	if err != nil {
		c.log.Warn().Err(err).Int("entries", len(foreign)).Msg("adopt; the entries wait for the sweep")
	}
	for _, e := range batch {
		if _, own := e.Own(); own {
			claimable = append(claimable, e)
			continue
		}
		i := indexOf(foreign, e.ID)
		if err != nil || adoptions[i] != lua.Adopted {
			gone++
			if err == nil {
				c.metrics.adopted(adoptions[i])
				c.log.Info().Str("entry", e.Names()).Str("verdict", string(adoptions[i])).Str("reason", lua.Derive(e).Verdict).Msg("foreign entry not adopted")
			}
			continue
		}
		claimable = append(claimable, e)
	}
	return claimable, gone
}

func indexOf(entries []lua.Entry, id string) int {
	for i, e := range entries {
		if e.ID == id {
			return i
		}
	}
	return -1
}

// putBackUnclaimed gives entries that were read and not claimed to whoever has
// room; nothing is counted.
func (c *Consumer) putBackUnclaimed(entries []lua.Entry, cause string) {
	for _, batch := range byStream(entries) {
		batch, _ = c.adopt(batch)
		if len(batch) == 0 {
			continue
		}
		taken, err := c.store.WithRecords(context.Background(), batch)
		if err == nil {
			_, err = c.takeover(context.Background(), cause, false, taken)
		}
		if err != nil {
			c.log.Warn().Err(err).Int("entries", len(batch)).Msg("put back; the entries wait for the sweep")
		}
	}
}

// takeover puts entries back and counts what came of it.
func (c *Consumer) takeover(ctx context.Context, cause string, leased bool, taken []lua.Taken) (moved int, err error) {
	returned, err := c.store.Takeover(ctx, c.owner, cause, leased, taken)
	c.contact.note(err)
	if err != nil {
		return 0, err
	}
	for i, r := range returned {
		from := taken[i].Record
		event := c.log.Debug()
		switch r {
		case lua.PutBack:
			moved++
			if from.Owner != "" {
				event = c.log.Info()
			}
		case lua.PutBackEnded, lua.PutBackLost:
			event = c.log.Warn()
		case lua.PutBackStale, lua.PutBackLive, lua.PutBackSkip: // nothing was lost by it
		}
		c.metrics.takenOver(cause, from, r)
		event.Str("trace_id", string(from.ID)).Str("from", from.Owner).Str("cause", cause).Str("answer", string(r)).
			Stringer("state", from.State).Msg("put back")
	}
	return moved, nil
}
