package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/pipeline"
	"github.com/lighterman/lighterman/provider/sim"
	"github.com/lighterman/lighterman/tool"
)

// reader is what somebody holds who has read an operation's frames as docs/wire.md
// says.
type reader struct {
	text   string
	tokens int // frames
	resets int
	kinds  []string // in order
}

func (w *world) read(id lm.TraceID) (r reader) {
	w.Helper()
	frames, err := w.store.ReadFrames(ctx, id, "0", 20_000, 0)
	if err != nil {
		w.Fatal(err)
	}
	for _, f := range frames {
		r.kinds = append(r.kinds, string(f.Type))
		switch f.Type { //nolint:exhaustive // the others are no text
		case lm.FrameToken:
			r.text += f.Data
			r.tokens++
		case lm.FrameReset:
			r.text = ""
			r.resets++
		}
	}
	return r
}

// reads checks that who has read all holds the result.
func (w *world) reads(id lm.TraceID, result lm.Result) reader {
	w.Helper()
	r := w.read(id)
	if r.text != result.Text() {
		w.Errorf("a reader of %s holds %q, the result is %q (%v)", id, r.text, result.Text(), r.kinds)
	}
	return r
}

func streamed(model string) lm.Request {
	return lm.Request{Body: body("model", model, "messages", user("Why do rivers bend?"), "stream", true)}
}

func following() *atomic.Bool {
	b := &atomic.Bool{}
	b.Store(true)
	return b
}

func TestFrames_TheTextReadIsTheResult(t *testing.T) {
	twoAsks := func(ctx context.Context, op *pipeline.Op) (any, error) {
		if _, err := op.Ask(ctx, "draft", "one"); err != nil {
			return nil, err
		}
		return op.Ask(ctx, "polish", "two")
	}
	for _, tt := range []struct {
		name   string
		req    lm.Request
		setup  func(r *rig)
		do     pipeline.Func
		resets int    // -1: any
		kinds  string // empty: any
	}{
		{name: "chat", req: streamed(sim.Plain), kinds: "token"},
		{name: "prompt", req: lm.Request{Kind: "prompt", Body: body("prompt", "x", "stream", true)}, kinds: "token"},
		{name: "tools", req: streamed(sim.Tools)},
		{name: "an empty answer", req: streamed("mute"), setup: func(r *rig) { r.sim.Push("mute", sim.Reply{}) }, kinds: " "},
		{name: "a text before each tool", req: streamed("chatty"), setup: func(r *rig) {
			r.sim.Push("chatty", sim.Reply{Text: "let me look", ToolCalls: []lm.ToolCall{{Name: "lookup"}}}, sim.Reply{Text: "it is blue"})
		}, resets: 1, kinds: "token reset token"},
		{name: "a caller that streams nothing", req: streamed(sim.Plain), setup: func(r *rig) {
			r.opts.Caller = callerFunc(func(ctx context.Context, c lm.Call) (lm.Answer, error) {
				c.Stream = nil
				return r.sim.Call(ctx, c)
			})
		}, kinds: "token"},
		{name: "a caller that streams half", req: streamed("x"), setup: speaking("abc", nil, "abcdef"), kinds: "token token"},
		{name: "a caller that streams something else", req: streamed("x"), setup: speaking("abX", nil, "abcdef"), resets: 1},
		{name: "a failover", req: streamed("x"), setup: speaking("first\x00second", nil, "second"), kinds: "token"},
		{name: "too much at once", req: streamed("x"), setup: speaking(strings.Repeat("wide river ", 200_000), nil, strings.Repeat("wide river ", 200_000))},
		{name: "two asks, the last is the result", req: lm.Request{Kind: "do", Body: body("stream", true)}, do: twoAsks, resets: 1},
		{name: "two asks, the first is the result", req: lm.Request{Kind: "do", Body: body("stream", true)}, do: func(ctx context.Context, op *pipeline.Op) (any, error) {
			first, err := op.Ask(ctx, "a", "one")
			if err != nil {
				return nil, err
			}
			_, err = op.Ask(ctx, "b", "two")
			return first, err
		}, kinds: "token"},
		{name: "a Func's words beside a model's", req: lm.Request{Kind: "do", Body: body("stream", true)}, do: func(ctx context.Context, op *pipeline.Op) (any, error) {
			said, err := op.Ask(ctx, "a", "one")
			return said + " Source: a river.", errors.Join(err, op.Emit(ctx, lm.FrameToken, " Source: a river."))
		}, kinds: "token token"},
		{name: "asks at the same time", req: lm.Request{Kind: "do", Body: body("stream", true)}, do: atOnce, resets: -1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			each(t, func(w *world) {
				r := w.rig(func(r *rig) {
					lookups(w, r.tools, tool.Hidden())
					if tt.setup != nil {
						tt.setup(r)
					}
				})
				r.Register("do", tt.do)
				id := w.enqueue(tt.req)
				result := w.finish(r, w.claim(id))
				read := w.reads(id, result)
				if tt.resets >= 0 && read.resets != tt.resets {
					w.Errorf("%d resets, want %d", read.resets, tt.resets)
				}
				got := strings.TrimSuffix(strings.Join(read.kinds, " "), "final")
				if tt.kinds != "" && strings.TrimSpace(got) != strings.TrimSpace(tt.kinds) {
					w.Errorf("frames %q, want %q", got, tt.kinds)
				}
			})
		})
	}
}

