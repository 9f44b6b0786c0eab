package producer

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"regexp"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

// framesAtOnce is the most frames that one read takes.
const framesAtOnce = 1000

// frameID is what Redis takes for a stream's entry ID.
var frameID = regexp.MustCompile(`^[0-9]{1,20}(-[0-9]{1,20})?$`)

// Follow yields an operation's frames as they come, and when it has ended one of
// type final with its whole result, which is the last. It replays from after on,
// the ID of a frame that the caller has; empty: from the first one that is kept.
// An operation that has ended is replayed too, as long as its result is kept.
// Workers write frames while somebody follows, so who joins late may get none of
// before; the result is whole in any case. After a frame of type reset what came
// before it is void: a later claim does the work again.
//
// Redis may go away and come back meanwhile: Follow goes on until ctx ends. An
// error is the last that is yielded, and one of those that Wait returns. Frames
// that are not taken stay in Redis. Up to lua.FollowReaders followers of a Client
// read at the same time, more take turns of a second.
func (c *Client) Follow(ctx context.Context, id lm.TraceID, after string) iter.Seq2[lm.Frame, error] {
	return func(yield func(lm.Frame, error) bool) {
		f := &follower{c: c, id: id, after: cmp.Or(after, "0"), yield: yield}
		err := c.known(id)
		if err == nil && !frameID.MatchString(f.after) {
			err = fmt.Errorf("after %q: want the ID of a frame", after)
		}
		if err == nil {
			err = f.follow(ctx)
		}
		if err != nil && !f.left {
			yield(lm.Frame{}, fmt.Errorf("follow %s: %w", id, err))
		}
	}
}

// follower is one run of Follow; one goroutine has it.
type follower struct {
	c     *Client
	id    lm.TraceID
	after string // ID of the last frame that was read
	yield func(lm.Frame, error) bool
	left  bool // the caller wants no more
}

// follow looks at the trace, reads until there is a reason to look again, and
// ends when the operation has. A final frame in Redis is such a reason, and no
// more: the trace is the truth.
func (f *follower) follow(ctx context.Context) error {
	for !f.left {
		state, err := f.look(ctx)
		if err != nil {
			return err
		}
		if state == lm.Completed {
			return f.end(ctx)
		}
		if err := f.listen(ctx); err != nil {
			return err
		}
	}
	return nil
}

// look has the operation marked as followed and reads its state.
func (f *follower) look(ctx context.Context) (state lm.State, err error) {
	err = f.insist(ctx, func() error {
		state, err = f.c.store.Follow(ctx, f.id)
		return err
	})
	return state, err
}

// listen passes frames on until the operation's end is told, contact was lost, the
// reading stood still, or it is time to look at the trace again.
func (f *follower) listen(ctx context.Context) error {
	for again := time.Now().Add(f.c.waits.interval); !f.left && time.Now().Before(again); {
		frames, stood, err := f.next(ctx)
		if lua.IsPassing(err) {
			return f.pause(ctx, firstPause)
		}
		if err != nil {
			return err
		}
		if f.pass(frames) || stood {
			return nil
		}
	}
	return nil
}

// next waits for frames for one block. The read runs beside the caller, who may
// leave: it cannot be interrupted, and nothing is lost with what it brings then.
// stood reports that it took much longer than it waits for.
func (f *follower) next(ctx context.Context) (frames []lm.Frame, stood bool, err error) {
	w := f.c.waits
	select {
	case f.c.follows <- struct{}{}:
	case <-ctx.Done():
		return nil, false, context.Cause(ctx)
	case <-w.ctx.Done():
		return nil, false, ErrClosed
	}
	done := make(chan struct{})
	after := f.after // of this read; the follower may go on without it
	var got []lm.Frame
	var failed error
	asked := time.Now()
	if !w.beside(func() {
		defer func() { <-f.c.follows; close(done) }()
		got, failed = f.c.store.ReadFrames(w.ctx, f.id, after, framesAtOnce, w.block)
	}) {
		<-f.c.follows
		return nil, false, ErrClosed
	}
	select {
	case <-done:
		if w.ctx.Err() != nil {
			failed = ErrClosed
		}
		return got, time.Since(asked) > w.block+still, failed
	case <-ctx.Done():
		return nil, false, context.Cause(ctx)
	case <-w.ctx.Done():
		return nil, false, ErrClosed
	}
}

// pass yields frames and reports whether the end was told among them.
func (f *follower) pass(frames []lm.Frame) (ended bool) {
	for _, frame := range frames {
		f.after = frame.ID
		if frame.Type == lm.FrameFinal {
			ended = true
			continue
		}
		if !f.yield(frame, nil) {
			f.left = true
			return ended
		}
	}
	return ended
}

// end yields what is left of an operation that has ended, and its result.
func (f *follower) end(ctx context.Context) error {
	for !f.left {
		var frames []lm.Frame
		err := f.insist(ctx, func() (err error) {
			frames, err = f.c.store.ReadFrames(ctx, f.id, f.after, framesAtOnce, 0)
			return err
		})
		if err != nil {
			return err
		}
		if len(frames) == 0 {
			break
		}
		f.pass(frames)
	}
	if f.left {
		return nil
	}
	var result lm.Result
	err := f.insist(ctx, func() (err error) {
		result, err = f.c.Result(ctx, f.id)
		return err
	})
	if err != nil {
		return err
	}
	f.left = !f.yield(lm.Frame{ID: f.after, Type: lm.FrameFinal, Result: &result}, nil)
	return nil
}

// insist does a read again while contact is lost.
func (f *follower) insist(ctx context.Context, read func() error) error {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if f.c.waits.ctx.Err() != nil {
			return ErrClosed
		}
		err := read()
		if err == nil || !lua.IsPassing(err) && ctx.Err() == nil {
			return err
		}
		if err := f.pause(ctx, pause); err != nil {
			return err
		}
	}
}

func (f *follower) pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d/2 + rand.N(d))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-f.c.waits.ctx.Done():
		return ErrClosed
	}
}
