package redistest

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// options returns the options of a client of the server.
func (p *process) options() *redis.Options {
	o := Options("unix", p.sock)
	if p.port != 0 && !p.cfg.tls {
		o.Network, o.Addr = "tcp", p.tcpAddr()
	}
	o.Password = p.cfg.password
	return o
}

// formCluster gives the only node of a cluster all slots, unless a nodes.conf has
// given them to it already, and returns when commands are accepted. That is 2 s
// after the process started: a node waits for as long in case there is another
// that it should follow (CLUSTER_WRITABLE_DELAY in Redis's cluster.c).
func (p *process) formCluster() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	rdb := redis.NewClient(p.options())
	defer rdb.Close()
	info, err := rdb.ClusterInfo(ctx).Result()
	if err == nil && strings.Contains(info, "cluster_slots_assigned:0\r\n") {
		err = rdb.ClusterAddSlotsRange(ctx, 0, 16383).Err()
	}
	if err != nil {
		return fmt.Errorf("assign slots: %w", err)
	}
	for {
		if info, err = rdb.ClusterInfo(ctx).Result(); err == nil && strings.Contains(info, "cluster_state:ok") {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for cluster_state:ok: %w (last error: %w, last state: %q)", ctx.Err(), err, info)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
