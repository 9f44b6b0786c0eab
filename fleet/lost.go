package fleet

import (
	"context"
	"errors"

	"github.com/lighterman/lighterman/lua"
)

// lose counts the calls that a success repeats because their workers died. What
// they used nobody knows; the repeat had the same input, and so its usage stands
// for theirs. Where a dead worker recorded an answer before it died its cost is
// counted already, and becomes waste; else it is counted as cost and as waste. An
// operation that never gets its answer tells of no loss.
func (m *Manager) lose(ctx context.Context, o Outcome, budgetPeriod string) error {
	if o.Kind != "" {
		return nil
	}
	var errs []error
	for _, key := range o.Lost {
		errs = append(errs, m.at.RecordLost(ctx, lua.LostCall{
			Model: o.Model, Backend: o.Backend, Key: key, Op: o.Op, Tenant: o.Tenant, Usage: o.Usage, CostNano: nano(o.CostUSD), BudgetPer: budgetPeriod,
		}))
	}
	return errors.Join(errs...)
}
