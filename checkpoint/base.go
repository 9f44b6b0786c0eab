package checkpoint

import (
	"bytes"
	"math"
	"strconv"

	"github.com/lighterman/lighterman"
)

// The fields of the hash, and Reset, which is none: first in the list of a
// write it tells the script to delete the hash before it writes the others.
const (
	Reset = "!reset"

	fieldSchema     = "schema_version"
	fieldTime       = "checkpoint_ts"
	fieldCodec      = "codec"
	fieldPayload    = "payload_compressed"
	fieldOriginal   = "payload_size_original"
	fieldCompressed = "payload_size_compressed"
	fieldChecksum   = "checksum"
)

// base is the stored form of the steps that were written together.
type base struct {
	schema   int
	how      coding
	original int
	payload  string
	checksum string
}

func (b *base) size() size { return size{len(b.payload), b.original} }

// encodeBase turns all steps into the base's fields, and tells its checksum and
// what it costs.
func (c *Codec) encodeBase(id lighterman.TraceID, steps []StepData) (checksum string, cost size, fields []lighterman.Step, err error) {
	s := c.borrow()
	defer c.giveBack(s)
	if err := appendList(s, steps); err != nil {
		return "", size{}, nil, err
	}
	plain := s.plain.Bytes()
	how, packed := c.compress(s, plain)
	cost = size{len(packed), len(plain)}
	if err := c.opts.check(cost, len(steps)); err != nil {
		return "", size{}, nil, err
	}
	checksum = sealBase(id, c.opts.Schema, how, len(plain), packed)
	text := func(name, value string) lighterman.Step { return lighterman.Step{Name: name, Data: []byte(value)} }
	return checksum, cost, []lighterman.Step{
		text(fieldSchema, strconv.Itoa(c.opts.Schema)),
		text(fieldCodec, how.String()),
		{Name: fieldPayload, Data: bytes.Clone(packed)},
		text(fieldOriginal, strconv.Itoa(len(plain))),
		text(fieldCompressed, strconv.Itoa(len(packed))),
		text(fieldChecksum, checksum),
	}, nil
}

// readBase reads and verifies the base's fields but does not inflate the
// payload. A schema that is not ours is reported before anything that it may
// have changed is judged.
func (c *Codec) readBase(id lighterman.TraceID, f lighterman.Fields) (b base, err error) {
	if b.schema, err = number(f, fieldSchema); err != nil {
		return b, err
	}
	if err := c.readable(b.schema); err != nil {
		return b, err
	}
	switch f[fieldCodec] {
	case raw.String():
		b.how = raw
	case zipped.String():
		b.how = zipped
	default:
		return b, corrupt("codec %.20q", f[fieldCodec])
	}
	if b.original, err = number(f, fieldOriginal); err != nil {
		return b, err
	}
	compressed, err := number(f, fieldCompressed)
	if err != nil {
		return b, err
	}
	if b.payload = f[fieldPayload]; len(b.payload) != compressed {
		return b, corrupt("payload of %d bytes, declared %d", len(b.payload), compressed)
	}
	b.checksum = sealBase(id, b.schema, b.how, b.original, b.payload)
	if f[fieldChecksum] != b.checksum {
		return b, corrupt("checksum of the base")
	}
	return b, nil
}

// number reads a positive decimal in the only form in which it is written.
func number(f lighterman.Fields, name string) (int, error) {
	n, err := strconv.Atoi(f[name])
	if err != nil || n < 1 || n > math.MaxInt32 || strconv.Itoa(n) != f[name] {
		return 0, corrupt("%s %.20q", name, f[name])
	}
	return n, nil
}
