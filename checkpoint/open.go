package checkpoint

import (
	"cmp"
	"slices"
	"strings"

	"github.com/lighterman/lighterman"
)

// Open recovers an operation's book from its stored fields, as HGETALL returned
// them; empty fields are an empty book. With an error the book is usable too:
// it is empty, and its first Record replaces all that is stored. The error is
// ErrCorrupt, ErrTooLarge or a SchemaError; on ErrSchemaNewer the caller waits
// for a newer worker as long as it can afford to, before it uses that book.
// Unknown fields are ignored.
func (c *Codec) Open(id lighterman.TraceID, fields lighterman.Fields) (*Book, error) {
	if len(fields) == 0 {
		return c.newBook(id), nil
	}
	b, schema, err := c.recover(id, fields)
	if err != nil {
		c.refused(id, err)
		b = c.newBook(id)
		b.replace = true
		return b, err
	}
	c.recovered(b, schema, fields[fieldTime])
	return b, nil
}

// Transfer rewrites a stored checkpoint for another operation, one that repeats
// the first: a checkpoint opens only under the trace ID that it was written
// for. It returns a base's fields for a hash that does not exist yet, none when
// there is nothing to restore, and Open's errors.
func (c *Codec) Transfer(from, to lighterman.TraceID, fields lighterman.Fields) ([]lighterman.Step, error) {
	if len(fields) == 0 {
		return nil, nil
	}
	b, _, err := c.recover(from, fields)
	if err != nil {
		return nil, err
	}
	_, _, steps, err := c.encodeBase(to, b.steps)
	return steps, err
}

// recover reads a whole checkpoint: bounds and seals of everything first, then
// it inflates, then it puts the steps in their places. The schema returned is
// the stored one; after an upgrade the book has no base, so that the next Record
// rewrites all.
func (c *Codec) recover(id lighterman.TraceID, fields lighterman.Fields) (*Book, int, error) {
	stored, err := c.readBase(id, fields)
	if err != nil {
		return nil, 0, err
	}
	b := c.newBook(id)
	b.base, b.total = stored.checksum, stored.size()
	later, err := b.readFields(&stored, fields)
	if err != nil {
		return nil, 0, err
	}
	if err := c.opts.check(b.total, len(later)); err != nil {
		return nil, 0, err
	}
	if err := b.restore(&stored, later); err != nil {
		return nil, 0, err
	}
	if stored.schema != c.opts.Schema {
		err = b.upgrade(stored.schema)
	}
	return b, stored.schema, err
}

// readFields verifies the steps written after the base and returns them in
// order.
func (b *Book) readFields(stored *base, fields lighterman.Fields) ([]field, error) {
	var later []field
	for key, value := range fields {
		name, ok := strings.CutPrefix(key, stepPrefix)
		if !ok {
			continue
		}
		f, err := readField(b.id, stored, name, value)
		if err != nil {
			return nil, err
		}
		b.fields[name] = fieldSize(name, len(value), f.original)
		b.total = b.total.plus(b.fields[name])
		later = append(later, f)
	}
	slices.SortFunc(later, func(x, y field) int { return cmp.Compare(x.place, y.place) })
	return later, nil
}

// restore inflates the base, then each later field at its place: over a step of
// the same name, or right behind the last.
func (b *Book) restore(stored *base, later []field) error {
	if err := b.restoreBase(stored); err != nil {
		return err
	}
	for _, f := range later {
		known, ok := b.at[f.name]
		if !ok {
			known = len(b.steps)
		}
		if f.place != known {
			return corrupt("step %.80q at place %d of %d: a field is missing", f.name, f.place, len(b.steps))
		}
		data, err := b.codec.inflate([]byte{}, f.how, f.body, f.original)
		if err != nil {
			return err
		}
		b.putLocked(StepData{Name: f.name, Data: data})
	}
	if len(b.steps) > maxSteps {
		return tooLarge("steps", len(b.steps), maxSteps)
	}
	return nil
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
