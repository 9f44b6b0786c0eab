package checkpoint

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lighterman/lighterman"
)

const testID lighterman.TraceID = "0-order-42"

// write does to a hash what the advance script does with the steps of one
// write: Reset, only ever the first, deletes it; then each field is set, and
// the time.
func write(t testing.TB, hash lighterman.Fields, steps []lighterman.Step) {
	t.Helper()
	for i, s := range steps {
		if s.Name == Reset {
			if i != 0 {
				t.Fatalf("%s at place %d of the write", Reset, i)
			}
			clear(hash)
			continue
		}
		hash[s.Name] = string(s.Data)
	}
	hash[fieldTime] = "1700000000000"
}

func newCodec(t testing.TB, o Options) *Codec {
	t.Helper()
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func open(t testing.TB, c *Codec, hash lighterman.Fields) *Book {
	t.Helper()
	b, err := c.Open(testID, hash)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return b
}

// record records one step and writes its fields, whose names it returns.
func record(t testing.TB, b *Book, hash lighterman.Fields, name, data string) []string {
	t.Helper()
	steps, err := b.Record(name, []byte(data))
	if err != nil {
		t.Fatalf("Record(%q): %v", name, err)
	}
	write(t, hash, steps)
	names := make([]string, len(steps))
	for i, s := range steps {
		names[i] = s.Name
	}
	return names
}

// stored records name, data pairs from an empty book on and returns the hash.
func stored(t testing.TB, c *Codec, pairs ...string) lighterman.Fields {
	t.Helper()
	hash := lighterman.Fields{}
	b := open(t, c, nil)
	for i := 0; i < len(pairs); i += 2 {
		record(t, b, hash, pairs[i], pairs[i+1])
	}
	return hash
}

// holds compares a book with name, data pairs, by order and by name.
func holds(t testing.TB, b *Book, pairs ...string) {
	t.Helper()
	got := []string{}
	for _, s := range b.Steps() {
		got = append(got, s.Name, string(s.Data))
		if data, ok := b.Lookup(s.Name); !ok || string(data) != string(s.Data) || data == nil {
			t.Errorf("Lookup(%q) = %q, %v; Steps has %q", s.Name, data, ok, s.Data)
		}
	}
	if diff := cmp.Diff(append([]string{}, pairs...), got); diff != "" {
		t.Errorf("steps (-want +got):\n%s", clip(diff))
	}
}

// refuses asserts that Open answers with the error and a book of the steps that are
// left, which recovers by replacing the whole hash.
func refuses(t testing.TB, c *Codec, id lighterman.TraceID, hash lighterman.Fields, want error, left ...string) {
	t.Helper()
	hash = maps.Clone(hash)
	b, err := c.Open(id, hash)
	if !errors.Is(err, want) {
		t.Fatalf("Open: %v, want %v", err, want)
	}
	holds(t, b, left...)
	if names := record(t, b, hash, "again", "gathered"); names[0] != Reset {
		t.Fatalf("first write %v does not begin with %s", names, Reset)
	}
	b, err = c.Open(id, hash)
	if err != nil {
		t.Fatalf("after the first write: %v", err)
	}
	holds(t, b, append(left[:len(left):len(left)], "again", "gathered")...)
}

// someText is n bytes that compress very well, even when they are few.
func someText(n int) string {
	const line = "Faster water on the outside cuts the bank; slower water inside lays its sand down. "
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		b.WriteString(line[i%17:])
		b.WriteByte(byte('a' + i*7%26))
	}
	return b.String()[:n]
}

func clip(s string) string { return s[:min(len(s), 2000)] }
