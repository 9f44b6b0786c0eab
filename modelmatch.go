package lighterman

import "strings"

// MatchModel finds the one of all that a model's name means: the same name, else the one
// that differs in nothing but case, Ollama's ":latest" or Gemini's "models/". -1: there
// is none, or more than one that differs so. It allocates nothing.
func MatchModel[T any](name string, all []T, nameOf func(*T) string) int {
	found, more := -1, false
	for i := range all {
		switch other := nameOf(&all[i]); {
		case other == name:
			return i
		case !sameModel(other, name):
		case found >= 0:
			more = true
		default:
			found = i
		}
	}
	if more {
		return -1
	}
	return found
}

// HasModel reports whether a model's name means one of names, as MatchModel says.
func HasModel(name string, names []string) bool {
	return MatchModel(name, names, func(s *string) string { return *s }) >= 0
}

// sameModel compares names, with or without a backend in front, without what APIs add to
// or take off one and the same model.
func sameModel(a, b string) bool {
	backendA, nameA := splitModel(a)
	backendB, nameB := splitModel(b)
	return backendA == backendB && strings.EqualFold(nameA, nameB)
}

// splitModel takes the backend off a name (empty: it names none), and off the rest what
// APIs add.
func splitModel(s string) (backend, name string) {
	s = cutLatest(s)
	if rest, ok := cutModels(s); ok {
		return "", rest
	}
	if backend, rest, ok := strings.Cut(s, "/"); ok {
		rest, _ = cutModels(rest)
		return backend, rest
	}
	return "", s
}

func cutLatest(s string) string {
	const end = ":latest"
	if at := len(s) - len(end); at > 0 && strings.EqualFold(s[at:], end) {
		return s[:at]
	}
	return s
}

func cutModels(s string) (rest string, had bool) {
	const begin = "models/"
	if len(s) > len(begin) && strings.EqualFold(s[:len(begin)], begin) {
		return s[len(begin):], true
	}
	return s, false
}
