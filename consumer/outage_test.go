package consumer

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
	"github.com/redis/go-redis/v9"
)

// PARITY 30. The answer was paid for: it is written when Redis is back.
func TestParity30_ResultIsRecordedAfterARestart(t *testing.T) {
	onRedis(t, func(e *env) {
		e.opts.Patience = time.Millisecond // of the worker's Store: the outage is longer than that
		var c calls
		started, away, done := make(chan struct{}, 3), make(chan struct{}), make(chan struct{}, 3)
		w := e.worker(c.of(func(ctx context.Context, claim lm.Claim) (lm.Result, error) {
			started <- struct{}{}
			<-away
			defer func() { done <- struct{}{} }()
			if claim.Request.Kind == "permanent" {
				return lm.Result{}, lm.Errorf(lm.ContentFiltered, "no")
			}
			return lm.Result{Body: []byte(`"paid for"`)}, nil
		}), Options{})
		a, b := e.enqueue("0-a"), e.enqueue("0-b", kind("permanent"))
		for range 2 {
			e.come("the handlers", started)
		}
		e.srv.Kill()
		close(away)
		for range 2 {
			e.come("the answers", done)
		}
		e.until("contact is lost", w.contacts.fleet.isLost)
		<-time.After(errorPause) // the outage itself; the first writes have failed
		e.srv.Restart()
		e.ended(a, b)
		w.drain()
		e.want(a, "succeeded 1/0")
		e.want(b, "failed 1/0 content_filtered")
		r, _ := e.s.Results(ctx, []lm.TraceID{a})
		if r[0].Text() != "paid for" {
			e.Errorf("result %s", r[0].Text())
		}
		if c.all() != 2 {
			e.Errorf("%d calls for 2 operations", c.all())
		}
		e.quiet()
	}, redistest.WithAppendOnly())
}

func (c *contact) isLost() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost
}

// PARITY 42.
func TestParity42_NoGroupHeals(t *testing.T) {
	for _, what := range []string{"destroy", "delete"} {
		t.Run(what, func(t *testing.T) {
			each(t, func(e *env) {
				started, release := make(chan struct{}), make(chan struct{})
				w := e.worker(func(ctx context.Context, c lm.Claim) (lm.Result, error) {
					if c.ID == "0-running" {
						close(started)
						<-release
					}
					return lm.Result{}, nil
				}, Options{})
				running := e.enqueue("0-running")
				e.come("the handler", started)
				began, commands := time.Now(), w.commands.Load()
				if what == "destroy" {
					e.rdb.XGroupDestroy(ctx, "{lm:0}:stream:default", lua.Group)
					e.rdb.XGroupDestroy(ctx, "{lm:0}:resume:default", lua.Group)
				} else {
					e.rdb.Del(ctx, "{lm:0}:stream:default", "{lm:0}:resume:default")
				}
				next := e.enqueue("0-next")
				e.ended(next)
				close(release)
				e.ended(running)
				// 20 ms ticks, 50 ms reads and 4 tries a second: 100 commands a second and those of 2 operations
				if n, most := w.commands.Load()-commands, int64(60+150*time.Since(began).Seconds()); n > most {
					e.Errorf("%d commands in %s: a busy loop", n, time.Since(began))
				}
				w.drain()
				e.want(running, "succeeded 1/0")
				e.want(next, "succeeded 1/0")
				e.quiet()
			})
		})
	}
}

// Reads that fail for good are tried again a few times a second, and heal when
// the cause is gone.
func TestRead_FailingForGoodIsNoBusyLoop(t *testing.T) {
	each(t, func(e *env) {
		w := e.worker(fine, Options{Tick: time.Hour})
		e.until("it reads", func() bool { return w.commands.Load() > 4 })
		e.rdb.Del(ctx, "{lm:0}:stream:default")
		e.rdb.Set(ctx, "{lm:0}:stream:default", "somebody else's", 0)
		before := w.commands.Load()
		<-time.After(4 * errorPause)
		if n := w.commands.Load() - before; n < 2 || n > 30 {
			e.Errorf("%d commands in %s, want a few tries", n, 4*errorPause)
		}
		e.rdb.Del(ctx, "{lm:0}:stream:default")
		id := e.enqueue("0-a")
		e.ended(id)
		w.drain()
		e.want(id, "succeeded 1/0")
		e.quiet()
	})
}

