package consumer

import (
	"context"
	"sync"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/failpoint"
	"github.com/lighterman/lighterman/lua"
	"golang.org/x/sync/errgroup"
)

// errorPause is the wait after a read that failed, so that a lost Redis or a
// missing group is no busy loop.
const errorPause = 250 * time.Millisecond

// read is the reader of one partition: it reads what there is room for, claims
// it and starts it.
func (c *Consumer) read(ctx context.Context, partition int) {
	r := &reader{c: c, partition: partition, wheel: newWheel(c.opts.Queues), backlog: true, silent: c.store.Sharded()}
	defer func() { c.settleDoubts(partition); c.putBackUnclaimed(r.refused, "drain") }()
	for c.gate.pass(ctx) {
		c.settleDoubts(partition)
		free := r.room(ctx)
		if free == 0 {
			return
		}
		at := r.reach()
		if len(at.streams) == 0 && len(r.refused) == 0 {
			if !at.wait(ctx) {
				return
			}
			continue
		}
		entries, surplus, err := r.next(at, free)
		if err != nil {
			r.failed(ctx, err)
			continue
		}
		if !r.start(ctx, entries, surplus) && !pause(ctx, time.Second) {
			return
		}
	}
}

// wakeEvery is how long after a wake the next one follows, for reads that were on
// their way to Redis.
const wakeEvery = 50 * time.Millisecond

