package checkpoint

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/lighterman/lighterman"
)

// PARITY 16.
func TestParity16_CorruptIsTypedAndRegathered(t *testing.T) {
	codec := newCodec(t, Options{})
	good := stored(t, codec, "gather", someText(300), "tool:1", "sunny", "tool:2", someText(200))
	other := newCodec(t, Options{})
	twin := lighterman.Fields{}
	for i, name := range []string{"gather", "tool:1", "tool:2"} {
		b, err := other.Open("0-other", twin)
		if err != nil {
			t.Fatal(err)
		}
		record(t, b, twin, name, []string{someText(300), "sunny", someText(200)}[i])
	}
	longer := stored(t, codec, "gather", someText(301), "tool:1", "rain")

	change := func(edit func(f lighterman.Fields)) lighterman.Fields {
		f := maps.Clone(good)
		edit(f)
		return f
	}
	cases := map[string]lighterman.Fields{
		"only a time":          {fieldTime: "1"},
		"only a step":          {"step:tool:1": good["step:tool:1"]},
		"another operation's":  twin,
		"wrong codec raw":      change(func(f lighterman.Fields) { f[fieldCodec] = "raw" }),
		"unknown codec":        change(func(f lighterman.Fields) { f[fieldCodec] = "gzip" }),
		"schema 01":            change(func(f lighterman.Fields) { f[fieldSchema] = "01" }),
		"schema 0":             change(func(f lighterman.Fields) { f[fieldSchema] = "0" }),
		"schema out of bounds": change(func(f lighterman.Fields) { f[fieldSchema] = "99999999999999999999" }),
		"checksum in capitals": change(func(f lighterman.Fields) { f[fieldChecksum] = strings.ToUpper(f[fieldChecksum]) }),
		"payload of another operation": change(func(f lighterman.Fields) {
			f[fieldPayload] = twin[fieldPayload] + ""
			f[fieldChecksum] = twin[fieldChecksum]
		}),
		"step of another operation":         change(func(f lighterman.Fields) { f["step:tool:1"] = twin["step:tool:1"] }),
		"steps swapped":                     change(func(f lighterman.Fields) { f["step:tool:1"], f["step:tool:2"] = f["step:tool:2"], f["step:tool:1"] }),
		"step renamed":                      change(func(f lighterman.Fields) { f["step:tool:9"] = f["step:tool:2"]; delete(f, "step:tool:2") }),
		"step twice under two names":        change(func(f lighterman.Fields) { f["step:tool:9"] = f["step:tool:2"] }),
		"step left over from an older base": change(func(f lighterman.Fields) { f["step:tool:1"] = longer["step:tool:1"] }),
		"a step missing between two":        change(func(f lighterman.Fields) { delete(f, "step:tool:1") }),
	}
	for _, name := range []string{fieldSchema, fieldCodec, fieldPayload, fieldOriginal, fieldCompressed, fieldChecksum} {
		cases["missing "+name] = change(func(f lighterman.Fields) { delete(f, name) })
		cases["empty "+name] = change(func(f lighterman.Fields) { f[name] = "" })
	}
	pairs := []string{"gather", someText(300), "tool:1", "sunny", "tool:2", someText(200)}
	kept := map[string]int{ // steps before the one that is lost; else none
		"step of another operation": 1, "steps swapped": 1, "step renamed": 2, "step twice under two names": 3,
		"step left over from an older base": 1, "a step missing between two": 1,
	}
	for name, fields := range cases {
		t.Run(name, func(t *testing.T) {
			counts := map[EventKind]int{}
			codec := newCodec(t, Options{Observe: func(e Event) { counts[e.Kind]++ }})
			refuses(t, codec, testID, fields, ErrCorrupt, pairs[:2*kept[name]]...)
			if counts[Corrupt] != 1 {
				t.Errorf("counted %v, want one corrupt", counts)
			}
		})
	}
	holds(t, open(t, codec, good), "gather", someText(300), "tool:1", "sunny", "tool:2", someText(200))
}

