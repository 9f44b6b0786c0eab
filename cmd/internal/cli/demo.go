package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/embedded"
	"github.com/lighterman/lighterman/lua"
	"github.com/lighterman/lighterman/producer"
	"github.com/spf13/cobra"
)

// demoSettle is how long a frozen worker's last commands may be on their way.
const demoSettle = 200 * time.Millisecond

// demoLease is the lease of the demo's workers, short so that the story is.
const demoLease = 2 * time.Second

func demoCommand() *cobra.Command {
	d := &demo{}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "The show: three workers, one killed, one drained, and the proof that nothing was lost",
		Long: `Run an embedded Redis and three real worker processes, and push operations with
tools and failing models through them. One worker is killed with SIGKILL and one
drained on the way. At the end the proof: everything accepted is completed, no
call was paid twice but those in flight at the kill, and how fast the takeover
was. Exit 0 only if it holds. With --redis it runs on yours, which must be empty
of demo work.`,
		Args: noArgs,
	}
	cmd.Flags().IntVar(&d.count, "count", 600, "operations")
	cmd.Flags().StringVar(&d.url, "redis", "", "Redis URL; empty: an embedded one")
	cmd.Flags().BoolVar(&d.keep, "keep-logs", false, "keep the workers' logs")
	cmd.RunE = func(*cobra.Command, []string) error {
		if d.count < 50 || d.count > 100_000 {
			return usagef("--count %d: want 50 to 100000", d.count)
		}
		ctx, cancel := interruptible()
		defer cancel()
		return d.run(ctx)
	}
	return cmd
}

// demo is one run of the show.
type demo struct {
	count int
	url   string
	keep  bool

	dir     string
	store   *lua.Store
	client  *producer.Client
	workers []*demoWorker
	ids     []lm.TraceID

	killedAt   time.Time
	killedHeld []lm.TraceID // what the killed worker held
	drainTook  time.Duration
	drainErr   error
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(stdout, format+"\n", args...) }

func (d *demo) run(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 80*time.Second)
	defer cancel()
	if d.dir, err = os.MkdirTemp("", "lighterman-demo-"); err != nil {
		return err
	}
	defer func() {
		if d.keep || err != nil {
			d.say("logs: %s", d.dir)
			return
		}
		_ = os.RemoveAll(d.dir)
	}()
	if d.url == "" {
		server, err := embedded.Start("127.0.0.1:0")
		if err != nil {
			return err
		}
		defer server.Close()
		d.url = server.URL()
		d.say("Redis      embedded in this process; nothing survives it")
	}
	if d.store, err = lua.Open(ctx, d.url, lua.Options{}); err != nil {
		return err
	}
	defer d.store.Close() //nolint:errcheck // everything was answered
	d.client = producer.New(d.store, producer.WithReply())
	defer d.client.Close() //nolint:errcheck // it only ends waiting
	defer d.endWorkers()
	return d.story(ctx)
}

// story is the show itself.
func (d *demo) story(ctx context.Context) error {
	for _, name := range []string{"w1", "w2", "w3"} {
		w, err := d.startWorker(name)
		if err != nil {
			return err
		}
		d.workers = append(d.workers, w)
	}
	d.say("Workers    w1, w2, w3: real processes, 16 slots each, lease %s", demoLease)
	if err := d.enqueue(ctx); err != nil {
		return err
	}
	d.say("Enqueued   %d operations: half with three rounds of tools, a quarter on a model that fails 3 of 10 calls\n", len(d.ids))
	live := newLive(d)
	defer live.end()
	results := make(chan error, 1)
	go func() { results <- d.await(ctx, live) }()

	if err := live.until(ctx, d.count/4); err != nil {
		return err
	}
	if err := d.kill(ctx, d.workers[0]); err != nil {
		return err
	}
	live.note("kill -9 w1 with %d operations in flight", len(d.killedHeld))
	if err := live.until(ctx, d.count/2); err != nil {
		return err
	}
	live.note("SIGTERM w2: it drains")
	drained := make(chan struct{})
	go func() { defer close(drained); d.drain(d.workers[1]) }()
	if err := <-results; err != nil {
		return err
	}
	<-drained
	live.end()
	return d.prove(ctx)
}

func (d *demo) enqueue(ctx context.Context) error {
	requests := make([]lm.Request, d.count)
	models := []string{"sim-tools", "sim", "sim-tools", "sim-flaky"}
	for i := range requests {
		body, err := json.Marshal(map[string]any{"messages": []map[string]string{{"role": "user", "content": fmt.Sprintf("Why do rivers bend? (%d)", i)}}})
		if err != nil {
			return err
		}
		requests[i] = lm.Request{Model: models[i%len(models)], Body: body}
	}
	var errs []error
	for _, a := range d.client.EnqueueMany(ctx, requests) {
		if a.Err != nil {
			errs = append(errs, a.Err)
			continue
		}
		d.ids = append(d.ids, a.ID)
	}
	return errors.Join(errs...)
}

// await waits for every result.
func (d *demo) await(ctx context.Context, live *live) error {
	for result, err := range d.client.WaitMany(ctx, d.ids) {
		if err != nil {
			return fmt.Errorf("wait for the results: %w", err)
		}
		live.ended(result)
	}
	return nil
}

// kill ends a worker with SIGKILL and remembers what it held.
func (d *demo) kill(ctx context.Context, w *demoWorker) error {
	w.stop() // frozen, so that what it holds can be read exactly; then it never wakes
	select { // what it had sent by then still reaches Redis
	case <-time.After(demoSettle):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	records, err := d.store.Records(ctx, d.ids)
	if err != nil {
		return err
	}
	for _, r := range records {
		if r.Owner == w.owner {
			d.killedHeld = append(d.killedHeld, r.ID)
		}
	}
	d.killedAt = time.Now()
	return w.kill()
}

// drain ends a worker with SIGTERM and measures how long it took.
func (d *demo) drain(w *demoWorker) {
	began := time.Now()
	d.drainErr = w.terminate()
	d.drainTook = time.Since(began)
}

func (d *demo) callLog() string { return filepath.Join(d.dir, "calls.jsonl") }
