package producer

import (
	"context"
	"errors"
	"fmt"
	"sync"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/checkpoint"
	"github.com/lighterman/lighterman/lua"
)

// What a client can answer beside the errors of Redis; callers branch on these.
// ErrNotFound of the root package says that an ID names nothing.
var (
	ErrKeyConflict = lua.ErrKeyConflict // the same ID or key, another request
	ErrQueueFull   = lua.ErrQueueFull   // the door refuses; try later
	// ErrTooManyQueues refuses an operation of a queue that is not there yet, when a
	// partition has 1,000 queues. The janitor removes empty ones that nobody reads.
	ErrTooManyQueues = lua.ErrTooManyQueues
	ErrUnknownModel  = errors.New("unknown model")
	ErrNotEnded      = errors.New("not ended yet")
	ErrResultGone    = errors.New("it has ended and its result is gone")
	ErrClosed        = errors.New("the producer is closed")
)

// Client enqueues operations and waits for them. All methods may be called
// concurrently. Close it when done.
type Client struct {
	store *lua.Store
	opts  options
	owned bool // the store is ours to close
	names *names
	lanes *lanes
	waits *waits
	codec func() (*checkpoint.Codec, error) // made at the first retry

	follows chan struct{} // holds a token per blocking read of a token stream
}

// Open connects to the Redis of a URL, in the forms of lua.Open, whose errors it
// returns: they are one line that says what would be right.
func Open(ctx context.Context, url string, opts ...Option) (*Client, error) {
	o := build(opts)
	store, err := lua.Open(ctx, url, o.store)
	if err != nil {
		return nil, err
	}
	c := newClient(store, o)
	c.owned = true
	return c, nil
}

// New makes a Client over a Store that the caller opened and closes. The
// Store's own prefix, partitions and queue limit hold; the options of those
// names change nothing.
func New(store *lua.Store, opts ...Option) *Client { return newClient(store, build(opts)) }

func newClient(store *lua.Store, o options) *Client {
	return &Client{
		store: store, opts: o, names: newNames(),
		lanes: newLanes(store.Enqueue),
		waits: newWaits(store, o.reply),
		codec: sync.OnceValues(func() (*checkpoint.Codec, error) {
			return checkpoint.New(checkpoint.Options{MaxBytes: o.checkpoint})
		}),

		follows: make(chan struct{}, lua.FollowReaders),
	}
}

// Close ends all waiting with ErrClosed and returns when every goroutine of the
// Client has stopped, which takes up to a second, the time of one blocking
// read. An Enqueue under way may or may not have been accepted. What was
// accepted goes on. Close may be called more than once.
func (c *Client) Close() error {
	c.waits.close()
	c.lanes.close()
	if c.owned {
		if err := c.store.Close(); err != nil && !lua.IsLost(err) { // lost: closed before
			return fmt.Errorf("close producer: %w", err)
		}
	}
	return nil
}

// Status reads how far an operation has got; ErrNotFound when there is none of
// that ID, or no more: an ended one is kept for its retention.
func (c *Client) Status(ctx context.Context, id lm.TraceID) (lm.Trace, error) {
	if err := c.known(id); err != nil {
		return lm.Trace{}, err
	}
	return c.store.Trace(ctx, id)
}

// Result reads what an operation ended in, without waiting. Errors: ErrNotFound,
// ErrNotEnded, ErrResultGone. An operation that failed is a Result with its
// outcome and Err, not an error of this call.
func (c *Client) Result(ctx context.Context, id lm.TraceID) (lm.Result, error) {
	if err := c.known(id); err != nil {
		return lm.Result{ID: id}, err
	}
	// The trace is read between the two looks, so that an operation which ends
	// meanwhile is not reported as gone.
	for range 2 {
		results, err := c.store.Results(ctx, []lm.TraceID{id})
		if err != nil {
			return lm.Result{ID: id}, err
		}
		if results[0].Outcome != "" {
			return results[0], nil
		}
		trace, err := c.store.Trace(ctx, id)
		if err != nil {
			return lm.Result{ID: id}, err
		}
		if trace.State != lm.Completed {
			return lm.Result{ID: id}, fmt.Errorf("%s: %w (%s)", id, ErrNotEnded, trace.State)
		}
	}
	return lm.Result{ID: id}, fmt.Errorf("%s: %w", id, ErrResultGone)
}

// known refuses an ID that can name no operation of this fleet.
func (c *Client) known(id lm.TraceID) error {
	if _, err := lm.ParseTraceID(string(id)); err != nil {
		return fmt.Errorf("%w: %w", lm.ErrNotFound, err)
	}
	if n := c.store.Partitions(); id.Partition() >= n {
		return fmt.Errorf("%s: %w: the fleet's partitions end at %d", id, lm.ErrNotFound, n-1)
	}
	return nil
}
