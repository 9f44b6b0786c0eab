package worker

import (
	"cmp"
	"regexp"
	"strconv"
	"strings"

	"github.com/lighterman/lighterman/fleet"
)

// small are names of the vendors' models that cost little, the best known first:
// nobody who has named no model is to pay for a large one.
var small = []string{"gpt-5-mini", "gpt-4.1-mini", "gpt-4o-mini", "claude-haiku", "claude-3-5-haiku", "gemini-3-flash", "gemini-2.5-flash", "text-embedding-3-small", "gemini-embedding"}

// cheaper orders models by what a request costs that has named none: those that are
// known to cost little first, then those of a known price by it, then by size; equal
// ones by ID.
func cheaper(a, b *fleet.ModelSpec) int {
	return cmp.Or(
		cmp.Compare(known(a), known(b)),
		cmp.Compare(priceOf(a), priceOf(b)),
		cmp.Compare(sizeOf(a.Name), sizeOf(b.Name)),
		cmp.Compare(a.ID, b.ID),
	)
}

// known is a model's place among the small ones that are known.
func known(m *fleet.ModelSpec) int {
	name := strings.TrimPrefix(m.Name, "models/")
	for i, prefix := range small {
		if strings.HasPrefix(name, prefix) {
			return i
		}
	}
	return len(small)
}

// priceOf is what a million tokens each way cost; unknown is more than any.
func priceOf(m *fleet.ModelSpec) float64 {
	if sum := m.Price.Input + m.Price.Output; sum > 0 {
		return sum
	}
	return 1e9
}

// sizeWords are the sizes that words in names stand for, in about a thousand million
// parameters. Guards judge texts and answer nothing.
var sizeWords = map[string]float64{
	"nano": 1, "tiny": 1, "mini": 4, "lite": 4, "flash": 8, "haiku": 8, "small": 8,
	"medium": 60, "pro": 200, "max": 200, "large": 200, "ultra": 400, "opus": 400, "guard": 1e6, "guard3": 1e6,
}

// unknownSize is that of a name that says nothing.
const unknownSize = 30

// sizePattern is a size in a name: 7b, 1.5b, 8x7b, e4b, 135m.
var sizePattern = regexp.MustCompile(`^(?:(\d+)x)?e?(\d+(?:\.\d+)?)([bm])$`)

// sizeOf guesses a model's size by its name: the number of its parameters where it is
// there, else the smallest that a word in it stands for.
func sizeOf(name string) float64 {
	words := strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return strings.ContainsRune("-_/:@ ", r) })
	size, number := 0.0, 0.0
	for _, w := range words {
		if n := numberOf(w); n > 0 && number == 0 {
			number = n
		}
		n, ok := sizeWords[w]
		switch {
		case ok && n >= 1e6:
			return n
		case ok && (size == 0 || n < size):
			size = n
		}
	}
	return cmp.Or(number, size, unknownSize)
}

func numberOf(word string) float64 {
	m := sizePattern.FindStringSubmatch(word)
	if m == nil {
		return 0
	}
	n, _ := strconv.ParseFloat(m[2], 64)
	if m[3] == "m" {
		n /= 1000
	}
	if times, err := strconv.ParseFloat(m[1], 64); err == nil {
		n *= times
	}
	return n
}
