package lua

import (
	"context"
	"errors"
	"time"

	lm "github.com/lighterman/lighterman"
)

// Increments are what a worker has counted by itself since it last saved:
// successes of one model under one circuit. Increments are added, never set.
type Increments struct {
	Model, Backend string
	Key            string // of this batch; the same again adds nothing
	Epoch          int64
	Age            time.Duration // since the last of them
	Requests       int64
	Usage          lm.Usage
	CostNano       int64
	QuotaPeriod    string
	BudgetPeriod   string
	Window         time.Duration
	Past           map[int]int64 // successes by how many buckets ago
}

// Spent is what an operation or a tenant has used, counted likewise.
type Spent struct {
	Op       lm.TraceID // one of the two
	Tenant   string
	Key      string
	Requests int64
	Usage    lm.Usage
	CostNano int64
}

// Count saves increments in one pipeline, each a script with its own replay key:
// after an error all of it may be sent again. It answers the newest version.
func (s *Store) Count(ctx context.Context, models []Increments, spent []Spent) (uint64, error) {
	calls := make([]call, 0, len(models)+len(spent))
	for _, m := range models {
		calls = append(calls, s.countCall(m))
	}
	for _, p := range spent {
		calls = append(calls, s.spentCall(p))
	}
	values, errs := s.runAll(ctx, calls)
	var version uint64
	for i := range models {
		if errs[i] != nil {
			continue
		}
		if items, err := list(values[i], 3); err == nil {
			version = max(version, uint64(number(items[2])))
		}
	}
	return version, errors.Join(errs...)
}

func (s *Store) countCall(m Increments) call {
	c := call{
		script: countScript,
		keys:   []string{s.keys.model(m.Model), s.keys.backend(m.Backend), s.keys.version(), s.keys.seen(m.Key), s.keys.notices()},
		args: []any{m.Epoch, m.Age.Milliseconds(), m.Requests, m.Usage.Input, m.Usage.Cached, m.Usage.Output, m.CostNano,
			m.QuotaPeriod, m.BudgetPeriod, m.Window.Milliseconds(), seenKept.Milliseconds(), modelKept.Milliseconds(), s.publish(), len(m.Past)},
	}
	for past, ok := range m.Past {
		c.args = append(c.args, past, ok)
	}
	return c
}

func (s *Store) spentCall(p Spent) call {
	key, kept := s.keys.costs("op", string(p.Op)), costKept
	if p.Op == "" {
		key, kept = s.keys.costs("tenant", p.Tenant), tenantKept
	}
	return call{
		script: spentScript,
		keys:   []string{key, s.keys.seen(p.Key)},
		args:   []any{p.Requests, p.Usage.Input, p.Usage.Cached, p.Usage.Output, p.CostNano, seenKept.Milliseconds(), kept.Milliseconds()},
	}
}
