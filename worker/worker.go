package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/checkpoint"
	"github.com/lighterman/lighterman/config"
	"github.com/lighterman/lighterman/consumer"
	"github.com/lighterman/lighterman/fleet"
	"github.com/lighterman/lighterman/internal/embedded"
	"github.com/lighterman/lighterman/lua"
	"github.com/lighterman/lighterman/pipeline"
	"github.com/lighterman/lighterman/provider/sim"
	"github.com/lighterman/lighterman/router"
	"github.com/lighterman/lighterman/statemachine"
	"github.com/lighterman/lighterman/tool"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/rs/zerolog"
)

// Worker is one worker, ready to run.
type Worker struct {
	cfg       *config.Config
	log       zerolog.Logger
	store     *lua.Store
	embedded  *embedded.Server // nil unless this process keeps the Redis
	models    []string
	defaults  *defaults
	sim       *sim.Sim
	fleet     *fleet.Manager // nil where nothing is declared
	keeper    *keeper        // of what backends have; nil where none is to be listed
	tools     *tool.Set
	pipeline  *pipeline.Pipeline
	providers map[string]router.Provider // by backend
	metrics   *prometheus.Registry
	consumer  *consumer.Consumer
	http      *server
}

// New connects to Redis and wires a worker. Without a Redis URL it joins a
// Lighterman on 127.0.0.1:7379, else keeps an embedded Redis there. Errors are
// lines for people; lua.ErrRedis is in the chain when Redis is the trouble. Close
// frees what Run does not.
func New(ctx context.Context, cfg *config.Config) (*Worker, error) {
	w := &Worker{cfg: cfg, log: Logger(cfg), metrics: prometheus.NewRegistry(), tools: &tool.Set{}}
	w.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if err := w.connect(ctx); err != nil {
		return nil, err
	}
	if err := w.wire(ctx); err != nil {
		w.Close()
		return nil, err
	}
	return w, nil
}

// connect opens the Redis of the configuration, or joins or starts an embedded
// one.
func (w *Worker) connect(ctx context.Context) (err error) {
	url := w.cfg.Redis.URL.Reveal()
	if url == "" {
		w.embedded, err = embedded.Start(embedded.DefaultAddr)
		if err != nil && !errors.Is(err, embedded.ErrAddrInUse) {
			return fmt.Errorf("%w: start the embedded one: %w", lua.ErrRedis, err)
		}
		url = "redis://" + embedded.DefaultAddr
	}
	opts := StoreOptions(w.cfg)
	opts.Waiting = func(why string) { w.log.Warn().Msg(why) }
	w.store, err = lua.Open(ctx, url, opts)
	if err == nil {
		if err = w.store.CheckRights(ctx); err != nil {
			_ = w.store.Close()
		}
	}
	if err != nil && w.embedded != nil {
		w.embedded.Close()
	}
	return err
}

// StoreOptions are what the scripts are told by a configuration.
func StoreOptions(cfg *config.Config) lua.Options {
	o := lua.Options{
		Prefix: cfg.Redis.Prefix, Partitions: cfg.Redis.Partitions, QueueLimit: int(cfg.Limits.Queue),
		Retention: cfg.Deliver.ResultRetention.Std(), CrashLimit: cfg.Worker.CrashLimit,
		MaxAge: cfg.Limits.MaxAge.Std(),
	}
	if cfg.Redis.URLFile != "" {
		o.ReadURL = func() (string, error) {
			u, err := cfg.Redis.Reread()
			return u.Reveal(), err
		}
	}
	return o
}

func (w *Worker) wire(ctx context.Context) error {
	latency := w.cfg.Sim.Latency.Std()
	w.sim = sim.New(sim.Options{CallLog: w.cfg.Sim.CallLog, Worker: w.name(), Latency: func(string) time.Duration { return latency }, Faults: simFaults(w.cfg)})
	calls, err := w.sim.Log()
	if err != nil {
		return fmt.Errorf("sim.call_log: %w", err)
	}
	lookup, handler := tool.Lookup(calls.Tool) // what simulated models ask for by themselves
	if err := w.tools.Add(lookup, handler, tool.Hidden()); err != nil {
		return err
	}
	w.models = ModelNames(w.cfg)
	caller, err := w.route(ctx)
	if err != nil {
		return err
	}
	metrics := pipeline.NewMetrics(w.metrics)
	codec, err := checkpoint.New(checkpoint.Options{MaxBytes: int(w.cfg.Limits.Checkpoint), Log: w.log, Observe: metrics.Checkpoint})
	if err != nil {
		return err
	}
	w.pipeline = pipeline.New(pipeline.Options{
		Caller: caller, Machine: statemachine.NewMachine(w.store), Codec: codec, Tools: w.tools, Frames: w.store,
		Model: w.defaultModel, NoModel: w.noModel, ChatTools: append([]string{lookup.Name}, w.cfg.Pipeline.ChatTools...),
		MaxToolRounds: w.cfg.Pipeline.MaxToolRounds, EmbedBatch: w.cfg.Pipeline.EmbedBatch, Metrics: metrics, Log: w.log,
	})
	options := consumer.Options{
		Name: w.name(), Queues: consumerQueues(w.cfg), Concurrency: w.cfg.Worker.Concurrency, Lease: w.cfg.Worker.Lease.Std(),
		Beat: w.cfg.Worker.Heartbeat.Std(), DrainTimeout: w.cfg.Worker.DrainTimeout.Std(), MaxAttempts: w.cfg.Worker.MaxAttempts,
		Presence: consumer.Presence{Off: w.cfg.Worker.Presence == "off"}, Version: version(), Serves: w.serves,
		Metrics: consumer.NewMetrics(w.metrics), Log: w.log, Redact: redact,
	}
	if w.fleet != nil {
		options.State, options.Waits = w.fleet, fleet.NewReady(w.fleet)
	}
	w.consumer = consumer.New(w.store, w.pipeline, options)
	return nil
}

