package checkpoint

import (
	"bytes"
	"runtime"
	"slices"

	"github.com/klauspost/compress/zstd"
	"github.com/vmihailenco/msgpack/v5"
)

const (
	// A payload under worthTrying bytes is not offered to zstd: its frame
	// alone takes 10 or more.
	worthTrying = 64
	// Encoders look back 1 MiB, which bounds what each of them keeps;
	// decoders accept what RFC 8878 asks every decoder to: 8 MiB.
	encoderWindow = 1 << 20
	decoderWindow = 8 << 20
	// Larger scratch buffers are left to the garbage collector.
	keepScratch = 1 << 20
)

// coding says how stored bytes are to be read.
type coding byte

const (
	raw    coding = 0
	zipped coding = 1
)

func (c coding) String() string {
	if c == zipped {
		return "zstd"
	}
	return "raw"
}

func (c *Codec) openCompressor() (err error) {
	c.enc, err = zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithEncoderConcurrency(runtime.GOMAXPROCS(0)),
		zstd.WithWindowSize(encoderWindow),
		zstd.WithSingleSegment(false), // else the window is the payload's size
		zstd.WithLowerEncoderMem(true),
		zstd.WithEncoderCRC(false)) // our own seal covers it
	if err != nil {
		return err
	}
	c.dec, err = zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(runtime.GOMAXPROCS(0)),
		zstd.WithDecoderMaxMemory(uint64(max(c.opts.MaxInflate, zstd.MinWindowSize))),
		zstd.WithDecoderMaxWindow(decoderWindow),
		zstd.WithDecodeAllCapLimit(true), // the declared size is the bound
		zstd.WithDecoderLowmem(true))
	return err
}

// compress returns the smaller of plain and its zstd form, which lives in s.
func (c *Codec) compress(s *scratch, plain []byte) (coding, []byte) {
	if len(plain) < worthTrying {
		return raw, plain
	}
	s.packed = c.enc.EncodeAll(plain, s.packed[:0])
	if len(s.packed) >= len(plain) {
		return raw, plain
	}
	return zipped, s.packed
}

// inflate returns what stored holds, in the room of dst where that is enough.
// The caller has held original against the bound. Two things keep a bomb from
// going off: a frame that does not itself declare original bytes is refused
// before anything is allocated, and one that holds more than it declares is
// stopped within the zstd block (at most 128 KiB) that passes them.
func (c *Codec) inflate(dst []byte, how coding, stored string, original int) ([]byte, error) {
	if how == raw {
		if len(stored) != original {
			return nil, corrupt("%d raw bytes, declared %d", len(stored), original)
		}
		return append(dst[:0], stored...), nil
	}
	s := c.borrow()
	defer c.giveBack(s)
	s.packed = append(s.packed[:0], stored...)
	var frame zstd.Header
	if err := frame.Decode(s.packed); err != nil || !declares(&frame, original) {
		return nil, corrupt("zstd frame does not declare %d bytes", original)
	}
	out, err := c.dec.DecodeAll(s.packed, slices.Grow(dst[:0], original)[:0:original])
	if err != nil {
		return nil, corrupt("inflate to %d bytes: %v", original, err)
	}
	if len(out) != original {
		return nil, corrupt("inflates to %d bytes, declared %d", len(out), original)
	}
	return out, nil
}

// declares reports whether a frame says that it holds n bytes. One of less than
// 256 may leave that out (RFC 8878, 3.1.1.1.1), and our encoder does.
func declares(frame *zstd.Header, n int) bool {
	if frame.HasFCS {
		return frame.FrameContentSize == uint64(n)
	}
	return n < 256
}

// scratch is what one encoding or decoding needs and the next can use again.
type scratch struct {
	plain    bytes.Buffer // msgpack, on the way out
	inflated []byte       // msgpack, on the way in
	packed   []byte       // compressed, both ways
	enc      *msgpack.Encoder
}

func newScratch() *scratch {
	s := new(scratch)
	s.enc = msgpack.NewEncoder(&s.plain)
	return s
}

func (c *Codec) borrow() *scratch { return c.scratch.Get().(*scratch) }

func (c *Codec) giveBack(s *scratch) {
	if max(s.plain.Cap(), cap(s.inflated), cap(s.packed)) > keepScratch {
		return
	}
	s.plain.Reset()
	c.scratch.Put(s)
}
