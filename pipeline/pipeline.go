package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/checkpoint"
	"github.com/lighterman/lighterman/statemachine"
	"github.com/rs/zerolog"
)

// Caller calls a model: the router, or a provider where there is only one.
type Caller interface {
	Call(ctx context.Context, call lm.Call) (lm.Answer, error)
}

// Toolbox has the tools that models may call: which of them, each call says. Declared
// ones can be offered; Call tells a model of a name that does not exist.
type Toolbox interface {
	Declared() []lm.Tool
	Has(name string) bool
	Call(ctx context.Context, call lm.ToolCall) (content string, err error)
}

// Frames takes an operation's frames to those who follow it. Their Seq grows; ones
// that were written before are skipped. ErrFenced and ErrNotFound mean that the claim
// is lost, ErrOutOfMemory that Redis has no room; after any other error the frames
// come again.
type Frames interface {
	Frames(ctx context.Context, claim lm.Claim, frames []lm.Frame) error
}

// Func runs one kind of operation. What it returns becomes the result: a string
// as a JSON string, an lm.Answer as its body, JSON as it is, anything else
// marshalled. It must be deterministic in the names of its steps, and is called
// concurrently for different operations.
type Func func(ctx context.Context, op *Op) (any, error)

// Options are what a Pipeline works with. Caller, Codec and Machine are needed.
type Options struct {
	Caller        Caller
	Machine       *statemachine.Machine
	Codec         *checkpoint.Codec
	Tools         Toolbox                  // nil: none
	ChatTools     []string                 // of Tools, those that the kind chat offers and runs; AnyTool: each
	Frames        Frames                   // nil: frames go nowhere
	Model         func(kind string) string // the model of a request that names none; it may change at any time
	NoModel       func(kind string) error  // asked where Model has none: what the request waits for; nil: nothing
	MaxToolRounds int                      // default 64
	EmbedBatch    int                      // inputs of one embed call; default 96
	FrameWait     time.Duration            // how long an operation's end waits for a Redis that takes no frames; default 5 s
	Metrics       *Metrics                 // default: counted nowhere
	Log           zerolog.Logger

	// Edge is told where an operation stands, for tests that kill a worker there:
	// "start", "before step NAME", "after step NAME" (it has run and is not saved),
	// "before call KEY" and "after call KEY" of a model call, "before tool KEY" and
	// "after tool KEY", "saved NAME" (a step, answer or tool's result is in Redis)
	// and "before finish". It runs in the goroutine of the work, may end it with
	// runtime.Goexit, and is called concurrently; nil: nobody is told.
	Edge func(id lm.TraceID, point, name string)
}

// Pipeline satisfies consumer.Handler.
type Pipeline struct {
	opts  Options
	funcs map[string]Func
}

// New makes a Pipeline with the built-in kinds chat, prompt and embed.
func New(o Options) *Pipeline {
	o.MaxToolRounds = cmp.Or(o.MaxToolRounds, 64)
	o.EmbedBatch = cmp.Or(o.EmbedBatch, 96)
	o.FrameWait = cmp.Or(o.FrameWait, 5*time.Second)
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	p := &Pipeline{opts: o, funcs: make(map[string]Func)}
	p.Register("chat", chat)
	p.Register("prompt", prompt)
	p.Register("embed", embed)
	return p
}

// Register makes f the handler of a kind; a second one replaces the first. All
// must be registered before the first operation.
func (p *Pipeline) Register(kind string, f Func) { p.funcs[kind] = f }

// Kinds lists the registered kinds.
func (p *Pipeline) Kinds() []string {
	kinds := make([]string, 0, len(p.funcs))
	for k := range p.funcs {
		kinds = append(kinds, k)
	}
	sort.Strings(kinds)
	return kinds
}

// newerWaits is how often an operation with a newer worker's checkpoint waits for
// one before it starts over.
const newerWaits = 10

// Handle runs a claim: it opens the checkpoint, runs the kind's Func and encodes
// what it returns. Errors are lighterman's kinds: UnknownKind, SchemaTooNew,
// InvalidRequest, or what the Func returned.
func (p *Pipeline) Handle(ctx context.Context, claim lm.Claim) (lm.Result, error) {
	f, ok := p.funcs[claim.Request.Kind]
	if !ok {
		err := lm.Errorf(lm.UnknownKind, "this worker has no handler for kind %q (it has %s)", claim.Request.Kind, strings.Join(p.Kinds(), ", "))
		err.For = lm.WaitKind + claim.Request.Kind
		return lm.Result{}, err
	}
	book, err := p.opts.Codec.Open(claim.ID, claim.Checkpoint)
	if errors.Is(err, checkpoint.ErrSchemaNewer) && claim.SchemaWaits < newerWaits {
		return lm.Result{}, &lm.Error{Kind: lm.SchemaTooNew, Err: err}
	}
	if err != nil {
		p.opts.Log.Warn().Err(err).Str("trace_id", string(claim.ID)).Int("steps_left", len(book.Steps())).Msg("checkpoint damaged; what it lost runs again")
	}
	op := newOp(p, claim, book)
	op.edge("start", "")
	out, err := f(ctx, op)
	p.opts.Metrics.Operation.WithLabelValues(claim.Request.Kind).Observe(time.Since(op.started).Seconds()) // a registered kind
	if err != nil {
		return lm.Result{Usage: op.Usage(), Route: op.Route(), Model: op.lastModel()}, err
	}
	body, err := encode(out)
	if err != nil {
		return lm.Result{Usage: op.Usage(), Route: op.Route(), Model: op.lastModel()}, lm.Permanent(fmt.Errorf("encode the result of kind %q: %w", claim.Request.Kind, err))
	}
	result := lm.Result{Body: body, Usage: op.Usage(), Route: op.Route(), Model: op.lastModel()}
	if err := op.settle(ctx, result); err != nil {
		return result, err
	}
	op.edge("before finish", "")
	return result, nil
}
