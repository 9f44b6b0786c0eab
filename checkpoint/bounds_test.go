package checkpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/lighterman/lighterman"
)

// PARITY 17, the write.
func TestParity17_SizeBoundOnWrite(t *testing.T) {
	noise := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rand.Uint32())
		}
		return b
	}
	codec := newCodec(t, Options{MaxBytes: 10_000, MaxInflate: 100_000})
	refused := func(b *Book, name string, data []byte) {
		t.Helper()
		before := b.Steps()
		if steps, err := b.Record(name, data); !errors.Is(err, ErrTooLarge) || steps != nil {
			t.Fatalf("Record of %d bytes: %d steps, %v", len(data), len(steps), err)
		}
		if len(b.Steps()) != len(before) {
			t.Error("a refused step is in the book")
		}
	}
	b := open(t, codec, nil)
	hash := lighterman.Fields{}
	refused(b, "base", noise(10_001))
	refused(b, "base", make([]byte, 100_001))
	record(t, b, hash, "base", string(noise(4000)))
	refused(b, "field", noise(6000))
	refused(b, "field", make([]byte, 97_000))
	refused(b, strings.Repeat("n", 6000), nil)
	record(t, b, hash, "field", string(noise(5000)))
	refused(b, "more", noise(1000))
	record(t, b, hash, "field", string(noise(5500))) // a replaced one makes room for itself
	record(t, b, hash, "field", "small")
	record(t, b, hash, "more", string(noise(4000)))
	again := open(t, codec, hash) // whatever was written can be read, and counts the same
	refused(again, "last", noise(2000))
	record(t, again, hash, "last", string(noise(1000)))
	open(t, codec, hash)

	// A lower bound than the writer's refuses on read.
	refuses(t, newCodec(t, Options{MaxBytes: 5000}), testID, hash, ErrTooLarge)
	refuses(t, newCodec(t, Options{MaxInflate: 8000}), testID, hash, ErrTooLarge)
}

func TestParity17_DefaultBoundsAreExact(t *testing.T) {
	noise := make([]byte, DefaultMaxBytes)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	codec := newCodec(t, Options{})
	b := open(t, codec, nil)
	record(t, b, lighterman.Fields{}, "a", "")
	room := DefaultMaxBytes - b.total.stored - len("step:b") - bodyAt
	if _, err := b.Record("b", noise[:room+1]); !errors.Is(err, ErrTooLarge) {
		t.Errorf("one byte over the bound: %v", err)
	}
	if _, err := b.Record("b", noise[:room]); err != nil {
		t.Errorf("exactly the bound: %v", err)
	}
}

func TestRecord_StepsAreBounded(t *testing.T) {
	codec := newCodec(t, Options{MaxBytes: 64 << 20})
	hash := lighterman.Fields{}
	b := open(t, codec, nil)
	for i := range maxSteps {
		steps, err := b.Record(fmt.Sprint(i), nil)
		if err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		write(t, hash, steps)
	}
	if _, err := b.Record("one more", nil); !errors.Is(err, ErrTooLarge) {
		t.Errorf("step %d: %v", maxSteps, err)
	}
	if n := len(open(t, codec, hash).Steps()); n != maxSteps {
		t.Errorf("%d steps of %d came back", n, maxSteps)
	}
	moved, err := codec.Transfer(testID, "0-b", hash) // all of them in one base
	if err != nil {
		t.Fatal(err)
	}
	clear(hash)
	write(t, hash, moved)
	if full, err := codec.Open("0-b", hash); err != nil || len(full.Steps()) != maxSteps {
		t.Errorf("a full base does not come back: %v", err)
	}
}

