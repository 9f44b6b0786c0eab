package lua

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// ErrRedis is in the chain of every error of Open: Redis cannot be reached, does
// not let us in, or is not fit to keep a queue.
var ErrRedis = errors.New("redis")

// dialTimeout bounds the first contact and every reconnect.
const dialTimeout = 5 * time.Second

// Open connects to the Redis of a URL and checks that it is fit: reachable, our
// password, 7.0 or newer, never evicting, and with the fleet's number of
// partitions, which the first start records. The forms are redis://, rediss://
// and unix:// for one server, redis+cluster:// (further nodes as ?addr=) and
// redis+sentinel:// (?master_name=). The error is one line that says what would
// be right, with the password left out. go-redis' own log is turned off for the
// process. Close the Store when done.
func Open(ctx context.Context, rawURL string, opts Options) (*Store, error) {
	s, err := Connect(rawURL, opts)
	if err != nil {
		return nil, err
	}
	if err := s.check(ctx, redactURL(rawURL)); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// Connect is Open without its checks, for those that make them one by one:
// Redis is not asked anything yet.
func Connect(rawURL string, opts Options) (*Store, error) {
	logging.Disable() // go-redis writes to standard error by itself; what matters reaches the caller as an error
	opts = opts.withDefaults()
	state, err := client(rawURL, 5*time.Second, 16, "")
	if err != nil {
		return nil, err
	}
	// A worker blocks on every partition at once, and a producer beside it waits
	// for notices of each: a reader without a connection of its own starves.
	// Connections are made when they are needed.
	name := newBlockingName()
	blocking, err := client(rawURL, 10*time.Second, 2*opts.Partitions+4+FollowReaders, name)
	if err != nil {
		_ = state.Close()
		return nil, err
	}
	s := NewStore(state, blocking, opts)
	s.blockingName = name
	return s, nil
}

// Close closes both clients.
func (s *Store) Close() error {
	err := s.rdb.Close()
	if s.blocking != s.rdb {
		err = errors.Join(err, s.blocking.Close())
	}
	return err
}

// Ping asks Redis for a sign of life.
func (s *Store) Ping(ctx context.Context) error { return s.rdb.Ping(ctx).Err() }

// client makes one client with at least so many connections (per node of a
// cluster), which tell the server a name if it is not empty. It never retries by itself: go-redis would repeat a command whose
// reply was lost, and only we know which may be.
func client(rawURL string, readTimeout time.Duration, connections int, name string) (redis.UniversalClient, error) {
	scheme, rest, _ := strings.Cut(rawURL, "://")
	var err error
	quiet := &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	switch scheme {
	case "redis+cluster", "rediss+cluster":
		var o *redis.ClusterOptions
		if o, err = redis.ParseClusterURL(strings.TrimSuffix(scheme, "+cluster") + "://" + rest); err == nil {
			o.DialTimeout, o.ReadTimeout, o.WriteTimeout = dialTimeout, readTimeout, 5*time.Second
			o.ContextTimeoutEnabled, o.DisableIdentity, o.Protocol = true, true, 2
			o.PoolSize, o.ClientName = max(o.PoolSize, connections), name
			o.ClusterStateReloadInterval = time.Second // 4.7 s instead of 57 s to find a new master
			return redis.NewClusterClient(o), nil
		}
	case "redis+sentinel", "rediss+sentinel":
		var o *redis.FailoverOptions
		if o, err = redis.ParseFailoverURL(strings.TrimSuffix(scheme, "+sentinel") + "://" + rest); err == nil {
			o.DialTimeout, o.ReadTimeout, o.WriteTimeout = dialTimeout, readTimeout, 5*time.Second
			o.ContextTimeoutEnabled, o.DisableIdentity, o.Protocol, o.MaxRetries = true, true, 2, -1
			o.PoolSize, o.ClientName = max(o.PoolSize, connections), name
			return redis.NewFailoverClient(o), nil
		}
	default:
		var o *redis.Options
		if o, err = redis.ParseURL(rawURL); err == nil {
			o.DialTimeout, o.ReadTimeout, o.WriteTimeout = dialTimeout, readTimeout, 5*time.Second
			o.ContextTimeoutEnabled, o.DisableIdentity, o.Protocol, o.MaxRetries = true, true, 2, -1
			o.MaintNotificationsConfig = quiet
			o.PoolSize, o.ClientName = max(o.PoolSize, connections), name
			return redis.NewClient(o), nil
		}
	}
	return nil, fmt.Errorf("%w URL %s: want redis://HOST:PORT/DB, rediss://, unix:///PATH, redis+cluster:// or redis+sentinel://", ErrRedis, redactURL(rawURL))
}

// redactURL is the URL without its password, and without anything when it
// cannot be read, because it may then be a password itself.
func redactURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme == "" {
		return "[unreadable]"
	}
	return u.Redacted()
}

