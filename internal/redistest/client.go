package redistest

import (
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Options returns the client options that this package uses: every call is
// sent once, honours its context's deadline, and nothing but HELLO is sent on a
// new connection, so that a test may count commands.
//
// The protocol is RESP2, which any server speaks: scripts answer the same in both,
// go-redis hides the difference for typed commands, and without push frames
// there is nothing to look for before each reply.
func Options(network, addr string) *redis.Options {
	return &redis.Options{
		Network:                  network,
		Addr:                     addr,
		Protocol:                 2,
		MaxRetries:               -1,
		DialerRetries:            1, // A dead server is an error at once.
		DialTimeout:              2 * time.Second,
		ReadTimeout:              10 * time.Second,
		WriteTimeout:             10 * time.Second,
		PoolTimeout:              10 * time.Second,
		PoolSize:                 64,
		ContextTimeoutEnabled:    true,
		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

// clusterOptions returns o for a cluster client. Redirects are followed a few
// times; a single node that owns every slot sends none.
func clusterOptions(o *redis.Options) *redis.ClusterOptions {
	return &redis.ClusterOptions{
		Addrs:                      []string{o.Addr},
		Password:                   o.Password,
		Protocol:                   o.Protocol,
		MaxRetries:                 -1,
		MaxRedirects:               3,
		ClusterStateReloadInterval: time.Second,
		DisableRoutingPolicies:     true, // as Open has it
		DialerRetries:              o.DialerRetries,
		DialTimeout:                o.DialTimeout,
		ReadTimeout:                o.ReadTimeout,
		WriteTimeout:               o.WriteTimeout,
		PoolTimeout:                o.PoolTimeout,
		PoolSize:                   o.PoolSize,
		ContextTimeoutEnabled:      o.ContextTimeoutEnabled,
		DisableIdentity:            o.DisableIdentity,
		MaintNotificationsConfig:   o.MaintNotificationsConfig,
	}
}
