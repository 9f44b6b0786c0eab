package statemachine

import (
	"os"
	"slices"
	"strings"
	"testing"

	lm "github.com/lighterman/lighterman"
)

// edges are the 32 transitions of the design, written down once more by
// successor: letters of package lighterman.
var edges = map[byte]string{
	'R': "PQE", 'P': "QE", 'Q': "CE", 'C': "GEL", 'G': "IEL", 'I': "TOEL", 'T': "IEL", 'O': "IDEL",
	'D': "VE", 'V': "XE", 'X': "", 'E': "XW", 'W': "Q", 'L': "C",
}

func TestTable_14StatesAnd32Transitions(t *testing.T) {
	states, transitions := lm.States(), 0
	if len(states) != 14 || len(edges) != 14 || len(predecessors) != 14 {
		t.Fatalf("%d states, %d in the table", len(states), len(predecessors))
	}
	for _, from := range states {
		for _, to := range states {
			want := strings.IndexByte(edges[from.Letter()], to.Letter()) >= 0
			if got := IsValidTransition(from, to); got != want {
				t.Errorf("%s -> %s: %v, want %v", from, to, got, want)
			}
			if want {
				transitions++
			}
		}
	}
	if transitions != 32 {
		t.Errorf("%d transitions", transitions)
	}
	for _, odd := range []lm.State{lm.None, lm.State(15), lm.State(200)} {
		for _, s := range states {
			if IsValidTransition(odd, s) || IsValidTransition(s, odd) {
				t.Errorf("%d and %s are joined", odd, s)
			}
		}
	}
}

// TestLua_IncludeIsGenerated holds the committed include against the table.
func TestLua_IncludeIsGenerated(t *testing.T) {
	b, err := os.ReadFile("../lua/include/states.lua")
	if err != nil {
		t.Fatal(err)
	}
	if string(b) != Lua() {
		t.Error("lua/include/states.lua is not what the table says: go generate ./statemachine")
	}
	for from, to := range edges {
		if line := "  " + string(from) + " = '" + to + "',\n"; !strings.Contains(Lua(), line) {
			t.Errorf("no line %q", line)
		}
	}
}

func text(path []lm.State) string {
	if path == nil {
		return "none"
	}
	var b strings.Builder
	for _, s := range path {
		b.WriteByte(s.Letter())
	}
	return b.String()
}

func TestPath_Table(t *testing.T) {
	for _, row := range []struct{ from, to, want string }{
		{"R", "Q", "Q"}, {"Q", "C", "C"}, {"C", "I", "GI"}, {"C", "T", "GIT"}, {"I", "X", "ODVX"}, {"T", "X", "IODVX"}, {"O", "X", "DVX"},
		{"D", "X", "VX"}, {"V", "X", "X"}, {"L", "C", "C"}, {"W", "Q", "Q"}, {"L", "I", "CGI"}, {"R", "X", "QCGIODVX"}, {"C", "C", ""}, {"X", "X", ""},
		{"O", "T", "IT"}, {"O", "I", "I"}, {"C", "L", "L"}, {"I", "L", "L"}, {"C", "E", "E"}, {"E", "X", "X"}, {"E", "Q", "WQ"},
		{"X", "Q", "none"}, {"I", "W", "none"}, {"V", "D", "none"}, {"X", "E", "none"}, {"I", "R", "none"}, {"D", "L", "none"}, {"C", "Q", "none"},
	} {
		if got := text(Path(lm.StateOf(row.from[0]), lm.StateOf(row.to[0]))); got != row.want {
			t.Errorf("%s to %s: %s, want %s", row.from, row.to, got, row.want)
		}
	}
}

// TestPath_EveryOneIsLegalShortestAndAvoidsErrored, for all pairs.
func TestPath_EveryOneIsLegalShortestAndAvoidsErrored(t *testing.T) {
	for _, from := range lm.States() {
		for _, to := range lm.States() {
			path := Path(from, to)
			if (path == nil) != (distance(from, to) < 0) || path != nil && len(path) != distance(from, to) {
				t.Errorf("%s to %s: %s, distance %d", from, to, text(path), distance(from, to))
			}
			walk(t, from, path)
			if len(path) > 0 && (path[len(path)-1] != to || slices.Contains(path[:len(path)-1], lm.Errored)) {
				t.Errorf("%s to %s: %s", from, to, text(path))
			}
		}
	}
}

// distance is the least number of hops that do not pass ERRORED, -1 for none, by
// relaxing the edges as often as there are states.
func distance(from, to lm.State) int {
	d := map[byte]int{from.Letter(): 0}
	for range 14 {
		for a, after := range edges {
			at, known := d[a]
			if !known || a == 'E' && a != from.Letter() {
				continue
			}
			for _, b := range []byte(after) {
				if old, known := d[b]; !known || at+1 < old {
					d[b] = at + 1
				}
			}
		}
	}
	if n, ok := d[to.Letter()]; ok {
		return n
	}
	return -1
}

func walk(t *testing.T, from lm.State, path []lm.State) {
	t.Helper()
	for _, to := range path {
		if !IsValidTransition(from, to) {
			t.Errorf("the path %s has no edge %s -> %s", text(path), from, to)
		}
		from = to
	}
}

func TestPathFailedAndPathRetry(t *testing.T) {
	for _, row := range []struct{ from, failed, retry string }{
		{"R", "EX", "EW"}, {"P", "EX", "EW"}, {"Q", "EX", "EW"}, {"C", "EX", "EW"}, {"G", "EX", "EW"}, {"I", "EX", "EW"}, {"T", "EX", "EW"},
		{"O", "EX", "EW"}, {"D", "EX", "EW"}, {"V", "EX", "EW"}, {"E", "X", "W"}, {"W", "QEX", "QEW"}, {"L", "CEX", "CEW"}, {"X", "none", "none"},
	} {
		from := lm.StateOf(row.from[0])
		if got := text(PathFailed(from)); got != row.failed {
			t.Errorf("failed from %s: %s, want %s", from, got, row.failed)
		}
		if got := text(PathRetry(from)); got != row.retry {
			t.Errorf("retry from %s: %s, want %s", from, got, row.retry)
		}
		walk(t, from, PathFailed(from))
		walk(t, from, PathRetry(from))
	}
	a := PathFailed(lm.Claimed)
	a[0] = lm.None // a caller's own
	if text(PathFailed(lm.Claimed)) != "EX" || text(Path(lm.Claimed, lm.Errored)) != "E" {
		t.Error("the slice is shared")
	}
}

func BenchmarkPath(b *testing.B) {
	for b.Loop() {
		if len(Path(lm.Inferring, lm.Completed)) != 4 {
			b.Fatal()
		}
	}
}
