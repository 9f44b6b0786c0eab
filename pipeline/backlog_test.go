package pipeline

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	lm "github.com/lighterman/lighterman"
)

// reader holds what somebody holds who has read the frames.
type reader struct {
	text  string
	seq   uint64
	kinds string // first letters of the frames that are no text
}

func (r *reader) read(t testing.TB, frames []lm.Frame) {
	t.Helper()
	for _, f := range frames {
		if f.Seq != r.seq+1 {
			t.Fatalf("frame %d after %d", f.Seq, r.seq)
		}
		r.seq = f.Seq
		switch f.Type {
		case lm.FrameToken:
			r.text += f.Data
			if !utf8.ValidString(f.Data) {
				t.Fatalf("a frame of half a character: %q", f.Data)
			}
		case lm.FrameReset:
			r.text = ""
		default:
			r.kinds += string(f.Type[:1])
		}
	}
}

// drain writes all that is numbered.
func (r *reader) drain(t testing.TB, b *backlog) {
	t.Helper()
	for batch := b.batch(); len(batch) > 0; batch = b.batch() {
		r.read(t, batch)
		b.written(len(batch))
	}
	if b.tried != nil {
		t.Fatal("the backlog keeps what is written")
	}
}

// However calls, failovers, bounds and writes fall together, at the end the reader
// holds the result.
func TestBacklog_ReaderEndsWithTheResult(t *testing.T) {
	words := []string{"a ", "flüsse ", "船が川を ", strings.Repeat("long ", 300), strings.Repeat("water ", 100_000), ""}
	resets, muted, prefixes := 0, 0, 0
	for n := range uint64(400) {
		rnd := rand.New(rand.NewPCG(n, 7))
		b, r, text := &backlog{epoch: 5}, &reader{}, ""
		word := func() string {
			i := rnd.IntN(4)
			if rnd.IntN(8) == 0 {
				i = 4
			}
			return words[i]
		}
		b.begin()
		for range rnd.IntN(60) {
			switch rnd.IntN(16) {
			case 0:
				b.begin()
				text = ""
			case 1:
				b.add(lm.FrameReset, "")
				text = ""
				resets++
			case 2:
				b.number()
			case 3:
				b.number()
				r.drain(t, b)
			case 4:
				b.add(lm.FrameReasoning, word())
			case 5:
				b.add(lm.FrameProgress, "half")
			case 6:
				b.add(lm.FrameToolCall, "{}")
			case 7:
				if rnd.IntN(5) == 0 {
					b.forget()
				}
			default:
				w := word()
				text += w
				b.add(lm.FrameToken, w)
			}
			if b.size > maxBacklog {
				t.Fatalf("%d bytes wait", b.size)
			}
		}
		if b.muted {
			muted++
		}
		if rnd.IntN(4) == 0 { // the provider's answer is not what it streamed
			text = "something else"
		}
		if b.number(); b.length > 0 && b.holdsStartOf(text) {
			prefixes++
		}
		b.settle(text)
		r.drain(t, b)
		if r.text != text {
			t.Fatalf("seed %d: the reader holds %.200q, the result is %.200q", n, r.text, text)
		}
		if b.settle(text); len(b.tried) != 0 {
			t.Fatalf("seed %d: what is settled is settled again with %d frames", n, len(b.tried))
		}
	}
	if resets < 100 || muted < 10 || prefixes < 100 {
		t.Errorf("%d resets, %d muted, %d prefixes: this proves nothing", resets, muted, prefixes)
	}
}

func TestBacklog_TextIsCoalesced(t *testing.T) {
	b, r := &backlog{}, &reader{}
	b.begin()
	for range 1000 {
		b.add(lm.FrameToken, "abc ")
	}
	b.add(lm.FrameReasoning, "hm")
	b.add(lm.FrameUsage, "{}")
	b.number()
	if n := len(b.tried); n != 6 { // 4,000 bytes in 4 frames, and the others
		t.Errorf("%d frames", n)
	}
	r.drain(t, b)
	if r.text != strings.Repeat("abc ", 1000) || r.kinds != "ru" {
		t.Errorf("%d bytes, %s", len(r.text), r.kinds)
	}
}

// What an earlier round said is void when the next one speaks, and not before.
func TestBacklog_TheNextCallMakesTheLastOnesTextVoid(t *testing.T) {
	b, r := &backlog{}, &reader{}
	say := func(kind lm.FrameType, text, want string) {
		t.Helper()
		b.add(kind, text)
		b.number()
		r.drain(t, b)
		if r.text != want {
			t.Errorf("the reader holds %q, want %q", r.text, want)
		}
	}
	b.begin()
	say(lm.FrameToken, "let me look", "let me look")
	b.begin()
	say(lm.FrameToolResult, "{}", "let me look")
	say(lm.FrameReasoning, "hm", "")
	say(lm.FrameToken, "it is", "it is")
	say(lm.FrameToken, " blue", "it is blue")
	b.begin()
	b.add(lm.FrameToken, "never seen")
	b.add(lm.FrameReset, "")
	b.add(lm.FrameToken, "again")
	say(lm.FrameToken, "!", "again!")
}

