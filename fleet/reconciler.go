package fleet

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

// ReconcilerOptions are a Reconciler's. Listers is needed; those of backends that
// the Manager's Spec does not declare are left alone.
type ReconcilerOptions struct {
	Listers map[string]Lister // by backend
	Timeout time.Duration     // of one listing; 10 s
	After   func(*Snapshot)   // called with what is known after each cycle that listed something; nil: nobody
}

// Reconciler holds what is declared against what the backends have. It lists
// backends in cycles:
//
//	ask (one read) --nothing is due--> done
//	  | due: not looked at for an interval, under this name (address, credential)
//	  v
//	lock --another has it--> busy: it is doing this, or something short
//	  | ours: ask again, for the last holder may have done it
//	  v
//	list all that is due, in parallel --> write each answer as it comes, fenced --> unlock
//
// So a fleet of any size lists each backend once per interval, whoever does it, and
// a worker whose configuration has other backends sees to those. A holder that has
// lost the lock writes nothing more; one that dies leaves what it has not written
// due. Nothing here counts for a breaker.
type Reconciler struct {
	m      *Manager
	askers askers
	nudged chan struct{}
	after  func(*Snapshot)
}

// NewReconciler makes one over a Manager, whose Spec.Observe says how often.
func NewReconciler(m *Manager, o ReconcilerOptions) *Reconciler {
	r := &Reconciler{m: m, nudged: make(chan struct{}, 1), after: o.After}
	r.askers = askers{listers: make(map[string]Lister), timeout: or(o.Timeout, 10*time.Second)}
	for _, b := range m.opts.Spec.Backends {
		if l := o.Listers[b.ID]; l != nil {
			r.askers.listers[b.ID] = l
		}
	}
	return r
}

// Report is what one cycle did.
type Report struct {
	Listed []BackendReport // what was listed, by backend; empty: nothing was due
	Busy   bool            // another holds the lock; nothing was done
	Wait   time.Duration   // until the next backend is due
}

// BackendReport is what one listing said.
type BackendReport struct {
	Backend string     `json:"backend"`
	Kind    lm.Kind    `json:"failed,omitempty"` // empty: it was good
	Count   int        `json:"models"`
	Took    lm.Seconds `json:"took_seconds"`
}

// Cycle lists the backends that are due, if it gets the lock at once. Errors:
// ErrLockLost, with nothing written since; ErrLockUnknown and what Redis says.
func (r *Reconciler) Cycle(ctx context.Context) (Report, error) {
	return r.cycle(ctx, r.m.tryLock, r.older(r.m.opts.Spec.Observe.withDefaults().Interval))
}

// Now lists backends whether they are due or not, all of them if none is named. It
// waits for the lock as AcquireLock does. A backend without a lister is an error.
func (r *Reconciler) Now(ctx context.Context, backends ...string) (Report, error) {
	for _, b := range backends {
		if r.askers.listers[b] == nil {
			return Report{}, fmt.Errorf("%w: %q is no backend that can be listed", lm.ErrNotFound, b)
		}
	}
	return r.cycle(ctx, r.m.AcquireLock, func(backend string, _ lua.Observation, _ time.Time) time.Duration {
		if len(backends) == 0 || slices.Contains(backends, backend) {
			return 0
		}
		return time.Hour
	})
}

// due says of a backend, its record and the server's time in how long it is to be
// listed.
type due func(backend string, o lua.Observation, now time.Time) time.Duration

// older is due what was not looked at for so long.
func (r *Reconciler) older(age time.Duration) due {
	return func(_ string, o lua.Observation, now time.Time) time.Duration {
		if o.Tried.IsZero() || o.Tried.After(now.Add(age)) { // never, or by a clock that was set back since
			return 0
		}
		return max(o.Tried.Add(age).Sub(now), 0)
	}
}

func (r *Reconciler) cycle(ctx context.Context, lock func(context.Context) (*LockHandle, error), when due) (Report, error) {
	if waits, wait, err := r.look(ctx, when); err != nil || len(waits) == 0 {
		return Report{Wait: wait}, err
	}
	h, err := lock(ctx)
	if err != nil || h == nil {
		return Report{Busy: err == nil}, err
	}
	report, err := r.under(ctx, h, when)
	if gave := r.m.ReleaseLock(ctx, h); err == nil {
		err = gave
	}
	if err == nil && len(report.Listed) > 0 {
		err = r.ended(ctx)
	}
	return report, err
}

// ended has the Manager see what the cycle has written, and tells of it.
func (r *Reconciler) ended(ctx context.Context) error {
	before := r.m.snapshot.Load()
	if err := r.m.read(ctx, 0); err != nil {
		return err
	}
	now, snap := r.m.Now(), r.m.snapshot.Load()
	for i := range snap.Models {
		m := &snap.Models[i]
		was, is := Drift(""), m.Drift(now)
		if old := before.Model(m.Spec.ID); old != nil {
			was = old.Drift(now)
		}
		if was != is && (was.bad() || is.bad()) {
			r.m.opts.Log.Info().Str("model", m.Spec.ID).Str("backend", m.Spec.Backend).Str("drift", string(is)).Str("before", string(was)).Msg("model drift")
		}
	}
	if r.after != nil {
		r.after(snap)
	}
	return nil
}

