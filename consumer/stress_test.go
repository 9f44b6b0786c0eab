package consumer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

// Three workers, some of which are lost, script caches flushed, handlers that do
// whatever handlers do: each operation ends in exactly one terminal record.
func TestStress_EachOperationEndsOnce(t *testing.T) {
	eachWith(t, lua.Options{Partitions: 2, Patience: 2 * time.Second, CrashBound: 100}, func(e *env) {
		seed := uint64(time.Now().UnixNano())
		e.Logf("seed %d", seed)
		rng := rand.New(rand.NewPCG(seed, 0))
		const n = 300
		var mu sync.Mutex
		fates := make(map[lm.TraceID]int, n)
		var ids []lm.TraceID
		for i := range n {
			id := lm.NewTraceID(i%2, fmt.Sprintf("s%d", i))
			fates[id] = rng.IntN(100)
			ids = append(ids, id)
		}
		var c calls
		handler := c.of(func(ctx context.Context, claim lm.Claim) (lm.Result, error) {
			mu.Lock()
			fate := fates[claim.ID]
			mu.Unlock()
			switch {
			case fate < 10:
				return lm.Result{}, lm.Permanent(errors.New("permanent"))
			case fate < 15:
				panic("always")
			case fate < 35:
				if claim.Attempts < 2 {
					return lm.Result{}, errors.New("transient")
				}
			case fate < 40:
				if claim.Attempts == 0 {
					panic("once")
				}
			case fate < 55: // slow: over a lease
				select {
				case <-time.After(2 * brief):
				case <-claim.Draining:
					return lm.Result{}, lm.ErrHandOver
				case <-ctx.Done():
					return lm.Result{}, ctx.Err()
				}
			case fate < 60 && c.get(claim.ID) < 3:
				return lm.Result{}, lm.Park(time.Now().Add(10*time.Millisecond), "cold")
			}
			return lm.Result{}, nil
		})
		start := func(i int) *worker {
			return e.worker(handler, Options{Name: fmt.Sprintf("w%d", i), Lease: brief, Concurrency: 10, MaxAttempts: 4, DrainTimeout: 100 * time.Millisecond})
		}
		workers := []*worker{start(0), start(1), start(2)}
		for i, id := range ids {
			e.enqueue(id)
			if i%50 == 25 {
				e.rdb.ScriptFlush(ctx)
			}
		}
		for i := range 4 { // a lost host, a drained worker, in turn
			e.until("some progress", func() bool {
				ended := 0
				for p := range 2 {
					counts, _ := e.s.Counts(ctx, p)
					ended += int(counts["succeeded"] + counts["failed"])
				}
				return ended >= min(n-20, 60*(i+1))
			})
			k := rng.IntN(len(workers))
			if i%2 == 0 {
				workers[k].abandon()
			} else {
				workers[k].drain()
			}
			e.rdb.ScriptFlush(ctx)
			workers[k] = start(3 + i)
		}
		e.ended(ids...)
		for _, w := range workers {
			w.drain()
		}
		dead := make(map[lm.TraceID]int)
		for p := range 2 {
			for _, l := range e.dead(p) {
				dead[l.ID]++
			}
		}
		for _, id := range ids {
			r := e.record(id)
			fate, want := fates[id], lm.Succeeded
			if fate < 15 {
				want = lm.Failed
			}
			if r.Outcome != want && r.Reason != string(lm.CrashLimit) {
				e.Errorf("%s of fate %d: %s %s after %s", id, fate, r.Outcome, r.Reason, path(r))
			}
			if (r.Outcome == lm.Failed) != (dead[id] == 1) || dead[id] > 1 {
				e.Errorf("%s is %s with %d dead letters", id, r.Outcome, dead[id])
			}
			if r.CrashesTotal > 4 || r.Attempts > 4 {
				e.Errorf("%s: %d crashes, %d attempts", id, r.CrashesTotal, r.Attempts)
			}
		}
		e.quiet()
	})
}
