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
	c := &caller{sim: s, aliases: make(map[string]string), names: s.Models()}
	for _, m := range models {
		c.aliases[m.ID] = m.Name
		c.names = append(c.names, m.ID)
	}
	slices.Sort(c.names)
	c.names = slices.Compact(c.names)
	return c
}

// Call satisfies pipeline.Caller.
func (c *caller) Call(ctx context.Context, call lm.Call) (lm.Answer, error) {
	if name, ok := c.aliases[call.Model]; ok {
		call.Model = name
	}
	return c.sim.Call(ctx, call)
}
