package sim

import (
	"context"
	"errors"
	"time"

	"github.com/lighterman/lighterman"
)

// play does in time what a reply says: waits, streams its text, fails.
func (s *Sim) play(ctx context.Context, model string, c *lighterman.Call, reply *Reply) error {
	delay := reply.Delay
	if s.latency != nil {
		delay += s.latency(model)
	}
	if c.Timeout > 0 && (delay > 0 || reply.Over > 0) {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.Timeout)
		defer cancel()
	}
	if delay > 0 {
		if err := waitUntil(ctx, time.Now().Add(delay)); err != nil {
			return err
		}
	}
	if reply.Text != "" && (c.Stream != nil || reply.Over > 0) {
		if err := stream(ctx, c.Stream, reply.Text, reply.Over); err != nil {
			return err
		}
	}
	return reply.Err
}

// stream hands on a text token by token, evenly over a time, the last one at
// its end; nobody needs to listen. It stops as soon as ctx ends.
func stream(ctx context.Context, to func(lighterman.Frame), text string, over time.Duration) error {
	var start time.Time
	n := 0
	if over > 0 {
		start, n = time.Now(), countTokens(text)
	}
	for i := 1; text != ""; i++ {
		switch {
		case over > 0:
			if err := waitUntil(ctx, start.Add(over*time.Duration(i)/time.Duration(n))); err != nil {
				return err
			}
		case ctx.Err() != nil:
			return interrupted(ctx)
		}
		var token string
		token, text = cutToken(text)
		if to != nil {
			to(lighterman.Frame{Type: lighterman.FrameToken, Data: token})
		}
	}
	return nil
}

// waitUntil returns nil at a time, which may have passed, or an Error as soon
// as ctx ends.
func waitUntil(ctx context.Context, at time.Time) error {
	if ctx.Err() != nil {
		return interrupted(ctx)
	}
	d := time.Until(at)
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return interrupted(ctx)
	}
}

// interrupted says why ctx ended: a deadline is a timeout, all else is the
// caller's wish. The cause stays in the chain.
func interrupted(ctx context.Context) error {
	kind := lighterman.CallCancelled
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		kind = lighterman.TimedOut
	}
	return &lighterman.Error{Kind: kind, Err: context.Cause(ctx)}
}
