package lua

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
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
	return s.AllConsumers(ctx, []Stream{st})
}

// AllConsumers lists the consumers of many streams in one round trip, those of a
// stream that is gone left out.
func (s *Store) AllConsumers(ctx context.Context, streams []Stream) ([]Consumer, error) {
	if len(streams) == 0 {
		return nil, nil
	}
	pipe := s.rdb.Pipeline()
	cmds := make([]*redis.XInfoConsumersCmd, len(streams))
	for i, st := range streams {
		cmds[i] = pipe.XInfoConsumers(ctx, s.keys.stream(st), Group)
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	var all []Consumer
	for i, cmd := range cmds {
		infos, err := cmd.Result()
		if err != nil && !IsNoGroup(err) && !strings.Contains(err.Error(), "no such key") {
			return nil, fmt.Errorf("list consumers of %s: %w", s.keys.stream(streams[i]), err)
		}
		for _, c := range infos {
			all = append(all, Consumer{Name: c.Name, Pending: c.Pending, Idle: c.Idle})
		}
	}
	return all, nil
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