// F11. Memory is full: claims are refused, their entries kept; what runs ends;
// with room again it goes on.
func TestOutOfMemory_RefusedClaimsWait(t *testing.T) {
	onRedis(t, func(e *env) {
		started, release := make(chan struct{}), make(chan struct{})
		var c calls
		w := e.worker(c.of(func(ctx context.Context, claim lm.Claim) (lm.Result, error) {
			if claim.ID == "0-running" {
				close(started)
				<-release
			}
			return lm.Result{Body: []byte(`"` + strings.Repeat("x", 5000) + `"`)}, nil
		}), Options{Tick: time.Hour}) // the test promotes by hand
		running := e.enqueue("0-running")
		e.come("the handler", started)
		for _, id := range []lm.TraceID{"0-a", "0-b"} { // waiting, but not yet seen by the worker
			e.enqueue(id, func(r *lm.Request) { r.NotBefore = time.Now().Add(time.Hour) })
		}
		for _, id := range []lm.TraceID{"0-a", "0-b"} {
			e.rdb.ZAdd(ctx, "{lm:0}:delayed", redis.Z{Score: 1, Member: string(id)})
		}
		e.full(true)
		if err := e.rdb.Set(ctx, "x", "y", 0).Err(); !lua.IsOutOfMemory(err) {
			e.Fatalf("memory is not full: %v", err)
		}
		if n, err := e.s.Promote(ctx, 0, []lm.TraceID{"0-a", "0-b"}); n != 2 || err != nil {
			e.Fatalf("promoted %d, %v", n, err)
		}
		e.until("both are read", func() bool { return len(e.pending("{lm:0}:stream:default")) == 3 })
		before := w.commands.Load()
		began := time.Now()
		close(release)
		e.ended(running)
		e.until("the claims were refused again", func() bool { return w.commands.Load() > before+3 && time.Since(began) > time.Second/2 })
		// 20 ms ticks, 50 ms reads
		if n := w.commands.Load() - before; n > int64(50+150*time.Since(began).Seconds()) {
			e.Errorf("%d commands in %s: the reader does not back off", n, time.Since(began))
		}
		if s := e.state("0-a"); s != lm.Queued || c.get("0-a") != 0 {
			e.Errorf("0-a is %s", s)
		}
		e.full(false)
		e.ended("0-a", "0-b")
		w.drain()
		for _, id := range []lm.TraceID{"0-running", "0-a", "0-b"} {
			e.want(id, "succeeded 1/0")
		}
		e.quiet()
	})
}

// full makes Redis refuse what needs memory, or not.
func (e *env) full(yes bool) {
	e.Helper()
	limit := "0"
	if yes {
		limit = "1000000"
	}
	if err := e.rdb.ConfigSet(ctx, "maxmemory", limit).Err(); err != nil {
		e.Fatal(err)
	}
}

func TestOutOfMemory_RefusedEntriesArePutBackAtTheEnd(t *testing.T) {
	onRedis(t, func(e *env) {
		e.groups()
		ids := e.many(3)
		w := New(e.s, HandlerFunc(fine), quick(Options{}))
		e.full(true)
		reading, end := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() { defer close(done); w.read(reading, 0) }()
		e.until("they are read and refused", func() bool {
			p := e.pending("{lm:0}:stream:default")
			return len(p) == 3 && p[0].Idle > 20*time.Millisecond
		})
		end()
		e.come("the reader's end", done)
		for _, id := range ids {
			if r := e.record(id); r.State != lm.Queued || !strings.HasPrefix(r.Entry, "resume:") {
				e.Errorf("%s is %s with entry %s", id, r.State, r.Entry)
			}
		}
		if p := e.pending("{lm:0}:stream:default"); len(p) != 0 {
			e.Errorf("%d entries stay with a worker that is gone", len(p))
		}
		if free := w.slots.take(100); free != 8 {
			e.Errorf("%d of 8 slots are free", free)
		}
		e.full(false)
		other := e.worker(fine, Options{})
		e.ended(ids...)
		other.drain()
		e.quiet()
	})
}

