package consumer

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"sync"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
	"github.com/rs/zerolog"
)

// Handler runs one claimed operation. It returns the result's body and usage, or
// an error: lm.Permanent and the permanent kinds go to the dead-letter stream,
// lm.Park sets the operation aside, lm.ErrHandOver gives it back, anything else
// is tried again with backoff. A panic is an error of this operation only. When
// ctx ends the claim is lost or wanted back; context.Cause says which. Handle is
// called concurrently.
type Handler interface {
	Handle(ctx context.Context, claim lm.Claim) (lm.Result, error)
}

// HandlerFunc is a Handler made of a function.
type HandlerFunc func(ctx context.Context, claim lm.Claim) (lm.Result, error)

// Handle calls the function.
func (f HandlerFunc) Handle(ctx context.Context, claim lm.Claim) (lm.Result, error) {
	return f(ctx, claim)
}

// Middleware wraps a Handler; the first one given is the outermost.
type Middleware func(Handler) Handler

// Queue is one queue that is served.
type Queue struct {
	Name        string
	Weight      int // its share of the reads
	Concurrency int // how many of its operations this worker runs at once; 0: as many as there are slots
}

// Options say how a worker consumes. Zero fields mean the defaults.
type Options struct {
	Name         string        // the worker's; default "worker"
	Queues       []Queue       // default: interactive 6, default 3, batch 1
	Concurrency  int           // operations at once, default 64
	Lease        time.Duration // default 10 s
	Beat         time.Duration // between renewals, default a quarter of the lease
	Tick         time.Duration // between sweeps of the fleet, default 1 s
	Orders       time.Duration // between looks at the fleet's orders at most, default 1 s
	StrayAfter   time.Duration // how long a vanished worker's drain order stands at least, default 1 min
	Census       time.Duration // between removals of dead consumers, default 1 min
	Janitor      time.Duration // between passes of the fleet over all keys, default 1 h
	DrainTimeout time.Duration // default 25 s
	MaxAttempts  int           // default 5
	Block        time.Duration // of a blocking read, default 2 s, at most half the lease
	Timeout      time.Duration // of an attempt whose request names none, default 10 min
	HungAfter    time.Duration // how long a handler may take to return once its context has ended, default 5 s
	Backoff      Backoff       // default 500 ms doubling, cap 60 s
	Announce     time.Duration // between records on the roster, default 5 s
	Presence     Presence      // how soon others' deaths are noticed
	State        State         // told of changes of the fleet's state; default: nobody is
	Waits        Waits         // knows when what parked operations wait for is there again; default: only their time is
	Serves       func() Serves // what this worker can run; default: it does not say
	Version      string        // shown on the roster
	Middleware   []Middleware
	Metrics      *Metrics // default: counted nowhere

	// Redact makes an error's text fit to be stored and logged, without what it
	// repeats of the request. Default: the text as it is.
	Redact func(text string, request *lm.Request) string

	Log zerolog.Logger
}

func (o Options) withDefaults() Options {
	o.Name = cmp.Or(o.Name, "worker")
	if len(o.Queues) == 0 {
		o.Queues = []Queue{{Name: "interactive", Weight: 6}, {Name: lm.DefaultQueue, Weight: 3}, {Name: "batch", Weight: 1}}
	}
	o.Concurrency = cmp.Or(o.Concurrency, 64)
	o.Lease = cmp.Or(o.Lease, 10*time.Second)
	o.Beat = cmp.Or(o.Beat, o.Lease/4)
	o.Tick = cmp.Or(o.Tick, time.Second)
	o.Orders = cmp.Or(o.Orders, time.Second)
	o.StrayAfter = cmp.Or(o.StrayAfter, strayAfter)
	o.Census = cmp.Or(o.Census, time.Minute)
	o.Janitor = cmp.Or(o.Janitor, time.Hour)
	o.DrainTimeout = cmp.Or(o.DrainTimeout, 25*time.Second)
	o.MaxAttempts = cmp.Or(o.MaxAttempts, 5)
	o.Block = min(cmp.Or(o.Block, 2*time.Second), o.Lease/2) // what a frozen worker is handed waits a lease; not two
	o.Timeout = cmp.Or(o.Timeout, 10*time.Minute)
	o.HungAfter = cmp.Or(o.HungAfter, hungAfter)
	o.Backoff = o.Backoff.withDefaults()
	o.Announce = cmp.Or(o.Announce, 5*time.Second)
	o.Presence = o.Presence.withDefaults()
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	return o
}

// Consumer is one worker's part in the group.
type Consumer struct {
	store   *lua.Store
	handler Handler
	opts    Options
	owner   string // the consumer's name in Redis, new at every start
	log     zerolog.Logger
	metrics *Metrics

	slots    *slots
	held     *held
	doubts   doubts
	gate     *gate
	leaks    *leaks
	alarms   []*alarms // of each partition
	contacts contacts
	orders   *orders
	hearing  hearing
	crew     *crew
	skills   *skills       // who can run what
	places   *places       // that operations may wait for, and were given back here
	beatNow  chan struct{} // holds one value when a heartbeat is wanted at once
	fleet    fleetSize
	kill     chan struct{}
	killed   sync.Once
	runs     sync.WaitGroup // operations being run

	sweepFrom time.Time // no sweep before; Run sets it before it starts anything

	writes     context.Context // of the writes that end claims; ends with the drain
	stopWrites context.CancelFunc
}

