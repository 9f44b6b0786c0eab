package consumer

import (
	"context"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

// heavyFor is how long a reader takes care after it met long foreign entries, or lost a
// reply: the next may be as long. A blocking read cannot leave them out, so it then
// takes one entry of a stream, and only what no other read has found.
const (
	heavyFor   = time.Minute
	heavyBytes = 16 << 10
)

// longAtOnce is how many long entries a reader reads at once: while one is adopted and
// claimed the link carries another.
const longAtOnce = 2

// weigh notes what a read has brought.
func (r *reader) weigh(entries []lua.Entry, err error) {
	heavy := lua.IsLost(err)
	if r.own == nil {
		r.own = make(map[lua.Stream]bool)
	}
	for _, e := range entries {
		r.own[e.Stream] = true
	}
	for _, e := range entries {
		heavy = heavy || e.Long > 0 || size(e) > heavyBytes
		if _, own := e.Own(); !own {
			r.own[e.Stream] = false
		}
	}
	if heavy {
		r.heavy = time.Now()
	}
}

// expect says of which streams no long entries are expected.
func (r *reader) expect(shares []lua.Share) []lua.Share {
	for i := range shares {
		shares[i].OwnOnly = r.own[shares[i].Stream] && !r.isHeavy()
	}
	return shares
}

func (r *reader) isHeavy() bool { return !r.heavy.IsZero() && time.Since(r.heavy) < heavyFor }

func size(e lua.Entry) (n int) {
	for _, v := range e.Fields {
		n += len(v)
	}
	return n
}

// fill reads the long entry of a batch; others come back as they are. Without one the
// entry could not be read and waits for the sweep.
func (c *Consumer) fill(batch []lua.Entry, takenOver bool) []lua.Entry {
	if batch[0].Long == 0 {
		return batch
	}
	filled, err := c.store.Fill(context.Background(), c.owner, batch[0], takenOver)
	c.contactWith(batch[0].Stream.Partition).note(err)
	if err != nil {
		c.log.Warn().Err(err).Str("entry", filled.Names()).Msg("read a long entry; it waits for the sweep")
		return nil
	}
	return []lua.Entry{filled}
}

// putBackLong puts long entries back that were taken over, one after the other: which
// operation one is, and whether its claim lives, is known once it is read.
func (c *Consumer) putBackLong(ctx context.Context, cause, dead string, long []lua.Entry) error {
	for _, e := range long {
		batch := c.fill([]lua.Entry{e}, true)
		if len(batch) == 0 {
			return lm.ErrUnavailable
		}
		taken, err := c.store.WithRecords(ctx, batch)
		if err == nil {
			err = c.putBackIdle(ctx, cause, dead, taken)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
