package lua

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// newBlockingName names the connections that one Store blocks on, so that it can
// tell them from all others. Nothing of the fleet is in it.
func newBlockingName() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return "lighterman-blocking-" + hex.EncodeToString(b[:])
}

// Unblock ends the blocking reads that this Store has under way now, as if their time
// were over, and says how many. Redis does that in one step: a read that has been
// served is not touched, so that nothing is delivered to nobody. One that has been
// sent and not begun is missed; call again. Where the Store did not make its own
// clients (NewStore), or the server has no such command, it ends none, and reads take
// their time.
func (s *Store) Unblock(ctx context.Context) (int, error) {
	if s.blockingName == "" {
		return 0, nil
	}
	if cluster, ok := s.rdb.(*redis.ClusterClient); ok {
		n := make(chan int, 1)
		n <- 0
		err := cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
			k, err := unblock(ctx, node, s.blockingName)
			n <- <-n + k
			return err
		})
		return <-n, err
	}
	return unblock(ctx, s.rdb, s.blockingName)
}

// unblock looks for the connections of a name at every call: the IDs of yesterday may
// be somebody else's after a restart or failover.
func unblock(ctx context.Context, node redis.UniversalClient, name string) (n int, err error) {
	list, err := node.ClientList(ctx).Result()
	if err != nil {
		return 0, fmt.Errorf("list connections: %w", err)
	}
	for line := range strings.Lines(list) {
		facts := make(map[string]string)
		for _, f := range strings.Fields(line) {
			key, value, _ := strings.Cut(f, "=")
			facts[key] = value
		}
		if facts["name"] != name || !strings.Contains(facts["flags"], "b") {
			continue
		}
		ended, err := node.ClientUnblock(ctx, number(facts["id"])).Result()
		if err != nil {
			return n, fmt.Errorf("end a blocking read: %w", err)
		}
		n += int(ended)
	}
	return n, nil
}
