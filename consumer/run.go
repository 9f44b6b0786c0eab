package consumer

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/failpoint"
	"github.com/lighterman/lighterman/lua"
	"github.com/lighterman/lighterman/statemachine"
	"github.com/rs/zerolog"
)

// begin holds a claim and runs it in a goroutine of its own. renewed is the
// monotonic time of this process when the claim was asked for at the latest, queue
// the one whose stream it was read from.
func (c *Consumer) begin(answer *lua.Claimed, queue string, renewed time.Duration) {
	h := &hold{claim: answer.Claim, queue: queue}
	h.followed.Store(answer.Record.Followed)
	h.claim.Followed = &h.followed
	h.claim.Draining = c.gate.wanted()
	if !answer.Started {
		h.claim.Draining = c.gate.left // it shuts the gate itself; only a drain wants it back
	}
	h.renewed.Store(int64(renewed))
	if d := answer.Claim.Request.Deadline; !d.IsZero() {
		h.expires = time.Now().Add(d.Sub(answer.Claim.ClaimedAt)) // both are the server's time
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	h.ctx, h.cancel = ctx, cancel
	c.held.add(h)
	stop, started, unread := answer.Stop, answer.Started, answer.Unread
	c.runs.Go(func() { c.run(ctx, h, stop, started, unread) })
}

// run takes one claim to its end.
func (c *Consumer) run(ctx context.Context, h *hold, stop error, started bool, unread lua.Unread) {
	defer c.slots.release(h.queue, 1)
	defer c.held.remove(h)
	defer h.cancel(nil)
	if c.stopped() {
		stop = lm.ErrHandOver
	}
	claim := h.claim
	if stop == nil {
		claim, stop = c.fetch(ctx, h, unread)
	}
	switch {
	case lua.IsWrongType(stop):
		c.end(h, lm.Result{}, lm.Park(time.Now().Add(unreadableWait), "key_replaced"), false)
		c.mendKeys(h.claim.ID)
	case stop != nil:
		c.end(h, lm.Result{}, stop, false)
	case !started:
		c.alone(ctx, h, claim)
	default:
		c.work(ctx, h, claim)
	}
}

// work calls the handler with the whole claim, and ends it with what that returned.
func (c *Consumer) work(ctx context.Context, h *hold, claim lm.Claim) {
	timeout := claim.Request.Timeout
	if timeout <= 0 {
		timeout = c.opts.Timeout
	}
	limited, stop := context.WithTimeoutCause(ctx, timeout, ErrAttemptTimeout)
	defer stop()
	if !h.expires.IsZero() {
		limited, stop = context.WithDeadlineCause(limited, h.expires, lm.ErrExpired)
		defer stop()
	}
	if cause := context.Cause(limited); cause != nil { // it waited to run alone
		c.end(h, lm.Result{}, cause, false)
		return
	}
	ends, _ := limited.Deadline()
	h.ends.Store(int64(ends.Sub(c.held.start)))
	started := time.Now()
	result, err := c.handle(limited, claim)
	c.metrics.Handle.WithLabelValues(claim.Request.Queue).Observe(time.Since(started).Seconds())
	if cause := context.Cause(limited); err != nil && cause != nil {
		err = causeFirst(cause, err)
	}
	if !c.end(h, result, err, true) {
		c.returned(h)
	}
}

// causeFirst says why a handler's context ended, which explains its error.
func causeFirst(cause, err error) error {
	if errors.Is(cause, ErrAttemptTimeout) {
		return &lm.Error{Kind: lm.TimedOut, Err: cause}
	}
	if errors.Is(err, cause) {
		return err
	}
	return errors.Join(cause, err)
}

// handle calls the handler; a panic is an error of this operation alone.
func (c *Consumer) handle(ctx context.Context, claim lm.Claim) (result lm.Result, err error) {
	defer func() {
		if r := recover(); r != nil {
			c.log.Error().Str("trace_id", string(claim.ID)).Str("kind", claim.Request.Kind).Bytes("stack", debug.Stack()).Msg("handler panicked")
			err = &lm.Error{Kind: lm.HandlerPanicked, Err: fmt.Errorf("handler panicked: %v", r)}
		}
	}()
	return c.handler.Handle(ctx, claim)
}

// end ends a claim with what its handler returned; false when it was ended before.
func (c *Consumer) end(h *hold, result lm.Result, err error, tried bool) bool {
	if !h.endOnce(ownEnd) {
		return false
	}
	c.settle(h, result, err, tried)
	return true
}

// settle turns what a handler returned into the one write that ends the claim.
func (c *Consumer) settle(h *hold, result lm.Result, err error, tried bool) {
	d := decide(h.claim, err, c.elsewhere(h.claim.Request.Queue, err), c.opts)
	if own := c.ownSkills(time.Now()); needsAbility(d.waits) && own.runs(d.waits) {
		d.waits = "" // it would be pulled here again, and fare no better
	}
	d.note = c.redacted(d.note, &h.claim.Request)
	c.logEnd(&h.claim, &d)
	write := func() error { return c.write(h.claim, d, result, tried) }
	if d.kind == drop {
		c.metrics.Fenced.Inc()
		return
	}
	c.untilWritten(h, d, write)
}

// redacted is an error's text as it may be stored and logged.
func (c *Consumer) redacted(text string, r *lm.Request) string {
	if text == "" || c.opts.Redact == nil {
		return text
	}
	return c.opts.Redact(text, r)
}

// logEnd logs how a claim ends: one line, a warning with the error for an attempt that
// failed.
func (c *Consumer) logEnd(claim *lm.Claim, d *decision) {
	level, text := zerolog.InfoLevel, d.note
	switch {
	case d.kind == finishSucceeded:
		level = zerolog.DebugLevel
	case d.kind == finishFailed && d.outcome == lm.Failed:
		level, text = zerolog.WarnLevel, c.redacted(d.failure.Error(), &claim.Request)
	case d.kind == retry && d.counted == lua.CountAttempt:
		level = zerolog.WarnLevel
	}
	event := c.log.WithLevel(level).Str("trace_id", string(claim.ID)).Int64("epoch", int64(claim.Fence.Epoch)).Int("attempt", claim.Attempts+1).
		Str("decision", d.kind.String()).Str("reason", d.reason).Dur("delay_ms", d.delay)
	if text != "" {
		event = event.Str("error", text)
	}
	event.Msg("operation ends here")
}

// write makes the write of a decision.
func (c *Consumer) write(claim lm.Claim, d decision, result lm.Result, tried bool) error {
	ctx := c.writes
	from := claim.Fence.State()
	switch d.kind {
	case putBack:
		return c.store.Release(ctx, claim, d.reason)
	case retry:
		return c.store.Retry(ctx, claim, lua.Aside{
			Path: statemachine.PathRetry(from), Delay: d.delay, Counted: d.counted, Reason: d.reason, Route: result.Route, Waits: d.waits, Note: d.note,
		})
	case finishSucceeded:
		result.Outcome, result.Err = lm.Succeeded, nil
		return c.store.Finish(ctx, claim, lua.Ending{Path: statemachine.Path(from, lm.Completed), Result: result, Tried: tried})
	default:
		result.Outcome, result.Err, result.Body = d.outcome, d.failure, nil
		return c.store.Finish(ctx, claim, lua.Ending{Path: statemachine.PathFailed(from), Result: result, Tried: tried})
	}
}

// untilWritten repeats the ending write while Redis is away: the answer was paid
// for. It ends when the write is made or refused, or the drain is over.
func (c *Consumer) untilWritten(h *hold, d decision, write func() error) {
	for {
		failpoint.At("before_end")
		from := h.claim.Fence.State()
		err := write()
		failpoint.At("after_end")
		c.contactWith(h.claim.ID.Partition()).note(err)
		switch {
		case err == nil:
			c.metrics.ended(d)
			if d.kind == retry {
				c.alarms[h.claim.ID.Partition()].set(h.claim.ID, d.delay)
			}
			if d.kind == retry && needsAbility(d.waits) {
				c.callAble(c.writes, d.waits)
			}
			return
		case errors.Is(err, lm.ErrIllegal) && h.claim.Fence.State() != from:
			continue // an earlier write of unknown outcome had happened: end from there
		case errors.Is(err, lm.ErrFenced) || errors.Is(err, lm.ErrNotFound) || errors.Is(err, lm.ErrIllegal):
			c.metrics.Fenced.Inc()
			c.log.Warn().Err(err).Str("trace_id", string(h.claim.ID)).Int64("epoch", int64(h.claim.Fence.Epoch)).Msg("the end of a claim was refused")
			return
		case !lua.IsPassing(err) && !lua.IsOutOfMemory(err):
			c.log.Error().Err(err).Str("trace_id", string(h.claim.ID)).Msg("end a claim; a sweep takes it over")
			return
		}
		c.log.Warn().Err(err).Str("trace_id", string(h.claim.ID)).Msg("end a claim; trying again")
		select {
		case <-c.writes.Done():
			return
		case <-time.After(errorPause):
		}
	}
}