// bomb is n zero bytes as zstd, with or without its size in the frame.
func bomb(t testing.TB, n int, sized bool) string {
	t.Helper()
	var out bytes.Buffer
	enc, err := zstd.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	if sized {
		enc.ResetContentSize(&out, int64(n))
	}
	chunk := make([]byte, 1<<20)
	for left := n; left > 0; left -= len(chunk) {
		if _, err := enc.Write(chunk[:min(left, len(chunk))]); err != nil {
			t.Fatal(err)
		}
	}
	if err := enc.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// declaring makes a frame with a 4-byte content size declare another one.
func declaring(t testing.TB, frame string, n int) string {
	t.Helper()
	b := []byte(frame)
	binary.LittleEndian.PutUint32(b[6:], uint32(n)) // behind magic, descriptor and window
	var h zstd.Header
	if err := h.Decode(b); err != nil || h.FrameContentSize != uint64(n) || h.SingleSegment {
		t.Fatalf("patched frame: %v, declares %d", err, h.FrameContentSize)
	}
	return string(b)
}

// errWindow is ErrCorrupt for a window over the decoder's bound.
var errWindow = errors.New("window")

// windowed makes a frame ask for a window of 32 MiB, four times the bound.
func windowed(t testing.TB, frame string) string {
	t.Helper()
	b := []byte(frame)
	b[5] = 15 << 3 // 2^(10+15), RFC 8878, 3.1.1.1.2
	var h zstd.Header
	if err := h.Decode(b); err != nil || h.WindowSize != 32<<20 {
		t.Fatalf("patched frame: %v, window %d", err, h.WindowSize)
	}
	return string(b)
}

// sealedField is a step's field with a valid seal over whatever body.
func sealedField(baseSum, name string, place, original int, how coding, body string) string {
	v := []byte{fieldFormat, byte(how)}
	v = binary.BigEndian.AppendUint32(v, 1)
	v = binary.BigEndian.AppendUint32(v, uint32(place))
	v = binary.BigEndian.AppendUint32(v, uint32(original))
	sum := seal(body, "step", string(testID), baseSum, name, string(v))
	return string(v) + string(sum[:]) + body
}

// PARITY 17, the read.
func TestParity17_BombNeverInflates(t *testing.T) {
	const big = 1 << 30
	sized, unsized := bomb(t, big, true), bomb(t, big, false)
	if len(sized) > DefaultMaxBytes {
		t.Fatalf("the bomb is %d bytes and would be refused for its size", len(sized))
	}
	many := lighterman.Fields{}
	codec := newCodec(t, Options{})
	for k, v := range stored(t, codec, "a", "1") {
		many[k] = v
	}
	small := bomb(t, 8<<20, false)
	for i := range 9 { // 72 MiB in all, none over the bound
		name := fmt.Sprint("t", i)
		many["step:"+name] = sealedField(many[fieldChecksum], name, i+1, 8<<20, zipped, small)
	}
	one := stored(t, codec, "a", "1")
	one["step:t"] = sealedField(one[fieldChecksum], "t", 1, 200, zipped, unsized)

	short := stored(t, codec, "a", "1")
	short["step:t"] = sealedField(short[fieldChecksum], "t", 1, 150, zipped, string(codec.enc.EncodeAll(make([]byte, 100), nil)))

	for _, c := range []struct {
		name   string
		fields lighterman.Fields
		want   error
		within uint64 // bytes allocated
	}{
		{"honest about its size", resealed("zstd", sized, fmt.Sprint(big)), ErrTooLarge, 1 << 20},
		{"lies to us", resealed("zstd", sized, "1000"), ErrCorrupt, 1 << 20},
		{"lies, size not in the frame", resealed("zstd", unsized, "1000"), ErrCorrupt, 1 << 20},
		{"lies, size not in the frame, up to the bound", resealed("zstd", unsized, fmt.Sprint(64<<20)), ErrCorrupt, 1 << 20},
		{"lies, small", resealed("zstd", unsized, "200"), ErrCorrupt, 16 << 20},
		{"lies in the frame", resealed("zstd", declaring(t, sized, 1000), "1000"), ErrCorrupt, 16 << 20},
		{"lies in the frame up to the bound", resealed("zstd", declaring(t, sized, 64<<20), fmt.Sprint(64<<20)), ErrCorrupt, 256 << 20},
		{"a second frame", resealed("zstd", string(codec.enc.EncodeAll(make([]byte, 1000), nil))+unsized, "1000"), ErrCorrupt, 16 << 20},
		{"in a step", one, ErrCorrupt, 16 << 20},
		{"many steps under the bound", many, ErrTooLarge, 1 << 20},
		{"one byte over", resealed("zstd", sized, fmt.Sprint(64<<20+1)), ErrTooLarge, 1 << 20},
		{"a wide window", resealed("zstd", windowed(t, bomb(t, 1<<20, true)), fmt.Sprint(1<<20)), errWindow, 8 << 20},
		{"ends early, size not in the frame", short, ErrCorrupt, 16 << 20},
		{"ends early", resealed("zstd", declaring(t, bomb(t, 1<<20, true), 1<<20+1), fmt.Sprint(1<<20+1)), ErrCorrupt, 16 << 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			codec := newCodec(t, Options{})
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			b, err := codec.Open(testID, c.fields)
			runtime.ReadMemStats(&after)
			if errors.Is(c.want, errWindow) && err != nil && strings.Contains(err.Error(), "window") {
				err = errors.Join(err, errWindow)
			}
			if !errors.Is(err, c.want) || !typed(err) || len(b.Steps()) != 0 {
				t.Fatalf("Open: %v, want %v", err, c.want)
			}
			if got := after.TotalAlloc - before.TotalAlloc; got > c.within {
				t.Errorf("allocated %d bytes, at most %d", got, c.within)
			} else {
				t.Logf("allocated %d bytes: %v", got, err)
			}
		})
	}
}
