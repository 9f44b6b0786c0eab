package worker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/config"
	"github.com/lighterman/lighterman/internal/embedded"
	"github.com/lighterman/lighterman/pipeline"
	"github.com/lighterman/lighterman/producer"
	"github.com/lighterman/lighterman/worker"
)

// fetch stands for a slow call whose result should not be paid for twice.
func fetch(_ context.Context, url, _ string) (string, error) { return "the page at " + url, nil }

func summarise(ctx context.Context, op *pipeline.Op) (any, error) {
	page, err := pipeline.Step(ctx, op, "fetch", func(ctx context.Context) (string, error) {
		return fetch(ctx, op.Request().Meta["url"], op.Key("fetch")) // once checkpointed, never run again; Key is stable over takeovers
	})
	if err != nil {
		return nil, err // transient: retried with backoff; lighterman.Permanent(err): dead-letter
	}
	return op.Ask(ctx, "summary", "Summarise:\n"+page) // sticky pool, failover, tokens stream to followers
}

// A handler developer's whole program.
func Example_program() {
	cfg, err := worker.Load() // flags, LIGHTERMAN_*, file; without Redis: embedded
	if err != nil {
		log.Fatal(err)
	}
	w, err := worker.New(context.Background(), cfg)
	if err != nil {
		log.Fatal(err)
	}
	w.Handle("summarise", summarise)
	if err := w.Run(context.Background()); err != nil { // SIGTERM drains, and is no error
		log.Fatal(err)
	}
}

// One request of a kind of one's own, through a worker in the same process.
func Example() {
	ctx, stop := context.WithCancel(context.Background())
	redis, err := embedded.Start("127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer redis.Close()
	cfg := config.Default()
	cfg.Redis.URL = config.SecretURL(redis.URL())
	cfg.HTTP.Addr, cfg.Log.Level = "127.0.0.1:0", "error"

	w, err := worker.New(ctx, cfg)
	if err != nil {
		log.Fatal(err)
	}
	w.Handle("summarise", summarise)
	ended := make(chan error)
	go func() { ended <- w.Run(ctx) }()

	client, err := producer.Open(ctx, redis.URL())
	if err != nil {
		log.Fatal(err)
	}
	accepted, err := client.Enqueue(ctx, lm.Request{Kind: "summarise", Body: json.RawMessage(`{}`), Meta: map[string]string{"url": "example.com"}})
	if err != nil {
		log.Fatal(err)
	}
	result, err := client.Wait(ctx, accepted.ID)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result.Outcome, result.Attempts)
	fmt.Println(result.Text())

	if err := client.Close(); err != nil {
		log.Fatal(err)
	}
	stop() // as SIGTERM would
	fmt.Println("drained:", <-ended)
	// Output:
	// succeeded 1
	// You asked "Summarise:
	// the page at example.com": A lighterman reads the tide first and the map second, because only one of them is always current.
	// drained: <nil>
}