// New makes a Consumer; Run starts it.
func New(store *lua.Store, handler Handler, opts Options) *Consumer {
	opts = opts.withDefaults()
	for i := len(opts.Middleware) - 1; i >= 0; i-- {
		handler = opts.Middleware[i](handler)
	}
	var suffix [4]byte
	_, _ = rand.Read(suffix[:]) // never fails (crypto/rand)
	owner := opts.Name + "-" + hex.EncodeToString(suffix[:])
	c := &Consumer{
		store: store, handler: handler, opts: opts, owner: owner, metrics: opts.Metrics,
		log:   opts.Log.With().Str("worker", owner).Logger(),
		slots: newSlots(opts.Concurrency, opts.Queues...), held: newHeld(), gate: newGate(), leaks: newLeaks(opts.Concurrency, opts.Queues), alarms: newAlarms(store.Partitions()), contacts: newContacts(opts.Lease, store.Partitions(), store.Sharded()),
		orders: newOrders(), crew: newCrew(), skills: newSkills(), places: newPlaces(), beatNow: make(chan struct{}, 1), kill: make(chan struct{}),
	}
	c.writes, c.stopWrites = context.WithCancel(context.Background())
	return c
}

// Owner is the consumer's name in Redis: the worker's name and 8 random
// characters, new at every start, because a restarted worker under its old name
// would never see what it had.
func (c *Consumer) Owner() string { return c.owner }

// Running is how many operations are being run.
func (c *Consumer) Running() int { return c.held.size() }

// Run consumes until ctx ends and then drains: it reads no more, lets what runs
// finish or hand over within DrainTimeout, puts the rest back, and returns nil.
// Stop cuts the drain short. An order to drain is as good as ctx's end. An error means
// that it could not start, or is ErrHandlersHang after a drain; a lost Redis is waited for.
func (c *Consumer) Run(ctx context.Context) error {
	if err := c.ensureGroups(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // told to end before it began
		}
		return err
	}
	starting, started := c.soon(ctx)
	defer started()
	c.sweepFrom = c.firstSweep(starting)
	reading, stopReading := context.WithCancel(ctx)
	defer stopReading()
	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBackground()

	present, vanish := context.WithCancel(context.WithoutCancel(ctx)) // until nothing is pending here
	defer vanish()

	c.readOrders(starting) // so that not even the first read is of a paused queue
	var readers, roles, presence sync.WaitGroup
	for p := range c.store.Partitions() {
		readers.Go(func() { c.read(reading, p) })
		roles.Go(func() { c.tick(reading, p) })
		roles.Go(func() { c.watchAlarms(reading, p) })
	}
	roles.Go(func() { c.follow(reading) })
	roles.Go(func() { c.census(reading) })
	roles.Go(func() { c.janitor(reading) })
	roles.Go(func() { c.pullWaiting(reading) })
	roles.Go(func() { c.tellAble(reading) })
	roles.Go(func() { c.beat(background) })
	roles.Go(func() { c.watchLeases(background) })
	roles.Go(func() { c.watchHandlers(background) })
	roles.Go(func() { c.wakeFreed(background) })
	roles.Go(func() { c.report(background) })
	if !c.opts.Presence.Off {
		roles.Go(func() { c.watch(reading) })
	}
	presence.Go(func() { c.listen(present) })

	select {
	case <-ctx.Done():
	case <-c.orders.told:
		stopReading()
	case <-c.leaks.full:
		c.log.Error().Msg("too many handlers hang: the worker ends")
		stopReading()
	case <-c.kill:
		stopReading()
	}
	roles.Go(func() { c.wakeReaders(background, &readers) })
	c.drain(&readers)
	stopBackground()
	roles.Wait()
	c.leave()
	c.retire()
	c.obeyed()
	vanish()
	presence.Wait()
	return c.leaks.err()
}

// Stop ends a drain at once: what still runs is cancelled and put back. Called
// while Run is not draining it starts and ends the drain.
func (c *Consumer) Stop() { c.killed.Do(func() { close(c.kill) }) }

func (c *Consumer) stopped() bool {
	select {
	case <-c.kill:
		return true
	default:
		return false
	}
}

// streams are one partition's streams in the order of preference: resume streams
// first.
func (c *Consumer) streams(partition int) []lua.Stream {
	streams := make([]lua.Stream, 0, 2*len(c.opts.Queues))
	for _, resume := range []bool{true, false} {
		for _, q := range c.opts.Queues {
			streams = append(streams, lua.Stream{Partition: partition, Queue: q.Name, Resume: resume})
		}
	}
	return streams
}

// pause waits, and reports false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// Why a claim's context ends; context.Cause of a Handler's ctx is one of these
// or lm.ErrFenced or lm.ErrCancelRequested.
var (
	ErrLeaseEnded     = errors.New("the lease ended without a renewal")
	ErrDrained        = errors.New("the worker drains and the time is over")
	ErrAttemptTimeout = errors.New("the attempt took too long")
)
