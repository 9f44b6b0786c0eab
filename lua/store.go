package lua

import (
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/semaphore"
)

// Options are what the scripts are told. Zero fields mean the defaults of
// DefaultOptions.
type Options struct {
	Prefix        string        // of every key
	Partitions    int           // fixed at the fleet's first start
	QueueLimit    int           // waiting operations of one queue over all partitions
	Retention     time.Duration // of an ended trace and its result
	DeadRetention time.Duration // of all that a failed operation leaves
	DeadKept      int           // dead letters of a partition; the oldest beyond go with all that is theirs
	MaxAge        time.Duration // after which the janitor ends what has not ended
	CrashLimit    int           // crashes since the last checkpoint after which the next is the end
	CrashBound    int           // crashes in all after which there is no further claim
	Patience      time.Duration // how long a write is tried again while contact is lost

	ReadURL func() (string, error) // the URL as it is now, for each new connection of Open's; nil: it stays
	Waiting func(why string)       // told once when Open waits for a server that loads; may be nil
}

// DefaultOptions are the defaults of the design.
var DefaultOptions = Options{
	Prefix:        "lm",
	Partitions:    1,
	QueueLimit:    1_000_000,
	Retention:     time.Hour,
	DeadRetention: 30 * 24 * time.Hour,
	DeadKept:      100_000,
	MaxAge:        7 * 24 * time.Hour,
	CrashLimit:    3,
	CrashBound:    30,
	Patience:      10 * time.Second,
}

func (o Options) withDefaults() Options {
	d := DefaultOptions
	if o.Prefix != "" {
		d.Prefix = o.Prefix
	}
	if o.Partitions > 0 {
		d.Partitions = o.Partitions
	}
	if o.QueueLimit > 0 {
		d.QueueLimit = o.QueueLimit
	}
	if o.Retention > 0 {
		d.Retention = o.Retention
	}
	if o.DeadRetention > 0 {
		d.DeadRetention = o.DeadRetention
	}
	if o.DeadKept > 0 {
		d.DeadKept = o.DeadKept
	}
	if o.MaxAge > 0 {
		d.MaxAge = o.MaxAge
	}
	if o.CrashLimit > 0 {
		d.CrashLimit = o.CrashLimit
	}
	if o.CrashBound > 0 {
		d.CrashBound = o.CrashBound
	}
	if o.Patience > 0 {
		d.Patience = o.Patience
	}
	d.ReadURL, d.Waiting = o.ReadURL, o.Waiting
	return d
}

// Store makes every change in Redis. All methods may be called concurrently.
type Store struct {
	rdb      redis.UniversalClient // state: never retries by itself
	blocking redis.UniversalClient // blocking reads only, so that they never hold up a write
	keys     keys
	opts     Options
	scripts  atomic.Int64 // runs, for tests and metrics

	access       *access // of the connections; nil when Open did not make them
	blockingName string  // that the connections of blocking have at the server; empty when Open did not make them

	unread   *semaphore.Weighted // bytes of large requests and checkpoints that are on their way
	advances batcher[advanceIn, string]
	finishes batcher[finishIn, string]
	retries  batcher[retryIn, string]
	releases batcher[putBackIn, string]
}

// NewStore makes a Store over two clients, which the caller closes: one for
// state (MaxRetries -1), one for blocking reads. They may be the same where
// nothing blocks. Open makes both from a URL.
func NewStore(state, blocking redis.UniversalClient, opts Options) *Store {
	opts = opts.withDefaults()
	s := &Store{rdb: state, blocking: blocking, keys: keys{opts.Prefix}, opts: opts, unread: semaphore.NewWeighted(unreadAtOnce)}
	s.advances.send, s.advances.size = s.sendAdvances, (*advanceIn).bytes
	s.finishes.send, s.finishes.size = s.sendFinishes, (*finishIn).bytes
	s.retries.send = s.sendRetries
	s.releases.send = s.sendReleases
	return s
}

// Partitions is how many partitions the fleet has.
func (s *Store) Partitions() int { return s.opts.Partitions }

// Options are the options in force, defaults filled in.
func (s *Store) Options() Options { return s.opts }

// ScriptRuns counts the scripts that this Store has run, a repeat included.
func (s *Store) ScriptRuns() int64 { return s.scripts.Load() }

func (s *Store) ran(*script) { s.scripts.Add(1) }
