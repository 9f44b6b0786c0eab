package e2e

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestOperator (F9, F10): somebody deletes groups, streams and scripts under a
// running fleet. All goes on, nothing is called twice, nobody is taken for dead.
func TestOperator(t *testing.T) {
	for _, deed := range []struct {
		name  string
		every time.Duration
		do    func(*fleet) int64 // how much it destroyed
		shows func(*fleet, []*worker) int
	}{
		{"XGROUP DESTROY", 150 * time.Millisecond, destroyGroups, groupsMissed},
		{"DEL of empty streams", 400 * time.Millisecond, deleteEmptyStreams, groupsMissed},
		{"SCRIPT FLUSH", 2 * time.Millisecond, flushScripts, scriptsMissed},
	} {
		t.Run(deed.name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t, time.Second)
			workers := []*worker{f.start(crew{slots: 8, latency: 40 * time.Millisecond}), f.start(crew{slots: 8, latency: 40 * time.Millisecond})}
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			var hits int64
			var operator sync.WaitGroup
			operator.Go(func() {
				for ticker := time.NewTicker(deed.every); ; {
					select {
					case <-ctx.Done():
						ticker.Stop()
						return
					case <-ticker.C:
						hits += deed.do(f)
					}
				}
			})
			for range rounds(10, 40) {
				f.enqueue(12, tools, on("batch", tools), on("interactive", tools))
				time.Sleep(250 * time.Millisecond)
			}
			f.awaitAll()
			stop()
			operator.Wait()
			f.check()
			missed, repeats := deed.shows(f, workers), f.readLedger().repeats()
			t.Logf("%d deeds, noticed %d times; calls repeated: %d", hits, missed, repeats)
			if hits == 0 || missed == 0 {
				t.Error("nobody noticed: void")
			}
			if repeats != 0 {
				t.Errorf("%d calls repeated, want none", repeats)
			}
		})
	}
}

var servedStreams = []string{"{lm:0}:stream:default", "{lm:0}:stream:batch", "{lm:0}:stream:interactive", "{lm:0}:resume:default"}

func destroyGroups(f *fleet) (n int64) {
	for _, s := range servedStreams {
		n += f.rdb.XGroupDestroy(context.Background(), s, "workers").Val()
	}
	return n
}

// deleteEmptyStreams deletes what holds no entry, which is all that can be deleted
// without losing work.
func deleteEmptyStreams(f *fleet) (n int64) {
	const script = `return redis.call('XLEN', KEYS[1]) == 0 and redis.call('DEL', KEYS[1]) or 0`
	for _, s := range servedStreams {
		gone, _ := f.rdb.Eval(context.Background(), script, []string{s}).Int64()
		n += gone
	}
	return n
}

func flushScripts(f *fleet) int64 {
	if f.rdb.ScriptFlush(context.Background()).Err() != nil {
		return 0
	}
	return 1
}

// groupsMissed is how often workers found a group gone.
func groupsMissed(_ *fleet, workers []*worker) (n int) {
	for _, w := range workers {
		n += w.log.count("consumer group lost")
	}
	return n
}

// scriptsMissed is how often Redis answered NOSCRIPT.
func scriptsMissed(f *fleet, _ []*worker) int {
	info := f.rdb.Info(f.Context(), "errorstats").Val()
	_, rest, _ := strings.Cut(info, "errorstat_NOSCRIPT:count=")
	digits, _, _ := strings.Cut(rest, "\r")
	n, _ := strconv.Atoi(digits)
	return n
}