// What can be lost without a trace is the last step, which then runs again.
func TestOpen_LastStepMissingReadsAsNotYetDone(t *testing.T) {
	codec := newCodec(t, Options{})
	hash := stored(t, codec, "a", "1", "b", "2")
	delete(hash, "step:b")
	b := open(t, codec, hash)
	holds(t, b, "a", "1")
	record(t, b, hash, "c", "3")
	holds(t, open(t, codec, hash), "a", "1", "c", "3")
}

// The time is told to people and decides nothing; losing paid work over it
// would cost more than it saves.
func TestOpen_ATimeThatCannotBeReadCostsNothing(t *testing.T) {
	codec := newCodec(t, Options{})
	hash := stored(t, codec, "a", "1")
	hash[fieldTime] = "soon"
	holds(t, open(t, codec, hash), "a", "1")
	delete(hash, fieldTime)
	holds(t, open(t, codec, hash), "a", "1")
}

func TestOpen_EverySingleBitFlipIsDetected(t *testing.T) {
	codec := newCodec(t, Options{})
	for _, pairs := range [][]string{
		{"g", "short", "t1", "sunny"},
		{"g", someText(400), "t1", someText(300), "t2", ""},
	} {
		good := stored(t, codec, pairs...)
		flips := 0
		for name, value := range good {
			if name == fieldTime {
				continue
			}
			for bit := range 8 * len(value) {
				bad := maps.Clone(good)
				bad[name] = flip(value, bit)
				b, err := codec.Open(testID, bad)
				if !typed(err) {
					t.Fatalf("%s, bit %d: error %v", name, bit, err)
				}
				fewer(t, b, pairs...)
				flips++
			}
			for bit := range 8 * len(name) {
				bad := maps.Clone(good)
				delete(bad, name)
				bad[flip(name, bit)] = value
				detectedOrShorter(t, codec, bad, pairs)
			}
		}
		if flips < 8*90 {
			t.Fatalf("only %d flips were tried", flips)
		}
	}
}

func TestOpen_TruncatedAtEveryLengthIsDetected(t *testing.T) {
	codec := newCodec(t, Options{})
	pairs := []string{"g", someText(400), "t1", someText(300), "t2", "sunny"}
	good := stored(t, codec, pairs...)
	for name, value := range good {
		if name == fieldTime {
			continue
		}
		for n := range len(value) {
			bad := maps.Clone(good)
			bad[name] = value[:n]
			b, err := codec.Open(testID, bad)
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%s cut to %d of %d: %v", name, n, len(value), err)
			}
			fewer(t, b, pairs...)
		}
	}
}

// Behind a valid seal nothing else protects the decoders: whatever the bytes,
// they answer with an error or with steps.
func TestOpen_TruncatedBehindAValidSeal(t *testing.T) {
	codec := newCodec(t, Options{})
	for _, data := range []string{"short", someText(400)} {
		good := stored(t, codec, "g", data)
		payload := good[fieldPayload]
		for n := range len(payload) {
			hash := resealed(good[fieldCodec], payload[:n], good[fieldOriginal])
			_, err := codec.Open(testID, hash)
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%s payload cut to %d of %d: %v", good[fieldCodec], n, len(payload), err)
			}
		}
	}
}

func TestOpen_RawBytesOtherThanDeclared(t *testing.T) {
	codec := newCodec(t, Options{})
	good := stored(t, codec, "g", "short")
	declared := fmt.Sprint(len(good[fieldPayload]) + 1)
	refuses(t, codec, testID, resealed("raw", good[fieldPayload], declared), ErrCorrupt)
	good["step:t"] = sealedField(good[fieldChecksum], "t", 1, 4, raw, "sunny")
	refuses(t, codec, testID, good, ErrCorrupt)
}

// A field of a format, a coding or a schema that is not the base's is refused
// behind a valid seal too.
func TestOpen_FieldHeaderIsChecked(t *testing.T) {
	codec := newCodec(t, Options{})
	body := string(codec.enc.EncodeAll([]byte("sunny"), nil))
	for at, value := range map[int]byte{0: 2, 1: 2, 5: 2} {
		hash := stored(t, codec, "g", "short")
		v := []byte(sealedField(hash[fieldChecksum], "t", 1, 5, zipped, body))
		hash["step:t"] = string(v)
		holds(t, open(t, codec, hash), "g", "short", "t", "sunny")
		v[at] = value
		sum := seal(body, "step", string(testID), hash[fieldChecksum], "t", string(v[:sealAt]))
		copy(v[sealAt:], sum[:])
		hash["step:t"] = string(v)
		refuses(t, codec, testID, hash, ErrCorrupt, "g", "short")
	}
}

