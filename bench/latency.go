package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"
)

// latencyRun is one way of measuring how long an operation waits on an idle
// system.
type latencyRun struct {
	system string
	name   string
	args   []string // of the worker
	result bool     // until the producer has the result, else until the handler has the request
}

var latencyRuns = []latencyRun{
	{system: "lighterman", name: "enqueue to handler", args: []string{"-probe"}},
	{system: "lighterman", name: "enqueue to result, chat", result: true},
	{system: "asynq", name: "enqueue to handler", args: []string{"-probe"}},
	{system: "asynq", name: "enqueue to handler, polling every 10 ms", args: []string{"-probe", "-poll", "10ms"}},
	{system: "raw", name: "enqueue to handler", args: []string{"-probe"}},
}

// latency is what came of one.
type latency struct {
	Name string  `json:"name"`
	P50  float64 `json:"p50_ms"`
	P99  float64 `json:"p99_ms"`
	Max  float64 `json:"max_ms"`
	N    int     `json:"n"`
}

// warmUp is the first part of the load, which is not counted: connections are
// made and scripts are loaded.
const warmUp = time.Second

// waiter is a system whose producer can wait for a result.
type waiter interface {
	ask(ctx context.Context) error
}

func (b *bench) latency(ctx context.Context, l latencyRun) (latency, error) {
	if err := b.flush(ctx); err != nil {
		return latency{}, err
	}
	s, err := b.open(ctx, l.system)
	if err != nil {
		return latency{}, err
	}
	defer s.close()
	c, err := startChild(ctx, append([]string{"worker-" + l.system, "-redis", b.url, "-concurrency", strconv.Itoa(b.concurrency)}, l.args...)...)
	if err != nil {
		return latency{}, err
	}
	defer c.kill()
	if err := c.start(); err != nil {
		return latency{}, err
	}
	warm := b.rate * int(warmUp/time.Second)
	all := warm + b.rate*b.seconds
	took, err := b.load(ctx, all, func() error {
		if l.result {
			return s.(waiter).ask(ctx)
		}
		return s.send(ctx, stamped())
	})
	if err != nil {
		return latency{}, err
	}
	if !l.result {
		if took, err = b.collect(ctx, c, all); err != nil {
			return latency{}, err
		}
	}
	return summary(l.name, took[warm:]), errors.Join(c.stop(), b.flush(ctx))
}

// collect waits until the worker has seen all operations.
func (b *bench) collect(ctx context.Context, c *child, all int) ([]int64, error) {
	for deadline := time.Now().Add(stuckAfter); ; _ = pause(ctx, 200*time.Millisecond) {
		r, err := c.report()
		switch {
		case err != nil:
			return nil, err
		case len(r.Waited) == all:
			return r.Waited, nil
		case len(r.Waited) > all || time.Now().After(deadline) || ctx.Err() != nil:
			return nil, fmt.Errorf("%d operations were handled, want %d", len(r.Waited), all)
		}
	}
}

// load calls send n times at the rate, whether or not earlier calls have come
// back, and returns how long each took.
func (b *bench) load(ctx context.Context, n int, send func() error) ([]int64, error) {
	took, errs := make([]int64, n), make([]error, n)
	var group sync.WaitGroup
	began := time.Now()
	for i := range n {
		if pause(ctx, time.Until(began.Add(time.Duration(i)*time.Second/time.Duration(b.rate)))) != nil {
			break
		}
		group.Go(func() {
			at := time.Now()
			errs[i] = send()
			took[i] = int64(time.Since(at))
		})
	}
	group.Wait()
	return took, errors.Join(slices.Concat(errs, []error{ctx.Err()})...)
}

func summary(name string, took []int64) latency {
	slices.Sort(took)
	at := func(q float64) float64 { return float64(took[int(q*float64(len(took)-1))]) / 1e6 }
	return latency{Name: name, P50: at(0.5), P99: at(0.99), Max: at(1), N: len(took)}
}