// atOnce asks eight things at the same time and answers with all that was said.
func atOnce(ctx context.Context, op *pipeline.Op) (any, error) {
	answers := make([]string, 8)
	errs := make([]error, 8)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() { answers[i], errs[i] = op.Ask(ctx, fmt.Sprint(i), fmt.Sprint("question ", i)) })
	}
	all.Wait()
	return strings.Join(answers, "\n"), errors.Join(errs...)
}

// speaking is a model that streams said, a zero byte in it being a failover, and
// answers with text. hold is called between its words.
func speaking(said string, hold func(i int), text string) func(*rig) {
	return func(r *rig) {
		r.opts.Caller = callerFunc(func(_ context.Context, c lm.Call) (lm.Answer, error) {
			for i, word := range strings.SplitAfter(said, " ") {
				if hold != nil {
					hold(i)
				}
				if c.Stream == nil {
					continue
				}
				for j, part := range strings.Split(word, "\x00") {
					if j > 0 {
						c.Stream(lm.Frame{Type: lm.FrameReset})
					}
					c.Stream(lm.Frame{Type: lm.FrameToken, Data: part})
				}
			}
			return lm.Answer{Body: body("choices", []any{map[string]any{"message": map[string]any{"content": text}}})}, nil
		})
	}
}

// Nobody who wants frames: no script more, and no stream. A body that says stream
// false is not streamed at all, and neither is one that asks for several choices.
func TestFrames_NobodyWantsThem(t *testing.T) {
	w := onRedis(t)
	var streams []bool
	r := w.rig(func(r *rig) {
		inner := r.opts.Caller
		r.opts.Caller = callerFunc(func(ctx context.Context, c lm.Call) (lm.Answer, error) {
			streams = append(streams, c.Stream != nil)
			return inner.Call(ctx, c)
		})
	})
	for _, b := range []struct {
		body     []byte
		followed bool
		stream   bool
	}{
		{body("messages", user("x")), false, true},
		{body("messages", user("x"), "stream", false), false, false},
		{body("messages", user("x"), "stream", false), true, true},
		{body("messages", user("x"), "n", 2), true, false},
		{body("messages", user("x"), "n", 1), true, true},
	} {
		id := w.enqueue(lm.Request{Body: b.body})
		claim := w.claim(id)
		if b.followed {
			claim.Followed = following()
		}
		streams = nil
		result := w.finish(r, claim)
		if len(streams) != 1 || streams[0] != b.stream {
			t.Errorf("%s: streamed %v, want %t", b.body, streams, b.stream)
		}
		if b.followed {
			w.reads(id, result)
		} else if n := w.rdb.Exists(ctx, "{lm:0}:out:"+string(id)).Val(); n != 0 {
			t.Errorf("%s: frames that nobody wanted", b.body)
		}
	}
}

