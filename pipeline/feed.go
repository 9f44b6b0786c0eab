package pipeline

import (
	"context"
	"errors"
	"sync"
	"time"

	lm "github.com/lighterman/lighterman"
)

// feed brings an operation's frames to Redis, in order and coalesced. A call that is
// streamed never waits for it: its frames go into the backlog, and a goroutine that
// lives as long as the call writes them while somebody wants them. Its methods may be
// called concurrently.
type feed struct {
	op *Op

	writing sync.Mutex // over a write and the backlog's tried
	lost    error      // the claim is: nothing more is written; written under both locks

	mu    sync.Mutex // over what follows
	back  backlog
	floor *speech // the call that is streamed; one at a time, or two texts would be one
	spoke bool    // a chat or prompt call was made or restored: the text is to be the result's
	first bool    // one of them was not silent: its step is the one that is streamed
	step  string
}

// speech is one call that is streamed. Most are followed by nobody and cost little.
type speech struct {
	feed *feed
	ctx  context.Context //nolint:containedctx // of the call, as long as it lives
	pen  *pen            // nil: nobody has wanted frames yet; under feed.mu
	over bool            // what comes now comes late; under feed.mu
}

// pen is what a goroutine that writes a speech listens to.
type pen struct {
	some chan struct{} // there is something to write
	full chan struct{} // and enough of it
	stop chan struct{}
	done chan struct{}
}

func newPen() *pen {
	return &pen{some: make(chan struct{}, 1), full: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
}

// speaks notes that models write the operation's text, and reports whether this step is
// the one that is streamed: the first whose calls are not silent. Which step is the
// answer nobody knows before the end; to stream each would show a reader what is not the
// result, and take it back. Where another step is the answer settle writes its text.
func (f *feed) speaks(step string, silent bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.spoke = true
	if silent {
		return false
	}
	if !f.first {
		f.first, f.step = true, step
	}
	return f.step == step
}

// failed lets another step be streamed than one that has failed: the Func may ask again.
func (f *feed) failed(step string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.first = f.first && f.step != step
}

func (f *feed) spoken() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.spoke
}

// begin gives a call the floor; nil: another one has it, and this one's answer comes
// whole.
func (f *feed) begin(ctx context.Context) *speech {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.floor != nil || f.lost != nil {
		return nil
	}
	f.back.begin()
	f.back.step = f.step
	f.floor = &speech{feed: f, ctx: ctx}
	return f.floor
}

// take is the call's Stream. While nobody wants frames they are kept, so that who
// comes in the middle of the call gets its text from the start.
func (s *speech) take(frame lm.Frame) {
	f := s.feed
	wanted := f.op.wanted()
	f.mu.Lock()
	if s.over || f.lost != nil {
		f.mu.Unlock()
		return
	}
	f.back.add(frame.Type, frame.Data)
	size := f.back.size
	if wanted && s.pen == nil {
		s.pen = newPen()
		go s.write(s.pen)
	}
	p := s.pen
	f.mu.Unlock()
	if !wanted || size == 0 {
		return
	}
	tell(p.some)
	if size >= frameSize {
		tell(p.full)
	}
}

func tell(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it knows
	}
}

// write writes what was taken, until the call is over.
func (s *speech) write(p *pen) {
	defer close(p.done)
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	failed := 0 // writes in a row
	for {
		select {
		case <-p.some:
		case <-p.stop:
			return
		}
		timer.Reset(s.feed.wait() << min(failed, 4))
		for waiting := true; waiting; {
			select {
			case <-p.full:
				waiting = failed > 0 // what is full is no reason to ask again a Redis that is away
			case <-timer.C:
				waiting = false
			case <-p.stop:
				return
			}
		}
		if failed++; s.feed.write(s.ctx) == nil {
			failed = 0
		} else {
			tell(p.some)
		}
	}
}

func (f *feed) wait() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return patienceAfter(f.back.seq)
}

// end takes the floor back. What the call said is written, if it was answered and
// somebody wants it, else forgotten. An error means that the claim is lost.
func (s *speech) end(answered bool) error {
	if s == nil {
		return nil
	}
	f := s.feed
	f.mu.Lock()
	if s.over {
		f.mu.Unlock()
		return nil
	}
	s.over, f.floor, f.back.step = true, nil, ""
	p := s.pen
	f.mu.Unlock()
	if p != nil {
		close(p.stop)
		<-p.done
	}
	if answered && f.op.wanted() {
		return f.told(f.write(s.ctx))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.back.forget()
	return nil
}

// emit writes one frame at once, behind all that waits.
func (f *feed) emit(ctx context.Context, kind lm.FrameType, data string) error {
	f.mu.Lock()
	f.back.add(kind, data)
	f.mu.Unlock()
	return f.told(f.write(ctx))
}

// write writes all that waits. What fails stays for the next write, under the same
// numbers, so that nothing is written twice. Until that has happened what comes
// meanwhile gets none, and is held to its bound: a Redis that is away costs no more
// memory than two of them.
func (f *feed) write(ctx context.Context) error {
	f.writing.Lock()
	defer f.writing.Unlock()
	if len(f.back.tried) > 0 {
		if err := f.flush(ctx); err != nil {
			return err
		}
	}
	f.mu.Lock()
	f.back.number()
	f.mu.Unlock()
	return f.flush(ctx)
}

// flush writes what is numbered. The caller holds writing.
func (f *feed) flush(ctx context.Context) error {
	for f.lost == nil {
		batch := f.back.batch()
		if len(batch) == 0 {
			return nil
		}
		err := f.op.p.opts.Frames.Frames(ctx, f.op.claim, batch)
		if errors.Is(err, lm.ErrFenced) || errors.Is(err, lm.ErrNotFound) {
			f.mu.Lock()
			f.lost, f.back.tried = err, nil
			f.mu.Unlock()
			break
		}
		if err != nil {
			f.op.p.opts.Log.Debug().Err(err).Str("trace_id", string(f.op.claim.ID)).Int("frames", len(batch)).Msg("frames not written yet")
			return err
		}
		f.back.written(len(batch))
	}
	return f.lost
}

// told keeps the errors that the work must know of: those of a lost claim.
func (f *feed) told(err error) error {
	if errors.Is(err, lm.ErrFenced) || errors.Is(err, lm.ErrNotFound) {
		return err
	}
	return nil
}

// settle sees to it before the operation ends that who has read all frames holds its
// text, however the models and calls behind it went: also where one streamed nothing,
// too much at once, or something else. It waits for a Redis that is away, and not for
// one that is full: then the frames lack something, and the result does not.
func (f *feed) settle(ctx context.Context, text string) error {
	f.writing.Lock()
	defer f.writing.Unlock()
	f.mu.Lock()
	f.back.settle(text)
	f.mu.Unlock()
	until := time.Now().Add(f.op.p.opts.FrameWait)
	for {
		err := f.flush(ctx)
		if err == nil || f.lost != nil {
			return f.lost
		}
		if errors.Is(err, lm.ErrOutOfMemory) || time.Now().After(until) {
			f.op.p.opts.Log.Warn().Err(err).Str("trace_id", string(f.op.claim.ID)).Msg("frames not written, their text is incomplete")
			return nil
		}
		select {
		case <-ctx.Done():
			return nil // the finishing write says what that means
		case <-time.After(frameWait):
		}
	}
}
