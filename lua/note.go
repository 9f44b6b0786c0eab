package lua

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	lm "github.com/lighterman/lighterman"
)

// noteField reads the name of a piece of a note, e01 to e44 or ep1 to ep4, as
// retry.lua writes them.
func noteField(field string) (slot byte, piece int, ok bool) {
	if len(field) != 3 || field[0] != 'e' || field[2] < '1' || field[2] > '4' {
		return 0, 0, false
	}
	slot = field[1]
	return slot, int(field[2] - '1'), slot >= '0' && slot <= '4' || slot == 'p'
}

// readNotes puts the notes together, oldest first. Their text is "ATTEMPT MS TEXT",
// ms since the trace was created.
func (r *Record) readNotes() []lm.Note {
	var notes []lm.Note
	for slot, pieces := range r.notes {
		number, rest, _ := strings.Cut(strings.Join(pieces[:], ""), " ")
		after, text, ok := strings.Cut(rest, " ")
		attempt, err := strconv.Atoi(number)
		ms, errMS := strconv.ParseInt(after, 10, 64)
		if !ok || err != nil || errMS != nil {
			continue
		}
		notes = append(notes, lm.Note{Attempt: attempt, At: r.Created.Add(time.Duration(ms) * time.Millisecond), Counted: slot != 'p', Text: text})
	}
	slices.SortFunc(notes, func(a, b lm.Note) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Attempt, b.Attempt)) })
	return notes
}
