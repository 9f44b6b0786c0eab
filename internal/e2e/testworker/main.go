// Command testworker is the worker of a handler developer, for the process
// tests: the built-in kinds and two of its own, with a call log that has their
// deeds in it.
package main

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/pipeline"     //nolint:depguard // a handler developer's main, not a part of internal
	"github.com/lighterman/lighterman/provider/sim" //nolint:depguard // as above
	"github.com/lighterman/lighterman/worker"       //nolint:depguard // as above
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "testworker:", err)
		os.Exit(1)
	}
}

func run() error {
	cfg, err := worker.Load()
	if err != nil {
		return err
	}
	calls, err := sim.OpenLog(cfg.Sim.CallLog, cfg.Worker.Name)
	if err != nil {
		return err
	}
	w, err := worker.New(context.Background(), cfg)
	if err != nil {
		return err
	}
	h := handlers{calls}
	w.Handle("twostep", h.twoStep)
	w.Handle("poison", h.poison)
	w.Handle("speak", speak)
	w.Handle("misbehave", misbehave)
	return w.Run(context.Background())
}

// handlers log under the names by which the checkpoint knows their steps.
type handlers struct{ calls *sim.Log }

// twoStep fetches something and asks a model about it.
func (h handlers) twoStep(ctx context.Context, op *pipeline.Op) (any, error) {
	page, err := pipeline.Step(ctx, op, "fetch", func(context.Context) (string, error) {
		if err := h.log(sim.EventStart, op, "step/fetch"); err != nil {
			return "", err
		}
		return "page of " + string(op.ID()), h.log(sim.EventEnd, op, "step/fetch")
	})
	if err != nil {
		return nil, err
	}
	return op.Ask(ctx, "summary", "Summarise the "+page)
}

// speak says its words one after the other and answers with all of them.
func speak(ctx context.Context, op *pipeline.Op) (any, error) {
	all := ""
	for i := range 20 {
		word := fmt.Sprintf("%s:%d ", op.ID().Name(), i)
		if err := op.Emit(ctx, lighterman.FrameToken, word); err != nil {
			return nil, err
		}
		all += word
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return all, nil
}

// poison kills its worker.
func (h handlers) poison(_ context.Context, op *pipeline.Op) (any, error) {
	if err := h.log(sim.EventStart, op, "poison"); err != nil {
		return nil, err
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

func (h handlers) log(event string, op *pipeline.Op, step string) error {
	return h.calls.Append(event, sim.LogEntry{Trace: op.ID(), Key: op.Key(step), Model: "testworker", Attempt: op.Attempt()})
}
