package main

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// raw is the floor: the stream commands alone, in large batches, with no state,
// no fences, no results, nothing to take over.
type raw struct{ rdb *redis.Client }

const (
	rawStream = "bench:raw"
	rawGroup  = "workers"
	rawBatch  = 100  // entries of a read
	rawPipe   = 1000 // XADDs of a pipeline
)

func openRaw(ctx context.Context, url string) (*raw, error) {
	o, err := redis.ParseURL(url)
	if err != nil {
		return nil, err
	}
	r := &raw{rdb: redis.NewClient(o)}
	return r, r.rdb.XGroupCreateMkStream(ctx, rawStream, rawGroup, "0").Err()
}

func (r *raw) close() { _ = r.rdb.Close() }

func (r *raw) add(ctx context.Context, to redis.Cmdable, body string) *redis.StringCmd {
	return to.XAdd(ctx, &redis.XAddArgs{Stream: rawStream, Values: []string{"body", body}})
}

func (r *raw) enqueue(ctx context.Context, n int) error {
	body := chatBody()
	for n > 0 {
		pipe := r.rdb.Pipeline()
		for range min(n, rawPipe) {
			r.add(ctx, pipe, body)
		}
		n -= pipe.Len()
		if _, err := pipe.Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (r *raw) send(ctx context.Context, body string) error { return r.add(ctx, r.rdb, body).Err() }

func (r *raw) completed(ctx context.Context, n int) (int, error) {
	left, err := r.rdb.XLen(ctx, rawStream).Result()
	return n - int(left), err
}

func (r *raw) verify(_ context.Context, rep report) (int, time.Time, error) {
	return rep.Handled, time.Unix(0, rep.First), nil
}

// workRaw reads, acknowledges and deletes.
func workRaw(_ context.Context, j job) (func(context.Context) error, error) {
	o, err := redis.ParseURL(j.redis)
	if err != nil {
		return nil, err
	}
	rdb := redis.NewClient(o)
	args := redis.XReadGroupArgs{Group: rawGroup, Consumer: "bench", Streams: []string{rawStream, ">"}, Count: rawBatch, Block: 500 * time.Millisecond}
	return func(ctx context.Context) error {
		defer func() { _ = rdb.Close() }()
		for ctx.Err() == nil {
			got, err := rdb.XReadGroup(ctx, &args).Result()
			if errors.Is(err, redis.Nil) || ctx.Err() != nil {
				continue
			}
			if err == nil {
				err = finishRaw(ctx, rdb, j, got[0].Messages)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}, nil
}

func finishRaw(ctx context.Context, rdb *redis.Client, j job, messages []redis.XMessage) error {
	j.tally.saw(len(messages))
	ids := make([]string, len(messages))
	for i, m := range messages {
		ids[i] = m.ID
		if body, ok := m.Values["body"].(string); ok && j.probe {
			j.tally.waited([]byte(body))
		}
	}
	_, err := rdb.Pipelined(context.WithoutCancel(ctx), func(p redis.Pipeliner) error {
		p.XAck(ctx, rawStream, rawGroup, ids...)
		p.XDel(ctx, rawStream, ids...)
		return nil
	})
	return err
}
