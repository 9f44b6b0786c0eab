package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// bench is one run of the program.
type bench struct {
	options
	url string
	rdb *redis.Client // for INFO, flushing and looking; the systems have clients of their own
}

// system is a queue that is measured, seen from its producer.
type system interface {
	// enqueue accepts n operations as fast as the system's own API allows.
	enqueue(ctx context.Context, n int) error
	// send accepts one operation with this body.
	send(ctx context.Context, body string) error
	// completed says how many of n have ended, in one command.
	completed(ctx context.Context, n int) (int, error)
	// verify says how many of what was enqueued ended exactly once, and when
	// the first was claimed. report is the worker's.
	verify(ctx context.Context, report report) (ended int, first time.Time, err error)
	close()
}

// open makes the producer's side of a system.
func (b *bench) open(ctx context.Context, name string) (system, error) {
	switch name {
	case "lighterman":
		return openLighterman(ctx, b.url)
	case "asynq":
		return openAsynq(b.url)
	default:
		return openRaw(ctx, b.url)
	}
}

// all measures the drains of all systems in turn, several times over, so that a
// disturbance of the machine hits all of them, then the latencies.
func (b *bench) all(ctx context.Context) (results, error) {
	r := results{N: b.n, Runs: b.runs, Rate: b.rate, Seconds: b.seconds, Concurrency: b.concurrency, CPUs: runtime.NumCPU(), Systems: make(map[string]*result)}
	for _, name := range b.only {
		r.Systems[name] = &result{}
	}
	first, err := info(ctx, b.rdb)
	if err != nil {
		return r, err
	}
	r.Redis = first.text["redis_version"]
	for i := range b.runs {
		for _, name := range b.only {
			progress("drain %d/%d  %s", i+1, b.runs, name)
			d, err := b.drain(ctx, name, i)
			if err != nil {
				return r, fmt.Errorf("drain of %s: %w", name, err)
			}
			r.Systems[name].Drains = append(r.Systems[name].Drains, d)
		}
	}
	if b.seconds > 0 {
		err = b.latencies(ctx, r)
	}
	return r, err
}

func (b *bench) latencies(ctx context.Context, r results) error {
	for _, l := range latencyRuns {
		if !slices.Contains(b.only, l.system) {
			continue
		}
		progress("latency     %s, %s: %d/s for %d s", l.system, l.name, b.rate, b.seconds)
		measured, err := b.latency(ctx, l)
		if err != nil {
			return fmt.Errorf("latency of %s: %w", l.system, err)
		}
		r.Systems[l.system].Latencies = append(r.Systems[l.system].Latencies, measured)
	}
	return nil
}

// flush empties the database, and has the allocator give memory back, so that
// each measurement starts alike.
func (b *bench) flush(ctx context.Context) error {
	if err := b.rdb.FlushDB(ctx).Err(); err != nil {
		return fmt.Errorf("flush: %w", err)
	}
	_ = b.rdb.Do(ctx, "MEMORY", "PURGE").Err() // a managed Redis may not have it
	return nil
}

func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format(time.TimeOnly)+"  "+format+"\n", args...)
}

// pause waits, or returns why ctx ended first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
