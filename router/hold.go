package router

import (
	"context"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/fleet"
)

// A reservation or probe holds for a minute, and a call that takes longer prolongs it
// every 20 s: it lasts as long as the call, of which nobody knows how long that is (an
// attempt may take 10 min), a call of less than 20 s costs no round trip more, and two
// prolongations in a row may be lost. A worker that dies prolongs nothing, and gives its
// places back within the minute. One that loses contact with Redis loses its claim long
// before, which ends the call.
const (
	holdFor   = time.Minute
	holdEvery = holdFor / 3
)

// callHeld calls a model and keeps meanwhile what the call was admitted with.
func (r *Router) callHeld(ctx context.Context, p Provider, call lm.Call, h fleet.Holding) (lm.Answer, error) {
	calling, ended := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.prolong(calling, h, &call)
	}()
	defer func() {
		ended()
		<-done
	}()
	return p.Call(ctx, call)
}

// prolong holds a call's place until ctx ends.
func (r *Router) prolong(ctx context.Context, h fleet.Holding, call *lm.Call) {
	ticks := time.NewTicker(holdEvery)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		held, err := r.opts.Outcomes.Hold(ctx, h)
		switch {
		case ctx.Err() != nil || err == nil && !held:
			return
		case err != nil:
			r.trouble("hold", err, call)
		}
	}
}
