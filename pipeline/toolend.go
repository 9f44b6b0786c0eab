package pipeline

import (
	"errors"
	"strings"
	"time"

	lm "github.com/lighterman/lighterman"
)

// How a call of a tool ended.
const (
	toolOK     = "ok"
	toolFailed = "failed" // the model is told an error, which it may make good
	toolError  = "error"  // the attempt ends
)

// toolOutcome says how a call ended. What begins with {"error": is an error that a
// tool or its Set tells the model.
func toolOutcome(content string, err error) string {
	switch {
	case err != nil:
		return toolError
	case strings.HasPrefix(content, `{"error":`):
		return toolFailed
	default:
		return toolOK
	}
}

// toolEnded counts a call of a tool and logs one that failed, without what was asked
// or answered: both are the conversation's.
func (o *Op) toolEnded(c toolCall, content string, err error, took time.Duration) {
	name, outcome := c.Function.Name, toolOutcome(content, err)
	if !o.p.opts.Tools.Has(name) {
		name = "unknown" // a model can make up any number of names
	}
	o.p.opts.Metrics.Tools.WithLabelValues(name, outcome).Inc()
	if outcome == toolOK || errors.Is(err, lm.ErrFenced) || errors.Is(err, lm.ErrHandOver) {
		return
	}
	event := o.p.opts.Log.Warn().Str("trace_id", string(o.claim.ID)).Str("tool", name).Str("outcome", outcome).Dur("took_ms", took)
	if err != nil {
		event = event.Str("kind", string(lm.KindOf(err)))
	}
	event.Msg("tool call failed")
}
