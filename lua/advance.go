package lua

import (
	"context"

	lm "github.com/lighterman/lighterman"
)

// Advance is one step of a claim's progress.
type Advance struct {
	Path  []lm.State // legal hops from the claim's state; empty: a checkpoint alone
	Steps []lm.Step  // checkpoint fields; a first one named "!reset" drops what was stored; lines of steps
	Start bool       // starts a claim that the crash limit held back
}

type advanceIn struct {
	id    lm.TraceID
	fence *lm.Fence
	at    lm.Attempt
	step  Advance
}

// bytes is about what it carries.
func (a *advanceIn) bytes() (n int) {
	for _, st := range a.step.Steps {
		n += len(st.Data)
	}
	return n
}

// Advance records a path and a checkpoint of a claim in one step; stop says why
// the operation is to end now (ErrCancelRequested, ErrExpired), else it is nil.
// Errors: ErrFenced, ErrNotFound, ErrIllegal (each:
// nothing was written), or one of Redis after patience or ctx is over (then it
// may have been written; a later write still goes through). Where Redis is out
// of memory the hops are recorded without the checkpoint and the error is
// lighterman.ErrOutOfMemory: the steps go with the next write. Callers of one claim take turns.
func (s *Store) Advance(ctx context.Context, claim lm.Claim, step Advance) (stop, err error) {
	err = claim.Fence.Write(func(at lm.Attempt) (lm.State, error) {
		stop, err = s.advance(ctx, advanceIn{id: claim.ID, fence: claim.Fence, at: at, step: step})
		return last(step.Path, at.From), err
	})
	if IsOutOfMemory(err) && len(step.Steps) > 0 && len(step.Path) > 0 {
		full := err
		step.Steps = nil
		if stop, err = s.Advance(ctx, claim, step); err != nil {
			return nil, err
		}
		return stop, full
	}
	return stop, err
}

func (s *Store) advance(ctx context.Context, in advanceIn) (stop, err error) {
	err = again(ctx, s.opts.Patience, func() error {
		answer, err := s.advances.do(ctx, in.id.Partition(), in)
		if err == nil {
			err = refusal(answer)
		}
		stop = stopOf(stops[answer])
		return err
	})
	return stop, err
}

func (s *Store) sendAdvances(ctx context.Context, _ int, in []advanceIn) ([]string, error) {
	return s.answers(ctx, s.advanceCall(in), len(in))
}

func (s *Store) advanceCall(in []advanceIn) call {
	c := call{script: advanceScript, keys: make([]string, 0, 2*len(in)), args: append(make([]any, 0, 1+12*len(in)), len(in))}
	for _, a := range in {
		c.keys = append(c.keys, s.keys.trace(a.id), s.keys.checkpoint(a.id))
		c.args = append(c.args, 9+2*len(a.step.Steps), a.fence.Owner, int64(a.fence.Epoch), a.fence.Token, a.at.Seq,
			string(a.at.From.Letter()), letters(a.step.Path), a.at.Took.Microseconds(), flag(a.step.Start))
		for _, st := range a.step.Steps {
			c.args = append(c.args, st.Name, st.Data)
		}
	}
	return c
}

// answers runs a batch whose operations each answer with a word.
func (s *Store) answers(ctx context.Context, c call, n int) ([]string, error) {
	v, err := s.run(ctx, c)
	if err != nil {
		return nil, err
	}
	items, err := list(v, n)
	if err != nil {
		return nil, err
	}
	return texts(items), nil
}

// last is the state that a path ends in.
func last(path []lm.State, from lm.State) lm.State {
	if len(path) == 0 {
		return from
	}
	return path[len(path)-1]
}

// stops are the answers that ask a claim to end.
var stops = map[string]lm.Outcome{"CANCEL": lm.Cancelled, "EXPIRE": lm.Expired}

// stopOf is why an operation is to end with an outcome; nil when it is not.
func stopOf(requested lm.Outcome) error {
	switch requested {
	case "":
		return nil
	case lm.Expired:
		return lm.ErrExpired
	default:
		return lm.ErrCancelRequested
	}
}