// One field of twenty is lost, or one is damaged: what was paid for before it is
// kept, and what was made from it is not.
func TestOpen_OneLostFieldOfTwentyKeepsThoseBefore(t *testing.T) {
	codec := newCodec(t, Options{})
	var pairs []string
	for i := range 20 {
		pairs = append(pairs, fmt.Sprintf("step %d", i), someText(100+i))
	}
	good := stored(t, codec, pairs...)
	for _, damage := range []func(lighterman.Fields){
		func(f lighterman.Fields) { delete(f, "step:step 12") },
		func(f lighterman.Fields) { f["step:step 12"] = flip(f["step:step 12"], 300) },
	} {
		hash := maps.Clone(good)
		damage(hash)
		refuses(t, codec, testID, hash, ErrCorrupt, pairs[:24]...)
		steps, err := codec.Transfer(testID, "0-again", hash)
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("Transfer: %v, want that a part is lost", err)
		}
		moved := lighterman.Fields{}
		for _, s := range steps {
			moved[s.Name] = string(s.Data)
		}
		b, err := codec.Open("0-again", moved)
		if err != nil {
			t.Fatal(err)
		}
		holds(t, b, pairs[:24]...)
	}
}

// A newer result of a step of the base is damaged: the older one is not taken for
// it, nor is what came behind it.
func TestOpen_ADamagedNewerResultIsNotReplacedByTheOlder(t *testing.T) {
	codec := newCodec(t, Options{})
	hash := stored(t, codec, "a", "1", "b", "2")
	b := open(t, codec, hash)
	record(t, b, hash, "a", "newer")
	hash["step:a"] = flip(hash["step:a"], 200)
	refuses(t, codec, testID, hash, ErrCorrupt)
}

// fewer asserts that a book holds the first of the pairs, and not all.
func fewer(t testing.TB, b *Book, pairs ...string) {
	t.Helper()
	n := len(b.Steps())
	if 2*n >= len(pairs) {
		t.Fatalf("the book has %d steps of %d", n, len(pairs)/2)
	}
	holds(t, b, pairs[:2*n]...)
}

// detectedOrShorter allows, beside a typed error, only that the last step is
// missing: never other data.
func detectedOrShorter(t *testing.T, codec *Codec, bad lighterman.Fields, pairs []string) {
	t.Helper()
	b, err := codec.Open(testID, bad)
	if err != nil {
		if !typed(err) {
			t.Fatalf("untyped: %v", err)
		}
		return
	}
	steps := b.Steps()
	if len(steps) != len(pairs)/2-1 {
		t.Fatalf("%d steps of %d", len(steps), len(pairs)/2)
	}
	for i, s := range steps {
		if s.Name != pairs[2*i] || string(s.Data) != pairs[2*i+1] {
			t.Fatalf("step %d is %q", i, s.Name)
		}
	}
}

func flip(s string, bit int) string {
	b := []byte(s)
	b[bit/8] ^= 1 << (bit % 8)
	return string(b)
}

func typed(err error) bool {
	var schema *SchemaError
	return errors.Is(err, ErrCorrupt) || errors.Is(err, ErrTooLarge) || errors.As(err, &schema)
}

// resealed makes a base with a valid checksum over whatever payload.
func resealed(how, payload, original string) lighterman.Fields {
	c := raw
	if how == "zstd" {
		c = zipped
	}
	var n int
	_, _ = fmt.Sscan(original, &n)
	return lighterman.Fields{
		fieldSchema: "1", fieldCodec: how, fieldPayload: payload, fieldOriginal: original,
		fieldCompressed: fmt.Sprint(len(payload)),
		fieldChecksum:   sealBase(testID, 1, c, n, payload),
	}
}
