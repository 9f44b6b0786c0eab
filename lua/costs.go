package lua

import (
	"context"
	"fmt"
	"strings"
)

// Costs are what the calls of an operation or a tenant came to: those that were
// recorded, the failed ones included.
type Costs struct {
	Requests int64              `json:"requests"`
	Input    int64              `json:"input"`
	Cached   int64              `json:"cached,omitempty"`
	Output   int64              `json:"output"`
	USD      float64            `json:"usd"`
	Waste    map[string]float64 `json:"waste,omitempty"` // USD of it by cause: retry, crash, cancel
}

// nano is a nano-USD in USD.
const nano = 1e-9

// Costs are the recorded costs of an operation (op) or a tenant as they are kept:
// fields requests, input, cached, output, cost and waste_CAUSE in nano-USD.
func (s *Store) Costs(ctx context.Context, what, name string) (map[string]string, error) {
	got, err := s.rdb.HGetAll(ctx, s.keys.costs(what, name)).Result()
	if err != nil {
		return nil, fmt.Errorf("read costs: %w", err)
	}
	return got, nil
}

// Spent is Costs in numbers; the zero value where none were recorded.
func (s *Store) Spent(ctx context.Context, what, name string) (Costs, error) {
	got, err := s.Costs(ctx, what, name)
	c := Costs{
		Requests: number(got["requests"]), Input: number(got["input"]), Cached: number(got["cached"]), Output: number(got["output"]),
		USD: float64(number(got["cost"])) * nano,
	}
	for field, value := range got {
		if cause, ok := strings.CutPrefix(field, "waste_"); ok && number(value) != 0 {
			if c.Waste == nil {
				c.Waste = make(map[string]float64)
			}
			c.Waste[cause] = float64(number(value)) * nano
		}
	}
	return c, err
}
