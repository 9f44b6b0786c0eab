package checkpoint

import (
	"encoding/binary"

	"github.com/lighterman/lighterman"
)

// stepPrefix is what the field of a step's name begins with.
const stepPrefix = "step:"

// The value of a step's field, integers big-endian:
//
//	0  format, 1
//	1  coding: 0 raw, 1 zstd
//	2  schema, 4 bytes
//	6  place in the order of steps, 4 bytes
//	10 bytes before compression, 4 bytes
//	14 seal over trace ID, base checksum, step name, bytes 0-13 and the body
//	30 body
const (
	fieldFormat = 1
	sealAt      = 14
	bodyAt      = sealAt + sealLen
)

// field is one stored step that was written after the base.
type field struct {
	name     string
	place    int
	how      coding
	original int
	body     string
}

// fieldSize is what a step's field costs, its own name included.
func fieldSize(name string, value, original int) size {
	return size{len(stepPrefix) + len(name) + value, original}
}

// encodeField turns one step into the value of its field.
func (c *Codec) encodeField(id lighterman.TraceID, baseSum string, place int, step StepData) []byte {
	s := c.borrow()
	defer c.giveBack(s)
	how, packed := c.compress(s, step.Data)
	v := make([]byte, 0, bodyAt+len(packed))
	v = append(v, fieldFormat, byte(how))
	v = binary.BigEndian.AppendUint32(v, uint32(c.opts.Schema))
	v = binary.BigEndian.AppendUint32(v, uint32(place))
	v = binary.BigEndian.AppendUint32(v, uint32(len(step.Data)))
	sum := seal(packed, "step", string(id), baseSum, step.Name, string(v))
	return append(append(v, sum[:]...), packed...)
}

// readField reads and verifies the value of a step's field but does not inflate
// its body. The schema must be the base's: a worker with another one has
// rewritten the whole.
func readField(id lighterman.TraceID, b *base, name, value string) (field, error) {
	if len(value) < bodyAt {
		return field{}, corrupt("step %.80q: %d bytes", name, len(value))
	}
	head, sum, body := value[:sealAt], value[sealAt:bodyAt], value[bodyAt:]
	want := seal(body, "step", string(id), b.checksum, name, head)
	if sum != string(want[:]) {
		return field{}, corrupt("step %.80q: seal", name)
	}
	h := []byte(head)
	f := field{
		name:     name,
		how:      coding(h[1]),
		place:    int(binary.BigEndian.Uint32(h[6:])),
		original: int(binary.BigEndian.Uint32(h[10:])),
		body:     body,
	}
	if h[0] != fieldFormat || f.how > zipped || int(binary.BigEndian.Uint32(h[2:])) != b.schema {
		return field{}, corrupt("step %.80q: format %d, coding %d", name, h[0], f.how)
	}
	return f, nil
}
