package pipeline_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/pipeline"
	"github.com/lighterman/lighterman/provider/sim"
	"github.com/lighterman/lighterman/tool"
)

// A Step is run once: when its operation is tried again, or taken over by another
// worker, its result comes from the checkpoint.
func ExampleStep() {
	perform(nil, func(ctx context.Context, op *pipeline.Op) (any, error) {
		words, err := pipeline.Step(ctx, op, "split", func(context.Context) ([]string, error) {
			fmt.Println("splitting")
			return strings.Fields("why do rivers bend"), nil
		})
		if err != nil {
			return nil, err
		}
		if op.Attempt() == 1 {
			return nil, fmt.Errorf("something passing")
		}
		return len(words), nil
	})
	// Output:
	// splitting
	// attempt 1: something passing
	// attempt 2: 4
}

// Ask puts one message to the operation's model.
func ExampleOp_Ask() {
	models := sim.New(sim.Options{Script: map[string][]sim.Reply{"sim": {{Text: "Faster water cuts the outer bank."}}}})
	perform(models, func(ctx context.Context, op *pipeline.Op) (any, error) {
		return op.Ask(ctx, "why", "Why do rivers bend?")
	})
	// Output:
	// attempt 1: "Faster water cuts the outer bank."
}

// Chat takes a whole chat-completions body and runs the tools that the model asks
// for; the usage is that of all rounds.
func ExampleOp_Chat() {
	perform(nil, func(ctx context.Context, op *pipeline.Op) (any, error) {
		answer, err := op.Chat(ctx, "pilot", json.RawMessage(`{"model":"sim-tools","messages":[{"role":"user","content":"Where?"}]}`), pipeline.Tools("lookup"))
		return answer.Usage.Calls, err
	})
	// Output:
	// attempt 1: 4
}

// Emit tells those who follow the operation how far it is.
func ExampleOp_Emit() {
	perform(nil, func(ctx context.Context, op *pipeline.Op) (any, error) {
		if err := op.Emit(ctx, lm.FrameProgress, `{"pages":3}`); err != nil {
			return nil, err // the claim is lost
		}
		return "told", nil
	})
	// Output:
	// attempt 1: "told"
}

// perform runs a Func as a worker would, up to three attempts, and prints what
// came of them. Where you write a worker, worker.Handle takes the Func; where you
// write a test, lightermantest.Run.
func perform(models *sim.Sim, f pipeline.Func) {
	t := &exampleTB{}
	defer t.end()
	w := onMini(t)
	r := w.rig(func(r *rig) { lookups(t, r.tools, tool.Hidden()) })
	if models != nil {
		r.sim = models
	}
	r.Register("example", f)
	id := w.enqueue(kindRequest("example"))
	claim := w.claim(id)
	for range 3 {
		result, err := r.Handle(ctx, claim)
		if err == nil {
			fmt.Printf("attempt %d: %s\n", claim.Attempts+1, result.Body)
			return
		}
		fmt.Printf("attempt %d: %v\n", claim.Attempts+1, err)
		tries := claim.Attempts + 1
		claim = w.takeover(id)
		claim.Attempts = tries
	}
}

// exampleTB stands in for a *testing.T, which an example has not.
type exampleTB struct {
	testing.TB
	cleanups []func()
}

func (t *exampleTB) Helper()                           {}
func (t *exampleTB) Cleanup(f func())                  { t.cleanups = append(t.cleanups, f) }
func (t *exampleTB) Fatal(args ...any)                 { panic(fmt.Sprint(args...)) }
func (t *exampleTB) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }

func (t *exampleTB) end() {
	for i := len(t.cleanups) - 1; i >= 0; i-- {
		t.cleanups[i]()
	}
}
