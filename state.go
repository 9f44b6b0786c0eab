package lighterman

import "fmt"

// State is where an operation is in its lifecycle. The legal transitions are
// package statemachine's.
type State uint8

// The 14 states. None is the state before the first and of no trace.
const (
	None State = iota
	Received
	Preprocessing
	Queued
	Claimed
	Gathering // PRE_INFERENCE_GATHER
	Inferring
	ToolExecuting
	Postprocessing
	Delivering
	Delivered
	Completed
	Errored
	Retrying
	Reclaimed
	numStates
)

// A state is written by name in the trace and by one letter in paths and in
// the history, which keeps both small.
var states = [numStates]struct {
	name   string
	letter byte
}{
	None:           {"", '-'},
	Received:       {"RECEIVED", 'R'},
	Preprocessing:  {"PREPROCESSING", 'P'},
	Queued:         {"QUEUED", 'Q'},
	Claimed:        {"CLAIMED", 'C'},
	Gathering:      {"PRE_INFERENCE_GATHER", 'G'},
	Inferring:      {"INFERRING", 'I'},
	ToolExecuting:  {"TOOL_EXECUTING", 'T'},
	Postprocessing: {"POSTPROCESSING", 'O'},
	Delivering:     {"DELIVERING", 'D'},
	Delivered:      {"DELIVERED", 'V'},
	Completed:      {"COMPLETED", 'X'},
	Errored:        {"ERRORED", 'E'},
	Retrying:       {"RETRYING", 'W'},
	Reclaimed:      {"RECLAIMED", 'L'},
}

// States lists the 14 states in the order of a plain operation's life.
func States() []State {
	all := make([]State, 0, numStates-1)
	for s := Received; s < numStates; s++ {
		all = append(all, s)
	}
	return all
}

// String is the state's name as Redis, logs and tables show it.
func (s State) String() string {
	if s >= numStates {
		return fmt.Sprintf("State(%d)", uint8(s))
	}
	return states[s].name
}

// Letter is the state's one-letter form in paths and histories.
func (s State) Letter() byte {
	if s >= numStates {
		return '?'
	}
	return states[s].letter
}

// ParseState reads a state's name.
func ParseState(name string) (State, error) {
	for s, v := range states {
		if v.name == name && s != int(None) {
			return State(s), nil
		}
	}
	return None, fmt.Errorf("state %q: unknown", clip(name))
}

// StateOf reads a state's letter; None when there is no such state.
func StateOf(letter byte) State {
	for s := Received; s < numStates; s++ {
		if states[s].letter == letter {
			return s
		}
	}
	return None
}

// MarshalText writes the name.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the name; empty is None.
func (s *State) UnmarshalText(b []byte) (err error) {
	if len(b) == 0 {
		*s = None
		return nil
	}
	*s, err = ParseState(string(b))
	return err
}

// Outcome says how a COMPLETED operation ended; empty while it has not.
type Outcome string

// The four outcomes.
const (
	Succeeded Outcome = "succeeded"
	Failed    Outcome = "failed"
	Cancelled Outcome = "cancelled"
	Expired   Outcome = "expired"
)
