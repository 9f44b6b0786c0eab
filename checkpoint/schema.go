package checkpoint

import "fmt"

// readable reports whether a stored schema is ours or can be upgraded to ours.
func (c *Codec) readable(have int) error {
	if have > c.opts.Schema {
		return &SchemaError{Have: have, Want: c.opts.Schema}
	}
	for v := have; v < c.opts.Schema; v++ {
		if c.opts.Upgrades[v] == nil {
			return &SchemaError{Have: have, Want: c.opts.Schema}
		}
	}
	return nil
}

// upgrade takes steps from their schema to ours, one version at a time.
func (c *Codec) upgrade(have int, steps []StepData) ([]StepData, error) {
	for v := have; v < c.opts.Schema; v++ {
		var err error
		if steps, err = contained(c.opts.Upgrades[v], steps); err != nil {
			return nil, &SchemaError{Have: have, Want: c.opts.Schema, Err: fmt.Errorf("upgrade from schema %d: %w", v, err)}
		}
	}
	return steps, nil
}

// contained turns a panic of an upgrade into an error that does not print the
// panic's value, which may hold payload.
func contained(up Upgrade, steps []StepData) (out []StepData, err error) {
	defer func() {
		if v := recover(); v != nil {
			out, err = nil, fmt.Errorf("panic (%T)", v)
		}
	}()
	return up(steps)
}
