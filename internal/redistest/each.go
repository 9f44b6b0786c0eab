package redistest

import (
	"context"
	"net"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// Each runs f as the subtests "redis", on a redis-server of its own, and
// "miniredis". Either may call t.Parallel.
func Each(t *testing.T, f func(t *testing.T, rdb redis.UniversalClient)) {
	t.Helper()
	t.Run("redis", func(t *testing.T) { f(t, Start(t).Client()) })
	t.Run("miniredis", func(t *testing.T) { f(t, Mini(t)) })
}

// EachCluster is Each with a third subtest, "cluster", whose client is a
// *redis.ClusterClient of a cluster of one node. As a cluster takes 2 s to start,
// it is that of SharedCluster where the package's TestMain calls Main.
func EachCluster(t *testing.T, f func(t *testing.T, rdb redis.UniversalClient)) {
	t.Helper()
	Each(t, f)
	t.Run("cluster", func(t *testing.T) {
		if mainRuns.Load() {
			f(t, SharedCluster(t).ClusterClient())
			return
		}
		f(t, Start(t, Cluster()).ClusterClient())
	})
}

// Mini returns a client of a miniredis of its own whose keys expire as time
// passes. Both end with the test.
func Mini(t testing.TB) *redis.Client {
	t.Helper()
	_, rdb := MiniServer(t)
	return rdb
}

// MiniServer is Mini for tests that also need the server, for SetTime or
// SetError, or to make more clients. It listens on a loopback port: see MiniPipe
// for why.
func MiniServer(t testing.TB) (*miniredis.Miniredis, *redis.Client) {
	t.Helper()
	m := newMini(t)
	if err := m.Start(); err != nil {
		t.Fatalf("redistest: miniredis: %v", err)
	}
	return m, newClient(t, Options("tcp", m.Addr()))
}

// MiniPipe is Mini without a socket, so that it works inside a testing/synctest
// bubble, where time is the bubble's. Its pipe holds nothing back: a pipeline
// whose replies begin before it is wholly written blocks for ever.
func MiniPipe(t testing.TB) *redis.Client {
	t.Helper()
	m := newMini(t)
	o := Options("tcp", "miniredis")
	o.Dialer = func(context.Context, string, string) (net.Conn, error) { return m.Dial() }
	return newClient(t, o)
}

func newMini(t testing.TB) *miniredis.Miniredis {
	m := miniredis.NewMiniRedis()
	m.ClockTTL(true)
	t.Cleanup(m.Close)
	return m
}

func newClient(t testing.TB, o *redis.Options) *redis.Client {
	rdb := redis.NewClient(o)
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}
