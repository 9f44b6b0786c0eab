package lightermantest

import (
	"slices"
	"strings"

	lm "github.com/lighterman/lighterman"
)

// AssertCalledOnce fails the test unless an operation called each name, and none
// of its calls twice: an Ask that runs tools calls its model once per round, each
// time under another key.
func (f *Fleet) AssertCalledOnce(id lm.TraceID, names ...string) {
	f.t.Helper()
	for _, name := range names {
		found := f.CallsOf(id, name)
		if len(found) == 0 {
			f.t.Errorf("%s never called %q; it called:%s", id, name, lines(f.CallsOf(id)))
		}
		f.assertNoRepeat(found)
	}
}

// AssertCalls fails the test unless an operation began n calls of a name in all,
// those included that a kill cut off.
func (f *Fleet) AssertCalls(id lm.TraceID, name string, n int) {
	f.t.Helper()
	if found := f.CallsOf(id, name); len(found) != n {
		f.t.Errorf("%s called %q %d times, want %d:%s", id, name, len(found), n, lines(found))
	}
}

// AssertMembers fails the test unless an operation's model calls were made of these
// models, in this order: each try of each member, those included that failed.
func (f *Fleet) AssertMembers(id lm.TraceID, members ...string) {
	f.t.Helper()
	var called []string
	for _, c := range f.CallsOf(id) {
		if c.What == ModelCall {
			called = append(called, c.Model)
		}
	}
	if !slices.Equal(called, members) {
		f.t.Errorf("%s called the models %v, want %v", id, called, members)
	}
}

// AssertNothingRepeated fails the test if any operation called anything twice
// under the same key: what holds in a fleet without kills and retries.
func (f *Fleet) AssertNothingRepeated() {
	f.t.Helper()
	f.assertNoRepeat(f.Calls())
}

func (f *Fleet) assertNoRepeat(found []Call) {
	f.t.Helper()
	byKey := make(map[string][]Call)
	for _, c := range found {
		byKey[c.Key] = append(byKey[c.Key], c)
	}
	for key, repeated := range byKey {
		if len(repeated) > 1 {
			f.t.Errorf("%s was called %d times:%s", key, len(repeated), lines(repeated))
		}
	}
}

// AssertSucceeded fails the test unless an operation ended well, and returns its
// result.
func (f *Fleet) AssertSucceeded(id lm.TraceID) lm.Result {
	f.t.Helper()
	result := f.Wait(id)
	if result.Outcome != lm.Succeeded {
		f.t.Errorf("%s ended %s: %v", id, result.Outcome, result.Err)
	}
	return result
}

func lines(found []Call) string {
	var b strings.Builder
	for _, c := range found {
		b.WriteString("\n\t" + c.String())
	}
	if b.Len() == 0 {
		return " nothing"
	}
	return b.String()
}
