package pipeline

import (
	"errors"
	"strings"
	"time"

	lm "github.com/lighterman/lighterman"
)

// toolOutcome says how a call ended. What begins with {"error": is an error that a
// tool or its Set tells the model.
func toolOutcome(content string, err error) lm.StepOutcome {
	switch {
	case err != nil:
		return lm.StepError
	case strings.HasPrefix(content, `{"error":`):
		return lm.StepFailed
	default:
		return lm.StepOK
	}
}

// toolEnded counts a call of a tool and logs one that failed, without what was asked
// or answered: both are the conversation's. It returns the line that tells of the call.
func (o *Op) toolEnded(c toolCall, content string, err error, took time.Duration) lm.StepLine {
	line := lm.StepLine{Kind: lm.ToolStep, Name: c.Function.Name, Outcome: toolOutcome(content, err), Took: lm.Seconds(took)}
	if !o.p.opts.Tools.Has(line.Name) {
		line.Name = "unknown" // a model can make up any number of names
	}
	o.p.opts.Metrics.Tools.WithLabelValues(line.Name, string(line.Outcome)).Inc()
	if line.Outcome == lm.StepOK || errors.Is(err, lm.ErrFenced) || errors.Is(err, lm.ErrHandOver) {
		return line
	}
	event := o.p.opts.Log.Warn().Str("trace_id", string(o.claim.ID)).Str("tool", line.Name).Str("outcome", string(line.Outcome)).Dur("took_ms", took)
	if err != nil {
		event = event.Str("kind", string(lm.KindOf(err)))
	}
	event.Msg("tool call failed")
	return line
}

// ofWork reports whether an error is one of the work itself: the claim was not lost or
// given back, and the work does not ask to be set aside.
func ofWork(err error) bool {
	var parked *lm.Parked
	return !errors.Is(err, lm.ErrFenced) && !errors.Is(err, lm.ErrHandOver) && !errors.As(err, &parked)
}