// Who begins to follow in the middle of a call gets its text from the start.
func TestFrames_FollowedInTheMiddleOfACall(t *testing.T) {
	each(t, func(w *world) {
		followed := &atomic.Bool{}
		var id lm.TraceID
		r := w.rig(func(r *rig) {
			speaking("one two three four five", func(i int) {
				switch i {
				case 2:
					followed.Store(true)
				case 4:
					eventually(w, "the first words", func() bool { return strings.HasPrefix(w.read(id).text, "one two three") })
				}
			}, "one two three four five")(r)
		})
		id = w.enqueue(chatRequest("x", "x"))
		claim := w.claim(id)
		claim.Followed = followed
		result := w.finish(r, claim)
		if read := w.reads(id, result); read.resets != 0 {
			w.Errorf("%d resets", read.resets)
		}
	})
}

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no %s", what)
		}
	}
}

// A worker that dies at any of its writes, before or after it happened, leaves
// readers who end with the result all the same: plain chats, rounds of tools, and
// asks of which some are restored.
func TestFrames_KilledAtAnyWriteTheTextIsTheResult(t *testing.T) {
	ask := func(ctx context.Context, _ *rig, op *pipeline.Op) (any, error) {
		first, err := op.Ask(ctx, "a", "one")
		if err != nil {
			return nil, err
		}
		return first, op.Emit(ctx, lm.FrameProgress, "done")
	}
	for _, tt := range []struct {
		name string
		req  lm.Request
		run  program
	}{
		{"chat", streamed(sim.Plain), nil},
		{"tools", streamed(sim.Tools), nil},
		{"ask", lm.Request{Kind: "test", Body: body("stream", true)}, ask},
	} {
		t.Run(tt.name, func(t *testing.T) {
			each(t, func(w *world) {
				resets := 0
				for _, after := range []bool{false, true} {
					for n := 1; n < 40; n++ {
						id := w.enqueue(tt.req)
						first := w.speaker(tt.run)
						first.blade.at, first.blade.after = n, after
						claim := w.claim(id)
						result, err := first.Handle(ctx, claim)
						if !first.blade.fallen() {
							w.end(claim, result, err)
							break
						}
						second := w.after(first, func(r *rig) {
							if tt.run != nil {
								r.register(tt.run)
							}
						})
						result = w.finish(second, w.takeover(id))
						resets += w.reads(id, result).resets
					}
				}
				if resets == 0 {
					w.Error("nobody died after a frame: this proves nothing")
				}
			})
		})
	}
}

// speaker is a worker that does not wait for a Redis that is away.
func (w *world) speaker(f program) *rig {
	r := w.rig(func(r *rig) { lookups(w, r.tools, tool.Hidden()); r.opts.FrameWait = time.Millisecond })
	if f != nil {
		r.register(f)
	}
	return r
}

// slowFrames takes its time over every write, fails some, and notes how many it
// took.
type slowFrames struct {
	to     pipeline.Frames
	each   time.Duration
	fail   func(n int64) error // before it is written
	cut    func(n int64) error // after it was
	writes atomic.Int64
}

func (s *slowFrames) Frames(ctx context.Context, claim lm.Claim, frames []lm.Frame) error {
	n := s.writes.Add(1)
	time.Sleep(s.each)
	if s.fail != nil {
		if err := s.fail(n); err != nil {
			return err
		}
	}
	if err := s.to.Frames(ctx, claim, frames); err != nil || s.cut == nil {
		return err
	}
	return s.cut(n)
}