// wakeReaders ends the blocking reads of a worker that drains, until all readers have
// returned or ctx ends. What a read has brought is not lost by it.
func (c *Consumer) wakeReaders(ctx context.Context, readers *sync.WaitGroup) {
	gone := make(chan struct{})
	go func() { readers.Wait(); close(gone) }()
	for wait := wakeEvery; ; wait *= 2 {
		if _, err := c.store.Unblock(ctx); err != nil {
			if ctx.Err() == nil {
				c.log.Debug().Err(err).Msg("end blocking reads; they take their time")
			}
			return
		}
		select {
		case <-gone:
			return
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// reader is one partition's reading state.
type reader struct {
	c         *Consumer
	partition int
	wheel     *wheel
	silent    bool                // its server, of several, has not answered yet; no slots are taken for one that may be frozen
	backlog   bool                // the last read was full: read by weights, without blocking
	reached   int                 // how many streams the last read was of
	refused   []lua.Entry         // read, but the claim was refused for memory
	healed    time.Time           // when a lost group was last made again
	heavy     time.Time           // when it last met long entries, or lost a reply; see weigh
	own       map[lua.Stream]bool // whether a stream's last read brought own entries only
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

// next reads entries, with a slot and a seat each, and a surplus without. A backlog
// is read by one script that keeps to the room, the limits and the weights; else one
// blocking read over all streams brings whatever comes first. Where streams have come
// within reach there is likely to be a backlog.
func (r *reader) next(at reach, free int) (entries, surplus []lua.Entry, err error) {
	if len(r.refused) > 0 {
		entries, surplus = r.c.admit(r.refused)
		r.refused = nil
		return entries, surplus, nil
	}
	r.backlog = r.backlog || len(at.streams) > r.reached || r.isHeavy()
	r.reached = len(at.streams)
	if r.backlog && !r.silent {
		taken := r.c.slots.take(free)
		if taken == 0 {
			return nil, nil, nil // another partition's reader was faster
		}
		if entries, err = r.deal(at, taken); err != nil || len(entries) > 0 {
			return entries, nil, err
		}
	}
	count := at.count(free)
	if r.isHeavy() {
		count = 1
	}
	sent := time.Now()
	entries, err = r.c.store.Block(r.c.owner, at.streams, count, at.block)
	r.c.contactWith(r.partition).answered(time.Since(sent)-at.block, err)
	r.weigh(entries, err)
	perStream := make(map[lua.Stream]int)
	for _, e := range entries {
		perStream[e.Stream]++
		r.backlog = r.backlog || perStream[e.Stream] == count
	}
	r.silent = r.silent && err != nil
	entries, surplus = r.c.admit(entries)
	return entries, surplus, err
}

// deal reads a backlog for slots that were taken, and gives back those that are not
// needed.
func (r *reader) deal(at reach, taken int) ([]lua.Entry, error) {
	c := r.c
	limits := make(map[string]int) // the seats taken
	room := make([]int, len(at.open))
	for i, q := range c.opts.Queues {
		if !at.open[i] {
			continue
		}
		room[i] = c.slots.seat(q.Name, taken)
		if q.Concurrency > 0 {
			limits[q.Name] = room[i]
		}
	}
	sent := time.Now()
	shares := r.expect(at.shares(taken, r.wheel.spin(taken, room)))
	entries, err := c.store.ReadWithin(context.Background(), c.owner, shares, taken, limits)
	c.contactWith(r.partition).answered(time.Since(sent), err)
	r.weigh(entries, err)
	if len(entries) > 0 && err != nil { // of one stream; what the others delivered is ours
		if lua.IsNoGroup(err) {
			err = c.store.EnsureGroups(context.Background(), c.streams(r.partition))
		}
		c.log.Warn().Err(err).Int("partition", r.partition).Msg("one stream could not be read; its group is made again")
		err = nil
	}
	r.backlog = err == nil && len(entries) == taken
	for _, e := range entries {
		if _, limited := limits[e.Stream.Queue]; limited {
			limits[e.Stream.Queue]--
		}
	}
	for queue, unused := range limits {
		c.slots.unseat(queue, unused)
	}
	c.slots.give(taken - len(entries))
	return entries, err
}

// failed waits a little after an error. A group that is missing is made again and
// read at once, but for one that is lost over and over.
func (r *reader) failed(ctx context.Context, err error) {
	r.backlog, r.silent = true, r.c.store.Sharded()
	if lua.IsNoGroup(err) {
		r.c.log.Warn().Int("partition", r.partition).Msg("consumer group lost, creating it again")
		again := time.Since(r.healed) < errorPause
		r.healed = time.Now()
		if err = r.c.store.EnsureGroups(ctx, r.c.streams(r.partition)); err == nil && !again {
			return
		}
	}
	if err != nil && ctx.Err() == nil {
		r.c.log.Warn().Err(err).Int("partition", r.partition).Msg("read streams")
	}
	pause(ctx, errorPause)
}

// start claims entries and runs them on their slots; the surplus is put back at
// once, and so is all that may not be started any more. It reports false when Redis
// has no memory for claims, so that the reader waits.
func (r *reader) start(ctx context.Context, entries, surplus []lua.Entry) bool {
	c := r.c
	halted := ctx.Err() != nil || !c.gate.isOpen()
	begin := make([]lua.Entry, 0, len(entries))
	for _, e := range entries {
		if halted || c.orders.isPaused(e.Stream.Queue) {
			c.slots.release(e.Stream.Queue, 1)
			surplus = append(surplus, e)
			continue
		}
		begin = append(begin, e)
	}
	c.putBackUnclaimed(surplus, "surplus")
	var mu sync.Mutex
	room := true
	refuse := func(refused []lua.Entry) {
		mu.Lock()
		defer mu.Unlock()
		r.refused, room = append(r.refused, refused...), room && len(refused) == 0
	}
	var long errgroup.Group
	long.SetLimit(longAtOnce)
	for _, batch := range byStream(begin) {
		if batch[0].Long == 0 {
			refuse(c.claim(batch))
			continue
		}
		long.Go(func() error { refuse(c.claim(batch)); return nil })
	}
	_ = long.Wait() // there are no errors
	return room
}

// claim claims a batch of entries and runs them. It returns those for which Redis has no
// memory.
func (c *Consumer) claim(batch []lua.Entry) (refused []lua.Entry) {
	queue := batch[0].Stream.Queue
	batch, gone := c.adopt(batch)
	c.slots.release(queue, gone)
	if len(batch) == 0 {
		return nil
	}
	failpoint.At("read")
	renewed := c.held.since() // before the sending: the lease may run from then on
	claims, err := c.store.Claim(context.Background(), c.owner, c.opts.Lease, batch)
	c.contactWith(batch[0].Stream.Partition).note(err)
	if err != nil {
		c.slots.release(queue, len(batch))
		if lua.IsPassing(err) && !lua.IsDenied(err) {
			c.doubts.add(batch)
			c.log.Warn().Err(err).Int("entries", len(batch)).Msg("claim of unknown outcome; its entries are put back on contact")
			return nil
		}
		c.log.Warn().Err(err).Int("entries", len(batch)).Msg("claim; the entries wait for the sweep")
		return nil
	}
	failpoint.At("claimed")
	var late []lm.TraceID
	for i := range claims {
		answer := &claims[i]
		switch {
		case answer.Verdict == lua.ClaimExpire:
			late = append(late, answer.ID)
		case answer.Verdict == lua.ClaimOK:
			c.metrics.claimed(answer.Record.Queue, &answer.Claim)
			c.begin(answer, queue, renewed)
			continue
		case lua.IsOutOfMemory(answer.Err):
			refused = append(refused, batch[i])
		case lua.IsWrongType(answer.Err):
			c.mend(batch[i])
		case answer.Err != nil:
			c.log.Error().Err(answer.Err).Str("entry", batch[i].Names()).Msg("claim")
		default:
			c.metrics.refused(answer.Verdict)
			c.log.Debug().Str("entry", batch[i].Names()).Str("verdict", string(answer.Verdict)).Msg("entry not claimed")
		}
		c.slots.release(queue, 1)
	}
	if len(late) > 0 {
		if _, err := c.endPage(context.Background(), late); err != nil {
			c.log.Warn().Err(err).Int("entries", len(late)).Msg("end what is past its deadline; the tick ends it")
		}
	}
	return refused
}

// mend looks at an operation whose claim was refused because a key of it is of
// another type, and no claim would ever succeed.
func (c *Consumer) mend(e lua.Entry) {
	taken, err := c.store.WithRecords(context.Background(), []lua.Entry{e})
	if err != nil {
		c.log.Error().Err(err).Str("entry", e.Names()).Msg("claim")
		return
	}
	c.mendKeys(taken[0].Record.ID)
}

// mendKeys dead-letters an operation one of whose keys is of another type, now, where
// the janitor would find it within the hour.
func (c *Consumer) mendKeys(id lm.TraceID) {
	repaired, err := c.store.Repair(context.Background(), []lm.TraceID{id})
	if err != nil {
		c.log.Error().Err(err).Str("trace_id", string(id)).Msg("repair")
		return
	}
	c.log.Warn().Str("trace_id", string(id)).Str("answer", string(repaired[0])).Msg("a key of an operation is of another type")
}

// byStream splits entries into claim batches: one stream each, at most 100. A long one
// is a batch alone: it is read first, and the others do not wait for it.
func byStream(entries []lua.Entry) [][]lua.Entry {
	var batches [][]lua.Entry
	for len(entries) > 0 {
		n := 1
		for n < len(entries) && n < 100 && entries[n].Stream == entries[0].Stream && entries[n].Long+entries[0].Long == 0 {
			n++
		}
		batches = append(batches, entries[:n])
		entries = entries[n:]
	}
	return batches
}

// adopt makes foreign entries of one stream operations, a long one once it is read, and
// returns those that can be claimed, in order, and how many are gone.
func (c *Consumer) adopt(batch []lua.Entry) (claimable []lua.Entry, gone int) {
	if batch = c.fill(batch, false); len(batch) == 0 {
		return nil, 1
	}
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
	c.contactWith(batch[0].Stream.Partition).note(err)
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
	c.contactWith(taken[0].Entry.Stream.Partition).note(err)
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