func (s *Store) check(ctx context.Context, at string) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout+time.Second)
	defer cancel()
	info, err := s.rdb.Info(ctx).Result()
	if err != nil && !strings.Contains(err.Error(), "unknown command") {
		return unfit(at, err)
	}
	facts := readInfo(info)
	if v := facts["redis_version"]; v != "" {
		if major, err := strconv.Atoi(strings.SplitN(v, ".", 2)[0]); err == nil && major < 7 {
			return fmt.Errorf("%w %s: version %s; want 7.0 or newer", ErrRedis, at, v)
		}
	}
	if p := facts["maxmemory_policy"]; p != "" && p != "noeviction" {
		return fmt.Errorf("%w %s: maxmemory-policy %s evicts keys and would lose operations; set it to noeviction (CONFIG SET maxmemory-policy noeviction)", ErrRedis, at, p)
	}
	return s.checkPartitions(ctx, at)
}

// unfit says in a line what first contact failed of.
func unfit(at string, err error) error {
	text := err.Error()
	switch {
	case strings.HasPrefix(text, "WRONGPASS"), strings.Contains(text, "invalid password"), strings.Contains(text, "invalid username"):
		return fmt.Errorf("%w %s: wrong user or password; see redis.url or redis.url_file", ErrRedis, at)
	case strings.HasPrefix(text, "NOAUTH"):
		return fmt.Errorf("%w %s: a password is required; put it into redis.url (redis://:PASSWORD@HOST) or redis.url_file", ErrRedis, at)
	case strings.HasPrefix(text, "NOPERM"):
		return fmt.Errorf("%w %s: the user lacks a permission: %s", ErrRedis, at, text)
	case IsLost(err) || errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w %s: unreachable (%w); is it running? set redis.url or LIGHTERMAN_REDIS_URL", ErrRedis, at, rootCause(err))
	default:
		return fmt.Errorf("%w %s: %w", ErrRedis, at, err)
	}
}

func rootCause(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}

func readInfo(info string) map[string]string {
	facts := make(map[string]string)
	for line := range strings.Lines(info) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			facts[name] = value
		}
	}
	return facts
}

// Uptime is how long the youngest of the Redis processes has been up; ok is false
// where that cannot be asked.
func (s *Store) Uptime(ctx context.Context) (up time.Duration, ok bool) {
	var mu sync.Mutex
	ask := func(ctx context.Context, node redis.Cmdable) error {
		info, err := node.Info(ctx, "server").Result()
		if err != nil {
			return err
		}
		seconds, err := strconv.Atoi(readInfo(info)["uptime_in_seconds"])
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		if d := time.Duration(seconds) * time.Second; !ok || d < up {
			up, ok = d, true
		}
		return nil
	}
	if cluster, is := s.rdb.(*redis.ClusterClient); is {
		_ = cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error { return ask(ctx, node) })
	} else {
		_ = ask(ctx, s.rdb)
	}
	return up, ok
}

// checkPartitions records the number of partitions at the fleet's first start
// and refuses another one later: an operation's keys would be looked for where
// they are not.
func (s *Store) checkPartitions(ctx context.Context, at string) error {
	key := s.keys.fleet("facts")
	if _, err := s.rdb.HSetNX(ctx, key, "partitions", s.opts.Partitions).Result(); err != nil && !IsOutOfMemory(err) {
		return unfit(at, err)
	}
	recorded, err := s.rdb.HGet(ctx, key, "partitions").Int()
	if err != nil && !errors.Is(err, redis.Nil) {
		return unfit(at, err)
	}
	if err == nil && recorded != s.opts.Partitions {
		return fmt.Errorf("%w %s: this fleet was started with redis.partitions %d and here it says %d; set it to %d", ErrRedis, at, recorded, s.opts.Partitions, recorded)
	}
	return nil
}