// A Redis that takes long over a write does not hold up the model, and what it
// refused, or took and did not say so, comes once.
func TestFrames_ASlowOrFailingRedis(t *testing.T) {
	text := strings.Repeat("wide river ", 2000)
	some := func(n int64) error {
		if n%3 == 1 {
			return errKilled
		}
		return nil
	}
	for name, slow := range map[string]*slowFrames{
		"slow":            {each: 300 * time.Millisecond},
		"refuses some":    {fail: some},
		"loses replies":   {cut: some},
		"refuses a while": {fail: func(n int64) error { return map[bool]error{true: errKilled}[n < 5] }},
	} {
		t.Run(name, func(t *testing.T) {
			w := onRedis(t)
			var spoke time.Duration
			r := w.rig(func(r *rig) {
				speaking(text, func(i int) {
					if i == 1000 {
						eventually(w, "write beside the call", func() bool { return slow.writes.Load() > 0 })
					}
				}, text)(r)
				inner := r.opts.Caller
				r.opts.Caller = callerFunc(func(ctx context.Context, c lm.Call) (lm.Answer, error) {
					began := time.Now()
					defer func() { spoke = time.Since(began) }()
					return inner.Call(ctx, c)
				})
				slow.to = r.opts.Frames
				r.opts.Frames = slow
			})
			id := w.enqueue(streamed("x"))
			read := w.reads(id, w.finish(r, w.claim(id)))
			if read.resets != 0 || slow.writes.Load() < 2 {
				t.Errorf("%d resets, %d writes", read.resets, slow.writes.Load())
			}
			if slow.each > 0 && spoke > slow.each {
				t.Errorf("the model spoke for %s", spoke)
			}
		})
	}
}

// A full Redis costs frames and nothing else, and holds nobody up.
func TestFrames_AFullRedisIsNotWaitedFor(t *testing.T) {
	w := onRedis(t)
	r := w.rig(func(r *rig) {
		r.opts.FrameWait = time.Hour
		r.opts.Frames = &slowFrames{to: r.opts.Frames, fail: func(int64) error { return lm.ErrOutOfMemory }}
	})
	id := w.enqueue(streamed(sim.Plain))
	w.finish(r, w.claim(id))
	if read := w.read(id); read.tokens != 0 {
		t.Errorf("%+v", read)
	}
}

// A claim that is lost is told while the model still speaks: its answer is not
// worth a write, and no frame of it is written.
func TestFrames_ALostClaimEndsTheCall(t *testing.T) {
	each(t, func(w *world) {
		id := w.enqueue(streamed("x"))
		old := w.claim(id)
		var claim lm.Claim
		r := w.rig(speaking("one two", func(i int) {
			if i == 1 {
				claim = w.takeover(id)
			}
		}, "one two"))
		if _, err := r.Handle(ctx, old); !errors.Is(err, lm.ErrFenced) {
			w.Errorf("%v, want fenced", err)
		}
		if read := w.read(id); strings.Contains(read.text, "two") {
			w.Errorf("read %q", read.text)
		}
		r = w.rig(speaking("one two", nil, "one two"))
		w.reads(id, w.finish(r, claim))
	})
}

// A model's late frames, after its call has ended, are nobody's.
func TestFrames_LateOnesAreDropped(t *testing.T) {
	w := onMini(t)
	var late func(lm.Frame)
	r := w.rig(func(r *rig) {
		r.opts.Caller = callerFunc(func(ctx context.Context, c lm.Call) (lm.Answer, error) {
			late = c.Stream
			return r.sim.Call(ctx, c)
		})
	})
	r.Register("do", func(ctx context.Context, op *pipeline.Op) (any, error) {
		said, err := op.Ask(ctx, "a", "x")
		late(lm.Frame{Type: lm.FrameToken, Data: "late"})
		return said, err
	})
	id := w.enqueue(lm.Request{Kind: "do", Body: body("stream", true)})
	if read := w.reads(id, w.finish(r, w.claim(id))); read.resets != 0 {
		t.Errorf("%v", read.kinds)
	}
}

// An answer is not text in an embedding or in a Func without a model: neither gets
// any.
func TestFrames_OnlyWhatModelsWrite(t *testing.T) {
	w := onMini(t)
	r := w.rig(nil)
	r.Register("do", func(context.Context, *pipeline.Op) (any, error) { return "text", nil })
	for _, req := range []lm.Request{{Kind: "do", Body: body("stream", true)}, {Kind: "embed", Body: body("input", "x", "stream", true)}} {
		id := w.enqueue(req)
		w.finish(r, w.claim(id))
		if read := w.read(id); len(read.kinds) != 0 {
			t.Errorf("%s: %v", req.Kind, read.kinds)
		}
	}
}
