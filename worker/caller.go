package worker

import (
	"context"
	"slices"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/config"
	"github.com/lighterman/lighterman/provider/sim"
)

// caller sends calls to the simulated models under the names of the
// configuration.
type caller struct {
	sim     *sim.Sim
	aliases map[string]string
	names   []string
}

func newCaller(s *sim.Sim, models []config.Model) *caller {
	c := &caller{sim: s, aliases: make(map[string]string), names: ModelNames(models)}
	for _, m := range models {
		c.aliases[m.ID] = m.Name
	}
	return c
}

// ModelNames are the names that requests may use with these declared models, the
// simulated ones included, sorted.
func ModelNames(declared []config.Model) []string {
	names := sim.New(sim.Options{}).Models()
	for _, m := range declared {
		names = append(names, m.ID)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Call satisfies pipeline.Caller.
func (c *caller) Call(ctx context.Context, call lm.Call) (lm.Answer, error) {
	if name, ok := c.aliases[call.Model]; ok {
		call.Model = name
	}
	return c.sim.Call(ctx, call)
}
