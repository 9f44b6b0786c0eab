package statemachine

import lm "github.com/lighterman/lighterman"

// Path is the shortest way from one state to another that does not pass
// ERRORED, without from and with to; empty when they are equal, nil when there
// is no such way.
//
// The slice is shared; do not change it.
func Path(from, to lm.State) []lm.State { return paths[[2]lm.State{from, to}] }

// paths holds every answer of Path, because each operation asks several times.
var paths = func() map[[2]lm.State][]lm.State {
	all := make(map[[2]lm.State][]lm.State)
	for _, from := range lm.States() {
		for _, to := range lm.States() {
			all[[2]lm.State{from, to}] = search(from, to, func(s lm.State) bool { return s != lm.Errored || to == lm.Errored })
		}
	}
	return all
}()

// PathFailed is the shortest way from a state through ERRORED to COMPLETED,
// the way of every outcome but succeeded; nil from COMPLETED.
func PathFailed(from lm.State) []lm.State {
	if from == lm.Errored {
		return []lm.State{lm.Completed}
	}
	if path := search(from, lm.Errored, func(s lm.State) bool { return s != lm.Completed }); path != nil {
		return append(path, lm.Completed)
	}
	return nil
}

// PathRetry is the shortest way from a state through ERRORED to RETRYING; nil
// when there is none.
func PathRetry(from lm.State) []lm.State {
	if path := search(from, lm.Errored, func(s lm.State) bool { return s != lm.Completed }); path != nil {
		return append(path, lm.Retrying)
	}
	return nil
}

// search walks the table breadth first over the states that may be entered.
func search(from, to lm.State, enter func(lm.State) bool) []lm.State {
	if from == to {
		return []lm.State{}
	}
	came := map[lm.State]lm.State{from: lm.None}
	for queue := []lm.State{from}; len(queue) > 0; queue = queue[1:] {
		for _, next := range successors[queue[0]] {
			if _, seen := came[next]; seen || !enter(next) {
				continue
			}
			came[next] = queue[0]
			if next == to {
				return backtrack(came, to)
			}
			queue = append(queue, next)
		}
	}
	return nil
}

func backtrack(came map[lm.State]lm.State, to lm.State) []lm.State {
	var path []lm.State
	for s := to; came[s] != lm.None; s = came[s] {
		path = append([]lm.State{s}, path...)
	}
	return path
}
