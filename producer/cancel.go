package producer

import (
	"context"
	"fmt"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

// Cancelled is what became of a Cancel.
type Cancelled = lua.Ended

// What Cancel answers.
const (
	CancelDone      = lua.CancelDone      // it waited and has ended, outcome cancelled
	CancelRequested = lua.CancelRequested // it runs; its worker ends it at its next write or heartbeat
	CancelLate      = lua.CancelLate      // it is being delivered and goes on
	CancelEnded     = lua.CancelEnded     // it had ended before
)

// Cancel ends an operation that is not wanted any more. One that waits ends at
// once; one that runs is asked to, and whatever it ends in first stands. Errors:
// ErrNotFound for an ID that names nothing, or one of Redis. Safe to repeat.
func (c *Client) Cancel(ctx context.Context, id lm.TraceID) (Cancelled, error) {
	ended, err := c.store.Cancel(ctx, id)
	if err != nil {
		return "", fmt.Errorf("cancel: %w", err)
	}
	return ended, nil
}
