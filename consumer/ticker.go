package consumer

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

// ticksPerInterval is how many workers ask for a tick in each interval: enough
// that one that dies is not missed, few enough that a large fleet is quiet.
const ticksPerInterval = 4

// fleetSize is about how many workers there are: n as the census has seen, roster
// as have announced themselves lately. Either may be late.
type fleetSize struct{ n, roster atomic.Int64 }

// stretch is how long this worker waits between its turns, so that the whole
// fleet asks about ticksPerInterval times in each interval.
func (f *fleetSize) stretch(d time.Duration) time.Duration {
	return time.Duration(float64(d) * max(1, float64(max(f.n.Load(), f.roster.Load()))/ticksPerInterval))
}

// tick is one partition's ticker: it promotes what is due and sweeps what dead
// workers left. Redis lets one worker through in each interval.
func (c *Consumer) tick(ctx context.Context, partition int) {
	own := c.streams(partition)
	streams := own
	every := c.opts.Tick
	for pause(ctx, c.fleet.stretch(every-every/20+rand.N(every/10))) {
		interval := every * 9 / 10 // a little less than between the asking, so that no turn is missed
		sent := time.Now()
		due, err := c.store.Tick(ctx, partition, interval, c.opts.Lease, streams)
		if ctx.Err() != nil {
			return
		}
		c.contactWith(partition).answered(time.Since(sent), err)
		if err != nil {
			c.log.Warn().Err(err).Int("partition", partition).Msg("tick")
			continue
		}
		if due.Now > 0 {
			c.contactWith(partition).clock(time.Duration(due.Now)*time.Millisecond, time.Now())
		}
		if !due.Ran {
			continue
		}
		every = 2 * c.opts.Tick // nothing waits, runs or is delayed: be quiet
		if due.Counts.Sum("waiting")+due.Counts.Sum("running")+due.Counts.Sum("delayed") > 0 {
			every = c.opts.Tick
		}
		c.metrics.depths(partition, due.Counts, c.opts.Queues)
		streams = withQueues(own, partition, due.Counts.OpenQueues())
		c.promote(ctx, partition, due)
		c.wake(ctx, partition, due.Waits)
		c.expire(ctx, partition, due)
		c.forgetLetters(ctx, partition, due.Letters)
		if c.contactWith(partition).mayTakeOver() && !time.Now().Before(c.sweepFrom) {
			for _, s := range due.Stalled {
				c.sweep(ctx, s)
			}
		}
	}
}

// firstSweep is when a Redis that has just been started will have been up for a
// lease. What looks idle before that may be everybody's who could not renew while
// it was down.
func (c *Consumer) firstSweep(ctx context.Context) time.Time {
	if up, ok := c.store.Uptime(ctx); ok && up < c.opts.Lease {
		return time.Now().Add(c.opts.Lease - up)
	}
	return time.Time{}
}

// withQueues adds the streams of queues that this worker does not serve, so that
// what was left there is taken over too.
func withQueues(streams []lua.Stream, partition int, queues []string) []lua.Stream {
	streams = slices.Clip(streams)
	known := make(map[string]bool)
	for _, s := range streams {
		known[s.Queue] = true
	}
	for _, q := range queues {
		if !known[q] {
			streams = append(streams, lua.Stream{Partition: partition, Queue: q, Resume: true}, lua.Stream{Partition: partition, Queue: q})
		}
	}
	return streams
}

// pagesPerTick bounds how many scripts of 100 one tick promotes, and ends past their
// deadline, with.
const pagesPerTick = 100

// promote moves what is due, page by page to the end. One that is refused is passed
// over, so that it holds up no other.
func (c *Consumer) promote(ctx context.Context, partition int, due lua.Due) {
	ids, left := due.Delayed, 0
	for n := 0; len(ids) > 0 && n < pagesPerTick; n++ {
		answers, err := c.store.PromoteEach(ctx, partition, ids)
		for i, a := range answers {
			if a.Left() {
				left++
				c.log.Warn().Str("trace_id", string(ids[i])).Str("answer", string(a)).Msg("not promoted; it stays delayed")
			}
		}
		if err == nil {
			ids, err = c.store.MoreDelayed(ctx, partition, due, left)
		}
		if err != nil {
			if ctx.Err() == nil {
				c.log.Warn().Err(err).Int("partition", partition).Msg("promote")
			}
			return
		}
	}
}

