package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/failpoint"
)

// Step runs fn once in the life of an operation: its result is checkpointed as
// JSON, and after a takeover or a retry it is returned without running fn again.
// A crash while fn runs runs it again, with the same Op.Key. The name must be
// unique in the operation and the same in every run. An error of fn is not
// recorded. Before the first model call a Step belongs to PRE_INFERENCE_GATHER,
// afterwards to TOOL_EXECUTING.
func Step[T any](ctx context.Context, op *Op, name string, fn func(ctx context.Context) (T, error)) (T, error) {
	var zero, result T
	if err := op.use(name); err != nil {
		return zero, err
	}
	if data, ok := op.lookup("step/" + name); ok {
		if err := json.Unmarshal(data, &result); err != nil {
			return zero, lm.Permanent(fmt.Errorf("step %q: its recorded result does not fit %T: %w", name, zero, err))
		}
		return result, nil
	}
	stage, edge := op.stepStage()
	if err := op.enter(ctx, stage); err != nil {
		return zero, err
	}
	failpoint.At(edge)
	op.edge("before step", name)
	began := time.Now()
	result, err := fn(ctx)
	line := lm.StepLine{Kind: lm.FuncStep, Name: name, Outcome: lm.StepOK, Took: lm.Seconds(time.Since(began))}
	op.p.opts.Metrics.stage(stage, began)
	if err != nil {
		if line.Outcome = lm.StepError; ofWork(err) {
			op.tell(ctx, line)
		}
		return zero, err
	}
	op.edge("after step", name)
	data, err := json.Marshal(result)
	if err != nil {
		return zero, lm.Permanent(fmt.Errorf("step %q: encode its result: %w", name, err))
	}
	if err := op.record(ctx, "step/"+name, data, lm.None, line); err != nil {
		return zero, fmt.Errorf("save step %q: %w", name, err)
	}
	return result, nil
}

// stepStage is the stage that a Step belongs to now, and its failpoint.
func (o *Op) stepStage() (lm.State, string) {
	o.state.Lock()
	defer o.state.Unlock()
	if o.called {
		return lm.ToolExecuting, "tool"
	}
	return lm.Gathering, "gather"
}
