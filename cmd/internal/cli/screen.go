package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/mattn/go-isatty"
	"golang.org/x/term"
)

// Where all commands write. What they print may hold what others wrote: answers,
// names, errors of providers.
var (
	stdout = newScreen(os.Stdout, "stdout")
	stderr = newScreen(os.Stderr, "stderr")
)

// screen is standard output or standard error. On a terminal it shows control
// characters instead of sending them, so that no answer moves the cursor, sets the
// title or writes to the clipboard; elsewhere every byte stays as it is. After the
// first write that failed all others fail with its error. Its methods may be called
// concurrently.
type screen struct {
	file     *os.File
	name     string
	terminal bool

	mu   sync.Mutex
	rest []byte // the first bytes of a character whose others have not come yet
	err  error  // of the first write that failed
}

func newScreen(file *os.File, name string) *screen {
	return &screen{file: file, name: name, terminal: isTerminal(file)}
}

// Write satisfies io.Writer. Its error ends a command with exit 1.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	shown := p
	if s.terminal {
		all := append(s.rest, p...)
		whole := len(all) - partialRune(all)
		s.rest = bytes.Clone(all[whole:])
		shown = []byte(colours.Replace(visible(string(all[:whole]))))
	}
	return len(p), s.sendLocked(shown)
}

func (s *screen) sendLocked(p []byte) error {
	if s.err != nil {
		return s.err
	}
	if _, err := s.file.Write(p); err != nil {
		s.err = &outputError{s.name, err}
	}
	return s.err
}

// redraw writes a line over the one that the cursor stands on, of a terminal that
// takes cursor movements.
func (s *screen) redraw(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.sendLocked([]byte("\r\x1b[K" + colours.Replace(visible(line))))
}

// failed is the error of the first write that failed.
func (s *screen) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// width is how many columns the terminal has, as COLUMNS or the terminal itself
// says; 0 where there is none, and nothing is to be shortened.
func (s *screen) width() int {
	if !s.terminal {
		return 0
	}
	if n, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && n > 0 {
		return n
	}
	if n, _, err := term.GetSize(int(s.file.Fd())); err == nil && n > 0 {
		return n
	}
	return 80
}

// outputError says that output could not be written where it was to go.
type outputError struct {
	where string
	err   error
}

// Error has the system's word for it, without the name that the process has for the
// file.
func (e *outputError) Error() string { return "write to " + e.where + ": " + cause(e.err) }

func (e *outputError) Unwrap() error { return e.err }

// lostOutput reports whether a command that ended with err could not write what it
// had to say.
func lostOutput(err error) bool {
	var lost *outputError
	return errors.As(err, &lost) || stdout.failed() != nil
}

// isTerminal reports whether a file is a terminal.
func isTerminal(f *os.File) bool { return isatty.IsTerminal(f.Fd()) }

// canRedraw reports whether a file is a terminal that takes colours and cursor
// movements.
func canRedraw(f *os.File) bool { return isTerminal(f) && os.Getenv("TERM") != "dumb" }

// The colours in use. Until a screen writes them they are one character each that
// no text holds (noncharacters of Unicode): an escape code in a text is somebody
// else's.
const (
	plainText = "\uFDD0"
	green     = "\uFDD1"
	red       = "\uFDD2"
	yellow    = "\uFDD3"
	dim       = "\uFDD4"
)

var colours = strings.NewReplacer(plainText, "\x1b[0m", green, "\x1b[32m", red, "\x1b[31m", yellow, "\x1b[33m", dim, "\x1b[2m")

// paint colours text on a terminal; NO_COLOR turns it off (no-color.org).
func paint(f *os.File, colour, text string) string {
	if !canRedraw(f) || os.Getenv("NO_COLOR") != "" {
		return text
	}
	return colour + text + plainText
}

// visible is a text with its control characters shown: those of ASCII as their
// pictures, those beyond and what is no UTF-8 as an escape. Line feeds, also with a
// carriage return before, and tabs stay.
func visible(text string) string {
	if !strings.ContainsFunc(text, isControl) {
		return text
	}
	var b strings.Builder
	text = strings.ReplaceAll(text, "\r\n", "\n")
	for i, r := range text {
		switch {
		case r == utf8.RuneError && strings.HasPrefix(text[i:], string(utf8.RuneError)), !isControl(r):
			b.WriteRune(r)
		case r == utf8.RuneError:
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case r < ' ':
			b.WriteRune('\u2400' + r)
		case r == 0x7f:
			b.WriteRune('\u2421')
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// isControl reports whether a character may act on a terminal.
func isControl(r rune) bool {
	return r < ' ' && r != '\n' && r != '\t' || r >= 0x7f && r < 0xa0 || r == utf8.RuneError
}

// partialRune is how many bytes at the end begin a character that is not whole.
func partialRune(p []byte) int {
	for n := 1; n <= min(len(p), utf8.UTFMax-1); n++ {
		if b := p[len(p)-n]; utf8.RuneStart(b) {
			if b >= utf8.RuneSelf && !utf8.FullRune(p[len(p)-n:]) {
				return n
			}
			return 0
		}
	}
	return 0
}
