package pipeline

import (
	"context"
	"encoding/json"
	"strconv"
	"sync"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/failpoint"
	"golang.org/x/sync/errgroup"
)

// converse calls the model, runs the tools it asks for, and calls it again with
// what they said, until it answers. prefix begins the names of the rounds. The
// last answer is recorded only when keep is set: a kind that returns it at once
// saves it with the finishing write.
func (o *Op) converse(ctx context.Context, step, prefix string, body json.RawMessage, keep bool, options *callOptions) (lm.Answer, error) {
	talk, err := newTalk(body, o.p.opts.Tools, options.tools)
	if err != nil {
		return lm.Answer{}, err
	}
	var usage lm.Usage
	for round := 1; ; round++ {
		name, began := prefix+"turn:"+strconv.Itoa(round), time.Now()
		answer, restored, err := o.infer(ctx, utterance{step: step, name: name, kind: "chat", silent: options.silent, model: options.model}, talk.body())
		if err != nil {
			return lm.Answer{}, err
		}
		usage = usage.Add(answer.Usage)
		var lines []lm.StepLine // a handler's calls have names, those of a built-in kind are its states
		if step != "" {
			lines = append(lines, lm.StepLine{Kind: lm.CallStep, Name: step, Outcome: lm.StepOK, Took: lm.Seconds(time.Since(began))})
		}
		message, calls := toolCalls(answer.Body)
		if len(calls) == 0 || !talk.runs(calls) {
			if options.asks && len(calls) > 0 && (lm.Result{Body: answer.Body}).Text() == "" {
				return lm.Answer{}, lm.Errorf(lm.ProviderFailed, "the model called a tool that it was not offered, and said nothing")
			}
			if keep && !restored {
				err = o.saveAnswer(ctx, name, answer, lm.Inferring, lines...)
			}
			answer.Usage = usage
			return answer, err
		}
		if round > o.p.opts.MaxToolRounds {
			return lm.Answer{}, lm.Errorf(lm.PermanentFailure, "the model asked for tools in more than %d rounds", o.p.opts.MaxToolRounds)
		}
		if !restored {
			if err := o.saveAnswer(ctx, name, answer, lm.ToolExecuting, lines...); err != nil {
				return lm.Answer{}, err
			}
		}
		contents, err := o.runTools(ctx, talk, prefix+"tool:"+strconv.Itoa(round), calls)
		if err != nil {
			return lm.Answer{}, err
		}
		if err := talk.add(message, calls, contents); err != nil {
			return lm.Answer{}, err
		}
	}
}

// toolsAtOnce bounds how many tools of one answer run at the same time.
const toolsAtOnce = 8

// runTools runs the tool calls of one answer, each once in the life of the
// operation, and returns their contents in order. With the last one's result it
// is recorded that inference goes on. After an error no further tool begins, and
// those that run are waited for and recorded.
func (o *Op) runTools(ctx context.Context, talk *talk, prefix string, calls []toolCall) ([]string, error) {
	contents := make([]string, len(calls))
	var open []int
	for i, c := range calls {
		if data, ok := o.lookup(toolName(prefix, i, c)); ok {
			contents[i] = string(data)
			continue
		}
		open = append(open, i)
	}
	if len(open) == 0 {
		return contents, nil
	}
	if err := o.enter(ctx, lm.ToolExecuting); err != nil {
		return nil, err
	}
	var mu sync.Mutex // over left and the record that it decides
	left := len(open)
	group, going := errgroup.WithContext(ctx)
	group.SetLimit(toolsAtOnce)
	for _, i := range open {
		group.Go(func() error {
			if going.Err() != nil {
				return context.Cause(going)
			}
			name := toolName(prefix, i, calls[i])
			content, line, err := o.runTool(ctx, talk, name, calls[i])
			if err != nil {
				if line.Kind != "" && ofWork(err) {
					o.tell(ctx, line)
				}
				return err
			}
			contents[i] = content
			mu.Lock()
			defer mu.Unlock()
			left--
			next := lm.ToolExecuting
			if left == 0 {
				next = lm.Inferring
			}
			return o.record(ctx, name, []byte(content), next, line)
		})
	}
	return contents, group.Wait()
}

// toolName names a tool call in the checkpoint. The model's ID alone would not do:
// some send none, or the same twice.
func toolName(prefix string, i int, c toolCall) string {
	return prefix + ":" + strconv.Itoa(i) + ":" + c.ID
}

// runTool also returns the line that tells of the call; an empty one where none was
// begun.
func (o *Op) runTool(ctx context.Context, talk *talk, name string, c toolCall) (string, lm.StepLine, error) {
	select {
	case <-o.claim.Draining:
		return "", lm.StepLine{}, lm.ErrHandOver
	default:
	}
	if !talk.may(c.Function.Name) {
		content := talk.unknown(c.Function.Name)
		return content, o.toolEnded(c, content, nil, 0), nil
	}
	failpoint.At("tool")
	o.edge("before tool", name)
	began := time.Now()
	content, err := o.p.opts.Tools.Call(ctx, lm.ToolCall{
		ID: c.ID, Name: c.Function.Name, Arguments: json.RawMessage(c.Function.Arguments), Key: o.Key(name), Trace: o.claim.ID,
	})
	o.p.opts.Metrics.stage(lm.ToolExecuting, began)
	line := o.toolEnded(c, content, err, time.Since(began))
	if err == nil {
		o.edge("after tool", name)
	}
	return content, line, err
}
