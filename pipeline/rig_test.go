package pipeline_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/checkpoint"
	"github.com/lighterman/lighterman/lua"
	"github.com/lighterman/lighterman/pipeline"
	"github.com/lighterman/lighterman/provider/sim"
	"github.com/lighterman/lighterman/statemachine"
	"github.com/lighterman/lighterman/tool"
	"github.com/redis/go-redis/v9"
)

// rig is a worker's pipeline whose calls are counted.
type rig struct {
	*pipeline.Pipeline
	sim   *sim.Sim
	tools *tool.Set
	calls *counts
	blade *blade
	opts  pipeline.Options
}

// rig makes a worker; change alters its options before the pipeline is made.
func (w *world) rig(change func(*rig)) *rig {
	w.Helper()
	r := &rig{sim: sim.New(sim.Options{}), tools: &tool.Set{}, calls: newCounts(), blade: &blade{}}
	rdb := w.dial()
	rdb.AddHook(r.blade)
	store := lua.NewStore(rdb, rdb, lua.Options{})
	r.opts = pipeline.Options{
		Caller: callerFunc(func(ctx context.Context, c lm.Call) (lm.Answer, error) {
			r.calls.add(c.Key)
			r.calls.body(c.Body)
			return r.sim.Call(ctx, c)
		}),
		Machine: statemachine.NewMachine(store), Codec: codec(w, checkpoint.Options{}), Frames: store, ChatTools: []string{pipeline.AnyTool},
		Model: func(kind string) string {
			return map[string]string{"chat": sim.Plain, "prompt": sim.Plain, "embed": sim.Embed}[kind]
		},
	}
	asking(r, "lookup", "a", "b", "c")
	if change != nil {
		change(r)
	}
	r.opts.Tools = countedTools{r.tools, r.calls}
	r.Pipeline = pipeline.New(r.opts)
	return r
}

// after is a worker that goes on where this one died: the same code, models and
// counts, another connection.
func (w *world) after(r *rig, register func(*rig)) *rig {
	w.Helper()
	next := w.rig(func(n *rig) { n.sim, n.tools, n.calls = r.sim, r.tools, r.calls })
	if register != nil {
		register(next)
	}
	return next
}

func codec(t testing.TB, o checkpoint.Options) *checkpoint.Codec {
	t.Helper()
	c, err := checkpoint.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

type callerFunc func(context.Context, lm.Call) (lm.Answer, error)

func (f callerFunc) Call(ctx context.Context, c lm.Call) (lm.Answer, error) { return f(ctx, c) }

type countedTools struct {
	*tool.Set
	calls *counts
}

func (t countedTools) Call(ctx context.Context, c lm.ToolCall) (string, error) {
	t.calls.add(c.Key)
	return t.Set.Call(ctx, c)
}

// counts are how often each key was begun, and the bodies that models got.
type counts struct {
	mu     sync.Mutex
	begun  map[string]int
	bodies []string
}

func newCounts() *counts { return &counts{begun: make(map[string]int)} }

func (c *counts) add(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begun[key]++
}

func (c *counts) body(b json.RawMessage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bodies = append(c.bodies, string(b))
}

// all is a copy, by key without the trace ID.
func (c *counts) all() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	byName := make(map[string]int)
	for key, n := range c.begun {
		_, name, _ := strings.Cut(key, "/")
		byName[name] += n
	}
	return byName
}

// counted is a step that counts itself and returns a text.
func (r *rig) step(ctx context.Context, op *pipeline.Op, name string) (string, error) {
	return pipeline.Step(ctx, op, name, func(context.Context) (string, error) {
		r.calls.add(op.Key("step/" + name))
		return "result of " + name, nil
	})
}

// errKilled is what a dead worker's commands end with.
var errKilled = fmt.Errorf("killed: %w", io.ErrNoProgress)

// blade cuts a worker off from Redis at its nth script: before it, or after it
// was run and before the reply. Zero: never.
type blade struct {
	mu    sync.Mutex
	at    int
	after bool
	n     int
	fell  bool
	held  chan struct{} // closed when the first script is held up until goOn is
	goOn  chan struct{}
}

func (b *blade) fallen() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.fell
}

func (b *blade) DialHook(next redis.DialHook) redis.DialHook { return next }

func (b *blade) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (b *blade) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if !strings.HasPrefix(cmd.Name(), "eval") {
			return next(ctx, cmd)
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.n++
		if b.n == 1 && b.held != nil {
			close(b.held)
			<-b.goOn
		}
		if b.n == b.at {
			b.fell = true
			if b.after {
				_ = next(ctx, cmd)
			}
		}
		if b.fell {
			cmd.SetErr(errKilled)
			return errKilled
		}
		return next(ctx, cmd)
	}
}
