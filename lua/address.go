package lua

import (
	"crypto/tls"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// address is where a Redis is: exactly one of the three options is set.
type address struct {
	shown    string // without its passwords
	single   *redis.Options
	cluster  *redis.ClusterOptions
	sentinel *redis.FailoverOptions
}

// stale are parameters of go-redis that send reads to replicas. Who decides by
// what a replica says destroys what is newer.
var stale = []string{"read_only", "route_by_latency", "route_by_latency_tolerance", "route_randomly", "replica_only", "use_disconnected_replicas"}

// parseAddress reads a URL in the forms of Open.
func parseAddress(raw string) (*address, error) {
	a := &address{shown: redactURL(raw)}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, a.malformed()
	}
	query := u.Query()
	for _, name := range stale {
		if query.Has(name) {
			return nil, fmt.Errorf("%w URL %s: %s would read from replicas, which are behind; leave it out", errURL, a.shown, name)
		}
	}
	security, err := readTLS(u.Scheme, query)
	if err != nil {
		return nil, fmt.Errorf("%w URL %s: %w", errURL, a.shown, err)
	}
	u.RawQuery = query.Encode()
	scheme, form, _ := strings.Cut(u.Scheme, "+")
	u.Scheme = scheme
	if err := a.parse(form, u.String(), security); err != nil {
		return nil, a.malformed()
	}
	if a.sentinel != nil && a.sentinel.MasterName == "" {
		return nil, fmt.Errorf("%w URL %s: want the master's name as the sentinels know it: ?master_name=NAME", errURL, a.shown)
	}
	if !a.database(u.Path, query.Get("db")) {
		return nil, fmt.Errorf("%w URL %s: want a database of 0 or more, as in redis://HOST:PORT/0; a cluster has 0 alone", errURL, a.shown)
	}
	return a, nil
}

// database reports whether a URL names a database that there can be. go-redis takes
// one below 0 for 0.
func (a *address) database(path, param string) bool {
	switch {
	case a.cluster != nil:
		return strings.Trim(path, "/") == "" || strings.Trim(path, "/") == "0"
	case a.sentinel != nil:
		return a.sentinel.DB >= 0 && !strings.HasPrefix(param, "-")
	default:
		return a.single.DB >= 0 && !strings.HasPrefix(param, "-")
	}
}

// parse lets go-redis read what is left. The name in a server's certificate is
// that of the address which is dialled, unless the URL says another: go-redis
// would ask every node of a cluster for the name of the first.
func (a *address) parse(form, text string, security *tls.Config) (err error) {
	switch form {
	case "cluster":
		if a.cluster, err = redis.ParseClusterURL(text); err == nil {
			a.cluster.TLSConfig = security
		}
	case "sentinel":
		if a.sentinel, err = redis.ParseFailoverURL(text); err == nil {
			a.sentinel.TLSConfig = security
		}
	case "":
		if a.single, err = redis.ParseURL(text); err == nil {
			a.single.TLSConfig = security
		}
	default:
		err = fmt.Errorf("no such form: %s", form)
	}
	return err
}

func (a *address) malformed() error {
	return fmt.Errorf("%w URL %s: want redis://HOST:PORT/DB, rediss://, unix:///PATH, redis+cluster:// or redis+sentinel://", errURL, a.shown)
}

// credentials are the user and password that a server is asked with.
func (a *address) credentials() (user, password string) {
	switch {
	case a.cluster != nil:
		return a.cluster.Username, a.cluster.Password
	case a.sentinel != nil:
		return a.sentinel.Username, a.sentinel.Password
	default:
		return a.single.Username, a.single.Password
	}
}

// client makes one client with at least so many connections (per node of a
// cluster), which tell the server a name if it is not empty. It never retries by itself: go-redis would repeat a command whose
// reply was lost, and only we know which may be. On a cluster it does all the
// same, so that what is sent there must bear it.
func (a *address) client(readTimeout time.Duration, connections int, name string, as *access) redis.UniversalClient {
	switch {
	case a.cluster != nil:
		o := *a.cluster
		o.DialTimeout, o.ReadTimeout, o.WriteTimeout = dialTimeout, readTimeout, 5*time.Second
		o.ContextTimeoutEnabled, o.DisableIdentity, o.Protocol, o.MaxRetries = true, true, 2, -1
		o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
		o.PoolSize, o.ClientName = max(o.PoolSize, connections), name
		o.CredentialsProviderContext, o.OnConnect = as.credentials, as.connected
		o.DisableRoutingPolicies = true            // keys say where a command goes; the table of commands would be asked of any server, also a frozen one
		o.ClusterStateReloadInterval = time.Second // how soon a new master is found, docs/failures.md
		return redis.NewClusterClient(&o)
	case a.sentinel != nil:
		o := *a.sentinel
		o.DialTimeout, o.ReadTimeout, o.WriteTimeout = dialTimeout, readTimeout, 5*time.Second
		o.ContextTimeoutEnabled, o.DisableIdentity, o.Protocol, o.MaxRetries = true, true, 2, -1
		o.PoolSize, o.ClientName = max(o.PoolSize, connections), name
		o.CredentialsProviderContext, o.OnConnect = as.credentials, as.connected
		return redis.NewFailoverClient(&o)
	default:
		o := *a.single
		o.DialTimeout, o.ReadTimeout, o.WriteTimeout = dialTimeout, readTimeout, 5*time.Second
		o.ContextTimeoutEnabled, o.DisableIdentity, o.Protocol, o.MaxRetries = true, true, 2, -1
		o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
		o.PoolSize, o.ClientName = max(o.PoolSize, connections), name
		o.CredentialsProviderContext, o.OnConnect = as.credentials, as.connected
		return redis.NewClient(&o)
	}
}

// redactURL is the URL without its passwords, and without anything when it
// cannot be read, because it may then be a password itself. A name without a
// password is taken for a misplaced one. What is said of TLS is left out too:
// paths are long, and an error that is about one of them names it.
func redactURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme == "" || u.Opaque != "" {
		return "[unreadable]"
	}
	if u.User != nil {
		name := u.User.Username()
		if _, ok := u.User.Password(); !ok {
			name = "xxxxx"
		}
		u.User = url.UserPassword(name, "xxxxx")
	}
	pairs := strings.Split(u.RawQuery, "&")
	for i, pair := range pairs {
		name, _, _ := strings.Cut(pair, "=")
		if n, err := url.QueryUnescape(name); err != nil || strings.Contains(strings.ToLower(n), "pass") {
			pairs[i] = name + "=xxxxx"
		}
	}
	u.RawQuery = strings.Join(slices.DeleteFunc(pairs, ofTLS), "&")
	return u.String()
}

// ofTLS reports whether a pair of a query is one of tlsParams.
func ofTLS(pair string) bool {
	name, _, _ := strings.Cut(pair, "=")
	return slices.Contains(tlsParams, name)
}
