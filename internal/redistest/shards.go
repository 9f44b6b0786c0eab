package redistest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// formTimeout bounds the forming of a cluster: 2 s for a node to accept writes,
// and some rounds of gossip, on a machine that does much else.
const formTimeout = 60 * time.Second

// Shards is a Redis Cluster of several masters, with or without replicas, that
// belongs to one test and ends with it. Its methods fail the test when something
// goes wrong.
type Shards struct {
	Masters  []*Server // at the beginning; a failover makes others
	Replicas []*Server // replica i is of master i mod len(Masters)

	t   testing.TB
	ids []string // node IDs, of the masters and then the replicas
}

// StartShards starts a cluster and returns when every node says that it is
// whole. The slots are dealt in equal ranges, in the order of Masters. It takes
// about 4 s.
func StartShards(t testing.TB, masters, replicas int, opts ...Option) *Shards {
	t.Helper()
	s := &Shards{t: t}
	member := func(c *config) { c.cluster, c.tcp, c.member = true, true, true }
	opts = append(opts[:len(opts):len(opts)], member, WithConfig("cluster-migration-barrier", "100"))
	for i := range masters + replicas {
		node := Start(t, opts...)
		if i < masters {
			s.Masters = append(s.Masters, node)
		} else {
			s.Replicas = append(s.Replicas, node)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), formTimeout)
	defer cancel()
	if err := s.form(ctx); err != nil {
		t.Fatalf("redistest: form a cluster: %v", err)
	}
	return s
}

// nodes are the masters and then the replicas.
func (s *Shards) nodes() []*Server {
	return append(s.Masters[:len(s.Masters):len(s.Masters)], s.Replicas...)
}

// form deals the slots, introduces the nodes to each other and waits until they
// agree.
func (s *Shards) form(ctx context.Context) error {
	first := s.Masters[0].p
	for i, node := range s.nodes() {
		rdb := redis.NewClient(node.p.options())
		defer rdb.Close()
		pipe := rdb.Pipeline()
		id := pipe.ClusterMyID(ctx)
		pipe.Do(ctx, "cluster", "set-config-epoch", i+1) // as redis-cli does: no two may begin with the same
		if n := len(s.Masters); i < n {
			pipe.ClusterAddSlotsRange(ctx, i*16384/n, (i+1)*16384/n-1)
		}
		if i > 0 {
			pipe.ClusterMeet(ctx, "127.0.0.1", fmt.Sprint(first.port))
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return err
		}
		s.ids = append(s.ids, id.Val())
	}
	if err := s.agree(ctx, "cluster_known_nodes:"+fmt.Sprint(len(s.ids))+"\r\n"); err != nil {
		return err
	}
	if err := s.follow(ctx); err != nil {
		return err
	}
	return s.agree(ctx, "cluster_state:ok", "cluster_size:"+fmt.Sprint(len(s.Masters))+"\r\n")
}

// follow makes the replicas replicas, and waits until they have a copy.
func (s *Shards) follow(ctx context.Context) error {
	for i, node := range s.Replicas {
		rdb := redis.NewClient(node.p.options())
		defer rdb.Close()
		master := s.ids[i%len(s.Masters)]
		if err := wait(ctx, func() error { return rdb.ClusterReplicate(ctx, master).Err() }); err != nil {
			return fmt.Errorf("replicate: %w", err)
		}
		if err := wait(ctx, func() error { return linked(ctx, rdb) }); err != nil {
			return err
		}
	}
	return nil
}

// linked is nil when a replica has a copy of its master's data and is kept up to
// date.
func linked(ctx context.Context, rdb *redis.Client) error {
	info, err := rdb.Info(ctx, "replication").Result()
	if err == nil && !strings.Contains(info, "master_link_status:up") {
		err = errors.New("the link to the master is not up")
	}
	return err
}

// agree waits until CLUSTER INFO of every node holds all the texts, and every
// node lists every other one as reachable: one that only knows of it by hearsay
// cannot say whether it lives.
func (s *Shards) agree(ctx context.Context, texts ...string) error {
	for _, node := range s.nodes() {
		rdb := redis.NewClient(node.p.options())
		defer rdb.Close()
		if err := wait(ctx, func() error {
			info, err := rdb.ClusterInfo(ctx).Result()
			for _, text := range texts {
				if err == nil && !strings.Contains(info, text) {
					err = fmt.Errorf("%s: no %q in %q", node.Addr, text, info)
				}
			}
			if err != nil {
				return err
			}
			list, err := rdb.ClusterNodes(ctx).Result()
			if err == nil && (strings.Contains(list, "handshake") || strings.Contains(list, "fail") || strings.Contains(list, "disconnected")) {
				err = fmt.Errorf("%s: not all are connected:\n%s", node.Addr, list)
			}
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// wait calls try until it returns nil, and returns its last error with ctx's.
func wait(ctx context.Context, try func() error) error {
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (last: %w)", ctx.Err(), err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// URL is the cluster's address in the form that lua.Open takes, with all masters
// of the beginning in it.
func (s *Shards) URL() string {
	scheme, rest, _ := strings.Cut(strings.TrimSuffix(s.Masters[0].URL(), "/0"), "://")
	url := scheme + "+cluster://" + rest + "?"
	for _, m := range s.Masters[1:] {
		url += "addr=" + m.Addr + "&"
	}
	return url[:len(url)-1]
}

// Client returns a new client of the cluster that is closed when the test ends.
func (s *Shards) Client() *redis.ClusterClient {
	s.t.Helper()
	o := clusterOptions(s.Masters[0].p.options())
	for _, m := range s.Masters[1:] {
		o.Addrs = append(o.Addrs, m.p.options().Addr)
	}
	o.MaxRedirects = 8
	rdb := redis.NewClusterClient(o)
	s.t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

// Owner is the number in Masters of the one that owns a slot, as the first
// living one sees it; -1 when it is none of them.
func (s *Shards) Owner(slot int) int {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, node := range s.nodes() {
		if !node.p.running() {
			continue
		}
		rdb := redis.NewClient(node.p.options())
		ranges, err := rdb.ClusterSlots(ctx).Result() //nolint:staticcheck // of its successor, CLUSTER SHARDS, the owner would have to be guessed by role and health
		_ = rdb.Close()
		if err != nil {
			s.t.Fatalf("redistest: owner of slot %d: %v", slot, err)
		}
		for _, r := range ranges {
			if r.Start <= slot && slot <= r.End {
				return s.number(r.Nodes[0].ID)
			}
		}
	}
	return -1
}

func (s *Shards) number(id string) int {
	for i := range s.Masters {
		if s.ids[i] == id {
			return i
		}
	}
	return -1
}
