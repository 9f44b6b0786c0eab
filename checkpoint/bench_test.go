package checkpoint

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/lighterman/lighterman"
)

var benchSizes = []int{2 << 10, 256 << 10}

// words is n bytes of words from a vocabulary of 2,000, which compress about as
// well as prose: to less than a half.
func words(n int) string {
	r := rand.New(rand.NewPCG(1, 2))
	vocabulary := make([]string, 2000)
	for i := range vocabulary {
		w := make([]byte, 2+r.IntN(8))
		for j := range w {
			w[j] = 'a' + byte(r.IntN(26))
		}
		vocabulary[i] = string(w)
	}
	var b strings.Builder
	for b.Len() < n {
		b.WriteString(vocabulary[min(r.IntN(2000), r.IntN(2000))])
		b.WriteByte(' ')
	}
	return b.String()[:n]
}

// BenchmarkRecordBase is the first write of an operation.
func BenchmarkRecordBase(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprintf("%dKiB", n>>10), func(b *testing.B) {
			codec, data := newCodec(b, Options{}), []byte(words(n))
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				book, _ := codec.Open(testID, nil)
				must(book.Record("gather", data))
			}
		})
	}
}

// BenchmarkRecordField is a later write: one step's own field.
func BenchmarkRecordField(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprintf("%dKiB", n>>10), func(b *testing.B) {
			codec, data := newCodec(b, Options{}), []byte(words(n))
			book, _ := codec.Open(testID, nil)
			must(book.Record("gather", nil))
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				must(book.Record("tool:1", data))
			}
		})
	}
}

// BenchmarkOpen recovers a base and one field, each of half the size.
func BenchmarkOpen(b *testing.B) {
	for _, n := range benchSizes {
		b.Run(fmt.Sprintf("%dKiB", n>>10), func(b *testing.B) {
			codec := newCodec(b, Options{})
			hash := stored(b, codec, "gather", words(n/2), "tool:1", words(n/2))
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := codec.Open(testID, hash); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A codec serves all operations of a worker at once, and a book all tools of
// one operation; run with -race.
func TestCodec_Concurrent(t *testing.T) {
	codec := newCodec(t, Options{})
	shared := open(t, codec, nil)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			id := lighterman.NewTraceID(0, fmt.Sprint(i))
			hash := lighterman.Fields{}
			for j := range 20 {
				book, err := codec.Open(id, hash)
				if err != nil {
					t.Errorf("open %s: %v", id, err)
					return
				}
				write(t, hash, must(book.Record(fmt.Sprint(j), []byte(someText(100*i+j)))))
				must(shared.Record(fmt.Sprint(i, "-", j), []byte("x")))
				shared.Lookup("0-0")
			}
			book, err := codec.Open(id, hash)
			if err != nil || len(book.Steps()) != 20 {
				t.Errorf("%s: %v", id, err)
				return
			}
			for j, s := range book.Steps() {
				if string(s.Data) != someText(100*i+j) {
					t.Errorf("%s step %d is another's", id, j)
				}
			}
		})
	}
	all.Wait()
	if n := len(shared.Steps()); n != 160 {
		t.Errorf("%d shared steps", n)
	}
}
