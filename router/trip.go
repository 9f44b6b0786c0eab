package router

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/fleet"
	"github.com/rs/zerolog"
)

// trip is one call on its way through the members of a pool.
type trip struct {
	r       *Router
	call    lm.Call
	snap    *fleet.Snapshot
	pool    *fleet.Pool
	ask     *Ask
	key     fleet.SessionKey // empty: it sticks by its operation alone
	session fleet.Session

	tried    Tried
	here     int             // the seat that was called last; -1: none, or it was left
	fails    int             // in a row, here
	failures int             // in all
	tries    int             // the number of the next call: those of the claim's step before it count
	began    time.Time       // of the last, by the server's clock
	kinds    map[int]lm.Kind // of the last failure of each seat; nil: none has failed
	last     error           // the last failure
	passing  error           // the last one that may pass by itself
	again    time.Time       // the earliest time that a quota signal named
	other    bool            // some failure was no quota signal
	refused  fleet.Reason
	why      string // what is to be changed before it is not refused; empty: time alone
	detour   bool   // a member refused since the last note
	stream   *stream
	route    []string
}

// rounds bounds the choices of one call: more than one per member, failure and
// lost compare-and-set there is never.
func (t *trip) rounds() int { return 2*len(t.pool.Members) + 2*failuresPerOp + 8 }

func (t *trip) run(ctx context.Context) (lm.Answer, error) {
	for range t.rounds() {
		t.refresh()
		d, err := Pick(t.snap, t.pool, t.ask, t.session, t.tried, t.r.opts.Now())
		if err != nil {
			return lm.Answer{}, t.none(d, err)
		}
		admitted, ok := t.admit(ctx, &d)
		if !ok {
			if d.Model.Spec.Limits.Assumed && t.refused == fleet.ReasonRequestLimit {
				return lm.Answer{}, t.park(admitted.Until, string(t.refused), lm.WaitLimit+t.pool.Spec.ID)
			}
			continue
		}
		if !t.arrive(ctx, &d) {
			t.giveBack(ctx, &d, admitted)
			continue
		}
		answer, err := t.ring(ctx, &d, admitted)
		if err == nil {
			t.served(ctx, &d)
			answer.Model, answer.Route = d.Model.Spec.ID, t.route
			return answer, nil
		}
		if err := t.failed(ctx, &d, err); err != nil {
			return lm.Answer{}, err
		}
	}
	return lm.Answer{}, t.failure(errors.New("no end of choices"))
}

// refresh takes the newest snapshot, unless the pool in it is another one.
func (t *trip) refresh() {
	snap := t.r.opts.Snapshot()
	if snap == t.snap {
		return
	}
	p := snap.Find(t.pool.Spec.ID)
	if p == nil || len(p.Members) != len(t.pool.Members) {
		return
	}
	for i := range p.Spec.Members {
		if p.Spec.Members[i].Model != t.pool.Spec.Members[i].Model {
			return
		}
	}
	t.snap, t.pool = snap, p
}

// arrive makes a decision's member the one that the call is at, and the session's.
// It reports false where the session has gone elsewhere.
func (t *trip) arrive(ctx context.Context, d *Decision) bool {
	if t.here >= 0 && t.here != d.Seat { // its circuit has opened, or somebody disabled it
		t.leave()
	}
	if d.Reason == ByFailback || d.Switch {
		if !t.move(ctx, d) {
			return false
		}
	}
	if d.Switch || d.Reason == ByFailback || d.Reason == ByFailover || t.detour {
		t.note(d)
	}
	if t.session.Active == "" {
		t.session.Home, t.session.Active = d.Home, d.Model.Spec.ID
	}
	if t.here != d.Seat {
		t.here, t.fails = d.Seat, 0
	}
	return true
}

// leave marks the member that was called as one that this call is done with.
func (t *trip) leave() {
	t.tried.Failed = t.tried.Failed.With(t.here)
	t.here = -1
}

// failed decides what follows a failed call; nil: choose again.
func (t *trip) failed(ctx context.Context, d *Decision, err error) error {
	if ctx.Err() != nil {
		return err
	}
	t.failures++
	t.fails++
	kind, after := lm.KindOf(err), lm.AsError(err).RetryAfter
	if t.kinds == nil {
		t.kinds = make(map[int]lm.Kind)
	}
	t.kinds[d.Seat] = kind
	if t.last = err; !kind.Permanent() {
		t.passing = err
	}
	switch {
	case !table[kind].quota:
		t.other = true
	case after > 0:
		t.again = earlier(t.again, t.r.opts.Now().Add(after))
	}
	if t.failures >= failuresPerOp {
		return fmt.Errorf("after %d failed calls: %w", t.failures, err)
	}
	reaction := Decide(kind, after, t.pool.Spec.Switch, t.fails, t.r.opts.Lease)
	switch reaction.Do {
	case Retry:
		wait := backoff(reaction.Wait, after)
		t.inPlace(d, err, wait)
		return pause(ctx, wait)
	case Switch:
		t.leave()
		return nil
	case Park:
		return t.park(t.again, string(kind), lm.WaitModel+d.Model.Spec.ID)
	case Fail:
	}
	return err
}

