package lighterman

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// StepLine tells of one finished step of an operation: a tool call, a Step of a handler
// or a call of a model that the handler named. An operation keeps its newest 32.
type StepLine struct {
	At      time.Time   `json:"at"`   // server time of its end
	Kind    StepKind    `json:"kind"` // tool, step or call
	Name    string      `json:"name"` // its first 38 bytes
	Outcome StepOutcome `json:"outcome"`
	Took    Seconds     `json:"took_seconds,omitzero"`
}

// StepKind is the kind of a finished step.
type StepKind string

// The kinds of steps.
const (
	ToolStep StepKind = "tool" // a tool that a model called
	FuncStep StepKind = "step" // a Step of a handler
	CallStep StepKind = "call" // an Ask or a Chat of a handler
)

// StepOutcome says how a step ended.
type StepOutcome string

// The outcomes of steps.
const (
	StepOK     StepOutcome = "ok"
	StepFailed StepOutcome = "failed" // the model is told an error, which it may make good
	StepError  StepOutcome = "error"  // the attempt ends
)

// LineField names the Step that carries a StepLine. It goes into the trace and not into
// the checkpoint.
const LineField = "!line"

// stepName bounds a name, so that a line has at most 64 bytes with all numbers in it.
const stepName = 38

// Field is the line on its way to Redis, without the time, which the server adds.
func (l StepLine) Field() Step {
	name := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(l.Name, "?"))
	if len(name) > stepName {
		name = strings.ToValidUTF8(name[:stepName], "")
	}
	return Step{Name: LineField, Data: fmt.Appendf(nil, "%d %.1s%.1s %s", l.Took.Std().Microseconds(), l.Kind, l.Outcome, name)}
}

// ReadStepLine reads a stored line, "MS TOOK KIND-AND-OUTCOME NAME": ms since the trace
// was created, TOOK in us. It returns false for what is none.
func ReadStepLine(value string, created time.Time) (StepLine, bool) {
	parts := strings.SplitN(value, " ", 4)
	if len(parts) < 4 || len(parts[2]) != 2 {
		return StepLine{}, false
	}
	ms, errMS := strconv.ParseInt(parts[0], 10, 64)
	took, errTook := strconv.ParseInt(parts[1], 10, 64)
	kind, outcome := stepKinds[parts[2][0]], stepOutcomes[parts[2][1]]
	if errMS != nil || errTook != nil || kind == "" || outcome == "" {
		return StepLine{}, false
	}
	at := created.Add(time.Duration(ms) * time.Millisecond)
	return StepLine{At: at, Kind: kind, Name: parts[3], Outcome: outcome, Took: Seconds(time.Duration(took) * time.Microsecond)}, true
}

// By the letters that stand for them.
var (
	stepKinds    = map[byte]StepKind{'t': ToolStep, 's': FuncStep, 'c': CallStep}
	stepOutcomes = map[byte]StepOutcome{'o': StepOK, 'f': StepFailed, 'e': StepError}
)
