package lua

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Consumer is one consumer of a stream's group.
type Consumer struct {
	Name    string
	Pending int64
	Idle    time.Duration // since its last command
}

// Consumers lists the consumers of a stream; none when the stream or its group
// is gone.
func (s *Store) Consumers(ctx context.Context, st Stream) ([]Consumer, error) {
	infos, err := s.rdb.XInfoConsumers(ctx, s.keys.stream(st), Group).Result()
	if err != nil {
		if IsNoGroup(err) || strings.Contains(err.Error(), "no such key") {
			return nil, nil
		}
		return nil, fmt.Errorf("list consumers of %s: %w", s.keys.stream(st), err)
	}
	consumers := make([]Consumer, len(infos))
	for i, c := range infos {
		consumers[i] = Consumer{Name: c.Name, Pending: c.Pending, Idle: c.Idle}
	}
	return consumers, nil
}

// Forget removes consumers of a stream that have nothing pending, at most 100,
// and reports how many. One that still lives is made again by its next read.
func (s *Store) Forget(ctx context.Context, st Stream, consumers []string) (int, error) {
	c := call{script: forgetScript, keys: []string{s.keys.stream(st)}, args: []any{len(consumers), Group}}
	for _, name := range consumers {
		c.args = append(c.args, name)
	}
	v, err := s.run(ctx, c)
	return int(number(v)), err
}
