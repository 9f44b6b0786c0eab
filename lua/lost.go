package lua

import (
	"context"
	"fmt"
	"strconv"

	lm "github.com/lighterman/lighterman"
)

// LostTries is how many tries of a step a dead worker may have made of it.
const LostTries = 9

// LostCall is a call whose worker died before its answer was saved, counted by
// what its repeat used.
type LostCall struct {
	Model, Backend string
	Key            string     // operation/step/epoch of the dead claim: the replay keys of its tries begin so
	Op             lm.TraceID // empty: not counted apart
	Tenant         string     // the same
	Usage          lm.Usage
	CostNano       int64
	BudgetPer      string
}

// RecordLost counts one loss once; see lost.lua. It is tried again for a second
// where contact is lost.
func (s *Store) RecordLost(ctx context.Context, l LostCall) error {
	model := s.keys.model(l.Model)
	c := call{
		script: lostScript,
		keys: []string{
			model, s.keys.backend(l.Backend), s.keys.seen(l.Key + "/lost"),
			s.keys.optional(l.Op != "", s.keys.costs("op", string(l.Op)), model),
			s.keys.optional(l.Tenant != "", s.keys.costs("tenant", l.Tenant), model),
		},
		args: []any{
			LostTries, l.Usage.Input, l.Usage.Cached, l.Usage.Output, l.CostNano, l.BudgetPer,
			costKept.Milliseconds(), seenKept.Milliseconds(), tenantKept.Milliseconds(),
		},
	}
	for i := range LostTries {
		c.keys = append(c.keys, s.keys.seen(l.Key+"/"+strconv.Itoa(i)))
	}
	return again(ctx, hotPatience, func() error {
		_, err := s.run(ctx, c)
		if err != nil {
			return fmt.Errorf("count a lost call: %w", err)
		}
		return nil
	})
}
