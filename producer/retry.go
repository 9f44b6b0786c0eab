package producer

import (
	"context"
	"errors"
	"fmt"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

// What a retry can answer beside ErrNotFound and ErrQueueFull.
var (
	ErrNotFailed   = lua.ErrNotFailed   // it has not ended, or not as failed
	ErrRequestGone = lua.ErrRequestGone // there is nothing left to run again
)

// Retried is what became of one retry: the failed operation, and with no error
// the one that repeats it. Existing: an earlier retry had made it. Dropped says why
// the checkpoint could not be taken along, so that the work begins anew; nil
// where it was, or where there was none.
type Retried struct {
	ID       lm.TraceID
	As       lm.TraceID
	Existing bool
	Dropped  error
	Err      error
}

// Retry has a failed operation done again: a new operation with a new ID in the
// same queue, with its request, labels, reply stream, webhook and timeout, and
// with its checkpoint, so that finished steps are not run again. Attempts and
// crashes count from zero. The deadline is not taken along, and the idempotency key stays
// with the failed one, whose trace and result live on to their end and name the
// new one; its dead letter and its request are gone.
//
// Errors: ErrNotFound, ErrNotFailed (a cancelled or expired operation has no
// request any more), ErrRequestGone, ErrQueueFull, or one of Redis. Safe to repeat: a
// second Retry answers the first one's operation, with Existing.
func (c *Client) Retry(ctx context.Context, id lm.TraceID) (Retried, error) {
	r := c.RetryMany(ctx, []lm.TraceID{id})[0]
	return r, r.Err
}

// RetryMany retries many operations of any partitions, up to 100 in one step of
// Redis. The answers come in the order of ids, each with its own error.
func (c *Client) RetryMany(ctx context.Context, ids []lm.TraceID) []Retried {
	answers := make([]Retried, len(ids))
	byPartition := make(map[int][]*Retried)
	for i, id := range ids {
		r := &answers[i]
		if r.ID, r.Err = id, c.known(id); r.Err == nil {
			byPartition[id.Partition()] = append(byPartition[id.Partition()], r)
		}
	}
	for p, open := range byPartition {
		for len(open) > 0 {
			n := min(len(open), retryBatch)
			c.retryBatch(ctx, p, open[:n])
			for _, r := range open[:n] {
				if r.Err != nil {
					r.Err = fmt.Errorf("%s: %w", r.ID, r.Err)
				}
			}
			open = open[n:]
		}
	}
	return answers
}

// How much one script takes: so many operations, and so many bytes of requests
// and checkpoints (or a single operation that has more), that none blocks Redis
// for long.
const (
	retryBatch = 100
	retryBytes = 1 << 20
)

// retryBatch reads the operations' traces and retries those that are there.
func (c *Client) retryBatch(ctx context.Context, p int, open []*Retried) {
	ids := make([]lm.TraceID, len(open))
	for i, r := range open {
		ids[i] = r.ID
	}
	records, err := c.store.Records(ctx, ids)
	var some []*Retried
	var revivals []lua.Revival
	bytes := 0
	send := func() {
		if len(some) > 0 {
			c.revive(ctx, p, some, revivals)
		}
		some, revivals, bytes = nil, nil, 0
	}
	for i, r := range open {
		switch {
		case err != nil:
			r.Err = err
			continue
		case records[i].State == lm.None:
			r.Err = lm.ErrNotFound
			continue
		}
		size := records[i].Size + records[i].CheckpointSize
		if bytes+size > retryBytes {
			send()
		}
		bytes += size
		some = append(some, r)
		revivals = append(revivals, lua.Revival{Failed: records[i], ID: lm.NewTraceID(p, c.names.next(time.Now()))})
	}
	send()
}

// revive takes the checkpoints along and has the new operations made.
func (c *Client) revive(ctx context.Context, p int, some []*Retried, revivals []lua.Revival) {
	if err := c.transfer(ctx, some, revivals); err != nil {
		for _, r := range some {
			r.Err = err
		}
		return
	}
	for i, a := range c.store.Revive(ctx, p, revivals) {
		r := some[i]
		r.As, r.Existing, r.Err = a.ID, a.Existing, a.Err
		if a.Existing || a.Err != nil {
			r.Dropped = nil // nothing came of it
		}
	}
}

// errCheckpointGone: the trace tells of a checkpoint that is not there.
var errCheckpointGone = errors.New("the checkpoint is gone")

// transfer seals the stored checkpoints for the new operations. The error is
// one of Redis; a checkpoint that cannot be read is dropped.
func (c *Client) transfer(ctx context.Context, some []*Retried, revivals []lua.Revival) error {
	var ids []lm.TraceID
	var at []int
	for i := range revivals {
		if f := &revivals[i].Failed; f.CheckpointSize > 0 && f.RetriedAs == "" && f.Outcome == lm.Failed {
			ids, at = append(ids, f.ID), append(at, i)
		}
	}
	if len(ids) == 0 {
		return nil
	}
	codec, err := c.codec()
	if err != nil {
		return err
	}
	stored, err := c.store.Checkpoints(ctx, ids)
	if err != nil {
		return err
	}
	for n, i := range at {
		revivals[i].Steps, some[i].Dropped = codec.Transfer(ids[n], revivals[i].ID, stored[n])
		if len(stored[n]) == 0 {
			some[i].Dropped = errCheckpointGone
		}
	}
	return nil
}