// none says what becomes of a call for which there is no member.
func (t *trip) none(d Decision, err error) error {
	if t.nobodyThere() {
		t.r.missed()
	}
	until := earlier(d.Until, t.again)
	switch {
	case errors.Is(err, ErrIneligible):
		return t.ineligible()
	case errors.Is(err, ErrPoolExhausted) && t.again.IsZero() && (t.other || until.IsZero()), errors.Is(err, ErrSwitchBudget) && t.last != nil:
		return t.failure(err)
	}
	return t.park(until, t.whyCold(err), t.waitsFor(err))
}

// waitsFor names what a call for which there is no member waits for: the session's
// member where it may not leave it, else the pool.
func (t *trip) waitsFor(err error) string {
	switch {
	case t.refused == fleet.ReasonRequestLimit, t.refused == fleet.ReasonTokenLimit:
		return lm.WaitLimit + t.pool.Spec.ID
	case (errors.Is(err, ErrStays) || errors.Is(err, ErrSwitchBudget)) && t.session.Active != "":
		return lm.WaitModel + t.session.Active
	}
	return lm.WaitModel + t.pool.Spec.ID
}

// nobodyThere reports whether no member is there at all.
func (t *trip) nobodyThere() bool {
	now := t.r.opts.Now()
	for _, i := range t.pool.Members {
		if u := t.snap.Models[i].Usability(now); !u.Absent() {
			return false
		}
	}
	return true
}

func (t *trip) whyCold(err error) string {
	switch {
	case len(t.pool.Members) == 1 && t.refused != "":
		return string(t.refused) + t.why
	case len(t.pool.Members) == 1:
		reason, _ := ModelHealth(&t.snap.Models[t.pool.Members[0]], t.r.opts.Now())
		return string(reason)
	case errors.Is(err, ErrSwitchBudget):
		return "switches used up"
	case errors.Is(err, ErrStays):
		return "the session's member is cold"
	case errors.Is(err, ErrPoolExhausted):
		return "all members cold"
	default:
		return "no healthy member"
	}
}

// failure is the provider's error, with why no other member was called. Of several
// it is the last that may pass by itself, so that one member's bad key does not end
// an operation that another one could serve later.
func (t *trip) failure(why error) error {
	err := t.last
	if t.passing != nil {
		err = t.passing
	}
	if err == nil {
		return lm.Errorf(lm.ProviderFailed, "%s: %w", t.pool.Spec.ID, why)
	}
	e := lm.AsError(err)
	return &lm.Error{Kind: e.Kind, RetryAfter: e.RetryAfter, Err: fmt.Errorf("pool %s: %w: %w", t.pool.Spec.ID, why, err)}
}

// ineligible says what a call asks for that no member has: how many tokens, of which
// model and how many that takes, or what no member can do. Of images it names the
// models that are declared to see them.
func (t *trip) ineligible() error {
	n := &t.ask.Needs
	widest, wide := 0, ""
	for _, i := range t.pool.Members {
		m := &t.snap.Models[i].Spec
		if n.eligible(m) == NoRoom && m.Window > widest {
			widest, wide = m.Window, m.ID
		}
	}
	if wide != "" {
		return lm.Errorf(lm.ContextOverflow, "%s: at least %d tokens of input needed, and the widest that could serve it, model %s, has %d available", t.pool.Spec.ID, n.Tokens, wide, widest)
	}
	if blind := *n; n.Vision {
		if blind.Vision = false; t.serves(&blind) {
			return lm.Errorf(lm.InvalidRequest, "%s: the call has images and no model of it sees any; %s", t.pool.Spec.ID, sighted(t.snap, n))
		}
	}
	return lm.Errorf(lm.InvalidRequest, "%s: no member can do what the call needs (%s)", t.pool.Spec.ID, n.String())
}

// serves reports whether some member could serve a call, but for its length.
func (t *trip) serves(n *Needs) bool {
	for _, i := range t.pool.Members {
		if n.eligible(&t.snap.Models[i].Spec) != NoCapability {
			return true
		}
	}
	return false
}

