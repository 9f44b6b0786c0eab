package redistest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// MasterName is what the sentinels call the master.
const MasterName = "lighterman"

// Watched is a master with a replica under three sentinels, of which two agree on
// a failover 1 s after the master's last sign of life. It belongs to one test and
// ends with it. Its methods fail the test when something goes wrong.
type Watched struct {
	Master    *Server // at the beginning
	Replica   *Server
	Sentinels []*Server

	t testing.TB
}

// StartWatched starts them, and returns when the replica has a copy and every
// sentinel knows it and the other sentinels. The options are of all processes.
func StartWatched(t testing.TB, opts ...Option) *Watched {
	t.Helper()
	opts = append(opts[:len(opts):len(opts)], WithTCP())
	w := &Watched{t: t, Master: Start(t, append(opts[:len(opts):len(opts)], WithConfig("repl-diskless-sync-delay", "0"))...)}
	port := fmt.Sprint(w.Master.p.port)
	w.Replica = Start(t, append(opts[:len(opts):len(opts)], WithConfig("replicaof", "127.0.0.1 "+port))...)
	ctx, cancel := context.WithTimeout(context.Background(), formTimeout)
	defer cancel()
	replica := w.Replica.Client()
	w.check(wait(ctx, func() error { return linked(ctx, replica) }))
	for range 3 {
		w.Sentinels = append(w.Sentinels, Start(t, append(opts[:len(opts):len(opts)], func(c *config) { c.sentinel = true },
			WithConfig("sentinel monitor", MasterName+" 127.0.0.1 "+port+" 2"),
			WithConfig("sentinel down-after-milliseconds", MasterName+" 1000"),
			WithConfig("sentinel failover-timeout", MasterName+" 5000"))...))
	}
	for _, s := range w.Sentinels {
		rdb := redis.NewSentinelClient(s.p.options())
		w.check(wait(ctx, func() error { return knows(ctx, rdb) }))
		w.check(rdb.Close())
	}
	return w
}

// knows is nil when a sentinel knows the replica and both other sentinels.
func knows(ctx context.Context, rdb *redis.SentinelClient) error {
	m, err := rdb.Master(ctx, MasterName).Result()
	if err == nil && (m["num-slaves"] != "1" || m["num-other-sentinels"] != "2" || m["flags"] != "master") {
		err = fmt.Errorf("the sentinel knows %s replicas, %s sentinels, flags %s", m["num-slaves"], m["num-other-sentinels"], m["flags"])
	}
	return err
}

// URL is the address in the form that lua.Open takes, with all sentinels in it.
func (w *Watched) URL() string {
	scheme, rest, _ := strings.Cut(strings.TrimSuffix(w.Sentinels[0].URL(), "/0"), "://")
	url := scheme + "+sentinel://" + rest + "/0?master_name=" + MasterName
	for _, s := range w.Sentinels[1:] {
		url += "&addr=" + s.Addr
	}
	return url
}

// AwaitReplicated returns when the replica has all that the master had answered
// before the call.
func (w *Watched) AwaitReplicated() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	rdb := redis.NewClient(w.Master.p.options())
	defer rdb.Close()
	before, err := offset(ctx, rdb, "master_repl_offset")
	w.check(err)
	replica := redis.NewClient(w.Replica.p.options())
	defer replica.Close()
	w.check(wait(ctx, func() error {
		now, err := offset(ctx, replica, "slave_repl_offset")
		if err == nil && now < before {
			err = errors.New("the replica is behind")
		}
		return err
	}))
}

// AwaitPromoted returns when the replica is a master.
func (w *Watched) AwaitPromoted() {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), formTimeout)
	defer cancel()
	rdb := redis.NewClient(w.Replica.p.options())
	defer rdb.Close()
	w.check(wait(ctx, func() error {
		info, err := rdb.Info(ctx, "replication").Result()
		if err == nil && !strings.Contains(info, "role:master") {
			err = errors.New("the replica has not been promoted")
		}
		return err
	}))
}

func offset(ctx context.Context, rdb *redis.Client, name string) (n int64, err error) {
	info, err := rdb.Info(ctx, "replication").Result()
	if err != nil {
		return 0, err
	}
	_, rest, found := strings.Cut(info, "\r\n"+name+":")
	if !found {
		return 0, fmt.Errorf("no %s in %q", name, info)
	}
	_, err = fmt.Sscan(rest, &n)
	return n, err
}

func (w *Watched) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatalf("redistest: sentinels: %v", err)
	}
}