// A Func's reset that keeps some of the text is passed on, and what it left is not
// guessed at.
func TestBacklog_AResetThatKeepsSome(t *testing.T) {
	b, r := &backlog{}, &reader{}
	b.add(lm.FrameToken, "a")
	b.number()
	b.add(lm.FrameReset, "0 1")
	b.number()
	if last := b.tried[1]; last.Type != lm.FrameReset || last.Data != "0 1" {
		t.Fatalf("%+v", last)
	}
	b.settle("ab")
	r.drain(t, b)
	if r.text != "ab" {
		t.Errorf("%q", r.text)
	}
}

func TestBacklog_BatchesAreBounded(t *testing.T) {
	b := &backlog{}
	b.settle(strings.Repeat("x", 3<<20))
	seen := 0
	for batch := b.batch(); len(batch) > 0; batch = b.batch() {
		bytes := 0
		for _, f := range batch {
			bytes += len(f.Data)
		}
		if len(batch) > batchFrames || bytes > batchBytes {
			t.Errorf("%d frames, %d bytes", len(batch), bytes)
		}
		seen += bytes
		b.written(len(batch))
	}
	if seen != 3<<20 {
		t.Errorf("%d bytes", seen)
	}
	for range 250 {
		b.add(lm.FrameProgress, "x")
	}
	b.number()
	if n := len(b.batch()); n != batchFrames {
		t.Errorf("%d frames in a batch", n)
	}
}

// The stream holds about 10,000 frames: an attempt of ten minutes at full speed does
// not fill it.
func TestPatience_AnAttemptsFramesAreKept(t *testing.T) {
	took, n := time.Duration(0), uint64(0)
	for ; took < 10*time.Minute; n++ {
		took += patienceAfter(n)
	}
	if n > 7000 || patienceAfter(0) != 25*time.Millisecond {
		t.Errorf("%d frames in ten minutes, the first after %s", n, patienceAfter(0))
	}
}

// What the frames are after each kind of interruption, exactly.
func TestBacklog_NoMoreResetsAndNoLessThanNeeded(t *testing.T) {
	token := func(b *backlog, text string) { b.add(lm.FrameToken, text) }
	for name, tt := range map[string]struct {
		do   func(b *backlog)
		want string
	}{
		"an earlier call's text that nobody was told": {func(b *backlog) {
			token(b, "a")
			b.begin()
			token(b, "b")
		}, "token:b"},
		"a tool call of an earlier call stands": {func(b *backlog) {
			b.add(lm.FrameToolCall, "{}")
			b.number()
			b.begin()
			token(b, "b")
		}, "tool_call:{} token:b"},
		"a tool call of a member that failed does not": {func(b *backlog) {
			b.add(lm.FrameToolCall, "{}")
			b.number()
			b.add(lm.FrameReset, "")
			token(b, "b")
		}, "tool_call:{} reset: token:b"},
		"two failovers are one reset": {func(b *backlog) {
			token(b, "a")
			b.number()
			b.add(lm.FrameReset, "")
			token(b, "b")
			b.add(lm.FrameReset, "")
			token(b, "c")
		}, "token:a reset: token:c"},
		"over the bound, nothing more of the call": {func(b *backlog) {
			b.add(lm.FrameProgress, "p")
			token(b, "a")
			token(b, strings.Repeat("x", maxBacklog))
			token(b, "b")
		}, "progress:p"},
		"over the bound, then another member": {func(b *backlog) {
			token(b, strings.Repeat("x", maxBacklog))
			b.add(lm.FrameReset, "")
			token(b, "b")
		}, "token:b"},
		"over the bound, then another call": {func(b *backlog) {
			token(b, strings.Repeat("x", maxBacklog))
			b.begin()
			token(b, "b")
		}, "token:b"},
	} {
		t.Run(name, func(t *testing.T) {
			b := &backlog{}
			b.begin()
			tt.do(b)
			b.number()
			var got []string
			for _, f := range b.tried {
				got = append(got, string(f.Type)+":"+f.Data)
			}
			if all := strings.Join(got, " "); all != tt.want {
				t.Errorf("%.200q, want %q", all, tt.want)
			}
		})
	}
}

// A text that is settled is cut between characters.
func TestBacklog_CutsBetweenCharacters(t *testing.T) {
	for _, pad := range []string{"", "x", "xx"} {
		b, r := &backlog{}, &reader{}
		text := pad + strings.Repeat("船", 20_000)
		b.settle(text)
		r.drain(t, b)
		if r.text != text || r.seq < 3 {
			t.Errorf("%d bytes in %d frames", len(r.text), r.seq)
		}
	}
}

// What a token costs while the backlog is emptied every 25 ms or so.
func BenchmarkBacklogToken(b *testing.B) {
	var back backlog
	back.begin()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		back.add(lm.FrameToken, " river")
		if i%256 == 255 {
			back.number()
			back.written(len(back.tried))
		}
	}
}
