package cli

import (
	"io"
	"strconv"
	"strings"
	"sync"

	lm "github.com/lighterman/lighterman"
)

// transcript prints a token stream. After a reset it prints nothing again that stands
// there already. Where the text takes another way than before it takes back what is not
// the text of a file; elsewhere nothing can be taken back, and it begins a new line. Its
// methods may be called concurrently.
type transcript struct {
	out    io.Writer
	eraser *eraser
	warn   io.Writer // is told of text that is not the answer's and stays; nil: a person sees it
	aside  *screen   // where a person reads what is no text; nil: nobody does

	mu    sync.Mutex
	wrote int    // bytes
	held  string // the text as of now
	shown string // what stands on the last line begun
	marks []mark // how long held was after each frame
}

// mark is how long the text was after a frame.
type mark struct {
	epoch  lm.Epoch
	seq    uint64
	length int
}

// take prints what a frame adds.
func (t *transcript) take(f lm.Frame) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch f.Type {
	case lm.FrameToken:
		t.held += f.Data
		t.marks = append(t.marks, mark{f.Epoch, f.Seq, len(t.held)})
		return t.catchUpLocked(false)
	case lm.FrameReset:
		t.resetLocked(f.Data)
	case lm.FrameProgress:
		t.noteLocked(f.Data)
	case lm.FrameReasoning, lm.FrameToolCall, lm.FrameToolResult, lm.FrameUsage, lm.FrameFinal: // jsonl has them
	}
	return nil
}

// resetLocked forgets the text that came after the named frame, or all of it.
func (t *transcript) resetLocked(after string) {
	e, s, _ := strings.Cut(after, " ")
	epoch, _ := strconv.ParseInt(e, 10, 64)
	seq, _ := strconv.ParseUint(s, 10, 64)
	keep := 0
	for keep < len(t.marks) {
		m := t.marks[keep]
		if m.epoch > lm.Epoch(epoch) || m.epoch == lm.Epoch(epoch) && m.seq > seq {
			break
		}
		keep++
	}
	t.marks = t.marks[:keep]
	length := 0
	if keep > 0 {
		length = t.marks[keep-1].length
	}
	t.held = t.held[:length]
}

// catchUpLocked prints what of the text does not stand there yet; whole: the text is
// all of it, and nothing else is to stand there.
func (t *transcript) catchUpLocked(whole bool) error {
	more, ok := strings.CutPrefix(t.held, t.shown)
	if !ok {
		if !whole && strings.HasPrefix(t.shown, t.held) { // said again, and not yet further than before
			return nil
		}
		more = t.turnLocked()
	}
	t.shown = t.held
	return t.writeLocked(more)
}

// turnLocked makes room for a text that goes another way than what stands there, and
// returns what is to be printed of it.
func (t *transcript) turnLocked() string {
	same := 0
	for same < min(len(t.held), len(t.shown)) && t.held[same] == t.shown[same] {
		same++
	}
	if t.eraser.erase(len(t.shown)-same, t.wrote) {
		t.wrote -= len(t.shown) - same
		return t.held[same:]
	}
	if t.warn != nil {
		_, _ = io.WriteString(t.warn, "the text so far is not the answer's: it begins again on a new line\n")
	}
	return "\n" + t.held
}

func (t *transcript) writeLocked(text string) error {
	n, err := io.WriteString(t.out, text)
	t.wrote += n
	return err
}

// end prints what is missing of the answer, and ends the line.
func (t *transcript) end(r lm.Result) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r.Outcome == lm.Succeeded {
		t.held = r.Text()
		if err := t.catchUpLocked(true); err != nil {
			return err
		}
		if t.shown == "" { // an empty answer is a line too
			t.shown = " "
		}
	}
	t.closeLocked()
	t.aside = nil // all is said
	return nil
}

// close ends a line that was begun.
func (t *transcript) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closeLocked()
}

func (t *transcript) closeLocked() {
	if t.shown != "" {
		_ = t.writeLocked("\n")
		t.shown = ""
	}
}

// note tells a person something beside the text.
func (t *transcript) note(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.noteLocked(text)
}

// begun reports whether there is text.
func (t *transcript) begun() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.shown != ""
}

func (t *transcript) noteLocked(text string) {
	if t.aside == nil {
		return
	}
	text = "-- " + oneLine(text, 200) + " --"
	before, after := "", "\n"
	if t.shown != "" {
		before, after = "  ", "  " // in the middle of a line
	}
	_, _ = io.WriteString(t.aside, before+paint(t.aside.file, dim, text)+after)
}
