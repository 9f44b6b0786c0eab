package checkpoint

import (
	"maps"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/lighterman/lighterman"
)

func itoa(n int) string { return strconv.Itoa(n) }

// FuzzOpen feeds bytes past the seals, where nothing but the decoders' own
// bounds protects them: typed error or steps, never a panic, never over the
// bound. What opens can be recorded on and opened again.
func FuzzOpen(f *testing.F) {
	codec := newCodec(f, Options{MaxInflate: 1 << 20})
	for _, data := range []string{"", "short", someText(300)} {
		h := stored(f, codec, "g", data, "t", data)
		original, _ := strconv.Atoi(h[fieldOriginal])
		field := h["step:t"]
		f.Add([]byte(h[fieldPayload]), h[fieldCodec] == "zstd", original, []byte(field[bodyAt:]), field[1] == 1, len(data), 1)
	}
	f.Add([]byte("\x91\x82\xa4name\xa1t\xa4data\xc0"), false, 16, []byte("x"), false, 1, 0)
	f.Fuzz(func(t *testing.T, payload []byte, zip bool, original int, body []byte, zipBody bool, bodyOriginal, place int) {
		how := map[bool]coding{true: zipped}[zip]
		hash := resealed(how.String(), string(payload), itoa(original))
		hash["step:t"] = sealedField(hash[fieldChecksum], "t", place, bodyOriginal, map[bool]coding{true: zipped}[zipBody], string(body))
		b, err := codec.Open(testID, hash)
		if err != nil {
			if !typed(err) || len(b.Steps()) != 0 {
				t.Fatalf("%d steps, %v", len(b.Steps()), err)
			}
			return
		}
		want := b.Steps()
		total := 0
		for _, s := range want {
			total += len(s.Data)
		}
		if total > 1<<20+len(payload) {
			t.Fatalf("inflated to %d bytes", total)
		}
		write(t, hash, must(b.Record("zz", []byte("1"))))
		again := open(t, codec, hash).Steps()
		if last := again[len(again)-1]; last.Name == "zz" {
			again = again[:len(again)-1]
			if diff := cmp.Diff(want, again); diff != "" {
				t.Fatal(clip(diff))
			}
		}
	})
}

// FuzzOpenFields replaces one stored field by any bytes: an error, or exactly
// what was stored.
func FuzzOpenFields(f *testing.F) {
	codec := newCodec(f, Options{})
	pairs := []string{"g", someText(200), "t", "sunny"}
	good := stored(f, codec, pairs...)
	for name, value := range good {
		f.Add(name, value)
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		hash := maps.Clone(good)
		hash[name] = value
		b, err := codec.Open(testID, hash)
		if err == nil {
			holds(t, b, pairs...)
		} else if !typed(err) {
			t.Fatal(err)
		} else if n := len(b.Steps()); 2*n <= len(pairs) {
			holds(t, b, pairs[:2*n]...)
		} else {
			t.Fatalf("%d steps, %v", n, err)
		}
	})
}

func must(steps []lighterman.Step, err error) []lighterman.Step {
	if err != nil {
		panic(err)
	}
	return steps
}

// TestBook_Property drives one operation's checkpoint through records,
// takeovers, refused writes, damage and upgrades beside a plain ordered list.
func TestBook_Property(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		schema := 1
		codecOf := func() *Codec {
			ups := map[int]Upgrade{}
			for v := 1; v < schema; v++ {
				ups[v] = suffix("^")
			}
			return newCodec(t, Options{Schema: schema, Upgrades: ups})
		}
		hash := lighterman.Fields{}
		book := open(t, codecOf(), hash)
		var model, durable []StepData
		var unwritten []lighterman.Step
		r.Repeat(map[string]func(*rapid.T){
			"record": func(r *rapid.T) {
				s := StepData{
					Name: rapid.SampledFrom([]string{"gather", "tool:1", "tool:2", "日本", "", "step:x"}).Draw(r, "name"),
					Data: append([]byte{}, rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(r, "data")...),
				}
				model = put(model, s)
				steps, err := book.Record(s.Name, s.Data)
				if err != nil {
					r.Fatal(err)
				}
				unwritten = append(unwritten, steps...)
				if rapid.Bool().Draw(r, "accepted") {
					write(t, hash, unwritten)
					unwritten, durable = nil, clone(model)
				}
			},
			"takeover": func(r *rapid.T) {
				unwritten, model = nil, clone(durable)
				book = open(t, codecOf(), hash)
			},
			"upgrade": func(r *rapid.T) {
				if schema == 4 {
					r.Skip("new enough")
				}
				schema++
				unwritten = nil
				for i := range durable {
					durable[i].Data = append(durable[i].Data, '^')
				}
				model = clone(durable)
				book = open(t, codecOf(), hash)
				// Until something is written, the stored schema is the old one.
				if len(durable) > 0 {
					steps, err := book.Record(durable[0].Name, durable[0].Data)
					if err != nil {
						r.Fatal(err)
					}
					write(t, hash, steps)
				}
			},
			"damage": func(r *rapid.T) {
				if len(durable) == 0 {
					r.Skip("nothing stored")
				}
				hash[fieldPayload] = flip(hash[fieldPayload], rapid.IntRange(0, 8*len(hash[fieldPayload])-1).Draw(r, "bit"))
				b, err := codecOf().Open(testID, hash)
				if !typed(err) {
					r.Fatalf("damage: %v", err)
				}
				book, model, durable, unwritten = b, nil, nil, nil
				steps, err := book.Record("gather", []byte("again"))
				if err != nil {
					r.Fatal(err)
				}
				model = put(model, StepData{"gather", []byte("again")})
				write(t, hash, steps)
				durable = clone(model)
			},
			"": func(r *rapid.T) {
				if diff := cmp.Diff(clone(model), book.Steps()); diff != "" {
					r.Fatalf("book (-want +got):\n%s", clip(diff))
				}
				if diff := cmp.Diff(clone(durable), open(t, codecOf(), hash).Steps()); diff != "" {
					r.Fatalf("stored (-want +got):\n%s", clip(diff))
				}
			},
		})
	})
}

func put(list []StepData, s StepData) []StepData {
	for i := range list {
		if list[i].Name == s.Name {
			list[i] = s
			return list
		}
	}
	return append(list, s)
}

func clone(list []StepData) []StepData {
	var out []StepData
	for _, s := range list {
		out = append(out, StepData{s.Name, append([]byte{}, s.Data...)})
	}
	return out
}
