package lua

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

// ErrRedis is in the chain of every error of Open: Redis cannot be reached, does
// not let us in, or is not fit to keep a queue.
var ErrRedis = errors.New("redis")

// ErrURL is in the chain beside ErrRedis where the URL itself is wrong, so that no
// server was asked.
var ErrURL = errors.New("malformed")

// errURL reads as ErrRedis and is ErrURL too.
var errURL error = urlError{}

type urlError struct{}

func (urlError) Error() string   { return ErrRedis.Error() }
func (urlError) Unwrap() []error { return []error{ErrRedis, ErrURL} }

// dialTimeout bounds the first contact and every reconnect.
const dialTimeout = 5 * time.Second

// masterPatience bounds what is asked of one master of a cluster at the start, so
// that one that is frozen holds up no worker for long.
const masterPatience = 1500 * time.Millisecond

// Open connects to the Redis of a URL and checks that it is fit: reachable, our
// password, 7.0 or newer, never evicting, and with the fleet's number of
// partitions, which the first start records. The forms are redis://, rediss://
// and unix:// for one server, redis+cluster:// (further nodes as ?addr=) and
// redis+sentinel:// (?master_name=, further sentinels as ?addr=);
// rediss+cluster:// and rediss+sentinel:// with TLS, see tlsParams. The error is
// one line that says what would be right, with the password left out, and ErrURL where
// no server was asked. While a server loads its data from disk Open waits, for up to
// 10 minutes. go-redis' own log is turned off for the process. Close the Store when done.
func Open(ctx context.Context, rawURL string, opts Options) (*Store, error) {
	s, err := Connect(rawURL, opts)
	if err != nil {
		return nil, err
	}
	if err := s.checkLoaded(ctx, redactURL(rawURL)); err != nil {
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
	at, err := parseAddress(rawURL)
	if err != nil {
		return nil, err
	}
	// A worker blocks on every partition at once, and a producer beside it waits
	// for notices of each: a reader without a connection of its own starves.
	// Connections are made when they are needed.
	name := newBlockingName()
	as := newAccess(at, opts.ReadURL)
	s := NewStore(at.client(5*time.Second, 16+opts.Partitions, "", as), at.client(10*time.Second, 2*opts.Partitions+4+FollowReaders, name, as), opts)
	s.blockingName, s.access = name, as
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
func (s *Store) Ping(ctx context.Context) error {
	err := s.rdb.Ping(ctx).Err()
	if err == nil && s.access != nil {
		s.access.refused.Store(0)
	}
	return err
}

// ValidURL says what is wrong with a URL, in the forms of Open, without asking anybody.
func ValidURL(rawURL string) error {
	_, err := parseAddress(rawURL)
	return err
}

// Bounds of how long Open waits for a server that reads its data from disk, and of the
// time between two looks.
const (
	loadingMost  = 10 * time.Minute
	loadingFirst = 100 * time.Millisecond
	loadingPause = time.Second
)

// checkLoaded is check, and waits while the server loads: it answers, and all that it
// is about to know is on its way.
func (s *Store) checkLoaded(ctx context.Context, at string) error {
	until := time.Now().Add(loadingMost)
	for pause := loadingFirst; ; pause = min(2*pause, loadingPause) {
		err := s.check(ctx, at)
		if code, _ := answerCode(err); code != "LOADING" || time.Now().After(until) {
			return err
		}
		if pause == loadingFirst && s.opts.Waiting != nil {
			s.opts.Waiting(fmt.Sprintf("redis %s loads its data from disk; waiting for it, for up to %s", at, loadingMost))
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return errors.Join(context.Cause(ctx), err)
		case <-timer.C:
		}
	}
}

// check holds Redis against what a fleet needs of it.
func (s *Store) check(ctx context.Context, at string) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout+time.Second)
	defer cancel()
	if err := s.onMasters(ctx, at, func(ctx context.Context, rdb redis.Cmdable) error { return checkServer(ctx, rdb, at) }); err != nil {
		return err
	}
	return s.checkPartitions(ctx, at)
}

// onMasters runs f on the server, or on every master of a cluster. A master that
// cannot be reached is no error while another one can: the cluster is about to
// replace it, or its keys are waited for as in any outage.
func (s *Store) onMasters(ctx context.Context, at string, f func(context.Context, redis.Cmdable) error) error {
	cluster, ok := s.rdb.(*redis.ClusterClient)
	if !ok {
		return f(ctx, s.rdb)
	}
	masters, err := mastersOf(ctx, cluster)
	if err != nil {
		return unfit(at, err) // not even the list of masters was to be had
	}
	errs := make([]error, len(masters))
	var asked sync.WaitGroup
	for i, rdb := range masters {
		asked.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, masterPatience)
			defer cancel()
			errs[i] = f(ctx, rdb)
		})
	}
	asked.Wait()
	answered, unreachable := false, error(nil)
	for _, err := range errs {
		if err != nil && !IsPassing(err) {
			return err
		}
		if err == nil {
			answered = true
		} else {
			unreachable = err
		}
	}
	if !answered {
		return unreachable
	}
	return nil
}

// mastersOf lists the masters. The client asks for them a server that it chooses by
// chance, so that one that is frozen must not use up all the time. Each try lasts twice
// as long as the one before: servers that all refuse us take seconds to say why.
func mastersOf(ctx context.Context, cluster *redis.ClusterClient) (masters []*redis.Client, err error) {
	for patience := masterPatience; ; patience *= 2 {
		found := make(chan *redis.Client, 1024)
		limited, cancel := context.WithTimeout(ctx, patience)
		err = cluster.ForEachMaster(limited, func(_ context.Context, rdb *redis.Client) error { found <- rdb; return nil })
		cancel()
		close(found)
		var late net.Error
		if err != nil && ctx.Err() == nil && errors.As(err, &late) && late.Timeout() {
			continue
		}
		for rdb := range found {
			masters = append(masters, rdb)
		}
		return masters, err
	}
}

// checkServer looks at one server.
func checkServer(ctx context.Context, rdb redis.Cmdable, at string) error {
	info, err := rdb.Info(ctx).Result()
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
	return nil
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

// Uptime is how long the youngest of the Redis processes has been up at least: they
// tell it in seconds of the wall clock, one too many right after a full one. ok is
// false where that cannot be asked.
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
		if d := time.Duration(max(0, seconds-1)) * time.Second; !ok || d < up {
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
// they are not. A user who may only read finds what others have recorded.
func (s *Store) checkPartitions(ctx context.Context, at string) error {
	key := s.keys.fleet("facts")
	recorded, err := s.rdb.HGet(ctx, key, "partitions").Int()
	if errors.Is(err, redis.Nil) {
		if err = s.rdb.HSetNX(ctx, key, "partitions", s.opts.Partitions).Err(); IsOutOfMemory(err) {
			return nil
		}
		if err == nil {
			recorded, err = s.rdb.HGet(ctx, key, "partitions").Int()
		}
	}
	if err != nil {
		return unfit(at, err)
	}
	if recorded != s.opts.Partitions {
		return fmt.Errorf("%w %s: this fleet was started with redis.partitions %d and here it says %d; set it to %d", ErrRedis, at, recorded, s.opts.Partitions, recorded)
	}
	return nil
}
