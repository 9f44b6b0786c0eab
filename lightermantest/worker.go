package lightermantest

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/checkpoint"
	"github.com/lighterman/lighterman/consumer"
	"github.com/lighterman/lighterman/fleet"
	"github.com/lighterman/lighterman/lua"
	"github.com/lighterman/lighterman/pipeline"
	"github.com/lighterman/lighterman/statemachine"
	"github.com/lighterman/lighterman/tool"
)

// Worker is one worker of a fleet. It is set up as a worker.Worker is, with the
// same Handle and Tool.
type Worker struct {
	fleet    *Fleet
	name     string
	store    *lua.Store
	truth    *fleet.Manager // nil where no models are declared
	tools    *tool.Set
	pipeline *pipeline.Pipeline
	consumer *consumer.Consumer
	drain    context.CancelFunc
	dead     atomic.Bool
	end      sync.Once
	done     sync.WaitGroup
}

// newWorker sets a worker up and starts it.
func newWorker(f *Fleet, name string) (*Worker, error) {
	w := &Worker{fleet: f, name: name, tools: &tool.Set{}}
	lookup, handler := tool.Lookup(nil)
	if err := w.tools.Add(lookup, handler, tool.Hidden()); err != nil { // what sim-tools asks for by itself
		return nil, err
	}
	codec, err := checkpoint.New(checkpoint.Options{Log: f.opts.Log})
	if err != nil {
		return nil, err
	}
	if w.store, err = f.open(); err != nil {
		return nil, err
	}
	models, err := w.caller()
	if err != nil {
		return nil, err
	}
	w.pipeline = pipeline.New(pipeline.Options{
		Caller: models, Tools: toolCaller{w.tools, w}, Machine: statemachine.NewMachine(w.store), Codec: codec,
		ChatTools: append([]string{lookup.Name}, f.opts.ChatTools...),
		Frames:    w.store, Model: func(kind string) string { return f.opts.Models[kind] }, Log: f.opts.Log, Edge: w.edge,
	})
	if f.setup != nil {
		f.setup(w)
	}
	options := f.opts.consumer(name)
	if w.truth != nil {
		options.Waits = fleet.NewReady(w.truth)
	}
	w.consumer = consumer.New(w.store, consumer.HandlerFunc(w.handle), options)
	ctx, drain := context.WithCancel(context.Background())
	w.drain = drain
	w.done.Go(func() {
		defer w.watch(ctx)()
		if err := w.consumer.Run(ctx); err != nil && !w.dead.Load() {
			f.t.Errorf("lightermantest: worker %s: %v", name, err)
		}
	})
	return w, nil
}

// Name is w1, w2 and so on, in the order in which the fleet started them.
func (w *Worker) Name() string { return w.name }

// Handle makes f the handler of a kind.
func (w *Worker) Handle(kind string, f pipeline.Func) { w.pipeline.Register(kind, f) }

// Tool adds a Go function that models may call; see tool.Func, pipeline.Tools and
// Options.ChatTools.
func (w *Worker) Tool(t lm.Tool, run tool.Handler, options ...tool.Option) error {
	return w.tools.Add(t, run, options...)
}

// handle runs a claim; what it comes to in a dead worker, nobody hears.
func (w *Worker) handle(ctx context.Context, claim lm.Claim) (lm.Result, error) {
	result, err := w.pipeline.Handle(ctx, claim)
	if w.dead.Load() {
		runtime.Goexit()
	}
	return result, err
}

// edge is where a worker's work may end: at a kill point that is due, and at
// every edge once it is dead.
func (w *Worker) edge(id lm.TraceID, point, name string) {
	if !w.dead.Load() {
		w.fleet.calls.edge(w.name, id, point, name)
		if !w.fleet.kills.due(point, name) {
			return
		}
		w.kill()
	}
	runtime.Goexit()
}

// kill cuts the worker off from Redis, so that nothing of it is ever written
// again, stops it, and has another one started.
func (w *Worker) kill() {
	if w.dead.Swap(true) {
		return
	}
	_ = w.store.Close()
	w.consumer.Stop()
	w.fleet.burials.Go(func() { w.fleet.bury(w.consumer.Owner()) })
	if err := w.fleet.spawn(); err != nil {
		w.fleet.t.Errorf("lightermantest: replace worker %s: %v", w.name, err)
	}
}

// close drains the worker and waits for it; a dead one is only waited for.
func (w *Worker) close() {
	w.end.Do(func() {
		w.drain()
		w.done.Wait()
		_ = w.store.Close()
	})
}
