package pipeline

import (
	"hash/maphash"
	"strings"
	"time"
	"unicode/utf8"

	lm "github.com/lighterman/lighterman"
)

// The bounds of frames on their way to Redis.
const (
	frameSize   = 1 << 10               // bytes of text at which a frame is full
	frameWait   = 25 * time.Millisecond // how long text waits for more, at first
	frameSlower = 1000                  // frames after which it waits for as long again
	maxBacklog  = 1 << 20               // bytes that wait; over it a call is not streamed to its end
	batchFrames = 100                   // frames of one write
	batchBytes  = 256 << 10             // and their bytes
	settleSize  = 16 << 10              // bytes of a frame that says what is missing
	frameCost   = 64                    // bytes that a frame counts beside its data
	firstRoom   = 240                   // bytes for which a text's first frame has room
)

// patienceAfter is how long text waits for more before it is written. It grows with
// the frames that there are, so that a stream which keeps about 10,000 holds all of
// an attempt's: that many take 25 minutes, not 4.
func patienceAfter(frames uint64) time.Duration {
	return frameWait * time.Duration(1+frames/frameSlower) //nolint:gosec // small
}

// seed makes the hashes of held texts comparable.
var seed = maphash.MakeSeed()

// backlog holds an operation's frames that are not in Redis yet, and knows what
// text somebody holds who has read all that were numbered. It does no I/O; the
// caller guards it: add, begin, forget and size under one lock, what touches tried
// under the one that is held over a write as well.
type backlog struct {
	epoch lm.Epoch
	seq   uint64 // of the last numbered frame
	step  string // whose call says what comes now; empty: a built-in kind's, or no call's

	open  []openFrame // not numbered; text that follows on text of its type is one
	size  int         // of open, bytes
	tried []lm.Frame  // numbered; a write of them has not been confirmed
	begun bool        // a call began and has said nothing: what an earlier one said is void then
	muted bool        // the call's frames exceeded the bound: no more of them

	said   bool         // text was numbered since the last reset
	called bool         // a tool call was, in this call
	held   maphash.Hash // of the text that a reader holds
	length int          // of it
	unsure bool         // a Func sent a reset of its own that keeps some
}

// openFrame is a frame to which text may still be added.
type openFrame struct {
	kind lm.FrameType
	step string
	data []byte
}

// ofModel reports whether a frame is something that a model says, which a reset
// makes void, and not what the operation tells of itself.
func ofModel(t lm.FrameType) bool {
	switch t {
	case lm.FrameToken, lm.FrameReasoning, lm.FrameToolCall, lm.FrameUsage:
		return true
	case lm.FrameToolResult, lm.FrameProgress, lm.FrameReset, lm.FrameFinal:
	}
	return false
}

// begin starts a call: its first words make void what earlier calls said, because
// the last answer alone is the result.
func (b *backlog) begin() { b.begun, b.muted, b.called = true, false, false }

// add takes a frame. Text over the bound is dropped, and all that the call says
// after it: settle puts that right at the end.
func (b *backlog) add(kind lm.FrameType, data string) {
	if b.muted && ofModel(kind) || kind == lm.FrameReset && b.reset(data) {
		return
	}
	if b.begun && ofModel(kind) {
		b.begun = false
		b.callBack()
	}
	if b.size+len(data)+frameCost > maxBacklog {
		b.muted = true
		b.forget()
		return
	}
	b.append(kind, data)
}

func (b *backlog) append(kind lm.FrameType, data string) {
	text := kind == lm.FrameToken || kind == lm.FrameReasoning
	step := ""
	if ofModel(kind) {
		step = b.step
	}
	if n := len(b.open); n > 0 && text && b.open[n-1].kind == kind && b.open[n-1].step == step && len(b.open[n-1].data) < frameSize {
		b.open[n-1].data = append(b.open[n-1].data, data...)
		b.size += len(data)
		return
	}
	room := len(data)
	if text {
		room += firstRoom
		if len(b.open) > 0 { // a long answer
			room += frameSize - firstRoom
		}
	}
	b.open = append(b.open, openFrame{kind, step, append(make([]byte, 0, room), data...)})
	b.size += len(data) + frameCost
}

