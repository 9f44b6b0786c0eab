package redistest

import (
	"fmt"
	"strings"
)

// An Option changes how Start configures its server.
type Option func(*config)

// config is what the options say; the zero value is a server on a unix socket
// that keeps nothing.
type config struct {
	extra      []string // lines for redis.conf, in order, after our own
	tcp        bool
	appendOnly bool
	cluster    bool
	member     bool // of a cluster of several nodes, whose slots are not given at start
	tls        bool
	sentinel   bool // a Redis Sentinel; it keeps its state in its configuration file
	password   string
}

// WithConfig adds the directive "key value" to redis.conf, after the package's
// own directives, so that it overrides them. The value is written as it is: quote
// it for Redis if it holds spaces that are not separators.
func WithConfig(key, value string) Option {
	return func(c *config) { c.extra = append(c.extra, key+" "+value) }
}

// WithTCP makes the server listen on a free loopback port too, which Addr and URL
// then name: for tests that hand the address to another process.
func WithTCP() Option {
	return func(c *config) { c.tcp = true }
}

// WithAppendOnly makes the server write an append-only file (appendfsync
// everysec), so that its data survives Kill and Restart.
func WithAppendOnly() Option {
	return func(c *config) { c.appendOnly = true }
}

// WithPassword makes the server require the password p (of the default user).
// Clients and URL contain it.
func WithPassword(p string) Option {
	return func(c *config) { c.password = p }
}

// Cluster makes the server a Redis Cluster of one node that owns all 16,384
// slots. It refuses commands and scripts whose keys lie in different slots with
// CROSSSLOT, as every cluster does. It implies WithTCP.
func Cluster() Option {
	return func(c *config) { c.cluster, c.tcp = true, true }
}

// WithTLS makes the server speak TLS, and nothing else, on its loopback port. The
// files are PEM: who may be a client's authority, the server's certificate and
// its key. It implies WithTCP; Client still uses the unix socket.
func WithTLS(caFile, certFile, keyFile string) Option {
	return func(c *config) {
		c.tls, c.tcp = true, true
		c.extra = append(c.extra, "tls-ca-cert-file "+quote(caFile), "tls-cert-file "+quote(certFile), "tls-key-file "+quote(keyFile),
			"tls-replication yes", "tls-cluster yes")
	}
}

// file returns the contents of redis.conf.
func (c config) file(dir, sock string, port int) string {
	listen := fmt.Sprintf("port %d", port)
	if c.tls {
		listen = fmt.Sprintf("port 0\ntls-port %d", port)
	}
	lines := []string{
		"daemonize no",
		"dir " + quote(dir),
		"unixsocket " + quote(sock),
		"bind 127.0.0.1",
		listen,
	}
	if c.sentinel {
		return strings.Join(append(lines, c.extra...), "\n") + "\n"
	}
	lines = append(lines,
		`save ""`,
		"maxmemory-policy noeviction",
		"always-show-logo no",
	)
	if c.appendOnly {
		// With everysec a write may wait for a sync under way, and kill -9 then loses
		// what was answered; without syncs it is in the page cache before the reply.
		lines = append(lines, "appendonly yes", "appendfsync no")
	} else {
		lines = append(lines, "appendonly no")
	}
	if c.password != "" {
		lines = append(lines, "requirepass "+quote(c.password))
	}
	if c.cluster {
		lines = append(lines, "cluster-enabled yes", "cluster-config-file nodes.conf", "cluster-node-timeout 5000")
	}
	return strings.Join(append(lines, c.extra...), "\n") + "\n"
}

// quote returns s as one argument of a redis.conf directive.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(s) + `"`
}
