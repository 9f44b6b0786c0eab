package consumer

import (
	"context"
	"errors"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

// unreadableWait is how long an operation whose request Redis refuses to read is set
// aside, so that it is no busy loop.
const unreadableWait = 10 * time.Second

// fetch reads what a claim's answer did not carry, while the heartbeat renews the claim.
// Lost contact is tried again until the claim is lost or wanted back. Its errors count
// nothing: no handler has run.
func (c *Consumer) fetch(ctx context.Context, h *hold, unread lua.Unread) (lm.Claim, error) {
	claim := h.claim
	for unread.Any() {
		fetched, err := c.store.Fetch(ctx, claim, unread)
		c.contactWith(claim.ID.Partition()).note(err)
		if err == nil {
			return fetched, nil
		}
		if ctx.Err() != nil {
			return claim, context.Cause(ctx)
		}
		if isClosed(h.claim.Draining) {
			return claim, lm.ErrHandOver
		}
		c.log.Warn().Err(err).Str("trace_id", string(claim.ID)).Int64("epoch", int64(claim.Fence.Epoch)).Msg("read a request")
		switch {
		case lua.IsWrongType(err):
			return claim, err
		case !errors.Is(err, lm.ErrUnavailable):
			return claim, lm.Park(time.Now().Add(unreadableWait), "request_unreadable")
		}
	}
	return claim, nil
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
