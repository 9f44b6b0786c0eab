package e2e

import (
	"strconv"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// TestCluster_MasterKilledWorkGoesOn (F18): one of three masters is killed with
// operations in flight and others waiting, once its replica has all that was
// accepted. The replica is promoted; what was accepted ends, on all partitions.
func TestCluster_MasterKilledWorkGoesOn(t *testing.T) {
	if !full {
		t.Skip("takes 40 s: LIGHTERMAN_E2E=full; the default kills a master under sentinels")
	}
	c := newClusterFleet(t, 3*time.Second, redistest.StartShards(t, 3, 3, redistest.WithConfig("cluster-node-timeout", "2000")))
	const ops = 600
	for range 2 {
		c.start(crew{own: true, slots: 16, latency: 300 * time.Millisecond, presence: true})
	}
	ids := c.enqueue(ops, plain, twoStep, tools)
	until(t, patience, "some to end", func() bool { return c.ended(ids) > 10 })
	victim, replica := c.shards.Masters[1], c.shards.Replicas[1]
	offset := replOffset(t, victim.Client(), "master_repl_offset")
	until(t, patience, "the replica to have what was accepted", func() bool {
		return replOffset(t, replica.Client(), "slave_repl_offset") >= offset
	})
	before := c.ended(ids)
	if before == ops {
		t.Fatal("all had ended before the kill: void")
	}
	victim.Kill()
	killed := time.Now()
	until(t, patience, "the replica to be a master", func() bool {
		return strings.Contains(replica.Client().Info(t.Context(), "replication").Val(), "role:master")
	})
	promoted := time.Since(killed)
	c.enqueue(20, plain)
	accepts := time.Since(killed)
	c.awaitAll()
	t.Logf("%d of %d had ended; promoted after %v, accepts on every partition after %v, all ended after %v", before, ops, promoted, accepts, time.Since(killed))
	for _, r := range c.records(c.all()) {
		if r.State != lm.Completed || r.Outcome != lm.Succeeded {
			t.Errorf("%s", story(r))
		}
	}
}

// replOffset reads a replication offset.
func replOffset(t *testing.T, rdb *redis.Client, name string) int64 {
	t.Helper()
	for line := range strings.Lines(rdb.Info(t.Context(), "replication").Val()) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			n, _ := strconv.ParseInt(value, 10, 64)
			return n
		}
	}
	return 0
}