// expire ends operations whose deadline has passed, page by page to the end: what
// waits at once, what runs by asking its worker.
func (c *Consumer) expire(ctx context.Context, partition int, due lua.Due) {
	ids, left := due.Deadlines, 0
	for n := 0; len(ids) > 0 && n < pagesPerTick; n++ {
		ended, err := c.endPage(ctx, ids)
		for _, e := range ended {
			if e.Left() {
				left++
			}
		}
		if err == nil {
			ids, err = c.store.MoreDeadlines(ctx, partition, due, left)
		}
		if err != nil {
			if ctx.Err() == nil {
				c.log.Warn().Err(err).Int("partition", partition).Msg("expire")
			}
			return
		}
	}
}

// endPage ends operations of one partition past their deadline, at most 100.
func (c *Consumer) endPage(ctx context.Context, ids []lm.TraceID) ([]lua.Ended, error) {
	ended, err := c.store.Expire(ctx, ids)
	for i, e := range ended {
		c.metrics.expired(e)
		c.log.Info().Str("trace_id", string(ids[i])).Str("answer", string(e)).Msg("deadline passed")
	}
	return ended, err
}

// forgetLetters forgets the oldest dead letters where there are too many, script by
// script.
func (c *Consumer) forgetLetters(ctx context.Context, partition, letters int) {
	all := 0
	for range pagesPerTick {
		n, err := c.store.ForgetOldest(ctx, partition, letters-all)
		all += n
		if err != nil && ctx.Err() == nil {
			c.log.Warn().Err(err).Int("partition", partition).Msg("forget dead letters")
		}
		if n == 0 || err != nil {
			break
		}
	}
	if all > 0 {
		c.log.Warn().Int("partition", partition).Int("letters", all).Msg("more dead letters than are kept: the oldest are forgotten")
	}
}

// sweep takes over every entry of a stream that has been idle for a lease, page
// by page to the end, and puts it back.
func (c *Consumer) sweep(ctx context.Context, s lua.Stalled) {
	for from := s.From; from != "" && ctx.Err() == nil; {
		taken, next, err := c.store.Idle(ctx, c.owner, s.Stream, c.opts.Lease, from)
		c.contactWith(s.Stream.Partition).note(err)
		if err != nil {
			c.log.Warn().Err(err).Str("queue", s.Stream.Queue).Msg("sweep")
			return
		}
		if err := c.putBackIdle(ctx, lua.CauseLease, "", taken); err != nil {
			c.log.Warn().Err(err).Str("queue", s.Stream.Queue).Msg("sweep: put back")
			return
		}
		from = next
	}
	if !c.serves(s.Stream.Queue) { // nobody's census looks there
		_, _ = c.store.Forget(ctx, s.Stream, []string{c.owner}) // at the next sweep else
	}
}

func (c *Consumer) serves(queue string) bool {
	return slices.ContainsFunc(c.opts.Queues, func(q Queue) bool { return q.Name == queue })
}

// putBackIdle puts back what a sweep took, but for what this worker holds itself
// (its own beat was late). Foreign entries without a trace are adopted first.
// While the lease of an entry's owner runs it is left alone, but for one that is
// known to be dead. (An entry may be pending with a dead one that only swept it.)
func (c *Consumer) putBackIdle(ctx context.Context, cause, dead string, taken []lua.Taken) error {
	var unknown, long []lua.Entry
	known := make(map[bool][]lua.Taken) // by whether the owner's lease counts
	for _, t := range taken {
		_, own := t.Entry.Own()
		switch {
		case t.Entry.Long > 0:
			long = append(long, t.Entry)
		case c.held.has(t.Record):
		case !own && t.Record.Entry != t.Entry.Names():
			unknown = append(unknown, t.Entry)
		default:
			leased := dead == "" || t.Record.Owner != dead
			known[leased] = append(known[leased], t)
		}
	}
	c.putBackUnclaimed(unknown, cause)
	for leased, some := range known {
		if _, err := c.takeover(ctx, cause, leased, some); err != nil {
			return err
		}
	}
	return c.putBackLong(ctx, cause, dead, long)
}
