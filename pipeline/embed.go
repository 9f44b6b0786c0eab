package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"

	lm "github.com/lighterman/lighterman"
	"golang.org/x/sync/errgroup"
)

const (
	embedsAtOnce = 4 // calls of one operation at the same time
	// modelChanges bounds how many models one attempt asks in turn.
	modelChanges = 4
)

// embed is the built-in kind embed. What fits into one call is one, as it came. More
// inputs go in batches, each checkpointed when it is answered.
//
// Vectors of two models cannot be compared, so that a result is of exactly one. The
// first batch is routed as any call is; whoever answers it is asked for the others by
// its own name, so that no failover comes between them. Where that member cannot go
// on, or would have to wait, the pool is asked again with one batch: answered by the
// same member, it goes on; by another, that one does all of them anew.
func embed(ctx context.Context, op *Op) (any, error) {
	r := op.Request()
	body, err := openEmbeddings(r.Body)
	if err != nil {
		return nil, err
	}
	ends := body.split(op.p.opts.EmbedBatch)
	if len(ends) == 1 {
		answer, _, err := op.infer(ctx, utterance{name: "turn:1", kind: r.Kind}, r.Body)
		return answer, err
	}
	e := &embedding{op: op, body: body, ends: ends, pool: op.model(r.Kind, r.Body), done: make([]*vectors, len(ends)), tried: make([]int, len(ends))}
	e.restore()
	if err := e.run(ctx); err != nil {
		return nil, err
	}
	return joined(e.done), nil
}

// embedding is one embed operation of several batches.
type embedding struct {
	op   *Op
	body *embeddings
	ends []int  // where the batches end
	pool string // whom the request names
	// tried is how many tries of this claim a batch has had: another member is asked
	// under other replay keys, else its calls would count as repeats. A batch's own
	// call alone touches it.
	tried []int

	mu    sync.Mutex // over what follows, while batches run
	model string     // the member that answers; empty: none yet
	done  []*vectors // by batch; nil: open
	open  int        // batches
	bytes int        // of what is done
	count int        // inputs of what is done
}

// run has every batch answered by one member.
func (e *embedding) run(ctx context.Context) error {
	for range modelChanges {
		if e.open == 0 {
			return nil
		}
		if e.model == "" {
			if err := e.choose(ctx); err != nil {
				return err
			}
		}
		err := e.rest(ctx)
		if err == nil || e.model == e.pool || !ofMember(ctx, err) {
			return err
		}
		e.op.p.opts.Log.Info().Err(err).Str("trace_id", string(e.op.ID())).Str("model", e.model).Msg("embedding asks its pool anew")
		e.model = ""
	}
	return lm.Errorf(lm.ProviderFailed, "embed: %s: none of %d members answered all batches", e.pool, modelChanges)
}

// choose asks the pool with the first open batch. The answers of any other member
// than the one that answers are void.
func (e *embedding) choose(ctx context.Context) error {
	at := 0
	for e.done[at] != nil {
		at++
	}
	v, err := e.ask(ctx, at, e.pool)
	if err != nil {
		return err
	}
	e.model = v.Model
	e.keep()
	return e.answered(ctx, at, v)
}

// rest asks the member for all that is open, some at a time. After an error none
// begins any more, and those that run are waited for and saved.
func (e *embedding) rest(ctx context.Context) error {
	whom := e.model
	if whom == "" { // of a caller that does not say who answers: there is one
		whom = e.pool
	}
	group, going := errgroup.WithContext(ctx)
	group.SetLimit(embedsAtOnce)
	for i := range e.done {
		e.mu.Lock()
		open := e.done[i] == nil
		e.mu.Unlock()
		if !open {
			continue
		}
		group.Go(func() error {
			if going.Err() != nil {
				return context.Cause(going) // the first error is the group's
			}
			v, err := e.ask(ctx, i, whom)
			if err != nil {
				return err
			}
			return e.answered(ctx, i, v)
		})
	}
	return group.Wait()
}