// consumerQueues are the served queues as the consumer takes them.
func consumerQueues(cfg *config.Config) []consumer.Queue {
	queues := make([]consumer.Queue, len(cfg.Queues))
	for i, q := range cfg.Queues {
		queues[i] = consumer.Queue{Name: q.Name, Weight: q.Weight, Concurrency: q.Concurrency}
	}
	return queues
}

// Handle makes f the handler of a kind, before Run.
func (w *Worker) Handle(kind string, f pipeline.Func) { w.pipeline.Register(kind, f) }

// Tool adds a Go function that models may call, before Run; see tool.Func. Which calls
// may have it run they say themselves (pipeline.Tools), those of the kind chat by
// pipeline.chat_tools in the configuration.
func (w *Worker) Tool(t lm.Tool, run tool.Handler, options ...tool.Option) error {
	return w.tools.Add(t, run, options...)
}

// Store is the worker's way to Redis, for producers in the same process.
func (w *Worker) Store() *lua.Store { return w.store }

// Models are the names that requests may use.
func (w *Worker) Models() []string { return w.models }

// Redis says where the queue is, without a password.
func (w *Worker) Redis() string {
	if w.embedded != nil {
		return "embedded " + w.embedded.Addr()
	}
	if w.cfg.Redis.URL == "" {
		return "embedded elsewhere " + embedded.DefaultAddr
	}
	return w.cfg.Redis.URL.String()
}

// Embedded reports whether this process keeps the Redis, so that nothing
// survives it.
func (w *Worker) Embedded() bool { return w.embedded != nil }

// Run works until ctx ends or the process gets SIGTERM or SIGINT, then drains; a
// second signal stops at once. It returns nil after a drain. All that it started
// has stopped then, and the worker is closed. A worker is meant to be all that its
// process does: Run sets the garbage collector and its memory limit for that, unless
// GOGC and GOMEMLIMIT do.
func (w *Worker) Run(ctx context.Context) error {
	defer w.Close()
	if limit := tuneMemory(); limit > 0 {
		w.log.Info().Int64("bytes", limit).Msg("memory limit of the cgroup is kept to")
	}
	ctx, drain := context.WithCancel(ctx)
	defer drain()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	ended := make(chan struct{})
	watching, stopWatching := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWatching()
	var watch sync.WaitGroup
	watch.Go(func() {
		for _, act := range []func(){drain, w.consumer.Stop} {
			select {
			case <-signals:
				act()
			case <-ended:
				return
			}
		}
	})
	var denied error
	watch.Go(func() {
		if denied = w.watchAccess(watching, deniedLook, deniedMost); denied != nil {
			drain()
			w.consumer.Stop() // nothing can be handed over
		}
	})
	err := w.run(ctx)
	signal.Stop(signals)
	close(ended)
	stopWatching()
	watch.Wait()
	return errors.Join(denied, err)
}

func (w *Worker) run(ctx context.Context) error {
	if err := w.Listen(); err != nil {
		return err
	}
	if err := w.store.PublishNames(ctx, w.models); err != nil {
		w.log.Warn().Err(err).Msg("publish model names")
	}
	w.banner()
	if w.fleet == nil {
		return w.consumer.Run(ctx)
	}
	return w.runWithFleet(ctx)
}

// runWithFleet keeps the fleet's state fresh for as long as the consumer runs, and
// saves what is left of it when that has ended.
func (w *Worker) runWithFleet(ctx context.Context) error {
	if err := w.fleet.Load(ctx); err != nil {
		w.log.Warn().Err(err).Msg("fleet state not read; all models count as healthy until it is")
	}
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	var watch sync.WaitGroup
	watch.Go(func() {
		if err := w.fleet.Run(watching); err != nil {
			w.log.Warn().Err(err).Msg("fleet counters not saved")
		}
	})
	if w.keeper != nil {
		w.keeper.start(ctx)
		watch.Go(func() { w.keeper.Run(watching) })
	}
	defer watch.Wait()
	defer stop()
	return w.consumer.Run(ctx)
}

// Close frees the worker's connections, server and files. Run does it itself.
func (w *Worker) Close() {
	if w.http != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		w.http.close(ctx)
	}
	if w.sim != nil {
		if err := w.sim.Close(); err != nil {
			w.log.Warn().Err(err).Msg("close the call log")
		}
	}
	if w.store != nil {
		_ = w.store.Close()
	}
	if w.embedded != nil {
		w.embedded.Close()
	}
}

// version is the module's version or commit, as Go recorded it.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return ""
}

// maxName is what a consumer's name has room for: with "-" and 8 characters of
// its own, 64. The configuration takes no longer one; hosts may have one.
const maxName = 55

// name is the worker's name: as configured, else the host's, fit for a key.
func (w *Worker) name() string {
	name := w.cfg.Worker.Name
	if name == "" {
		name, _ = os.Hostname()
	}
	clean := []byte(name)
	for i, c := range clean {
		if lm.ValidName(string(c)) != nil {
			clean[i] = '_'
		}
	}
	if len(clean) > maxName {
		clean = clean[:maxName]
	}
	if len(clean) == 0 {
		return "worker"
	}
	return string(clean)
}
