package checkpoint

import (
	"bytes"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/vmihailenco/msgpack/v5"
)

func TestScan_AcceptsWhatMsgpackWrites(t *testing.T) {
	for _, v := range []any{
		nil, true, false, 0, -1, -32, -33, 127, 128, 255, 256, 65535, 65536, 1 << 40, -200, -40000, -1 << 40, float32(1.5), 2.5,
		"", "a", strings.Repeat("s", 31), strings.Repeat("s", 32), strings.Repeat("s", 256), strings.Repeat("s", 70000),
		[]byte{}, make([]byte, 255), make([]byte, 256), make([]byte, 70000),
		[]int{}, make([]int, 15), make([]int, 16), make([]int, 70000),
		map[string]any{}, map[string]any{"a": map[string]any{"b": []any{1, "x", nil}}},
		wideMap(20), wideMap(70000),
		&msgpack.RawMessage{0xd5, 5, 1, 2}, &msgpack.RawMessage{0xd6, 5, 1, 2, 3, 4}, &msgpack.RawMessage{0xd7, 5, 1, 2, 3, 4, 5, 6, 7, 8},
		&msgpack.RawMessage{0xd8, 5, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
		&msgpack.RawMessage{0xc8, 0, 1, 5, 9}, &msgpack.RawMessage{0xc9, 0, 0, 0, 1, 5, 9},
		&msgpack.RawMessage{0xc7, 0x03, 0x05, 1, 2, 3}, &msgpack.RawMessage{0xd4, 0x05, 1},
	} {
		b, err := msgpack.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if err := scan(b); err != nil {
			t.Errorf("%T of %d bytes (% x...): %v", v, len(b), b[:1], err)
		}
		for n := range min(len(b), 64) {
			if err := scan(b[:n]); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%T cut to %d of %d: %v", v, n, len(b), err)
			}
		}
		if err := scan(append(b, 0xc0)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%T with a byte behind it: %v", v, err)
		}
	}
}

func wideMap(n int) map[int]bool {
	m := map[int]bool{}
	for i := range n {
		m[i] = true
	}
	return m
}

func TestScan_Bounds(t *testing.T) {
	deep := func(n int) string { return strings.Repeat("\x91", n) + "\xc0" }
	wide := func(n int) string {
		return "\xdd" + string([]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}) + strings.Repeat("\xc0", n)
	}
	for _, c := range []struct {
		name, in string
		ok       bool
	}{
		{"empty", "", false},
		{"the code that is never used", "\xc1", false},
		{"depth 64", deep(64), true},
		{"depth 65", deep(65), false},
		{"depth a million", deep(1_000_000), false},
		{"deep maps", strings.Repeat("\x81\xc0", 65) + "\xc0", false},
		{"two deep arrays one after the other", "\x92" + deep(63) + deep(63), true},
		{"most values", wide(maxValues - 1), true},
		{"one value more", wide(maxValues), false},
		{"array32 of 4 Gi", "\xdd\xff\xff\xff\xff", false},
		{"map32 of 4 Gi", "\xdf\xff\xff\xff\xff", false},
		{"map32 whose count doubles past 32 bits", "\xdf\x80\x00\x00\x00", false},
		{"bin32 of 4 Gi", "\xc6\xff\xff\xff\xff", false},
		{"str32 of 4 Gi", "\xdb\xff\xff\xff\xff", false},
		{"ext32 of 4 Gi", "\xc9\xff\xff\xff\xff\x01", false},
		{"nested counts", "\x9f\x9f\x9f\x9f\xc0", false},
	} {
		if err := scan([]byte(c.in)); (err == nil) != c.ok || err != nil && !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// The five bytes that cost the decoder GiBs, and the nesting that kills the
// process, arrive here behind a valid seal.
func TestOpen_MsgpackBombs(t *testing.T) {
	codec := newCodec(t, Options{})
	for name, payload := range map[string]string{
		"array32":      "\xdd\xff\xff\xff\xff",
		"str32 inside": "\x91\x82\xa4name\xdb\xff\xff\xff\xff",
		"bin32 inside": "\x91\x82\xa4name\xa1a\xa4data\xc6\xff\xff\xff\xff",
		"deep":         strings.Repeat("\x91", 4<<20) + "\xc0",
		"many nils":    "\xdd\x00\x3f\xff\xff" + strings.Repeat("\xc0", 0x3fffff),
		"not an array": "\x82\xa4name\xa1a\xa4data\xc4\x00",
		"unknown key":  "\x91\x81\xa3who\xa1a",
		"wrong type":   "\x91\x82\xa4name\x01\xa4data\x02",
		"two of one":   "\x92\x82\xa4name\xa1a\xa4data\xc4\x00\x82\xa4name\xa1a\xa4data\xc4\x00",
	} {
		packed := codec.enc.EncodeAll([]byte(payload), nil)
		hash := resealed("zstd", string(packed), itoa(len(payload)))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := codec.Open(testID, hash)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > 32<<20 {
			t.Errorf("%s: allocated %d bytes", name, got)
		}
	}
	tooMany := "\xdd\x00\x01\x00\x01" + strings.Repeat("\xc0", maxSteps+1)
	if _, err := readList([]byte(tooMany)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%d steps: %v", maxSteps+1, err)
	}
}

func TestScan_AllocatesNothing(t *testing.T) {
	b, err := msgpack.Marshal([]StepData{{"a", []byte("1")}, {"b", []byte("2")}})
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { _ = scan(b) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzScan: what scan accepts, the decoder walks to exactly the same end.
func FuzzScan(f *testing.F) {
	for _, v := range []any{nil, 1, "text", []byte("bin"), []StepData{{"a", []byte("1")}}, map[string]any{"k": []any{1.5, true}}} {
		b, _ := msgpack.Marshal(v)
		f.Add(b)
	}
	f.Add([]byte("\xdd\xff\xff\xff\xff"))
	f.Add([]byte("\xc7\x01\x05x"))
	f.Fuzz(func(t *testing.T, b []byte) {
		err := scan(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("untyped: %v", err)
			}
			return
		}
		r := bytes.NewReader(b)
		if err := msgpack.NewDecoder(r).Skip(); err != nil || r.Len() != 0 {
			t.Fatalf("accepted % x, but the decoder: %v, %d bytes left", b, err, r.Len())
		}
	})
}
