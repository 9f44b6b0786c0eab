package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/checkpoint"
	"github.com/lighterman/lighterman/internal/failpoint"
	"github.com/lighterman/lighterman/statemachine"
)

// Op is the operation that a Func runs. Its methods and Step may be called from
// several goroutines of the Func; their writes take turns.
type Op struct {
	p       *Pipeline
	claim   lm.Claim
	started time.Time

	mu      sync.Mutex // over book, unsaved and the write, so that fields reach Redis in the book's order
	book    *checkpoint.Book
	unsaved []lm.Step // recorded, but their write failed (a full Redis): they go with the next one

	state  sync.Mutex // over what follows
	used   map[string]bool
	called bool // a model call was begun, or its answer restored
	usage  lm.Usage
	last   string   // the model that answered last, restored answers included
	route  []string // of all answers

	feed    feed
	asked   sync.Once // over streams
	streams bool      // the request asks for frames

	memo sync.Map // the caller's

	beyond atomic.Bool // this claim has finished a step of its own
}

func newOp(p *Pipeline, claim lm.Claim, book *checkpoint.Book) *Op {
	o := &Op{p: p, claim: claim, book: book, started: time.Now(), used: make(map[string]bool)}
	o.feed.op, o.feed.back.epoch = o, claim.Fence.Epoch
	return o
}

// ID is the operation's trace ID.
func (o *Op) ID() lm.TraceID { return o.claim.ID }

// Request is what the producer asked for. Do not change it.
func (o *Op) Request() *lm.Request { return &o.claim.Request }

// Attempt is 1 at the first try, and grows with each one that returned an error;
// a takeover is no new attempt.
func (o *Op) Attempt() int { return o.claim.Attempts + 1 }

// Key names a step of this operation for the world outside: the same after every
// takeover and retry, so that a receiver can tell a repeat.
func (o *Op) Key(step string) string { return string(o.claim.ID) + "/" + step }

// Usage is what the operation's model calls consumed so far, restored ones
// included.
func (o *Op) Usage() lm.Usage {
	o.state.Lock()
	defer o.state.Unlock()
	return o.usage
}

// Emit sends a frame to those who follow the operation: progress, or what a Func
// wants to stream. Where nobody follows and the request does not say stream it
// does nothing. It is written when Emit returns, or, where Redis did not take it,
// with the next one. An error means that the claim is lost.
func (o *Op) Emit(ctx context.Context, kind lm.FrameType, data string) error {
	if o.p.opts.Frames == nil || !o.wanted() {
		return nil
	}
	return o.feed.emit(ctx, kind, data)
}

// wanted reports whether frames are: the request says so, or somebody follows.
func (o *Op) wanted() bool {
	o.asked.Do(func() { o.streams = asksOf(o.claim.Request.Body).stream == yes })
	return o.streams || o.claim.Followed != nil && o.claim.Followed.Load()
}

// said is what a body says of something that it may leave open.
type said int

const (
	nothing said = iota
	yes
	no
)

// asks is what a body says of how its answer is to come.
type asks struct {
	stream  said
	several bool // more than one choice: no single text
}

// asksOf reads it off a body, which is parsed only where one of the words is in it.
func asksOf(raw json.RawMessage) (a asks) {
	if !bytes.Contains(raw, []byte(`"stream"`)) && !bytes.Contains(raw, []byte(`"n"`)) && !bytes.Contains(raw, []byte(`"prompt"`)) {
		return a
	}
	var body struct {
		Stream *bool           `json:"stream"`
		N      int             `json:"n"`
		Prompt json.RawMessage `json:"prompt"`
	}
	if json.Unmarshal(raw, &body) != nil {
		return a
	}
	var prompts []json.RawMessage
	a.several = body.N > 1 || json.Unmarshal(body.Prompt, &prompts) == nil && len(prompts) > 1
	switch {
	case body.Stream == nil:
	case *body.Stream:
		a.stream = yes
	default:
		a.stream = no
	}
	return a
}

