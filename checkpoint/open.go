package checkpoint

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/lighterman/lighterman"
)

// Open recovers an operation's book from its stored fields, as HGETALL returned
// them; empty fields are an empty book. With an error the book is usable too: it
// holds the steps before the first one that is lost, which are none where the base
// is, and its first Record replaces all that is stored. The error is ErrCorrupt,
// ErrTooLarge or a SchemaError; on ErrSchemaNewer the caller waits for a newer
// worker as long as it can afford to, before it uses that book. Unknown fields are
// ignored.
func (c *Codec) Open(id lighterman.TraceID, fields lighterman.Fields) (*Book, error) {
	if len(fields) == 0 {
		return c.newBook(id), nil
	}
	b, schema, err := c.recover(id, fields)
	if err != nil {
		c.refused(id, err)
		return b, err
	}
	c.recovered(b, schema, fields[fieldTime])
	return b, nil
}

// Transfer rewrites a stored checkpoint for another operation, one that repeats
// the first: a checkpoint opens only under the trace ID that it was written
// for. It returns a base's fields for a hash that does not exist yet, none when
// there is nothing to restore, and Open's errors. Beside ErrCorrupt it returns the
// fields of the steps before the first one that is lost.
func (c *Codec) Transfer(from, to lighterman.TraceID, fields lighterman.Fields) ([]lighterman.Step, error) {
	if len(fields) == 0 {
		return nil, nil
	}
	b, _, lost := c.recover(from, fields)
	if lost != nil && len(b.steps) == 0 {
		return nil, lost
	}
	_, _, steps, err := c.encodeBase(to, b.steps)
	return steps, errors.Join(lost, err)
}

// recover reads a whole checkpoint: bounds and seals of everything first, then
// it inflates, then it puts the steps in their places. The schema returned is
// the stored one; after an upgrade or a loss the book has no base, so that the next
// Record rewrites all.
func (c *Codec) recover(id lighterman.TraceID, fields lighterman.Fields) (*Book, int, error) {
	unusable := c.newBook(id)
	unusable.replace = true
	stored, err := c.readBase(id, fields)
	if err != nil {
		return unusable, 0, err
	}
	b := c.newBook(id)
	b.base, b.total = stored.checksum, stored.size()
	later, bad := b.readFields(&stored, fields)
	if err := c.opts.check(b.total, len(later)); err != nil {
		return unusable, 0, err
	}
	lost, err := b.restore(&stored, later, bad)
	if err == nil && stored.schema != c.opts.Schema {
		err = b.upgrade(stored.schema)
	}
	if err != nil {
		return unusable, 0, err
	}
	if lost != nil {
		b.base, b.replace = "", true
	}
	return b, stored.schema, lost
}

// readFields verifies the steps written after the base. It returns the good ones in
// order, and the error of each bad one by its name.
func (b *Book) readFields(stored *base, fields lighterman.Fields) (later []field, bad map[string]error) {
	for key, value := range fields {
		name, ok := strings.CutPrefix(key, stepPrefix)
		if !ok {
			continue
		}
		f, err := readField(b.id, stored, name, value)
		if err != nil {
			if bad == nil {
				bad = make(map[string]error)
			}
			bad[name] = err
			continue
		}
		b.fields[name] = fieldSize(name, len(value), f.original)
		b.total = b.total.plus(b.fields[name])
		later = append(later, f)
	}
	slices.SortFunc(later, func(x, y field) int { return cmp.Compare(x.place, y.place) })
	return later, bad
}

// restore inflates the base, then each later field at its place: over a step of
// the same name, or right behind the last. Where a field is missing or bad it keeps
// the steps before that one, and lost says what is gone: the steps behind it were
// made from what it held.
func (b *Book) restore(stored *base, later []field, bad map[string]error) (lost, err error) {
	if err := b.restoreBase(stored); err != nil {
		return nil, err
	}
	end := maxSteps + 1
	for name, why := range bad {
		lost = why
		if at, known := b.at[name]; known { // a newer result of a step of the base
			end = min(end, at)
		}
	}
	for _, f := range later {
		known, ok := b.at[f.name]
		if !ok {
			known = len(b.steps)
		}
		if f.place != known {
			if lost == nil {
				lost = corrupt("step %.80q at place %d of %d: a field is missing", f.name, f.place, len(b.steps))
			}
			end = min(end, known)
			break
		}
		data, err := b.codec.inflate([]byte{}, f.how, f.body, f.original)
		if err != nil {
			return nil, err
		}
		b.putLocked(StepData{Name: f.name, Data: data})
	}
	if len(b.steps) > maxSteps {
		return nil, tooLarge("steps", len(b.steps), maxSteps)
	}
	for _, step := range b.steps[min(end, len(b.steps)):] {
		delete(b.at, step.Name)
	}
	b.steps = b.steps[:min(end, len(b.steps))]
	return lost, nil
}

func (b *Book) restoreBase(stored *base) error {
	s := b.codec.borrow()
	defer b.codec.giveBack(s)
	plain, err := b.codec.inflate(s.inflated, stored.how, stored.payload, stored.original)
	if err != nil {
		return err
	}
	s.inflated = plain
	if b.steps, err = readList(plain); err != nil {
		return err
	}
	if b.at, err = positions(b.steps); err != nil {
		return corrupt("%v", err)
	}
	return nil
}

// upgrade brings the steps to our schema and forgets what is stored of them.
func (b *Book) upgrade(have int) (err error) {
	if b.steps, err = b.codec.upgrade(have, b.steps); err != nil {
		return err
	}
	if b.at, err = positions(b.steps); err != nil {
		return &SchemaError{Have: have, Want: b.codec.opts.Schema, Err: err}
	}
	b.base, b.replace = "", true
	return nil
}
