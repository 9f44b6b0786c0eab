package sim

import (
	"strings"
	"unicode/utf8"
)

// Bounds of what an answer repeats, in bytes.
const (
	maxEcho   = 120 // of the question
	maxResult = 256 // of each tool result
)

// sentences are what the models know.
var sentences = [...]string{
	"A stream carries what it is given until the slope ends, and then it sets it down in order of weight.",
	"Faster water on the outside of a bend cuts the bank, and slower water on the inside lays the sand down again.",
	"Two barges that meet in a lock wait for each other; the water waits for neither.",
	"A lighterman reads the tide first and the map second, because only one of them is always current.",
	"Where a river is shallow it is loud, and where it is deep it is quiet.",
	"What one boat loses, the next boat downstream takes up from the last lock that was passed.",
}

// shortText is the answer of sim: it repeats the question and adds a sentence
// that the question's hash chooses.
func shortText(question string) string {
	question = clip(question, maxEcho)
	return intro(question) + sentences[first(question)]
}

// longText is the answer of sim-slow: the question and all sentences, from the
// one that sim would say.
func longText(question string) string {
	question = clip(question, maxEcho)
	i := first(question)
	said := append(append([]string(nil), sentences[i:]...), sentences[:i]...)
	return intro(question) + strings.Join(said, " ")
}

func first(question string) int { return int(hash(question) % uint64(len(sentences))) }

// resultText is the last answer of sim-tools.
func resultText(question string, results []string) string {
	if len(results) == 0 {
		return intro(question) + "no tool was called."
	}
	return intro(question) + "the tools said: " + strings.Join(results, " | ")
}

func intro(question string) string {
	if question == "" {
		return "You asked nothing: "
	}
	return `You asked "` + question + `": `
}

// clip cuts a text to at most n bytes, plus dots, between characters.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "..."
}

// cutToken takes the first token off a text that is not empty: a word with the
// space before it. Tokens joined are the text again.
func cutToken(s string) (token, rest string) {
	if i := strings.IndexByte(s[1:], ' '); i >= 0 {
		return s[:i+1], s[i+1:]
	}
	return s, ""
}

func countTokens(s string) int {
	if s == "" {
		return 0
	}
	return 1 + strings.Count(s[1:], " ")
}

// hash is FNV-1a 64, finished by mix.
func hash[T ~string | ~[]byte](s T) uint64 {
	h := uint64(0xcbf29ce484222325)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 0x100000001b3
	}
	return mix(h)
}

// mix is the splitmix64 finaliser (Steele, Lea, Flood 2014).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
