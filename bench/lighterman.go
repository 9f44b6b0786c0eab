package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/config"
	"github.com/lighterman/lighterman/lua"
	"github.com/lighterman/lighterman/pipeline"
	"github.com/lighterman/lighterman/producer"
	"github.com/lighterman/lighterman/worker"
)

// lighterman is Lighterman's producer, as an application uses it.
type lighterman struct {
	store  *lua.Store
	client *producer.Client
	ids    []lm.TraceID
}

func openLighterman(ctx context.Context, url string) (*lighterman, error) {
	store, err := lua.Open(ctx, url, lua.Options{})
	if err != nil {
		return nil, err
	}
	return &lighterman{store: store, client: producer.New(store)}, nil
}

func (l *lighterman) close() {
	_ = l.client.Close()
	_ = l.store.Close()
}

// enqueue sends plain chats with EnqueueMany.
func (l *lighterman) enqueue(ctx context.Context, n int) error {
	requests := make([]lm.Request, n)
	for i := range requests {
		requests[i].Body = json.RawMessage(chatBody())
	}
	l.ids = make([]lm.TraceID, n)
	for i, a := range l.client.EnqueueMany(ctx, requests) {
		if a.Err != nil {
			return a.Err
		}
		l.ids[i] = a.ID
	}
	return nil
}

// send enqueues for the handler that records latency.
func (l *lighterman) send(ctx context.Context, body string) error {
	_, err := l.client.Enqueue(ctx, lm.Request{Kind: "probe", Body: json.RawMessage(body)})
	return err
}

// ask enqueues a plain chat and waits for its result.
func (l *lighterman) ask(ctx context.Context) error {
	a, err := l.client.Enqueue(ctx, lm.Request{Body: json.RawMessage(chatBody())})
	if err != nil {
		return err
	}
	r, err := l.client.Wait(ctx, a.ID)
	if err == nil && r.Outcome != lm.Succeeded {
		err = fmt.Errorf("%s ended %s", a.ID, r.Outcome)
	}
	return err
}

func (l *lighterman) completed(ctx context.Context, _ int) (int, error) {
	counts, err := l.store.Counts(ctx, 0)
	return int(counts["succeeded"]), err
}

// verify reads every trace and result: each must have completed at the first
// try, with one claim and one ending in its history, and have an answer.
func (l *lighterman) verify(ctx context.Context, _ report) (ended int, first time.Time, err error) {
	for ids := l.ids; len(ids) > 0; ids = ids[min(1000, len(ids)):] {
		batch := ids[:min(1000, len(ids))]
		records, err := l.store.Records(ctx, batch)
		if err != nil {
			return ended, first, err
		}
		results, err := l.store.Results(ctx, batch)
		if err != nil {
			return ended, first, err
		}
		for i, r := range records {
			claimed, claims := claimsOf(r.Trace)
			if first.IsZero() || claims > 0 && claimed.Before(first) {
				first = claimed
			}
			if r.State == lm.Completed && r.Outcome == lm.Succeeded && r.Attempts == 1 && claims == 1 && len(results[i].Body) > 0 {
				ended++
			}
		}
	}
	return ended, first, nil
}

// claimsOf counts the claims in a trace's history and says when the first was.
func claimsOf(t lm.Trace) (first time.Time, claims int) {
	for _, h := range t.History {
		if h.Worker == "" {
			continue
		}
		if claims++; claims == 1 {
			first = h.At
		}
	}
	return first, claims
}

// workLighterman is a worker as `lighterman worker` starts it, with a kind more.
func workLighterman(ctx context.Context, j job) (func(context.Context) error, error) {
	cfg := config.Default()
	if err := cfg.Redis.URL.UnmarshalText([]byte(j.redis)); err != nil {
		return nil, err
	}
	cfg.Worker.Name, cfg.Worker.Concurrency = "bench", j.concurrency
	cfg.HTTP.Addr, cfg.Log.Level = "127.0.0.1:0", "warn"
	w, err := worker.New(ctx, cfg)
	if err != nil {
		return nil, err
	}
	w.Handle("probe", func(_ context.Context, op *pipeline.Op) (any, error) {
		j.tally.waited(op.Request().Body)
		return nil, nil
	})
	return w.Run, nil
}
