package fleet

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	// nudgeEvery is the least time between two listings that calls asked for, which
	// found nothing that matched; in the whole fleet.
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
	last := time.Time{} // when a nudge was heard
	for {
		when := r.older(r.m.opts.Spec.Observe.withDefaults().Interval)
		select {
		case <-ctx.Done():
			return
		case <-r.nudged:
			if time.Since(last) < nudgeEvery {
				continue
			}
			last, when = time.Now(), r.older(nudgeEvery)
		case <-timer.C:
		}
		report, err := r.cycle(ctx, r.m.tryLock, when)
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

// Nudge asks for a cycle at once, because a call found no model that matched. It
// never waits, and is heard once in 5 s.
func (r *Reconciler) Nudge() {
	select {
	case r.nudged <- struct{}{}:
	default:
	}
}

// Probe looks at every backend that nobody has looked at in the last 5 s, asking
// those first that can be probed, and returns when it is done: for a worker that
// is not to begin before. Where another is at it, it waits for that one, for as
// long as a cycle may take.
func (r *Reconciler) Probe(ctx context.Context) error {
	r.askers.probe = true
	defer func() { r.askers.probe = false }()
	ctx, cancel := context.WithTimeout(ctx, 2*r.askers.timeout)
	defer cancel()
	_, err := r.cycle(ctx, r.m.AcquireLock, r.older(nudgeEvery))
	return err
}
