package checkpoint

import (
	"slices"
	"sync"

	"github.com/lighterman/lighterman"
)

// Book keeps the finished steps of one operation, in the order in which they
// were first recorded. It says what to write for each new one.
//
// Lookup and Record may be called concurrently. The fields of two Records must
// reach Redis in the order of the Records, each before or together with the
// next: a caller that records from several goroutines holds one lock over
// Record and the write. The fields of a write that was refused go first in the
// next one; a field that is never written makes the later ones unreadable.
type Book struct {
	codec *Codec
	id    lighterman.TraceID

	mu    sync.Mutex
	steps []StepData
	at    map[string]int // name -> index in steps

	base    string // checksum of the stored base; empty: the next Record writes one
	replace bool   // something else is stored that a new base must delete
	total   size   // of base and fields, as they will be stored
	fields  map[string]size

	unsaved       size // recorded since the last Saved
	unsavedFields int
}

func (c *Codec) newBook(id lighterman.TraceID) *Book {
	return &Book{codec: c, id: id, at: map[string]int{}, fields: map[string]size{}}
}

// Lookup returns what was recorded for a step. The bytes are the book's; do not
// change them.
func (b *Book) Lookup(name string) (data []byte, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i, ok := b.at[name]
	if !ok {
		return nil, false
	}
	return b.steps[i].Data, true
}

// Steps returns all finished steps in order. The slice is the caller's, the
// bytes are the book's.
func (b *Book) Steps() []StepData {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.steps)
}

// Record notes a finished step, or a new result of one that is known, and
// returns the fields to write: the base when none is stored (with Reset first
// when it replaces something unusable), else the step's own field. It copies
// data. ErrTooLarge: the checkpoint would pass a bound of Options; the book is
// unchanged.
func (b *Book) Record(name string, data []byte) ([]lighterman.Step, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	step := StepData{Name: name, Data: append([]byte{}, data...)}
	record := b.recordFieldLocked
	if b.base == "" {
		record = b.recordBaseLocked
	}
	fields, err := record(step)
	if err != nil {
		b.codec.observe(Event{Kind: TooLarge})
		return nil, err
	}
	b.putLocked(step)
	return fields, nil
}

// Saved tells that the fields returned so far are in Redis: it logs
// checkpoint_saved with their sizes and counts it. Without new ones it does
// nothing.
func (b *Book) Saved() {
	b.mu.Lock()
	s, n := b.unsaved, b.unsavedFields
	b.unsaved, b.unsavedFields = size{}, 0
	b.mu.Unlock()
	if n > 0 {
		b.codec.saved(b.id, n, s)
	}
}

// recordBaseLocked writes every step so far together with this one.
func (b *Book) recordBaseLocked(step StepData) ([]lighterman.Step, error) {
	all := slices.Clone(b.steps)
	if i, known := b.at[step.Name]; known {
		all[i] = step
	} else {
		all = append(all, step)
	}
	checksum, cost, fields, err := b.codec.encodeBase(b.id, all)
	if err != nil {
		return nil, err
	}
	if b.replace {
		fields = slices.Insert(fields, 0, lighterman.Step{Name: Reset})
	}
	b.base, b.replace = checksum, false
	b.total, b.fields = cost, map[string]size{}
	b.noteLocked(b.total, len(fields))
	return fields, nil
}

// recordFieldLocked writes this step alone.
func (b *Book) recordFieldLocked(step StepData) ([]lighterman.Step, error) {
	place, known := b.at[step.Name]
	if !known {
		place = len(b.steps)
	}
	// Held against the bound before it is encoded: the length must fit the header.
	if err := b.codec.opts.check(size{0, len(step.Data)}, place+1); err != nil {
		return nil, err
	}
	value := b.codec.encodeField(b.id, b.base, place, step)
	cost := fieldSize(step.Name, len(value), len(step.Data))
	total := b.total.minus(b.fields[step.Name]).plus(cost)
	if err := b.codec.opts.check(total, place+1); err != nil {
		return nil, err
	}
	b.total, b.fields[step.Name] = total, cost
	b.noteLocked(cost, 1)
	return []lighterman.Step{{Name: stepPrefix + step.Name, Data: value}}, nil
}

func (b *Book) putLocked(step StepData) {
	if i, known := b.at[step.Name]; known {
		b.steps[i] = step
		return
	}
	b.at[step.Name] = len(b.steps)
	b.steps = append(b.steps, step)
}

func (b *Book) noteLocked(s size, fields int) {
	b.unsaved = b.unsaved.plus(s)
	b.unsavedFields += fields
}
