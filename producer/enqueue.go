package producer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

// Accepted answers one request. ID is the operation's; with Existing it is that
// of the operation which was accepted before under the same ID or idempotency
// key, with ErrKeyConflict of the one in the way. With another error the
// operation was refused and ID is empty, except where nobody can say (contact
// with Redis was lost, or the context ended while it was under way): then ID
// names what may have been accepted, for Status to tell.
type Accepted = lua.Accepted

// Enqueue has one operation accepted. Requests of goroutines that enqueue at the
// same time share round trips. The request's Body and Meta must not change
// before Enqueue returns, and after an error of ctx not at all.
//
// Errors: a lighterman.Error of kind InvalidRequest that says everything that is
// wrong, one of kind UnknownModel with ErrUnknownModel, ErrKeyConflict,
// ErrQueueFull, ErrClosed, what the preprocess hook returned, or one of Redis
// after the Store's patience. To repeat an Enqueue of which the answer was lost
// without asking for the work twice, give the request an ID or a Key of its own.
func (c *Client) Enqueue(ctx context.Context, req lm.Request) (Accepted, error) {
	if ctx.Err() != nil {
		return Accepted{Err: context.Cause(ctx)}, context.Cause(ctx)
	}
	op, err := c.prepare(ctx, req)
	if err != nil {
		return Accepted{Err: err}, err
	}
	answer := settle(op, c.lanes.enqueue(ctx, op))
	return answer, answer.Err
}

// EnqueueMany has many operations accepted in few round trips: 10,000 small ones
// of one partition take five. The answers come in the order of reqs, each with
// its own error, as Enqueue's; one that is refused leaves the others alone.
func (c *Client) EnqueueMany(ctx context.Context, reqs []lm.Request) []Accepted {
	answers := make([]Accepted, len(reqs))
	var ops []lua.Operation
	var at []int // of each of ops in reqs
	bytes := 0
	send := func() {
		for i, answer := range c.send(ctx, ops) {
			answers[at[i]] = settle(ops[i], answer)
		}
		ops, at, bytes = ops[:0], at[:0], 0
	}
	for i, req := range reqs {
		op, err := c.prepare(ctx, req)
		if err != nil {
			answers[i].Err = err
			continue
		}
		ops, at = append(ops, op), append(at, i)
		if bytes += weight(op.Request); bytes >= flightBytes {
			send()
		}
	}
	send()
	return answers
}

func (c *Client) send(ctx context.Context, ops []lua.Operation) []lua.Accepted {
	if len(ops) == 0 {
		return nil
	}
	return c.store.Enqueue(ctx, ops)
}

// prepare makes a request into the operation that is sent; req is a copy.
func (c *Client) prepare(ctx context.Context, req lm.Request) (lua.Operation, error) {
	var path []lm.State // nil: RECEIVED, QUEUED
	req.Normalize()
	if c.opts.preprocess != nil {
		req.Meta = maps.Clone(req.Meta) // the hook may add to it
		if err := c.opts.preprocess(ctx, &req); err != nil {
			return lua.Operation{}, fmt.Errorf("preprocess: %w", err)
		}
		req.Normalize()
		path = []lm.State{lm.Received, lm.Preprocessing, lm.Queued}
	}
	if err := validate(&req, c.opts.models); err != nil {
		return lua.Operation{}, err
	}
	if req.Reply == "" {
		req.Reply = c.opts.reply
	}
	name := req.ID
	if name == "" {
		name = c.names.next(time.Now())
	}
	p := lm.Partition(c.store.Partitions(), req.Tenant, req.Thread, req.Key, name)
	return lua.Operation{ID: lm.NewTraceID(p, name), Request: &req, Path: path, Named: req.ID != "", Followed: c.opts.followed}, nil
}

// settle corrects a Store's answer by what only the producer knows.
func settle(op lua.Operation, a Accepted) Accepted {
	switch {
	case a.Err == nil && !op.Named && op.Request.Key == "":
		a.Existing = false // a minted name exists only because its first answer was lost
	case a.Err != nil && a.ID == "" && unsure(a.Err):
		a.ID = op.ID
	}
	return a
}

// unsure reports whether an operation may have been accepted in spite of an error.
func unsure(err error) bool {
	return lua.IsPassing(err) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
