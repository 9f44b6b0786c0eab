package producer

import (
	"context"
	"fmt"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

// Woken is what became of a Wake.
type Woken = lua.Woken

// What Wake answers.
const (
	WokenOK        = lua.WokenOK        // it waits for its turn in its queue again
	WokenNot       = lua.WokenNot       // it was not parked: it runs, waits for its turn, or has ended
	WokenScheduled = lua.WokenScheduled // it waits for its start, and keeps it
	WokenUnknown   = lua.WokenUnknown   // the ID names nothing
	WokenMoved     = lua.WokenMoved     // it came back at the same moment
)

// Wake brings operations back that are parked or wait to be tried again, before their
// time and without counting an attempt; the answers come in order. Safe to repeat.
func (c *Client) Wake(ctx context.Context, ids ...lm.TraceID) ([]Woken, error) {
	woken, err := c.store.WakeIDs(ctx, ids)
	if err != nil {
		return woken, fmt.Errorf("wake: %w", err)
	}
	return woken, nil
}
