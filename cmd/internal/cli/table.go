package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/rivo/uniseg"
)

// table writes aligned columns. On a terminal no line is longer than it is wide:
// columns are shortened, and left out where that is not enough, the least important
// ones first.
type table struct {
	out    io.Writer
	width  int // of the terminal; 0: any
	titles []string
	rows   [][]string
	order  []string // titles, the least important first
	folds  bool
}

const (
	gap      = 2  // between columns
	shortest = 10 // of what is shortened
)

// newTable begins a table. The first column is never shortened, the last is the
// least important one, unless least says otherwise.
func newTable(out io.Writer, titles ...string) *table {
	t := &table{out: out, titles: titles, order: slices.Clone(titles[1:])}
	slices.Reverse(t.order)
	if s, ok := out.(*screen); ok {
		t.width = s.width()
	}
	return t
}

// least says which columns may be shortened and left out, the least important
// first. All others are kept.
func (t *table) least(titles ...string) *table {
	t.order = titles
	return t
}

// fold has the last column written over several lines where it is too long for one;
// nothing of it is lost.
func (t *table) fold() *table {
	t.folds, t.order = true, nil
	return t
}

func (t *table) row(cells ...any) {
	row := make([]string, len(cells))
	for i, c := range cells {
		row[i] = strings.NewReplacer("\n", " ", "\t", " ").Replace(fmt.Sprint(c))
	}
	t.rows = append(t.rows, row)
}

// flush writes the table.
func (t *table) flush() error {
	lines := slices.Concat([][]string{t.titles}, t.rows)
	if t.width > 0 {
		for _, line := range lines {
			for i := range line {
				line[i] = visible(line[i])
			}
		}
	}
	widths := t.fit(lines)
	var b strings.Builder
	for _, line := range lines {
		t.line(&b, line, widths)
	}
	_, err := io.WriteString(t.out, b.String())
	return err
}

// fit is how wide each column is to be; 0: left out.
func (t *table) fit(lines [][]string) []int {
	natural := make([]int, len(t.titles))
	for _, line := range lines {
		for i, cell := range line {
			natural[i] = max(natural[i], textWidth(cell))
		}
	}
	if t.width == 0 || lineWidth(natural) <= t.width {
		return natural
	}
	var order []int
	for _, title := range t.order {
		if i := slices.Index(t.titles, title); i >= 0 {
			order = append(order, i)
		}
	}
	for _, i := range order { // what says nothing goes first
		if lineWidth(natural) > t.width && saysNothing(t.rows, i) {
			natural[i] = 0
		}
	}
	for {
		widths := shorten(natural, order, t.width)
		if lineWidth(widths) <= t.width || len(order) == 0 {
			return widths
		}
		natural[order[0]], order = 0, order[1:]
	}
}

// shorten takes from columns in their order until a line fits, or none has more.
func shorten(natural, order []int, width int) []int {
	widths := slices.Clone(natural)
	for _, i := range order {
		over := lineWidth(widths) - width
		if over <= 0 {
			break
		}
		widths[i] -= max(0, min(over, widths[i]-shortest))
	}
	return widths
}

func saysNothing(rows [][]string, column int) bool {
	return !slices.ContainsFunc(rows, func(row []string) bool {
		return column < len(row) && row[column] != "" && row[column] != "-"
	})
}

func lineWidth(widths []int) int {
	n := 0
	for _, w := range widths {
		if w > 0 {
			n += w + gap
		}
	}
	return n - gap
}

// line writes the cells of one line, cut to the columns' widths.
func (t *table) line(b *strings.Builder, cells []string, widths []int) {
	text, at := "", 0
	var more []string
	for i, cell := range cells {
		switch {
		case widths[i] == 0:
			continue
		case t.folds && t.width > 0 && i == len(cells)-1:
			folded := foldText(cell, max(t.width-at, shortest))
			text, more = text+folded[0], folded[1:]
		default:
			cell = clipWidth(cell, widths[i])
			at += widths[i] + gap
			text += cell + strings.Repeat(" ", widths[i]-textWidth(cell)+gap)
		}
	}
	t.end(b, text)
	for _, part := range more {
		t.end(b, strings.Repeat(" ", at)+part)
	}
}

// end ends a line; on a terminal that is too narrow for all else it is cut.
func (t *table) end(b *strings.Builder, text string) {
	text = strings.TrimRight(text, " ")
	if t.width > 0 {
		text = clipWidth(text, t.width)
	}
	b.WriteString(text + "\n")
}

// textWidth is how many columns a text takes on a terminal.
func textWidth(text string) int { return uniseg.StringWidth(text) }

// clipWidth cuts a text to a width.
func clipWidth(text string, width int) string {
	if textWidth(text) <= width {
		return text
	}
	n, end := 0, 0
	for g := uniseg.NewGraphemes(text); g.Next(); {
		if n += g.Width(); n > width-1 {
			break
		}
		_, end = g.Positions()
	}
	return text[:end] + "…"
}

// foldFor breaks a sentence into lines that a terminal has room for.
func foldFor(out io.Writer, text string) string {
	s, ok := out.(*screen)
	if !ok || s.width() == 0 {
		return text
	}
	return strings.Join(foldText(visible(text), s.width()), "\n")
}

// foldText breaks a text between words into lines of a width. A longer word is
// broken itself.
func foldText(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && textWidth(line)+1+textWidth(word) <= width {
			line += " " + word
			continue
		}
		if line != "" {
			lines = append(lines, line)
		}
		for line = word; textWidth(line) > width; {
			head := strings.TrimSuffix(clipWidth(line, width), "…")
			lines, line = append(lines, head), line[len(head):]
		}
	}
	return append(lines, line)
}
