package router

import (
	"cmp"
	"context"
	"sync/atomic"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/fleet"
	"github.com/rs/zerolog"
)

// Provider asks one model API once. Call.Model is what the backend calls the
// model; errors are of lighterman's kinds.
type Provider interface {
	Call(ctx context.Context, call lm.Call) (lm.Answer, error)
}

// Sessions are the fleet's, as fleet.StateManager has them.
type Sessions interface {
	Session(ctx context.Context, key fleet.SessionKey) (fleet.Session, error)
	ChangeSession(ctx context.Context, key fleet.SessionKey, change fleet.SessionChange) (fleet.Session, error)
	Turn(ctx context.Context, pool string) (uint64, error)
}

// Outcomes admit calls where that is needed, hold their places while they run and record
// how each one ended.
type Outcomes interface {
	Admit(ctx context.Context, a fleet.Admission) (fleet.Admitted, error)
	Hold(ctx context.Context, h fleet.Holding) (bool, error)
	Record(ctx context.Context, o fleet.Outcome) error
}

// Options are what a Router works with. Snapshot and Providers are needed.
type Options struct {
	Snapshot  func() *fleet.Snapshot      // the newest; never blocks, never nil
	Providers map[string]Provider         // by backend
	Missed    func()                      // told that a call found no model that is there; never blocks; nil: nobody
	Freed     func(*fleet.ModelSpec)      // told that a call gave a place of the model's concurrent calls back; never blocks; nil: nobody
	Fresh     func(context.Context) error // sees to it that the snapshot is not old, once per claim; nil: it never is
	Sessions  Sessions                    // nil: calls stick within their operation only
	Outcomes  Outcomes                    // nil: nobody is told
	Owner     string                      // the worker, for probes
	Lease     time.Duration               // of the worker's claims; default 10 s
	Now       func() time.Time            // the server's time, of which deadlines are; default this process's
	Metrics   *Metrics                    // default: counted nowhere
	Log       zerolog.Logger
}

// Router satisfies pipeline.Caller: it sends every call to a member of the pool
// that the call names. A model's own name is a pool of one. It may be used
// concurrently.
type Router struct {
	opts  Options
	turns atomic.Uint64 // of round robin while Redis does not say
}

// New makes a Router.
func New(o Options) *Router {
	o.Lease = cmp.Or(o.Lease, 10*time.Second)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Metrics == nil {
		o.Metrics = NewMetrics(nil)
	}
	return &Router{opts: o}
}

// Call chooses a member, calls it and goes on as Decide says, until there is an
// answer, whose Model is the member's ID. Errors: an lm.Parked where the
// operation is to wait, with no attempt counted; UnknownModel; ContextOverflow and
// InvalidRequest where no member could serve the call; else the provider's, with
// ErrPoolExhausted in its chain where every member was tried. With an error the
// answer's Route and Tries alone are set.
func (r *Router) Call(ctx context.Context, call lm.Call) (lm.Answer, error) {
	r.fresh(ctx, &call)
	snap := r.opts.Snapshot()
	pool := snap.Find(call.Model)
	if pool == nil {
		r.missed()
		err := lm.Errorf(lm.UnknownModel, "model %q is not declared here", clip(call.Model))
		err.For = lm.WaitKnown + call.Model
		return lm.Answer{}, err
	}
	ask := &Ask{Key: HomeKey(pool, &call), Needs: needsOf(snap, pool, &call)}
	t := trip{r: r, call: call, snap: snap, pool: pool, ask: ask, here: -1, tries: call.Try, stream: newStream(call.Stream)}
	t.stick(ctx)
	answer, err := t.run(ctx)
	if err != nil {
		answer = lm.Answer{Route: t.told(ctx, err)}
	}
	answer.Tries = t.tries - call.Try
	return answer, err
}

// freshened marks in a call's memo that its claim has asked for a fresh snapshot.
type freshened struct{}

func (r *Router) fresh(ctx context.Context, call *lm.Call) {
	if r.opts.Fresh == nil {
		return
	}
	if call.Memo != nil {
		if _, done := call.Memo.LoadOrStore(freshened{}, true); done {
			return
		}
	}
	if err := r.opts.Fresh(ctx); err != nil {
		r.trouble("snapshot", err, call)
	}
}

// missed asks for another look at what the backends have.
func (r *Router) missed() {
	if r.opts.Missed != nil {
		r.opts.Missed()
	}
}

// clip keeps a name from a request short in a message.
func clip(name string) string { return name[:min(len(name), 80)] }
