package pipeline_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/pipeline"
)

// do runs a Func as an operation of its own and returns what Handle did.
func (w *world) do(r *rig, f pipeline.Func) (lm.Result, error) {
	w.Helper()
	r.Register("do", f)
	return r.Handle(ctx, w.claim(w.enqueue(kindRequest("do"))))
}

func TestHandle_WhatAFuncReturnsIsTheResult(t *testing.T) {
	w := onMini(t)
	r := w.rig(nil)
	for _, tt := range []struct {
		name string
		out  any
		want string // empty: a permanent error
	}{
		{"nil", nil, `null`},
		{"string", "a \"text\"", `"a \"text\""`},
		{"answer", lm.Answer{Body: json.RawMessage(`{"id":"x", "a":1}`)}, `{"id":"x", "a":1}`},
		{"raw JSON", json.RawMessage(`{"a": 1}`), `{"a": 1}`},
		{"bytes", []byte(`[1, 2]`), `[1, 2]`},
		{"struct", struct{ A int }{1}, `{"A":1}`},
		{"map", map[string]any{"b": []int{1}}, `{"b":[1]}`},
		{"number", 1.5, `1.5`},
		{"bytes that are no JSON", []byte("text"), ""},
		{"raw JSON that is none", json.RawMessage(`{`), ""},
		{"no bytes", []byte(nil), ""},
		{"a channel", make(chan int), ""},
		{"not a number", math.NaN(), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			result, err := w.do(r, func(ctx context.Context, op *pipeline.Op) (any, error) {
				_, err := op.Ask(ctx, "q", "x")
				return tt.out, err
			})
			if tt.want == "" {
				if lm.KindOf(err) != lm.PermanentFailure || !strings.Contains(err.Error(), `kind "do"`) {
					t.Errorf("%v, want permanent", err)
				}
			} else if err != nil || string(result.Body) != tt.want {
				t.Errorf("%s %v, want %s", result.Body, err, tt.want)
			}
			if result.Usage.Calls != 1 {
				t.Errorf("usage %+v", result.Usage)
			}
		})
	}
}

func TestStep_NamesThatCannotBe(t *testing.T) {
	w := onMini(t)
	step := func(ctx context.Context, op *pipeline.Op, name string) error {
		_, err := pipeline.Step(ctx, op, name, func(context.Context) (int, error) { return 1, nil })
		return err
	}
	for name, f := range map[string]func(ctx context.Context, op *pipeline.Op) error{
		"used twice": func(ctx context.Context, op *pipeline.Op) error {
			return errors.Join(step(ctx, op, "a"), step(ctx, op, "a"))
		},
		"ask and step": func(ctx context.Context, op *pipeline.Op) error {
			_, _ = op.Ask(ctx, "a", "x")
			return step(ctx, op, "a")
		},
		"empty":    func(ctx context.Context, op *pipeline.Op) error { return step(ctx, op, "") },
		"too long": func(ctx context.Context, op *pipeline.Op) error { return step(ctx, op, strings.Repeat("x", 257)) },
		"chat used twice": func(ctx context.Context, op *pipeline.Op) error {
			_, _ = op.Ask(ctx, "a", "x")
			_, err := op.Ask(ctx, "a", "y")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := w.do(w.rig(nil), func(ctx context.Context, op *pipeline.Op) (any, error) { return nil, f(ctx, op) })
			if lm.KindOf(err) != lm.PermanentFailure {
				t.Errorf("%v, want permanent", err)
			}
		})
	}
}

// An Ask named step once shared its record with a Step named turn:1.
func TestOp_NamesOfAsksAndStepsDoNotMeet(t *testing.T) {
	w := onMini(t)
	result, err := w.do(w.rig(nil), func(ctx context.Context, op *pipeline.Op) (any, error) {
		if _, err := op.Ask(ctx, "step", "x"); err != nil {
			return nil, err
		}
		return pipeline.Step(ctx, op, "turn:1", func(context.Context) (string, error) { return "mine", nil })
	})
	if err != nil || result.Text() != "mine" {
		t.Errorf("%q %v", result.Text(), err)
	}
}

// A recorded result that does not fit its type any more is no loop.
func TestStep_AResultOfAnotherTypeIsPermanent(t *testing.T) {
	each(t, func(w *world) {
		id := w.enqueue(kindRequest("test"))
		r := w.programmed(twoSteps(stopped))
		_, _ = r.Handle(ctx, w.claim(id))
		r.register(func(ctx context.Context, _ *rig, op *pipeline.Op) (any, error) {
			return pipeline.Step(ctx, op, "1", func(context.Context) (int, error) { return 1, nil })
		})
		if _, err := r.Handle(ctx, w.takeover(id)); lm.KindOf(err) != lm.PermanentFailure {
			w.Errorf("%v", err)
		}
	})
}

// An error of a step is not recorded: the next attempt runs it again.
func TestStep_AnErrorIsNotRecorded(t *testing.T) {
	each(t, func(w *world) {
		id := w.enqueue(kindRequest("test"))
		tries := 0
		r := w.programmed(func(ctx context.Context, _ *rig, op *pipeline.Op) (any, error) {
			return pipeline.Step(ctx, op, "1", func(context.Context) (int, error) {
				if tries++; tries == 1 {
					return 0, errStopped
				}
				return tries, nil
			})
		})
		if _, err := r.Handle(ctx, w.claim(id)); !errors.Is(err, errStopped) {
			w.Fatal(err)
		}
		if got := string(w.finish(r, w.takeover(id)).Body); got != "2" {
			w.Errorf("result %s", got)
		}
	})
}

func TestOp_KeyIsTheSameAfterATakeover(t *testing.T) {
	each(t, func(w *world) {
		var keys []string
		var attempts []int
		id := w.enqueue(kindRequest("test"))
		r := w.programmed(func(_ context.Context, _ *rig, op *pipeline.Op) (any, error) {
			keys, attempts = append(keys, op.Key("fetch")), append(attempts, op.Attempt())
			return nil, nil
		})
		_, _ = r.Handle(ctx, w.claim(id))
		w.finish(r, w.takeover(id))
		want := string(id) + "/fetch"
		if diff := cmp.Diff([]string{want, want}, keys); diff != "" {
			w.Error(diff)
		}
		if diff := cmp.Diff([]int{1, 1}, attempts); diff != "" {
			w.Error(diff)
		}
	})
}
