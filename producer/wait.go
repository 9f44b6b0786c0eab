package producer

import (
	"context"
	"fmt"
	"iter"
	"sync"

	lm "github.com/lighterman/lighterman"
)

// Wait returns what an operation ended in, when it has ended, whoever enqueued
// it. One that failed is a Result with its outcome and Err, not an error of this
// call. Redis may go away and come back meanwhile: Wait goes on until ctx ends.
//
// Errors: ErrNotFound for an ID that names nothing or was ended longer ago than
// its retention, ErrResultGone, ErrClosed, the cause of ctx, or what Redis
// answers where trying again cannot help.
func (c *Client) Wait(ctx context.Context, id lm.TraceID) (lm.Result, error) {
	for r, err := range c.WaitMany(ctx, []lm.TraceID{id}) {
		r.ID = id
		return r, err
	}
	return lm.Result{ID: id}, fmt.Errorf("wait for %s: %w", id, context.Cause(ctx)) // not reached: an ID has an answer
}

// WaitMany yields the result of each of the operations as it ends; an ID that is
// listed twice is yielded once. An error that concerns one operation, as Wait
// returns it, comes with a Result that holds its ID, and the others go on. An
// error with an empty ID is the last: ctx has ended, or the Client was closed
// before.
//
// Results that have come and are not yet taken are held in memory, at most one
// per ID.
func (c *Client) WaitMany(ctx context.Context, ids []lm.TraceID) iter.Seq2[lm.Result, error] {
	return func(yield func(lm.Result, error) bool) {
		left := make(map[lm.TraceID]bool, len(ids)) // to be answered; false: has its answer
		w := &waiter{news: make(chan struct{}, 1)}
		for _, id := range ids {
			if _, twice := left[id]; twice {
				continue
			}
			err := c.known(id)
			if err != nil {
				w.tell(answer{result: lm.Result{ID: id}, err: err})
			}
			left[id] = err == nil
		}
		if err := c.waits.add(w, left); err != nil {
			yield(lm.Result{}, err)
			return
		}
		defer c.waits.remove(w, left)
		for len(left) > 0 {
			answers, err := w.take(ctx)
			if err != nil {
				yield(lm.Result{}, fmt.Errorf("wait for %d of %d operations: %w", len(left), len(ids), err))
				return
			}
			for _, a := range answers {
				delete(left, a.result.ID)
				if !yield(a.result, a.err) {
					return
				}
			}
		}
	}
}

// answer is how waiting for one operation ends.
type answer struct {
	result lm.Result // its ID is always set
	err    error
}

// waiter is where one caller's answers arrive. Who tells never blocks.
type waiter struct {
	news chan struct{} // holds a token while there may be answers

	mu    sync.Mutex
	ready []answer // at most one per ID that was asked for
}

func (w *waiter) tell(a answer) {
	w.mu.Lock()
	w.ready = append(w.ready, a)
	w.mu.Unlock()
	select {
	case w.news <- struct{}{}:
	default:
	}
}

// take returns the answers that have come, at least one, or the cause of ctx.
func (w *waiter) take(ctx context.Context) ([]answer, error) {
	for {
		w.mu.Lock()
		answers := w.ready
		w.ready = nil
		w.mu.Unlock()
		if len(answers) > 0 {
			return answers, nil
		}
		select {
		case <-w.news:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
