package main

import (
	"context"
	"encoding/json"
	"time"

	"github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/pipeline" //nolint:depguard // a handler developer's code, not a part of internal
)

// deafFor is how long a handler goes on that ignores its context.
const deafFor = 3 * time.Second

// misbehave does in its first attempt what handlers should not do, and answers in
// the next one.
func misbehave(ctx context.Context, op *pipeline.Op) (any, error) {
	var body struct{ How string }
	if err := json.Unmarshal(op.Request().Body, &body); err != nil {
		return nil, lighterman.Permanent(err)
	}
	if op.Attempt() > 1 {
		return body.How, nil
	}
	switch body.How {
	case "hang":
		<-ctx.Done()
		return nil, context.Cause(ctx)
	case "deaf":
		<-time.After(deafFor)
	case "panic":
		panic("a handler that panics")
	case "leak":
		go prattle(op)
	}
	return body.How, nil
}

// prattle writes frames for an operation long after its handler has returned.
func prattle(op *pipeline.Op) {
	for range 30 {
		_ = op.Emit(context.Background(), lighterman.FrameProgress, "late") // refused, or not: it must harm nobody
		<-time.After(100 * time.Millisecond)
	}
}
