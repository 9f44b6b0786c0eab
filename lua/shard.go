package lua

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// Sharded reports whether the partitions lie on several servers, which may be slow
// or away one by one.
func (s *Store) Sharded() bool {
	_, cluster := s.rdb.(*redis.ClusterClient)
	return cluster
}

// Shards groups the partitions by the server that has them, as far as this client
// knows. What is sent to many partitions goes to each group apart, so that nothing
// waits for a server that is slow or away.
func (s *Store) Shards(ctx context.Context) [][]int {
	cluster, sharded := s.rdb.(*redis.ClusterClient)
	var shards [][]int
	at := make(map[string]int)
	for p := range s.Partitions() {
		name := ""
		if sharded {
			name = "unknown"
			if node, err := cluster.MasterForKey(ctx, s.keys.stats(p)); err == nil {
				name = node.Options().Addr
			}
		}
		i, known := at[name]
		if !known {
			i, at[name] = len(shards), len(shards)
			shards = append(shards, nil)
		}
		shards[i] = append(shards[i], p)
	}
	return shards
}
