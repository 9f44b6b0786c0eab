package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

// asynqQueue is the producer's side of asynq with its defaults: no retention, so
// a task's record is deleted when it completes.
type asynqQueue struct {
	rdb    *redis.Client
	client *asynq.Client
}

// asynqPool is the size of asynq's connection pools: enough for all goroutines,
// so that none waits for a connection.
const asynqPool = 80

func asynqRedis(url string) (*redis.Client, error) {
	o, err := redis.ParseURL(url)
	if err != nil {
		return nil, err
	}
	o.PoolSize = asynqPool
	return redis.NewClient(o), nil
}

func openAsynq(url string) (*asynqQueue, error) {
	rdb, err := asynqRedis(url)
	if err != nil {
		return nil, err
	}
	return &asynqQueue{rdb: rdb, client: asynq.NewClientFromRedisClient(rdb)}, nil
}

func (a *asynqQueue) close() { _ = a.rdb.Close() }

// enqueuers is how many goroutines enqueue at the same time: asynq has no call
// for many tasks.
const enqueuers = 64

func (a *asynqQueue) enqueue(ctx context.Context, n int) error {
	payload := []byte(chatBody())
	var next atomic.Int64
	var failed atomic.Pointer[error]
	var group sync.WaitGroup
	for range enqueuers {
		group.Go(func() {
			for next.Add(1) <= int64(n) && failed.Load() == nil {
				if _, err := a.client.EnqueueContext(ctx, asynq.NewTask("bench", payload)); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	group.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

func (a *asynqQueue) send(ctx context.Context, body string) error {
	_, err := a.client.EnqueueContext(ctx, asynq.NewTask("bench", []byte(body)))
	return err
}

// completed reads the count that asynq's own script keeps.
func (a *asynqQueue) completed(ctx context.Context, _ int) (int, error) {
	n, err := a.rdb.Get(ctx, "asynq:{default}:processed").Int()
	if errors.Is(err, redis.Nil) {
		err = nil
	}
	return n, err
}

func (a *asynqQueue) verify(ctx context.Context, r report) (int, time.Time, error) {
	left, err := a.rdb.Exists(ctx, "asynq:{default}:pending", "asynq:{default}:active", "asynq:{default}:retry", "asynq:{default}:archived").Result()
	if err == nil && left > 0 {
		err = fmt.Errorf("%d lists of asynq are not empty", left)
	}
	return r.Handled, time.Unix(0, r.First), err
}

// workAsynq is an asynq server with a handler that does nothing.
func workAsynq(_ context.Context, j job) (func(context.Context) error, error) {
	rdb, err := asynqRedis(j.redis)
	if err != nil {
		return nil, err
	}
	server := asynq.NewServerFromRedisClient(rdb, asynq.Config{Concurrency: j.concurrency, TaskCheckInterval: j.poll, LogLevel: asynq.WarnLevel})
	handler := asynq.HandlerFunc(func(_ context.Context, t *asynq.Task) error {
		j.tally.saw(1)
		if j.probe {
			j.tally.waited(t.Payload())
		}
		return nil
	})
	return func(ctx context.Context) error {
		defer func() { _ = rdb.Close() }()
		if err := server.Start(handler); err != nil {
			return err
		}
		<-ctx.Done()
		server.Shutdown()
		return nil
	}, nil
}
