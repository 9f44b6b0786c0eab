package pipeline_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/consumer"
	"github.com/lighterman/lighterman/pipeline"
	"github.com/lighterman/lighterman/provider/sim"
	"github.com/lighterman/lighterman/tool"
)

// program is a Func that calls what a rig counts.
type program func(ctx context.Context, r *rig, op *pipeline.Op) (any, error)

func (r *rig) register(f program) {
	r.Register("test", func(ctx context.Context, op *pipeline.Op) (any, error) { return f(ctx, r, op) })
}

// run is a program of steps and questions: "s NAME" is a Step, "a NAME" an Ask of
// sim, "t NAME" an Ask that runs three rounds of tools.
func run(parts ...[2]string) program {
	return func(ctx context.Context, r *rig, op *pipeline.Op) (any, error) {
		var said []string
		for _, p := range parts {
			var text string
			var err error
			switch p[0] {
			case "s":
				text, err = r.step(ctx, op, p[1])
			case "a":
				text, err = op.Ask(ctx, p[1], "what of "+p[1])
			case "t":
				var answer lm.Answer
				answer, err = op.Chat(ctx, p[1], body("model", sim.Tools, "messages", user("tell "+p[1])), pipeline.Tools(pipeline.AnyTool))
				text = lm.Result{Body: answer.Body}.Text()
			}
			if err != nil {
				return nil, err
			}
			said = append(said, text)
		}
		return said, nil
	}
}

// lookups adds the tool that sim-tools calls.
func lookups(t testing.TB, set *tool.Set, options ...tool.Option) {
	t.Helper()
	lookup, handler := tool.Lookup(nil)
	if err := set.Add(lookup, handler, options...); err != nil {
		t.Fatal(err)
	}
}

// The state follows what a Func does, and one write enters a stage.
func TestHandle_TheStateFollowsWhatTheFuncDoes(t *testing.T) {
	failedAsk := func(ctx context.Context, r *rig, op *pipeline.Op) (any, error) {
		if _, err := op.Chat(ctx, "q", body("model", "nobody", "messages", user("x"))); lm.KindOf(err) != lm.ModelNotFound {
			return nil, err
		}
		return r.step(ctx, op, "instead")
	}
	for _, tt := range []struct {
		name string
		run  program
		want string
	}{
		{"return", run(), "RQ C GIODVX"},
		{"a step", run([2]string{"s", "1"}), "RQ C G IODVX"},
		{"two steps", run([2]string{"s", "1"}, [2]string{"s", "2"}), "RQ C G IODVX"},
		{"an ask", run([2]string{"a", "1"}), "RQ C GI ODVX"},
		{"step, ask", run([2]string{"s", "1"}, [2]string{"a", "2"}), "RQ C G I ODVX"},
		{"ask, step", run([2]string{"a", "1"}, [2]string{"s", "2"}), "RQ C GI T IODVX"},
		{"step, ask, step, ask", run([2]string{"s", "1"}, [2]string{"a", "2"}, [2]string{"s", "3"}, [2]string{"a", "4"}), "RQ C G I T I ODVX"},
		{"tools", run([2]string{"t", "1"}), "RQ C GI T I T I T I ODVX"},
		{"a failed ask, step", failedAsk, "RQ C GI T IODVX"}, // once ILLEGAL: back to PRE_INFERENCE_GATHER
	} {
		t.Run(tt.name, func(t *testing.T) {
			each(t, func(w *world) {
				r := w.rig(func(r *rig) { lookups(w, r.tools, tool.Hidden()) })
				r.register(tt.run)
				id := w.enqueue(kindRequest("test"))
				w.finish(r, w.claim(id))
				if got := w.history(id); got != tt.want {
					w.Errorf("history %q, want %q", got, tt.want)
				}
				for name, n := range r.calls.all() {
					if n != 1 {
						w.Errorf("%s was called %d times", name, n)
					}
				}
			})
		})
	}
}

// Through a real consumer: one model call, four writes of which one is ours.
func TestHandle_PlainChatIsOneCallAndOneWrite(t *testing.T) {
	each(t, func(w *world) {
		r := w.rig(nil)
		c := consumer.New(w.store, r, consumer.Options{Block: 20 * time.Millisecond})
		running, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- c.Run(running) }()
		id := w.enqueue(chatRequest("", "Why do rivers bend?"))
		until(w, "the result", func() bool {
			results, err := w.store.Results(ctx, []lm.TraceID{id})
			return err == nil && results[0].Outcome == lm.Succeeded && results[0].Usage.Calls == 1
		})
		stop()
		if err := <-ended; err != nil {
			w.Error(err)
		}
		if got := w.history(id); got != "RQ C GI ODVX" {
			w.Errorf("history %q", got)
		}
		if diff := cmp.Diff(map[string]int{"turn:1": 1}, r.calls.all()); diff != "" {
			w.Error(diff)
		}
		if r.blade.n != 1 {
			w.Errorf("%d scripts in Handle, want 1", r.blade.n)
		}
	})
}

func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// Goroutines of one Func may be in different stages. A Step that runs while an Ask
// is under way once wanted back to PRE_INFERENCE_GATHER, which is no way.
func TestOp_StepsAndAsksOfSeveralGoroutines(t *testing.T) {
	each(t, func(w *world) {
		asked, stepping := make(chan struct{}), make(chan struct{})
		r := w.rig(func(r *rig) {
			inner := r.opts.Caller
			r.opts.Caller = callerFunc(func(ctx context.Context, c lm.Call) (lm.Answer, error) {
				close(asked)
				<-stepping
				return inner.Call(ctx, c)
			})
		})
		r.register(func(ctx context.Context, r *rig, op *pipeline.Op) (any, error) {
			early, answered := make(chan error, 1), make(chan error, 1)
			inStep := make(chan struct{})
			go func() {
				_, err := pipeline.Step(ctx, op, "early", func(context.Context) (int, error) {
					close(inStep)
					<-asked // INFERRING by now
					return 1, nil
				})
				early <- err
			}()
			<-inStep
			go func() { _, err := op.Ask(ctx, "q", "x"); answered <- err }()
			<-asked
			_, err := r.step(ctx, op, "late")
			close(stepping)
			return nil, errors.Join(err, <-early, <-answered)
		})
		id := w.enqueue(kindRequest("test"))
		w.finish(r, w.claim(id))
		if got := w.history(id); got != "RQ C G I T IODVX" && got != "RQ C G I T I ODVX" {
			w.Errorf("history %q", got)
		}
	})
}

// A Step that begins while an Ask enters INFERRING has decided for the state before,
// and stays where the Ask has brought the operation.
func TestOp_AStepThatIsOvertakenByAnAsk(t *testing.T) {
	each(t, func(w *world) {
		r := w.rig(nil)
		r.blade.held, r.blade.goOn = make(chan struct{}), make(chan struct{})
		r.register(func(ctx context.Context, r *rig, op *pipeline.Op) (any, error) {
			answered, stepped := make(chan error, 1), make(chan error, 1)
			go func() { _, err := op.Ask(ctx, "q", "x"); answered <- err }()
			<-r.blade.held
			go func() { _, err := r.step(ctx, op, "1"); stepped <- err }()
			time.Sleep(20 * time.Millisecond) // the step waits for the write by then
			close(r.blade.goOn)
			return nil, errors.Join(<-answered, <-stepped)
		})
		id := w.enqueue(kindRequest("test"))
		w.finish(r, w.claim(id))
		if got := w.history(id); got != "RQ C GI ODVX" {
			w.Errorf("history %q", got)
		}
	})
}
