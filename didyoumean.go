package lighterman

import "strings"

// DidYouMean is the one of from that word was most likely meant to be, or
// empty when none is near: at most one letter in three added, left out,
// replaced or exchanged with its neighbour, and never more than four. Case
// does not count. Of equally near ones the first is taken.
func DidYouMean(word string, from []string) string {
	const longest = 128 // runes; beyond that it is no slip of the finger, and comparing is quadratic
	w := []rune(strings.ToLower(word))
	if len(w) == 0 || len(w) > longest {
		return ""
	}
	best, bound := "", min(max(1, len(w)/3), 4)+1
	for _, candidate := range from {
		c := []rune(strings.ToLower(candidate))
		if len(c) > longest || max(len(c)-len(w), len(w)-len(c)) >= bound {
			continue
		}
		if d := distance(w, c); d < bound {
			best, bound = candidate, d
		}
	}
	return best
}

// distance is the optimal string alignment distance: Levenshtein's, with the
// exchange of neighbours as one edit.
func distance(a, b []rune) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
