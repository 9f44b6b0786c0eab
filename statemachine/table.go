package statemachine

import (
	"fmt"
	"strings"

	lm "github.com/lighterman/lighterman"
)

// predecessors is the whole lifecycle: from which states each may be entered.
// It has 32 transitions; the Lua include is generated from it.
var predecessors = []struct {
	to   lm.State
	from []lm.State
}{
	{lm.Received, nil},
	{lm.Preprocessing, []lm.State{lm.Received}},
	{lm.Queued, []lm.State{lm.Received, lm.Preprocessing, lm.Retrying}},
	{lm.Claimed, []lm.State{lm.Queued, lm.Reclaimed}},
	{lm.Gathering, []lm.State{lm.Claimed}},
	{lm.Inferring, []lm.State{lm.Gathering, lm.ToolExecuting, lm.Postprocessing}},
	{lm.ToolExecuting, []lm.State{lm.Inferring}},
	{lm.Postprocessing, []lm.State{lm.Inferring}},
	{lm.Delivering, []lm.State{lm.Postprocessing}},
	{lm.Delivered, []lm.State{lm.Delivering}},
	{lm.Completed, []lm.State{lm.Delivered, lm.Errored}},
	{lm.Errored, []lm.State{
		lm.Received, lm.Preprocessing, lm.Queued, lm.Claimed, lm.Gathering, lm.Inferring,
		lm.ToolExecuting, lm.Postprocessing, lm.Delivering, lm.Delivered,
	}},
	{lm.Retrying, []lm.State{lm.Errored}},
	{lm.Reclaimed, []lm.State{lm.Claimed, lm.Gathering, lm.Inferring, lm.ToolExecuting, lm.Postprocessing}},
}

// successors is predecessors read the other way, by state.
var successors = func() map[lm.State][]lm.State {
	next := make(map[lm.State][]lm.State, len(predecessors))
	for _, row := range predecessors {
		for _, from := range row.from {
			next[from] = append(next[from], row.to)
		}
	}
	return next
}()

// IsValidTransition reports whether the lifecycle has the edge from -> to.
func IsValidTransition(from, to lm.State) bool {
	for _, s := range successors[from] {
		if s == to {
			return true
		}
	}
	return false
}

// Lua renders the table as the include that the scripts enforce. A test holds
// the committed file against it.
func Lua() string {
	var names, letters, next strings.Builder
	for _, s := range lm.States() {
		fmt.Fprintf(&names, "  %c = '%s',\n", s.Letter(), s)
		fmt.Fprintf(&letters, "  %s = '%c',\n", s, s.Letter())
		var after strings.Builder
		for _, to := range successors[s] {
			after.WriteByte(to.Letter())
		}
		fmt.Fprintf(&next, "  %c = '%s',\n", s.Letter(), after.String())
	}
	return "-- Generated from statemachine/table.go by go generate ./statemachine; do not edit.\n" +
		"-- NAMES: letter to state name. LETTERS: the reverse. NEXT: letter to the letters that may follow.\n" +
		"local NAMES = {\n" + names.String() + "}\n" +
		"local LETTERS = {\n" + letters.String() + "}\n" +
		"local NEXT = {\n" + next.String() + "}\n"
}
