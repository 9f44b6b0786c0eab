package lua

import (
	"context"
	"encoding/json"

	lm "github.com/lighterman/lighterman"
)

// Ending is how a claim ends.
type Ending struct {
	Path   []lm.State // from the claim's state to COMPLETED
	Result lm.Result  // Outcome, Body, Usage, Err
	Tried  bool       // a handler ran: an attempt more
}

type finishIn struct {
	id     lm.TraceID
	fence  *lm.Fence
	at     lm.Attempt
	end    Ending
	unique string
	reply  string
}

// bytes is about what it carries.
func (f *finishIn) bytes() int { return len(f.end.Result.Body) }

// spent is a result's usage field: what was consumed, and by which way.
type spent struct {
	lm.Usage
	Route []string `json:"route,omitempty"`
	Model string   `json:"model,omitempty"`
}

// Finish records a claim's end with its result and acknowledges its entry in one
// step. Errors: ErrFenced, ErrNotFound, ErrIllegal (nothing was written), or one
// of Redis after patience or ctx is over: then it may have ended, and a takeover
// finds out.
func (s *Store) Finish(ctx context.Context, claim lm.Claim, end Ending) error {
	return claim.Fence.Write(func(at lm.Attempt) (lm.State, error) {
		in := finishIn{id: claim.ID, fence: claim.Fence, at: at, end: end, unique: claim.KeyHash, reply: claim.Request.Reply}
		return lm.Completed, again(ctx, s.opts.Patience, func() error {
			answer, err := s.finishes.do(ctx, claim.ID.Partition(), in)
			if err != nil {
				return err
			}
			return refusal(answer)
		})
	})
}

func (s *Store) sendFinishes(ctx context.Context, p int, in []finishIn) ([]string, error) {
	c := call{
		script: finishScript,
		keys:   append(make([]string, 0, 4+8*len(in)), s.keys.stats(p), s.keys.done(p), s.keys.dead(p), s.keys.deadlines(p)),
		args:   append(make([]any, 0, 4+13*len(in)), len(in), Group, s.opts.Retention.Milliseconds(), s.opts.DeadRetention.Milliseconds()),
	}
	for _, f := range in {
		st, _, _ := streamOf(p, f.fence.Entry)
		c.keys = append(s.keys.operation(c.keys, f.id, f.unique, f.reply), s.keys.stream(st))
		r := f.end.Result
		reason, failure := "", []byte(nil)
		if r.Err != nil {
			reason = string(r.Err.Kind)
			failure, _ = json.Marshal(r.Err)
		}
		usage := []byte(nil)
		if r.Usage != (lm.Usage{}) || len(r.Route) > 0 || r.Model != "" {
			usage, _ = json.Marshal(spent{r.Usage, r.Route, r.Model})
		}
		c.args = append(c.args, string(f.id), f.fence.Owner, int64(f.fence.Epoch), f.fence.Token, f.at.Seq, letters(f.end.Path),
			f.at.Took.Microseconds(), string(r.Outcome), reason, []byte(r.Body), usage, failure, flag(f.end.Tried))
	}
	return s.answers(ctx, c, len(in))
}