// use marks a step's name as taken in this run.
func (o *Op) use(name string) error {
	if name == "" || len(name) > 256 {
		return lm.Permanent(fmt.Errorf("step name %.80q: want 1 to 256 bytes", name))
	}
	o.state.Lock()
	defer o.state.Unlock()
	if o.used[name] {
		return lm.Permanent(fmt.Errorf("step %q is used twice in one operation; give each its own name", name))
	}
	o.used[name] = true
	return nil
}

// lookup is the recorded result of a step.
func (o *Op) lookup(name string) ([]byte, bool) {
	data, ok := o.book.Lookup(name)
	if ok {
		o.p.opts.Metrics.Restored.Inc()
	}
	return data, ok
}

// enter records that a stage begins, before its work does. A worker that drains
// hands over here, where everything before is saved.
func (o *Op) enter(ctx context.Context, stage lm.State) error {
	select {
	case <-o.claim.Draining:
		return lm.ErrHandOver
	default:
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	state := o.claim.Fence.State()
	if state == stage || stage == lm.Gathering && state > stage { // a call of another goroutine was faster
		return nil
	}
	return o.writeLocked(ctx, stage, nil)
}

// record saves a finished step, and with it that the next stage begins; None
// leaves the state as it is. It returns when both are in Redis, and the lines that tell
// of the step.
func (o *Op) record(ctx context.Context, name string, data []byte, next lm.State, lines ...lm.StepLine) error {
	failpoint.At("before_checkpoint")
	o.mu.Lock()
	defer o.mu.Unlock()
	fields, err := o.book.Record(name, data)
	if errors.Is(err, checkpoint.ErrTooLarge) {
		o.p.opts.Log.Warn().Err(err).Str("trace_id", string(o.claim.ID)).Str("step", name).Msg("step not saved; a takeover repeats it")
		fields, err = nil, nil
	}
	if err != nil {
		return err
	}
	for _, l := range lines {
		fields = append(fields, l.Field())
	}
	err = o.writeLocked(ctx, next, fields)
	failpoint.At("after_checkpoint")
	if err == nil {
		o.beyond.Store(true)
		o.edge("saved", name)
	}
	return err
}

// tell writes a line alone: of a step whose error ends the attempt, which has nothing
// to save. It is not kept where it is not written: the attempt's end says why.
func (o *Op) tell(ctx context.Context, line lm.StepLine) {
	if ctx.Err() != nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	_ = o.writeLocked(ctx, lm.None, []lm.Step{line.Field()})
}

func (o *Op) edge(point, name string) {
	if o.p.opts.Edge != nil {
		o.p.opts.Edge(o.claim.ID, point, name)
	}
}

// writeLocked moves the claim to a state on the shortest way and writes
// checkpoint fields, in one script. The caller holds mu.
func (o *Op) writeLocked(ctx context.Context, to lm.State, fields []lm.Step) error {
	from := o.claim.Fence.State()
	if to == lm.None {
		to = from
	}
	path := statemachine.Path(from, to)
	if path == nil {
		return fmt.Errorf("%w: no way from %s to %s", lm.ErrIllegal, from, to)
	}
	fields = append(o.unsaved, fields...)
	if len(path) == 0 && len(fields) == 0 {
		return nil
	}
	err := o.p.opts.Machine.Advance(ctx, o.claim, path, fields...)
	if errors.Is(err, lm.ErrIllegal) && o.claim.Fence.State() != from {
		// An earlier write of unknown outcome had happened. Where it led to the state
		// that is wanted, or beyond, its fields are sent again all the same.
		if path = statemachine.Path(o.claim.Fence.State(), to); path != nil {
			err = o.p.opts.Machine.Advance(ctx, o.claim, path, fields...)
		}
	}
	if err != nil && !errors.Is(err, lm.ErrCancelRequested) && !errors.Is(err, lm.ErrExpired) {
		o.unsaved = fields
	} else if o.unsaved = nil; len(fields) > 0 {
		o.book.Saved()
	}
	if errors.Is(err, lm.ErrOutOfMemory) {
		o.p.opts.Log.Warn().Str("trace_id", string(o.claim.ID)).Msg("redis is out of memory, the checkpoint goes with the next write")
		return nil
	}
	return err
}
