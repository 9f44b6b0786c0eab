package lua

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// FleetState is the fleet's shared truth, raw: the fields of each hash. Absent
// ones are empty maps.
type FleetState struct {
	Version  uint64
	Now      time.Time // server time
	Models   []map[string]string
	Backends []map[string]string
	Pools    []map[string]string
	Observed []Observation // of all backends, whoever asked them
}

// FleetVersion is one cheap command: a number that grows with every change that
// routing must see; 0 before the first.
func (s *Store) FleetVersion(ctx context.Context) (uint64, error) {
	v, err := s.rdb.Get(ctx, s.keys.version()).Uint64()
	if err != nil && !errors.Is(err, redis.Nil) {
		return 0, fmt.Errorf("read the version of the fleet's state: %w", err)
	}
	return v, nil
}

// FleetState reads the hashes of models, backends and pools, answered in the
// given order, and what backends were seen to have, in one round trip. The version is read first, so that a change
// while it reads makes the next look read again.
func (s *Store) FleetState(ctx context.Context, models, backends, pools []string) (FleetState, error) {
	pipe := s.rdb.Pipeline()
	version := pipe.Get(ctx, s.keys.version())
	now := pipe.Time(ctx)
	observed := pipe.HGetAll(ctx, s.keys.observed())
	read := func(names []string, key func(string) string) []*redis.MapStringStringCmd {
		cmds := make([]*redis.MapStringStringCmd, len(names))
		for i, n := range names {
			cmds[i] = pipe.HGetAll(ctx, key(n))
		}
		return cmds
	}
	m, b, p := read(models, s.keys.model), read(backends, s.keys.backend), read(pools, s.keys.pool)
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return FleetState{}, fmt.Errorf("read the fleet's state: %w", err)
	}
	return FleetState{
		Version: uint64(number(version.Val())), Now: now.Val().UTC(),
		Models: hashes(m), Backends: hashes(b), Pools: hashes(p), Observed: observations(observed.Val()),
	}, nil
}

func hashes(cmds []*redis.MapStringStringCmd) []map[string]string {
	out := make([]map[string]string, len(cmds))
	for i, c := range cmds {
		out[i] = c.Val()
	}
	return out
}

// Running counts a model's live reservations.
func (s *Store) Running(ctx context.Context, model string) (int64, error) {
	now, err := s.rdb.Time(ctx).Result()
	if err != nil {
		return 0, fmt.Errorf("count reservations: %w", err)
	}
	n, err := s.rdb.ZCount(ctx, s.keys.holds(model), fmt.Sprintf("(%d", now.UnixMilli()), "+inf").Result()
	if err != nil {
		return 0, fmt.Errorf("count reservations: %w", err)
	}
	return n, nil
}
