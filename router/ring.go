package router

import (
	"context"
	"errors"
	"strconv"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/fleet"
)

// recordPatience is how long a call waits for its outcome to be recorded, after
// its own context has ended too: a probe must be given back.
const recordPatience = 2 * time.Second

// admit asks for a call's place where a model has limits or its circuit is
// half-open. False: this member refuses for now. Where Redis does not answer a
// call goes on, and a probe does not.
func (t *trip) admit(ctx context.Context, d *Decision) (fleet.Admitted, bool) {
	m := &d.Model.Spec
	none := fleet.Admitted{OK: true, CircuitEpoch: d.Model.State.CircuitEpoch}
	if t.r.opts.Outcomes == nil || !m.Limited() && !d.Probe {
		return none, true
	}
	a, err := t.r.opts.Outcomes.Admit(ctx, fleet.Admission{
		Model: m.ID, Op: t.call.ID, Key: t.tryKey(), Tokens: t.ask.Needs.Tokens + t.ask.Needs.Output, Cost: mayCost(m, &t.ask.Needs), Owner: t.owner(), For: holdFor,
	})
	if err != nil {
		t.r.trouble("admit", err, &t.call)
		if !d.Probe {
			return none, true
		}
		a = fleet.Admitted{Reason: fleet.ReasonErrorThreshold}
	}
	if !a.OK {
		t.tried.Refused = t.tried.Refused.With(d.Seat)
		t.tried.Again = earlier(t.tried.Again, a.Until)
		t.refused, t.detour = a.Reason, true
		t.why = whyNever(m, &t.ask.Needs, &a)
	}
	return a, a.OK
}

// owner names this call as the holder of a probe.
func (t *trip) owner() string { return t.r.opts.Owner + "/" + string(t.call.ID) }

// tryKey is the replay key of one call of a member: of the step, the claim and the
// number of the try in it. Each call that a claim makes has its own, also where it asks
// for a step again, so that what is recorded twice counts once and nothing counts as
// another's repeat.
func (t *trip) tryKey() string {
	return t.call.Key + "/" + strconv.FormatInt(int64(t.call.Epoch), 10) + "/" + strconv.Itoa(t.tries)
}

// ring calls the member once and records how that ended.
func (t *trip) ring(ctx context.Context, d *Decision, a fleet.Admitted) (lm.Answer, error) {
	m := &d.Model.Spec
	call := t.call
	call.Model, call.Try, call.Stream = m.Name, t.tries, t.stream.begin(m)
	began := time.Now()
	t.began = t.r.opts.Now()
	var answer lm.Answer
	var err error
	switch p := t.r.opts.Providers[m.Backend]; {
	case p == nil:
		unknown := lm.Errorf(lm.UnknownModel, "backend %q of model %q is not served here", m.Backend, m.ID)
		unknown.For, err = lm.WaitKnown+t.pool.Spec.ID, unknown
	case a.Reservation == "": // it needed no admission
		answer, err = p.Call(ctx, call)
	default:
		answer, err = t.r.callHeld(ctx, p, call, fleet.Holding{Model: m.ID, Key: t.tryKey(), Reservation: a.Reservation, For: holdFor})
	}
	if first := t.stream.end(); !first.IsZero() {
		t.r.opts.Metrics.FirstToken.WithLabelValues(m.ID).Observe(first.Sub(began).Seconds())
	}
	t.r.opts.Metrics.called(m.ID, lm.KindOf(err), time.Since(began), answer.Usage, cost(m.Price, answer.Usage))
	t.record(ctx, d, a, answer.Usage, err)
	t.freed(m, a)
	t.tries++
	return answer, err
}

// record tells the fleet how a call ended. A call that its own side ended says
// nothing of the model; but one that used up the attempt's time does.
func (t *trip) record(ctx context.Context, d *Decision, a fleet.Admitted, usage lm.Usage, err error) {
	if t.r.opts.Outcomes == nil {
		return
	}
	kind := lm.KindOf(err)
	o := t.outcome(d, a)
	o.Kind, o.Usage, o.CostUSD = kind, usage, cost(d.Model.Spec.Price, usage)
	if err != nil {
		o.RetryAfter = lm.AsError(err).RetryAfter
		o.Neutral = kind == lm.CallCancelled || errors.Is(ctx.Err(), context.Canceled)
		o.Waste = fleet.WasteRetry
		if o.Neutral {
			o.Waste = fleet.WasteCancel
		}
		t.r.quarantined(t, d, kind)
	} else {
		o.Lost = t.lost()
	}
	t.r.tell(ctx, o, &t.call)
}

// lost names the calls that this one repeats, as far as is known, by the beginning
// of their tries' keys.
func (t *trip) lost() []string {
	var keys []string
	for _, epoch := range t.call.Lost {
		keys = append(keys, t.call.Key+"/"+strconv.FormatInt(int64(epoch), 10))
	}
	return keys
}

// giveBack returns the admission of a call that was not made.
func (t *trip) giveBack(ctx context.Context, d *Decision, a fleet.Admitted) {
	if a.Probe || a.Reservation != "" {
		o := t.outcome(d, a)
		o.Kind, o.Neutral = lm.CallCancelled, true
		t.tries++
		t.r.tell(ctx, o, &t.call)
		t.freed(&d.Model.Spec, a)
	}
}

func (t *trip) outcome(d *Decision, a fleet.Admitted) fleet.Outcome {
	o := fleet.Outcome{
		Model: d.Model.Spec.ID, Backend: d.Model.Spec.Backend, Op: t.call.ID, Tenant: t.call.Tenant, Key: t.tryKey(),
		CircuitEpoch: a.CircuitEpoch, Probe: a.Probe, Reservation: a.Reservation, Began: t.began,
	}
	if a.Probe {
		o.Owner = t.owner()
	}
	return o
}

func (r *Router) tell(ctx context.Context, o fleet.Outcome, call *lm.Call) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordPatience)
	defer cancel()
	if err := r.opts.Outcomes.Record(ctx, o); err != nil {
		r.trouble("record", err, call)
	}
}

// freed tells that a call has given its place back, where others may wait for one.
func (t *trip) freed(m *fleet.ModelSpec, a fleet.Admitted) {
	if t.r.opts.Freed != nil && a.Reservation != "" && m.Limits.Concurrent > 0 {
		t.r.opts.Freed(m)
	}
}

// quarantined logs what the fleet makes of an error that no wait mends.
func (r *Router) quarantined(t *trip, d *Decision, kind lm.Kind) {
	if table[kind].lasting {
		r.opts.Log.Warn().Str("trace_id", string(t.call.ID)).Str("model", d.Model.Spec.ID).Str("backend", d.Model.Spec.Backend).
			Str("reason", string(kind)).Msg("quarantine")
	}
}

// trouble counts a write or read of shared state that failed. No call fails by it.
func (r *Router) trouble(what string, err error, call *lm.Call) {
	r.opts.Metrics.Troubles.WithLabelValues(what).Inc()
	r.opts.Log.Warn().Err(err).Str("trace_id", string(call.ID)).Str("what", what).Msg("shared routing state not reached")
}

// cost is what a usage costs in USD at a price per million tokens.
func cost(p fleet.Price, u lm.Usage) float64 {
	cached := p.CachedInput
	if cached == 0 {
		cached = p.Input
	}
	return (float64(u.Input-u.Cached)*p.Input + float64(u.Cached)*cached + float64(u.Output)*p.Output) / 1e6
}
