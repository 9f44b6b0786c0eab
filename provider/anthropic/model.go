package anthropic

import "strings"

// generation is a model's version as its name tells it, times ten: 45 for
// claude-sonnet-4-5-20250929, 50 for claude-opus-5, 35 for claude-3-5-haiku-latest. A
// name without one, and one that is not Claude's, is taken for the newest: aliases of
// gateways are such names, and what it leaves out is refused by no model.
type generation int

const newest generation = 99

// Where the API changed, by the vendor's migration guides.
const (
	claude35   generation = 35 // 8192 tokens of output
	claude37   generation = 37 // thinks within a budget
	claude46   generation = 46 // thinks as it sees fit; how hard is said by an effort
	claude47   generation = 47 // takes no temperature, top_p, top_k or budget; knows the effort xhigh
	claude50   generation = 50 // thinks unless it is told not to
	defaultMax            = 32000
)

// generationOf reads the version off a model's name: the first one or two numbers
// that are too short for a date.
func generationOf(model string) generation {
	if !strings.Contains(strings.ToLower(model), "claude") {
		return newest
	}
	var numbers []int
	for _, piece := range strings.FieldsFunc(model, func(r rune) bool { return strings.ContainsRune("-@._:/", r) }) {
		n, ok := short(piece)
		if !ok && len(numbers) > 0 {
			break
		}
		if ok {
			numbers = append(numbers, n)
		}
		if len(numbers) == 2 {
			break
		}
	}
	switch len(numbers) {
	case 0:
		return newest
	case 1:
		return generation(10 * numbers[0])
	}
	return generation(10*numbers[0] + min(numbers[1], 9))
}

func short(piece string) (int, bool) {
	if len(piece) == 0 || len(piece) > 2 {
		return 0, false
	}
	n := 0
	for _, r := range piece {
		if r < '0' || r > '9' {
			return 0, false
		}
		n = 10*n + int(r-'0')
	}
	return n, true
}

// maxTokens is a bound that every model of the generation takes.
func (g generation) maxTokens() int {
	switch {
	case g < claude35:
		return 4096
	case g < claude37:
		return 8192
	}
	return defaultMax
}

// thinksUnasked: a long silence before the answer is the model's usual way.
func (g generation) thinksUnasked() bool { return g >= claude50 && g != newest }