// What an idle worker costs with the defaults: 3 queues, 1 partition.
func TestIdleWorker_AtMostFiveCommandsASecond(t *testing.T) {
	onRedis(t, func(e *env) {
		w := e.worker(fine, Options{Queues: Options{}.withDefaults().Queues, Concurrency: 64, Block: 2 * time.Second, Tick: time.Second})
		e.until("the start is over: 6 groups made, 6 lists of consumers, 2 reads", func() bool { return w.commands.Load() >= 14 && blockedClients(e) == 1 })
		e.until("the roster says so, and that it listens", func() bool {
			records, _, err := e.s.Roster(ctx)
			return err == nil && len(records) == 1 && records[0].Presence
		})
		<-time.After(3 * time.Second) // the first ticks, which come sooner, and the second look at the roster
		const most, span = 5.0, 15 * time.Second
		before, began := e.commandsProcessed(), time.Now()
		<-time.After(span)
		took := time.Since(began)
		n := e.commandsProcessed() - before - 1 // the second INFO
		perSecond := float64(n) / took.Seconds()
		e.Logf("an idle worker: %d commands in %s, %.2f a second, those inside scripts included", n, took, perSecond)
		if perSecond > most {
			e.Errorf("%.2f commands a second, want at most %v\n%s", perSecond, most, e.rdb.Info(ctx, "commandstats").Val())
		}
		w.drain()
	})
}

func (e *env) commandsProcessed() int {
	e.Helper()
	for line := range strings.Lines(e.rdb.Info(ctx, "stats").Val()) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "total_commands_processed:"); ok {
			n, err := strconv.Atoi(v)
			if err != nil {
				e.Fatal(err)
			}
			return n
		}
	}
	e.Fatal("INFO says nothing of commands")
	return 0
}

// Four scripts for a plain operation: enqueue, claim, advance, finish. The tick
// is the fleet's and left out.
func TestScripts_PerOperation(t *testing.T) {
	for _, n := range []int{500, 1} {
		t.Run(map[int]string{500: "batch of 500", 1: "one at a time"}[n], func(t *testing.T) {
			onRedis(t, func(e *env) {
				var w *worker
				ready := make(chan struct{})
				w = e.worker(func(ctx context.Context, c lm.Claim) (lm.Result, error) {
					<-ready
					_, err := w.store.Advance(ctx, c, lua.Advance{Path: []lm.State{lm.Gathering, lm.Inferring}})
					return lm.Result{}, err
				}, Options{Queues: Options{}.withDefaults().Queues, Concurrency: 64, Tick: time.Hour, Block: time.Second, Announce: time.Hour, Presence: Presence{Off: true}})
				close(ready)
				e.ended(e.enqueue("0-warm")) // the scripts are loaded
				e.until("it waits for work", func() bool { return blockedClients(e) == 1 })
				e.until("it has announced itself and been marked busy", func() bool {
					on, err := e.s.OnRoster(ctx, w.Owner())
					return err == nil && on && e.rdb.HExists(ctx, "{lm:fleet}:board", "busy "+w.Owner()).Val()
				})
				before := w.store.ScriptRuns() + e.s.ScriptRuns()
				const rounds = 20
				total := n
				if n > 1 {
					e.ended(e.many(n)...)
				} else {
					total = rounds
					for i := range rounds {
						e.ended(e.enqueue(lm.NewTraceID(0, fmt.Sprint("one", i))))
						e.until("it waits for work", func() bool { return blockedClients(e) == 1 && w.Running() == 0 })
					}
				}
				runs := w.store.ScriptRuns() + e.s.ScriptRuns() - before
				e.Logf("%d scripts for %d operations: %.2f each", runs, total, float64(runs)/float64(total))
				if runs > int64(4*total) {
					e.Errorf("%d scripts for %d operations, want at most 4 each", runs, total)
				}
				w.drain()
				e.quiet()
			})
		})
	}
}

// A worker that starts right after Redis was restarted knows of no outage, and
// yet takes nothing over for a lease: whoever lives could not renew meanwhile.
func TestOutage_FreshWorkerSweepsNothingRightAfterARestart(t *testing.T) {
	const lease = 1500 * time.Millisecond
	onRedis(t, func(e *env) {
		e.groups(lm.DefaultQueue)
		id := e.enqueue("0-a")
		e.die("w0", lease)
		e.until("a lease has passed", func() bool {
			idle := e.pending("{lm:0}:stream:default")
			return len(idle) == 1 && idle[0].Idle > lease
		})
		e.srv.Restart()
		began := time.Now()
		w := e.worker(fine, Options{Lease: lease})
		e.ended(id)
		if took := time.Since(began); took < lease-500*time.Millisecond {
			e.Errorf("taken over %s after the restart, with a lease of %s", took, lease)
		}
		w.drain()
		e.want(id, "succeeded 1/1")
		e.quiet()
	}, redistest.WithAppendOnly())
}
