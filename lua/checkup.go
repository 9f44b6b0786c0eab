package lua

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Node is one server, or one master of a cluster, as INFO has it. A field that
// it does not tell is missing.
type Node struct {
	Addr string
	Info map[string]string
}

// Nodes asks every master for its facts.
func (s *Store) Nodes(ctx context.Context) ([]Node, error) {
	ask := func(ctx context.Context, addr string, c redis.Cmdable) (Node, error) {
		info, err := c.Info(ctx).Result()
		if err != nil && IsPassing(err) {
			return Node{}, fmt.Errorf("ask Redis for its facts: %w", err)
		}
		if err != nil && c.Ping(ctx).Err() != nil {
			return Node{}, fmt.Errorf("ask Redis for its facts: %w", err)
		}
		return Node{Addr: addr, Info: readInfo(info)}, nil
	}
	cluster, ok := s.rdb.(*redis.ClusterClient)
	if !ok {
		n, err := ask(ctx, "", s.rdb)
		return []Node{n}, err
	}
	found := make(chan Node, 1024)
	err := cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error {
		n, err := ask(ctx, c.Options().Addr, c)
		if err == nil {
			found <- n
		}
		return err
	})
	close(found)
	var nodes []Node
	for n := range found {
		nodes = append(nodes, n)
	}
	slices.SortFunc(nodes, func(a, b Node) int { return strings.Compare(a.Addr, b.Addr) })
	return nodes, err
}

// RecordedPartitions is the number that the fleet's first start recorded; 0 when
// none has been.
func (s *Store) RecordedPartitions(ctx context.Context) (int, error) {
	n, err := s.rdb.HGet(ctx, s.keys.fleet("facts"), "partitions").Int()
	if err != nil && !errors.Is(err, redis.Nil) {
		return 0, fmt.Errorf("read the recorded partitions: %w", err)
	}
	return n, nil
}

// Skew is how far the server's clock is ahead of this process's, at least: what
// the round trip could explain is left out.
func (s *Store) Skew(ctx context.Context) (time.Duration, error) {
	before := time.Now()
	server, err := s.rdb.Time(ctx).Result()
	after := time.Now()
	switch {
	case err != nil:
		return 0, fmt.Errorf("read the server's time: %w", err)
	case server.Before(before):
		return server.Sub(before), nil
	case server.After(after):
		return server.Sub(after), nil
	default:
		return 0, nil
	}
}

// ProbeCounting says whether a script may count the listeners of a channel here;
// nil means that it may.
func (s *Store) ProbeCounting(ctx context.Context) error {
	count := "NUMSUB"
	if s.sharded() {
		count = "SHARDNUMSUB"
	}
	_, err := s.run(ctx, call{script: probeScript, keys: []string{s.keys.control("probe")}, args: []any{count}})
	return err
}

// Spread is how many partitions each master of a cluster has; nil elsewhere.
func (s *Store) Spread(ctx context.Context) (map[string]int, error) {
	cluster, ok := s.rdb.(*redis.ClusterClient)
	if !ok {
		return nil, nil
	}
	spread := make(map[string]int)
	for p := range s.Partitions() {
		master, err := cluster.MasterForKey(ctx, s.keys.stats(p))
		if err != nil {
			return nil, fmt.Errorf("find the master of partition %d: %w", p, err)
		}
		spread[master.Options().Addr]++
	}
	return spread, nil
}

// ClusterState is what CLUSTER INFO says of the state; empty where there is no
// cluster.
func (s *Store) ClusterState(ctx context.Context) (string, error) {
	if !s.sharded() {
		return "", nil
	}
	info, err := s.rdb.ClusterInfo(ctx).Result()
	if err != nil {
		return "", fmt.Errorf("ask for the cluster's state: %w", err)
	}
	return readInfo(info)["cluster_state"], nil
}

// StalledFor is how long the longest idle entry of a stream that has been idle
// for at least minIdle has been so; 0 when there is none.
func (s *Store) StalledFor(ctx context.Context, st Stream, minIdle time.Duration) (time.Duration, error) {
	pending, err := s.rdb.XPendingExt(ctx, &redis.XPendingExtArgs{
		Stream: s.keys.stream(st), Group: Group, Idle: minIdle, Start: "-", End: "+", Count: maxBatch,
	}).Result()
	if err != nil && !IsNoGroup(err) && !errors.Is(err, redis.Nil) {
		return 0, fmt.Errorf("read what is pending in %s: %w", s.keys.stream(st), err)
	}
	var longest time.Duration
	for _, p := range pending {
		longest = max(longest, p.Idle)
	}
	return longest, nil
}
