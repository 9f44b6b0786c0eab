package checkpoint

import "encoding/binary"

// Bounds of a msgpack payload that scan accepts.
const (
	maxDepth  = 64
	maxValues = 1 << 20
)

// scan walks one msgpack value that must fill b exactly and decodes nothing. It
// refuses what a decoder must not be shown: nesting deeper than maxDepth, more
// than maxValues values, a declared length or count beyond what is left.
// (msgpack v5.4.1 allocates GiBs for a header of five bytes, and recurses until
// the process dies.) It allocates nothing but its error.
func scan(b []byte) error {
	var open [maxDepth]uint64 // values still to come, by level
	depth, values := 0, 0
	for at := uint64(0); ; {
		if values++; values > maxValues {
			return corrupt("msgpack: more than %d values", maxValues)
		}
		size, children, ok := measure(b[at:])
		left := uint64(len(b)) - at
		if !ok || size > left || children > left-size {
			return corrupt("msgpack: byte %d of %d: cut or not a value", at, len(b))
		}
		at += size
		if children > 0 {
			if depth == maxDepth {
				return corrupt("msgpack: nested deeper than %d", maxDepth)
			}
			open[depth] = children
			depth++
			continue
		}
		for depth > 0 {
			if open[depth-1]--; open[depth-1] > 0 {
				break
			}
			depth--
		}
		if depth == 0 {
			if at != uint64(len(b)) {
				return corrupt("msgpack: %d bytes after the value", uint64(len(b))-at)
			}
			return nil
		}
	}
}

// measure reads the head of the first value in b: the bytes that it takes
// without its children, and how many values follow as children. Not ok: b ends
// within the head, or starts with the code that is never used. The codes are
// those of the msgpack specification, "Formats".
func measure(b []byte) (size, children uint64, ok bool) {
	if len(b) == 0 {
		return 0, 0, false
	}
	switch c := b[0]; {
	case c <= 0x7f || c >= 0xe0: // fixint
		return 1, 0, true
	case c <= 0x8f: // fixmap
		return 1, 2 * uint64(c&0x0f), true
	case c <= 0x9f: // fixarray
		return 1, uint64(c & 0x0f), true
	case c <= 0xbf: // fixstr
		return 1 + uint64(c&0x1f), 0, true
	default:
		return measureWide(heads[c-0xc0], b)
	}
}

// head describes a code from 0xc0 to 0xdf: a fixed number of bytes, then
// perhaps a length of 1, 2 or 4 bytes that counts bytes or children.
type head struct {
	fixed    uint64 // bytes besides the length and what it counts
	length   int    // bytes of the length, 0 when there is none
	children uint64 // values per counted unit; 0: it counts bytes
}

var heads = [32]head{
	0:           {fixed: 1},                          // nil
	0xc2 - 0xc0: {fixed: 1}, 0xc3 - 0xc0: {fixed: 1}, // false, true
	0xc4 - 0xc0: {1, 1, 0}, 0xc5 - 0xc0: {1, 2, 0}, 0xc6 - 0xc0: {1, 4, 0}, // bin
	0xc7 - 0xc0: {2, 1, 0}, 0xc8 - 0xc0: {2, 2, 0}, 0xc9 - 0xc0: {2, 4, 0}, // ext, with its type
	0xca - 0xc0: {fixed: 5}, 0xcb - 0xc0: {fixed: 9}, // float
	0xcc - 0xc0: {fixed: 2}, 0xcd - 0xc0: {fixed: 3}, 0xce - 0xc0: {fixed: 5}, 0xcf - 0xc0: {fixed: 9}, // uint
	0xd0 - 0xc0: {fixed: 2}, 0xd1 - 0xc0: {fixed: 3}, 0xd2 - 0xc0: {fixed: 5}, 0xd3 - 0xc0: {fixed: 9}, // int
	0xd4 - 0xc0: {fixed: 3}, 0xd5 - 0xc0: {fixed: 4}, 0xd6 - 0xc0: {fixed: 6}, 0xd7 - 0xc0: {fixed: 10}, 0xd8 - 0xc0: {fixed: 18}, // fixext
	0xd9 - 0xc0: {1, 1, 0}, 0xda - 0xc0: {1, 2, 0}, 0xdb - 0xc0: {1, 4, 0}, // str
	0xdc - 0xc0: {1, 2, 1}, 0xdd - 0xc0: {1, 4, 1}, // array
	0xde - 0xc0: {1, 2, 2}, 0xdf - 0xc0: {1, 4, 2}, // map
}

func measureWide(h head, b []byte) (size, children uint64, ok bool) {
	if h.fixed == 0 || len(b) < 1+h.length {
		return 0, 0, false
	}
	var n uint64
	switch h.length {
	case 1:
		n = uint64(b[1])
	case 2:
		n = uint64(binary.BigEndian.Uint16(b[1:]))
	case 4:
		n = uint64(binary.BigEndian.Uint32(b[1:]))
	}
	size = h.fixed + uint64(h.length)
	if h.children > 0 {
		return size, n * h.children, true
	}
	return size + n, 0, true
}
