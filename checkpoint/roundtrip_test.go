package checkpoint

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lighterman/lighterman"
)

// PARITY 13.
func TestParity13_RoundTrip(t *testing.T) {
	noise := make([]byte, 8<<20-2048) // leaves room for the structure around it
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	nested := strings.Repeat(`{"a":[`, 500) + strings.Repeat(`]}`, 500)
	for _, c := range []struct {
		name  string
		pairs []string
	}{
		{"empty data", []string{"gather", ""}},
		{"empty name", []string{"", "x"}},
		{"empty data in a field", []string{"gather", "x", "tool:1", ""}},
		{"unicode", []string{"gather: 日本 🛶", "Flüsse mäandern — 川は曲がる\x00\xff", "tool:\n\x00é", "ok"}},
		{"names like our fields", []string{"codec", "1", "step:x", "2", Reset, "3", "step:", "4"}},
		{"nested", []string{"gather", nested, "tool:1", nested}},
		{"8 MiB of text", []string{"gather", someText(8 << 20)}},
		{"8 MiB of text in a field", []string{"gather", "", "tool:1", someText(8 << 20)}},
		{"8 MiB of noise", []string{"gather", string(noise)}},
		{"8 MiB of noise in a field", []string{"gather", "", "tool:1", string(noise)}},
		{"one step replaced", []string{"a", "1", "b", "2", "c", "3"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			codec := newCodec(t, Options{})
			holds(t, open(t, codec, stored(t, codec, c.pairs...)), c.pairs...)
		})
	}
}

func TestOpen_NothingStoredIsAnEmptyBook(t *testing.T) {
	codec := newCodec(t, Options{})
	for _, fields := range []lighterman.Fields{nil, {}} {
		b := open(t, codec, fields)
		holds(t, b)
		if _, ok := b.Lookup("gather"); ok {
			t.Error("an empty book knows a step")
		}
		if names := record(t, b, lighterman.Fields{}, "gather", "x"); names[0] == Reset {
			t.Errorf("first write %v resets a hash that does not exist", names)
		}
	}
}

func TestRecord_FirstWritesBaseThenOneFieldEach(t *testing.T) {
	codec := newCodec(t, Options{})
	hash := lighterman.Fields{}
	b := open(t, codec, nil)
	base := []string{fieldSchema, fieldCodec, fieldPayload, fieldOriginal, fieldCompressed, fieldChecksum}
	if diff := cmp.Diff(base, record(t, b, hash, "gather", someText(4096))); diff != "" {
		t.Errorf("first write (-want +got):\n%s", diff)
	}
	for i := range 3 {
		name := fmt.Sprintf("tool:%d", i)
		if diff := cmp.Diff([]string{"step:" + name}, record(t, b, hash, name, "sunny")); diff != "" {
			t.Errorf("later write (-want +got):\n%s", diff)
		}
	}
	again := open(t, codec, hash)
	if diff := cmp.Diff([]string{"step:infer"}, record(t, again, hash, "infer", "42")); diff != "" {
		t.Errorf("first write after a takeover (-want +got):\n%s", diff)
	}
	holds(t, open(t, codec, hash), "gather", someText(4096), "tool:0", "sunny", "tool:1", "sunny", "tool:2", "sunny", "infer", "42")
}

func TestRecord_SameNameReplacesAndKeepsItsPlace(t *testing.T) {
	codec := newCodec(t, Options{})
	hash := stored(t, codec, "a", "1", "b", "2", "c", "3")
	b := open(t, codec, hash)
	record(t, b, hash, "b", "two")
	record(t, b, hash, "a", "one") // in the base: its field wins over it
	record(t, b, hash, "d", "4")
	record(t, b, hash, "a", "uno")
	want := []string{"a", "uno", "b", "two", "c", "3", "d", "4"}
	holds(t, b, want...)
	holds(t, open(t, codec, hash), want...)
}

func TestRecord_KeepsItsOwnCopy(t *testing.T) {
	b := open(t, newCodec(t, Options{}), nil)
	for _, name := range []string{"base", "field"} {
		data := []byte("first")
		if _, err := b.Record(name, data); err != nil {
			t.Fatal(err)
		}
		copy(data, "XXXXX")
	}
	holds(t, b, "base", "first", "field", "first")
}

func TestRecord_RefusedWriteGoesWithTheNext(t *testing.T) {
	codec := newCodec(t, Options{})
	hash := lighterman.Fields{"schema_version": "x", "step:old": "y"}
	b, _ := codec.Open(testID, hash)
	first, _ := b.Record("a", []byte("1"))
	second, _ := b.Record("b", []byte("2"))
	write(t, hash, append(first, second...))
	holds(t, open(t, codec, hash), "a", "1", "b", "2")
}

func TestCompress_KeepsTheSmaller(t *testing.T) {
	codec := newCodec(t, Options{})
	for data, want := range map[string]string{"short": "raw", someText(4096): "zstd"} {
		hash := stored(t, codec, "gather", data, "tool", data)
		if hash[fieldCodec] != want {
			t.Errorf("%d bytes: codec %s, want %s", len(data), hash[fieldCodec], want)
		}
		if got := coding(hash["step:tool"][1]).String(); got != want {
			t.Errorf("%d bytes in a field: codec %s, want %s", len(data), got, want)
		}
		if want == "zstd" && len(hash["step:tool"]) > len(data)/4 {
			t.Errorf("%d bytes of text stored as %d", len(data), len(hash["step:tool"]))
		}
	}
}

func TestTransfer_OpensUnderTheNewIDOnly(t *testing.T) {
	codec := newCodec(t, Options{})
	hash := stored(t, codec, "a", "1", "b", "2", "b", "two")
	steps, err := codec.Transfer(testID, "3-retry", hash)
	if err != nil {
		t.Fatal(err)
	}
	moved := lighterman.Fields{}
	write(t, moved, steps)
	b, err := codec.Open("3-retry", moved)
	if err != nil {
		t.Fatal(err)
	}
	holds(t, b, "a", "1", "b", "two")
	refuses(t, codec, testID, moved, ErrCorrupt)
	if steps, err := codec.Transfer(testID, "3-retry", nil); steps != nil || err != nil {
		t.Errorf("Transfer of nothing = %v, %v", steps, err)
	}
}