// look reads the records: which of our backends are due now, with their records,
// and when the next is.
func (r *Reconciler) look(ctx context.Context, when due) (map[string]lua.Observation, time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, readPatience)
	defer cancel()
	all, now, err := r.m.at.Observations(ctx)
	if err != nil {
		return nil, 0, err
	}
	records := make(map[lua.ListName]lua.Observation, len(all))
	for _, o := range all {
		records[o.Name] = o
	}
	waits, next := make(map[string]lua.Observation), r.m.opts.Spec.Observe.withDefaults().Interval
	for _, b := range r.m.opts.Spec.Backends {
		if r.askers.listers[b.ID] == nil {
			continue
		}
		name := r.m.listName(b)
		o := records[name]
		o.Name = name
		if wait := when(b.ID, o, now); wait == 0 {
			waits[b.ID] = o
		} else {
			next = min(next, wait)
		}
	}
	return waits, next, nil
}

// under lists what is still due now that the lock is held.
func (r *Reconciler) under(ctx context.Context, h *LockHandle, when due) (Report, error) {
	waits, wait, err := r.look(ctx, when)
	if err != nil || len(waits) == 0 {
		return Report{Wait: wait}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(h.Context(), func() { cancel(context.Cause(h.Context())) })()
	before, err := r.before(ctx, waits)
	if err != nil {
		return Report{}, err
	}
	report := Report{Wait: wait}
	err = r.askers.ask(ctx, slices.Sorted(maps.Keys(waits)), func(got listed) error {
		l, err := r.listing(waits[got.backend], got, before[got.backend])
		if err != nil {
			return err
		}
		if err := h.observe(ctx, l); err != nil {
			return err
		}
		report.Listed = append(report.Listed, BackendReport{Backend: got.backend, Kind: l.Kind, Count: l.Count, Took: lm.Seconds(got.took)})
		r.tell(waits[got.backend], l)
		return nil
	})
	if err == nil {
		err = r.tidy(ctx)
	}
	slices.SortFunc(report.Listed, func(a, b BackendReport) int { return strings.Compare(a.Backend, b.Backend) })
	return report, err
}

// before are the last good lists of backends.
func (r *Reconciler) before(ctx context.Context, records map[string]lua.Observation) (map[string][]offered, error) {
	all := make([]lua.Observation, 0, len(records))
	for _, o := range records {
		all = append(all, o)
	}
	return r.m.lastGood(ctx, all)
}

// listing is what is recorded of an answer.
func (r *Reconciler) listing(o lua.Observation, got listed, before []offered) (lua.Listing, error) {
	l := lua.Listing{Name: o.Name, Kind: got.kind, Took: got.took, Keep: r.m.opts.Spec.Observe.withDefaults().Keep}
	if l.Kind != "" {
		return l, nil
	}
	fresh := settle(nil, got.offerings)
	if len(fresh) == 0 {
		l.Kind = lua.EmptyList
		return l, nil
	}
	list := settle(before, got.offerings)
	l.Count = len(fresh)
	var err error
	l.List, l.Etag, err = encode(list)
	return l, err
}

// tell logs what has changed about a backend.
func (r *Reconciler) tell(before lua.Observation, l lua.Listing) {
	switch {
	case l.Kind != "" && before.Strikes+1 == strikes:
		r.m.opts.Log.Warn().Str("backend", l.Name.Backend).Str("kind", string(l.Kind)).Msg("backend not listed, twice in a row")
	case l.Kind == "" && before.Strikes >= strikes:
		r.m.opts.Log.Info().Str("backend", l.Name.Backend).Int("models", l.Count).Msg("backend listed again")
	}
}

// tidy forgets records that nobody has renewed for long: of backends that are not
// declared any more, and of credentials that were replaced.
func (r *Reconciler) tidy(ctx context.Context) error {
	all, now, err := r.m.at.Observations(ctx)
	if err != nil {
		return err
	}
	o := r.m.opts.Spec.Observe.withDefaults()
	before := now.Add(-2*o.Keep - 10*o.Interval)
	var names []lua.ListName
	for _, old := range all {
		if old.Tried.Before(before) && len(names) < forgetBatch {
			names = append(names, old.Name)
		}
	}
	_, err = r.m.at.ForgetLists(ctx, names, before)
	return err
}

// observe is a guarded write of what a listing said.
func (h *LockHandle) observe(ctx context.Context, l lua.Listing) error {
	ok, err := h.m.at.Observe(ctx, h.ID, h.Fence, l)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrLockUnknown, err)
	case !ok:
		h.lose()
		return ErrLockLost
	}
	return nil
}
