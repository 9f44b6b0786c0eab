package lua

import (
	"context"
	"fmt"

	lm "github.com/lighterman/lighterman"
)

// framesKept bounds an operation's token stream, about.
const framesKept = 10_000

// Frames appends frames to a claim's token stream; their Seq must grow within
// the claim. ErrFenced, ErrNotFound, ErrOutOfMemory: nothing was written. After any
// other error the same frames may be written again.
func (s *Store) Frames(ctx context.Context, claim lm.Claim, frames []lm.Frame) error {
	f := claim.Fence
	c := call{
		script: frameScript,
		keys:   []string{s.keys.trace(claim.ID), s.keys.out(claim.ID)},
		args:   append(make([]any, 0, 5+4*len(frames)), f.Owner, int64(f.Epoch), f.Token, framesKept, len(frames)),
	}
	for _, fr := range frames {
		c.args = append(c.args, fr.Seq, string(fr.Type), fr.Data, fr.Step)
	}
	v, err := s.run(ctx, c)
	if IsOutOfMemory(err) {
		return fmt.Errorf("%w: %w", lm.ErrOutOfMemory, err)
	}
	if err != nil {
		return err
	}
	return refusal(text(v))
}