// sighted names the models that are declared to see images and could serve a call,
// wherever they are.
func sighted(snap *fleet.Snapshot, n *Needs) string {
	var names []string
	for i := range snap.Models {
		if m := &snap.Models[i].Spec; m.Capabilities[fleet.CanVision] && n.eligible(m) == Healthy {
			names = append(names, m.ID)
		}
	}
	if len(names) == 0 {
		return "no declared model does"
	}
	return "these do: " + strings.Join(names, ", ")
}

// park sets the operation aside until a time and a little more, or until what it waits
// for is there.
func (t *trip) park(until time.Time, reason, waits string) error {
	now := t.r.opts.Now()
	at := parkUntil(until, now)
	t.r.opts.Metrics.Parked.WithLabelValues(t.pool.Spec.ID).Inc()
	t.r.opts.Log.Info().Str("trace_id", string(t.call.ID)).Str("pool", t.pool.Spec.ID).Str("reason", reason).
		Dur("wait_ms", at.Sub(now)).Uint64("snapshot", t.snap.Version).Str("members", t.verdicts(-1, "")).Msg("parked")
	return &lm.Parked{Until: time.Now().Add(at.Sub(now)), Reason: t.pool.Spec.ID + ": " + reason, For: waits} // of this process's clock, for the consumer's
}

// note keeps why this member and no other, for the answer's record, and logs it:
// loudly where this call moved, quietly where it began with a stand-in because a
// pool is poorly, which many do.
func (t *trip) note(d *Decision) {
	text := t.line(d.Version, d.Seat, d.Reason)
	t.route, t.detour = append(t.route, text), false
	t.r.opts.Metrics.Switches.WithLabelValues(t.pool.Spec.ID, string(d.Reason)).Inc()
	level := zerolog.DebugLevel
	if d.Switch || d.Reason == ByFailback || t.failures > 0 {
		level = zerolog.InfoLevel
	}
	t.r.opts.Log.WithLevel(level).Str("trace_id", string(t.call.ID)).Str("pool", t.pool.Spec.ID).Str("member", d.Model.Spec.ID).
		Str("reason", string(d.Reason)).Uint64("snapshot", d.Version).Str("members", text).Msg("failover")
}

// inPlace keeps and logs that a member is tried again: its answer says nothing of the
// failures before.
func (t *trip) inPlace(d *Decision, err error, wait time.Duration) {
	member := d.Model.Spec.ID
	t.route = append(t.route, fmt.Sprintf("%s failed, again in %.1f s: %s", member, wait.Seconds(), head(err.Error())))
	t.r.opts.Log.Info().Str("trace_id", string(t.call.ID)).Str("member", member).Str("reason", string(lm.KindOf(err))).
		Dur("delay_ms", wait).Str("error", head(err.Error())).Msg("call failed, the same member is tried again")
}

// head is the beginning of an error's text, as much as a note of a route has room for.
func head(text string) string { return strings.ToValidUTF8(text[:min(len(text), 160)], "") }

func (t *trip) line(version uint64, seat int, why Reason) string {
	return "v" + strconv.FormatUint(version, 10) + " " + t.pool.Spec.ID + ": " + t.verdicts(seat, why)
}

// told is the route of a call that ended in an error: its choices, and how every
// member stood at the end. A model alone is named by its error, unless it parks.
func (t *trip) told(ctx context.Context, err error) []string {
	var parked *lm.Parked
	if ctx.Err() != nil || len(t.pool.Members) == 1 && !errors.As(err, &parked) {
		return t.route
	}
	return append(t.route, t.line(t.snap.Version, -1, ""))
}

// verdicts is a word of every member.
func (t *trip) verdicts(seat int, why Reason) string {
	e := Explain(t.snap, t.pool, t.ask, t.session, t.tried, t.r.opts.Now())
	words := make([]string, len(e.Members))
	for i, v := range e.Members {
		reason := string(v.Reason)
		switch {
		case i == seat:
			reason = string(why)
		case t.kinds[i] != "":
			reason = string(t.kinds[i])
		case v.Reason == BySession || v.Reason == ByHome || v.Reason == ByFailover || v.Reason == ByFailback:
			reason = string(Healthy)
		}
		words[i] = v.Member + " " + reason
	}
	return strings.Join(words, ", ")
}

// pause waits in place, or ends with ctx.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return &lm.Error{Kind: lm.CallCancelled, Err: context.Cause(ctx)}
	}
}
