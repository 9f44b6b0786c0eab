package lua

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	lm "github.com/lighterman/lighterman"
	"github.com/redis/go-redis/v9"
)

// modelWithin is how much of a request's body is looked at for the model it names.
const modelWithin = 16 << 10

// NameModels fills in the model of traces whose requests left the field empty, in one
// pipeline: the one that answered where they have ended, else the one that the body
// names within its first 16 KiB. A trace for which neither is known stays without.
func (s *Store) NameModels(ctx context.Context, traces []lm.Trace) error {
	pipe := s.rdb.Pipeline()
	asked := make(map[int]*redis.StringCmd)
	for i := range traces {
		switch t := &traces[i]; {
		case t.Model != "":
		case t.State == lm.Completed:
			asked[i] = pipe.HGet(ctx, s.keys.result(t.ID), "usage")
		default:
			asked[i] = pipe.GetRange(ctx, s.keys.request(t.ID), 0, modelWithin-1)
		}
	}
	if len(asked) == 0 {
		return nil
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return fmt.Errorf("read the models of operations: %w", err)
	}
	for i, cmd := range asked {
		traces[i].Model = namedModel([]byte(cmd.Val()))
	}
	return nil
}

// namedModel is the text in an object's field model, as far as the object is there.
func namedModel(object []byte) string {
	d := json.NewDecoder(bytes.NewReader(object))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return ""
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return ""
		}
		if name == "model" {
			var model string
			_ = d.Decode(&model) // another type is no name
			return model
		}
		var skipped json.RawMessage
		if d.Decode(&skipped) != nil {
			return ""
		}
	}
	return ""
}