// ask makes the call of one batch.
func (e *embedding) ask(ctx context.Context, i int, whom string) (*vectors, error) {
	from, to := e.bounds(i)
	body, err := e.body.body(from, to)
	if err != nil {
		return nil, lm.Permanent(fmt.Errorf("encode a batch: %w", err))
	}
	answer, err := e.op.call(ctx, utterance{name: batchName(i), kind: "embed", model: whom}, body, e.tried[i])
	e.tried[i] += max(answer.Tries, 1)
	if err != nil {
		return nil, err
	}
	return newVectors(&answer, from, to-from)
}

// answered takes a batch's vectors and saves them, except those of the last one: the
// finishing write saves all.
func (e *embedding) answered(ctx context.Context, i int, v *vectors) error {
	e.mu.Lock()
	e.done[i] = v
	e.tally(i)
	last := e.open == 0
	err := e.fits()
	e.mu.Unlock()
	if err != nil || last {
		return err
	}
	data, err := compact(v)
	if err != nil {
		return lm.Permanent(fmt.Errorf("encode a batch's vectors: %w", err))
	}
	return e.op.record(ctx, batchName(i), data, lm.Inferring)
}

// fits refuses a result that is going to be too large as soon as that can be told,
// which the first batch does, and not after all were paid for.
func (e *embedding) fits() error {
	all, each := len(e.body.inputs), e.bytes/e.count
	if each*all <= maxEmbedding {
		return nil
	}
	return lm.Errorf(lm.InvalidRequest, "body.input: %d vectors of about %d bytes are more than a result may hold, %d bytes; ask for at most %d in one operation, for base64 (encoding_format) or for fewer dimensions",
		all, each, maxEmbedding, maxEmbedding/each)
}

// keep makes void what another member than the chosen one has answered.
func (e *embedding) keep() {
	e.open, e.bytes, e.count = len(e.done), 0, 0
	for i, v := range e.done {
		if v != nil && v.Model != e.model {
			e.done[i] = nil
		}
		e.tally(i)
	}
}

// tally counts a batch that is done.
func (e *embedding) tally(i int) {
	if v := e.done[i]; v != nil {
		from, to := e.bounds(i)
		e.open, e.bytes, e.count = e.open-1, e.bytes+len(v.Items), e.count+to-from
	}
}

// restore takes the batches that an earlier claim saved. Where they are of several
// members, because that claim ended while one did anew what another had done, it goes
// on with the one that has done most.
func (e *embedding) restore() {
	count := make(map[string]int)
	for i := range e.done {
		data, ok := e.op.lookup(batchName(i))
		if !ok {
			continue
		}
		v := new(vectors)
		if json.Unmarshal(data, v) != nil {
			continue
		}
		e.done[i] = v
		e.op.count(v.Usage)
		e.op.answered(lm.Answer{Model: v.Model, Route: v.Route})
		count[v.Model]++
	}
	for i := range e.done {
		if v := e.done[i]; v != nil && count[v.Model] > count[e.model] {
			e.model = v.Model
		}
	}
	e.keep()
}

// bounds are the inputs of a batch.
func (e *embedding) bounds(i int) (from, to int) {
	if i > 0 {
		from = e.ends[i-1]
	}
	return from, e.ends[i]
}

func batchName(i int) string { return "embed:" + strconv.Itoa(i) }

// ofMember reports whether an error is one that another member of the pool may not
// have: it is not the input's, and not this claim's end.
func ofMember(ctx context.Context, err error) bool {
	var parked *lm.Parked
	if errors.As(err, &parked) {
		return true
	}
	if ctx.Err() != nil {
		return false
	}
	switch lm.KindOf(err) { //nolint:exhaustive // the model's
	case lm.RateLimited, lm.Overloaded, lm.QuotaExhausted, lm.ProviderFailed, lm.TimedOut, lm.StreamInterrupted,
		lm.Unauthorized, lm.ModelNotFound, lm.UnknownModel:
		return true
	}
	return false
}
