package e2e

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/redis/go-redis/v9"
)

// clusterPartitions is what the documentation tells a cluster to have.
const clusterPartitions = 64

// clusterFleet is a fleet on a cluster.
type clusterFleet struct {
	*fleet
	shards *redistest.Shards
	rdb    *redis.ClusterClient
}

func newClusterFleet(t *testing.T, lease time.Duration, shards *redistest.Shards) *clusterFleet {
	t.Helper()
	c := &clusterFleet{shards: shards, rdb: shards.Client()}
	c.fleet = newFleetAt(t, lease, shards.URL(), clusterPartitions, c.rdb)
	return c
}

// slot is the slot of a hash tag: a partition's number, or fleet.
func (c *clusterFleet) slot(tag any) int {
	c.Helper()
	n, err := c.rdb.ClusterKeySlot(c.Context(), fmt.Sprintf("{lm:%v}", tag)).Result()
	if err != nil {
		c.Fatal(err)
	}
	return int(n)
}

// move moves a tag's slot to the next master, and leaves it half moved for a
// while: what is there then needs both masters, and what is new is refused.
func (c *clusterFleet) move(tag any, half time.Duration) {
	c.Helper()
	slot := c.slot(tag)
	m := c.shards.BeginMove(slot, (c.shards.Owner(slot)+1)%len(c.shards.Masters))
	m.Some(5)
	time.Sleep(half)
	m.End()
}

// answered sums how often the masters answered with an error of Redis.
func (c *clusterFleet) answered(code string) (n int) {
	c.Helper()
	for _, m := range c.shards.Masters {
		info := m.Client().Info(c.Context(), "errorstats").Val()
		if _, rest, found := strings.Cut(info, "errorstat_"+code+":count="); found {
			digits, _, _ := strings.Cut(rest, "\r")
			count, _ := strconv.Atoi(digits)
			n += count
		}
	}
	return n
}

// produce enqueues so many operations in small batches, as a producer does, until
// they are out.
func (c *clusterFleet) produce(n int, every time.Duration) (done func()) {
	var producer sync.WaitGroup
	producer.Go(func() {
		for sent := 0; sent < n; sent += 50 {
			c.enqueue(min(50, n-sent), plain, plain, twoStep, tools)
			select {
			case <-c.Context().Done():
				return
			case <-time.After(every):
			}
		}
	})
	return producer.Wait
}

// TestCluster_SlotsMoveUnderLoad (F19): on three masters, slots of partitions and
// of the fleet's own keys move while a producer enqueues and workers work; one
// worker is killed, one drained. All that was accepted ends once, and nothing
// that was saved is called again.
func TestCluster_SlotsMoveUnderLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("process tests are not short")
	}
	c := newClusterFleet(t, 3*time.Second, redistest.StartShards(t, 3, 0))
	ops, moved, half := rounds(1200, 6000), rounds(6, 24), 400*time.Millisecond
	var workers []*worker
	for range 3 {
		workers = append(workers, c.start(crew{own: true, slots: 16, latency: 60 * time.Millisecond, presence: true}))
	}
	before := c.answered("TRYAGAIN")
	out := c.produce(ops, 100*time.Millisecond)
	defer out()
	for i := range moved {
		c.move(i, half)
		if i == moved/3 {
			c.move("fleet", half)
			until(t, patience, "the victim to hold something", func() bool { return c.heldBy(workers[0]) > 8 })
			workers[0].kill()
		}
		if i == 2*moved/3 {
			workers[1].signal(syscall.SIGTERM)
		}
	}
	out()
	if code := workers[1].exit(patience); code != 0 {
		t.Errorf("the drained worker's exit code is %d", code)
	}
	c.awaitAll()
	c.check()
	if d := c.died(); len(d) != 1 || len(d[0].held) == 0 {
		t.Errorf("autopsies %v: void", d)
	}
	l := c.readLedger()
	t.Logf("%d operations, %d slots moved: MOVED %d, ASK %d, TRYAGAIN %d, UNBLOCKED %d, NOSCRIPT %d; %v; calls repeated %d, paid twice %d",
		ops, moved+1, c.answered("MOVED"), c.answered("ASK"), c.answered("TRYAGAIN")-before, c.answered("UNBLOCKED"), c.answered("NOSCRIPT"), c.died(), l.repeats(), l.paidTwice())
	for _, code := range []string{"MOVED", "ASK", "TRYAGAIN"} {
		if c.answered(code) == 0 {
			t.Errorf("no node answered %s: void", code)
		}
	}
}

// heldBy is how many operations a worker holds, by the counters of all masters.
func (c *clusterFleet) heldBy(w *worker) (n int) {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.Context(), 10*time.Second)
	defer cancel()
	for _, r := range c.records(c.all()) {
		if ctx.Err() == nil && r.Owner == w.owner {
			n++
		}
	}
	return n
}
