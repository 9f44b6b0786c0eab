package lua

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// namesKept is how long a published name counts after its last publication.
const namesKept = 7 * 24 * time.Hour

// PublishNames tells producers which models and pools this fleet has.
func (s *Store) PublishNames(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return nil
	}
	now := time.Now().UnixMilli()
	fields := make([]any, 0, 2*len(names))
	for _, n := range names {
		fields = append(fields, n, now)
	}
	if err := s.rdb.HSet(ctx, s.keys.fleet("names"), fields...).Err(); err != nil {
		return fmt.Errorf("publish model names: %w", err)
	}
	return nil
}

// Names lists the models and pools that workers have published, sorted; none
// when no worker has been here yet.
func (s *Store) Names(ctx context.Context) ([]string, error) {
	published, err := s.rdb.HGetAll(ctx, s.keys.fleet("names")).Result()
	if err != nil {
		return nil, fmt.Errorf("read model names: %w", err)
	}
	var names []string
	for n, ms := range published {
		if time.Since(atMS(number(ms))) < namesKept {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	return names, nil
}