// reset takes one that a model's caller or a Func sends, and reports whether it is
// dealt with: one that keeps a part of what was said is written as it is.
func (b *backlog) reset(after string) bool {
	if after != "" {
		b.unsure = true
		return false
	}
	b.callBack()
	b.muted = false // whoever speaks now begins anew
	return true
}

// callBack makes void what a model said: what is not numbered is dropped, and what
// is gets a reset.
func (b *backlog) callBack() {
	b.forget()
	if b.said || b.called {
		b.append(lm.FrameReset, "")
	}
}

// forget drops what a model said and nobody was told, with resets of before.
func (b *backlog) forget() {
	kept := b.open[:0]
	b.size = 0
	for _, f := range b.open {
		if !ofModel(f.kind) && f.kind != lm.FrameReset {
			kept = append(kept, f)
			b.size += len(f.data) + frameCost
		}
	}
	clear(b.open[len(kept):])
	b.open = kept
}

// number gives the open frames their numbers, by which a repeated write is known.
func (b *backlog) number() {
	for i := range b.open {
		b.numberOne(b.open[i].kind, b.open[i].step, string(b.open[i].data))
	}
	clear(b.open)
	b.open, b.size = b.open[:0], 0
}

func (b *backlog) numberOne(kind lm.FrameType, step, data string) {
	b.seq++
	b.tried = append(b.tried, lm.Frame{Epoch: b.epoch, Seq: b.seq, Type: kind, Step: step, Data: data})
	switch kind {
	case lm.FrameToken:
		b.said = true
		if b.length == 0 {
			b.held.SetSeed(seed)
		}
		_, _ = b.held.WriteString(data)
		b.length += len(data)
	case lm.FrameReasoning:
		b.said = true
	case lm.FrameToolCall:
		b.called = true
	case lm.FrameReset:
		if data == "" {
			b.said, b.called, b.unsure, b.length = false, false, false, 0
			b.held.Reset()
		}
	case lm.FrameToolResult, lm.FrameProgress, lm.FrameUsage, lm.FrameFinal:
	}
}

// settle numbers what is missing for a reader to hold a text: nothing, its end, or
// a reset and all of it.
func (b *backlog) settle(text string) {
	b.number()
	switch {
	case b.unsure || !b.holdsStartOf(text):
		b.numberOne(lm.FrameReset, "", "")
	default:
		text = text[b.length:]
	}
	for text != "" {
		n := cut(text, settleSize)
		b.numberOne(lm.FrameToken, "", strings.Clone(text[:n]))
		text = text[n:]
	}
}

// holdsStartOf reports whether what a reader holds is how a text begins.
func (b *backlog) holdsStartOf(text string) bool {
	return b.length == 0 || b.length <= len(text) && b.held.Sum64() == maphash.String(seed, text[:b.length])
}

// cut is where to cut a text of which at most n bytes are wanted, between characters
// where it has any.
func cut(text string, n int) int {
	if len(text) <= n {
		return len(text)
	}
	for i := n; i > n-utf8.UTFMax; i-- {
		if utf8.RuneStart(text[i]) {
			return i
		}
	}
	return n
}

// batch are the frames to write next; empty: all are written.
func (b *backlog) batch() []lm.Frame {
	n, bytes := 0, 0
	for n < len(b.tried) && n < batchFrames {
		if bytes += len(b.tried[n].Data); n > 0 && bytes > batchBytes {
			break
		}
		n++
	}
	return b.tried[:n]
}

// written drops the first n frames, which are in Redis.
func (b *backlog) written(n int) {
	if b.tried = b.tried[n:]; len(b.tried) == 0 {
		b.tried = nil
	}
}
