package lua

import (
	"context"
	"fmt"
)

// Operation on a model by a person.
const (
	ModelEnable  = "enable"
	ModelDisable = "disable"
	ModelReset   = "reset"
)

// OperateModel enables, disables or resets a model; see operate.lua. Repeating it
// is harmless, so it is tried again for as long as the Store has patience.
func (s *Store) OperateModel(ctx context.Context, model, backend, what string) (Recorded, error) {
	switch what {
	case ModelEnable, ModelDisable, ModelReset:
	default:
		return Recorded{}, fmt.Errorf("operate a model: %q is not enable, disable or reset", what)
	}
	c := call{
		script: operateScript,
		keys:   []string{s.keys.model(model), s.keys.backend(backend), s.keys.version(), s.keys.notices()},
		args:   []any{what, modelKept.Milliseconds(), s.publish()},
	}
	var r Recorded
	err := again(ctx, s.opts.Patience, func() error {
		v, err := s.run(ctx, c)
		if err != nil {
			return err
		}
		items, err := list(v, 3)
		if err == nil {
			r = recordedOf(items)
		}
		return err
	})
	return r, err
}
