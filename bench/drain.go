package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"
)

// drain is one measurement of a queue that is filled first and emptied then.
type drain struct {
	EnqueuePerS float64 `json:"enqueue_per_s"`
	DrainPerS   float64 `json:"drain_per_s"`
	Enqueue     cost    `json:"redis_enqueue"` // per operation
	Drain       cost    `json:"redis_drain"`   // per operation
	ProducerCPU float64 `json:"producer_cpu_us"`
	WorkerCPU   float64 `json:"worker_cpu_us"`
	Mallocs     float64 `json:"worker_mallocs"`
	AllocBytes  float64 `json:"worker_alloc_bytes"`
	Bytes       float64 `json:"bytes_waiting"` // of Redis memory, per waiting operation
	Ended       int     `json:"ended"`
}

// pollEvery is how often the end is looked for; it bounds the error of the time.
const pollEvery = 10 * time.Millisecond

// stuckAfter ends a drain that makes no progress.
const stuckAfter = 30 * time.Second

func (b *bench) drain(ctx context.Context, name string, run int) (drain, error) {
	var d drain
	if err := b.flush(ctx); err != nil {
		return d, err
	}
	s, err := b.open(ctx, name)
	if err != nil {
		return d, err
	}
	defer s.close()
	if err := b.fill(ctx, s, &d); err != nil {
		return d, err
	}
	args := []string{"worker-" + name, "-redis", b.url, "-concurrency", strconv.Itoa(b.concurrency)}
	if b.profile != "" {
		args = append(args, "-profile", filepath.Join(b.profile, fmt.Sprintf("%s-%d", name, run+1)))
	}
	c, err := startChild(ctx, args...)
	if err != nil {
		return d, err
	}
	defer c.kill()
	r, end, err := b.empty(ctx, s, c, &d)
	if err != nil {
		return d, err
	}
	ended, first, err := s.verify(ctx, r)
	if err != nil {
		return d, err
	}
	d.Ended = ended
	d.DrainPerS = float64(b.n) / end.Sub(first).Seconds()
	if ended != b.n {
		return d, fmt.Errorf("%d of %d operations ended exactly once", ended, b.n)
	}
	return d, b.flush(ctx)
}

// fill enqueues everything and weighs it.
func (b *bench) fill(ctx context.Context, s system, d *drain) error {
	before, err := info(ctx, b.rdb)
	if err != nil {
		return err
	}
	cpu, began := cpuMicros(), time.Now()
	if err := s.enqueue(ctx, b.n); err != nil {
		return fmt.Errorf("enqueue: %w", err)
	}
	took := time.Since(began)
	d.ProducerCPU = (cpuMicros() - cpu) / float64(b.n)
	after, err := info(ctx, b.rdb)
	if err != nil {
		return err
	}
	d.EnqueuePerS = float64(b.n) / took.Seconds()
	d.Enqueue = costOf(before, after, b.n)
	d.Bytes = (after.number("used_memory") - before.number("used_memory")) / float64(b.n)
	return nil
}

// empty lets a worker drain the queue and returns what it says of itself, and
// when the last operation had ended.
func (b *bench) empty(ctx context.Context, s system, c *child, d *drain) (report, time.Time, error) {
	before, err := info(ctx, b.rdb)
	if err == nil {
		err = c.start()
	}
	if err == nil {
		err = b.await(ctx, s)
	}
	if err != nil {
		return report{}, time.Time{}, err
	}
	end := time.Now()
	after, err := info(ctx, b.rdb)
	if err != nil {
		return report{}, end, err
	}
	r, err := c.report()
	if err != nil {
		return r, end, err
	}
	each := func(x float64) float64 { return x / float64(b.n) }
	d.Drain = costOf(before, after, b.n)
	d.WorkerCPU, d.Mallocs, d.AllocBytes = each(r.CPU), each(r.Mallocs), each(r.AllocBytes)
	return r, end, c.stop()
}

// await returns when all operations have ended.
func (b *bench) await(ctx context.Context, s system) error {
	last, since := 0, time.Now()
	for {
		done, err := s.completed(ctx, b.n)
		looked++
		switch {
		case err != nil:
			return err
		case done >= b.n:
			return nil
		case done > last:
			last, since = done, time.Now()
		case time.Since(since) > stuckAfter:
			return fmt.Errorf("%w: %d of %d ended, then nothing for %s", errStuck, done, b.n, stuckAfter)
		}
		if err := pause(ctx, pollEvery); err != nil {
			return err
		}
	}
}

var errStuck = errors.New("operations were lost, or the worker hangs")
