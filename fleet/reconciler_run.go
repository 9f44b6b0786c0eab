package fleet

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/lighterman/lighterman/lua"
)

const (
	// nudgeEvery is the least time between two listings of a backend that calls asked
	// for, which found nothing that matched; in the whole fleet.
	nudgeEvery = 5 * time.Second
	// busyFirst and busyLast bound the wait of one who found the lock taken; it doubles.
	busyFirst, busyLast = 250 * time.Millisecond, 4 * time.Second
	// spread is how much of a wait is added at random, so that a fleet does not ask at once.
	spread = 0.05
)

// Run makes a cycle whenever a backend is due, until ctx ends: of a worker, one
// cheap question per interval, and where it is the first to ask, the cycle. What
// fails is logged once and tried again. It returns when no listing of its own is
// under way, but for listers that do not end with their context.
func (r *Reconciler) Run(ctx context.Context) {
	defer r.askers.wait()
	var wait, busy time.Duration
	failing := false
	timer := time.NewTimer(0)
	defer timer.Stop()
	var asked time.Time // server time of the last nudge
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.nudged:
			asked = r.m.Now()
		case <-timer.C:
		}
		report, err := r.cycle(ctx, r.m.tryLock, r.wanted(asked))
		switch {
		case err != nil:
			wait, busy = r.m.opts.Spec.Observe.withDefaults().Interval/8, 0
			if !failing && ctx.Err() == nil {
				r.m.opts.Log.Warn().Err(err).Msg("backends not reconciled")
			}
		case report.Busy:
			busy = min(max(2*busy, busyFirst), busyLast)
			wait = busy/2 + rand.N(busy)
		default:
			wait, busy = report.Wait, 0
		}
		failing = err != nil
		timer.Reset(wait + time.Duration(rand.Float64()*spread*float64(wait)))
	}
}

// wanted is due what was not looked at for an interval, and what somebody has asked
// for since its last listing began, at the earliest 5 s after that. A question that
// comes too early is put off until then, not forgotten.
func (r *Reconciler) wanted(asked time.Time) due {
	regular := r.older(r.m.opts.Spec.Observe.withDefaults().Interval)
	soon := r.older(nudgeEvery)
	return func(backend string, o lua.Observation, now time.Time) time.Duration {
		wait := regular(backend, o, now)
		if began := o.Tried.Add(-o.Took); began.Before(asked) {
			wait = min(wait, soon(backend, o, now))
		}
		return wait
	}
}

// Nudge asks for a cycle at once, because a call found no model that matched. It
// never waits. A backend that was listed in the last 5 s is listed when they are over.
func (r *Reconciler) Nudge() {
	select {
	case r.nudged <- struct{}{}:
	default:
	}
}

// Probe looks at every backend that nobody has looked at in the last 5 s, asking
// those first that can be probed, and returns when it is done: for a worker that
// is not to begin before. Where another is at it, it waits for that one, for as
// long as a cycle may take. It is called before Run.
func (r *Reconciler) Probe(ctx context.Context) error {
	r.askers.probe = true
	defer func() { r.askers.probe = false }()
	ctx, cancel := context.WithTimeout(ctx, 2*r.askers.timeout)
	defer cancel()
	_, err := r.cycle(ctx, r.m.AcquireLock, r.older(nudgeEvery))
	return err
}
