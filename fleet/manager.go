package fleet

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
	"github.com/rs/zerolog"
)

// StateManager is the fleet's shared truth as its users see it; Manager is it.
type StateManager interface {
	Load(ctx context.Context) error
	Save(ctx context.Context) error
	Sync(ctx context.Context) error
	Status() SyncStatus
	AcquireLock(ctx context.Context) (*LockHandle, error)
	ReleaseLock(ctx context.Context, h *LockHandle) error
	Snapshot() *Snapshot
	System(ctx context.Context) (SystemState, error)
}

// Options are a Manager's. Zero fields mean the defaults.
type Options struct {
	Spec        Spec
	Policy      SyncPolicy        // Immediate
	Interval    time.Duration     // of Periodic; 5 s
	Poll        time.Duration     // how often a Manager in use that hears no notices asks for changes; 500 ms, at most 1 s
	Owner       string            // who holds probes and the lock, for people
	Credentials map[string]string // backend: a hash of its credential; a quarantine holds for one credential, and so does a model list
	Onlooker    bool              // it has no credentials, and sees what workers saw last with whatever they have
	Breaker     BreakerSpec
	LockLife    time.Duration // 15 s
	LockWait    time.Duration // 30 s
	Log         zerolog.Logger

	clock  func() time.Time // for tests; must carry a monotonic reading where Redis is used
	window time.Duration    // of requests and tokens per minute; for tests
	heard  time.Duration    // between looks while notices are heard; for tests
}

// truth is where the state is: Redis through lua, or this process.
type truth interface {
	Admit(ctx context.Context, a lua.Admission) (lua.Admitted, error)
	Hold(ctx context.Context, h lua.Holding) (lua.Prolonged, error)
	Running(ctx context.Context, model string) (int64, error)
	RecordCall(ctx context.Context, o lua.CallOutcome) (lua.Recorded, error)
	RecordLost(ctx context.Context, l lua.LostCall) error
	Count(ctx context.Context, models []lua.Increments, spent []lua.Spent) (uint64, error)
	Session(ctx context.Context, key string) (lua.Session, uint64, error)
	ChangeSession(ctx context.Context, key string, ch lua.SessionChange) (lua.Session, error)
	Turns(ctx context.Context, pool string, n int) (uint64, error)
	FleetVersion(ctx context.Context) (uint64, error)
	FleetState(ctx context.Context, models, backends, pools []string) (lua.FleetState, error)
	OperateModel(ctx context.Context, model, backend, what string) (lua.Recorded, error)
	AcquireLock(ctx context.Context, owner, token string, life time.Duration) (lua.Lock, error)
	RenewLock(ctx context.Context, token string, fence int64, life time.Duration) (bool, error)
	ReleaseLock(ctx context.Context, token string, fence int64) (bool, error)
	SetUnderLock(ctx context.Context, token string, fence int64, pool string, fields map[string]string) (bool, error)
	LockHolder(ctx context.Context) (lua.Lock, error)
	Observe(ctx context.Context, token string, fence int64, l lua.Listing) (bool, error)
	Observations(ctx context.Context) ([]lua.Observation, time.Time, error)
	Lists(ctx context.Context, names []lua.ListName) ([]string, error)
	ForgetLists(ctx context.Context, names []lua.ListName, before time.Time) (int, error)
}

// Manager keeps a snapshot of the fleet's state fresh and records what happens.
// All methods may be called concurrently.
type Manager struct {
	at      truth
	opts    Options
	breaker lua.Breaker

	snapshot atomic.Pointer[Snapshot]
	base     atomic.Pointer[reading]
	used     atomic.Bool   // somebody asked for the snapshot since the last poll
	idle     atomic.Bool   // Run has slowed down; the next question wakes it
	wake     chan struct{} // somebody asked after a pause
	reads    sync.Mutex    // one read at a time
	notices  notices

	pending  pending
	lastSync atomic.Pointer[time.Time]
	recorded atomic.Int64 // server ms of the last recorded call
	lock     atomic.Pointer[LockHandle]
	lockSeen atomic.Pointer[string] // who held it when it was last asked for
	turns    turns
	recent   recent
	lists    lists
}

// reading is when the server's clock was last read, by both clocks.
type reading struct {
	server, local time.Time
	checked       time.Time // local: when the version was last compared
}

// New makes a Manager over a Store, which may be nil for policy InMemory. Load it
// before use.
func New(store *lua.Store, o Options) (*Manager, error) {
	policy, err := ParseSyncPolicy(string(o.Policy))
	if err != nil {
		return nil, err
	}
	o.Policy = policy
	o.Interval = or(o.Interval, 5*time.Second)
	o.Poll = min(or(o.Poll, 500*time.Millisecond), time.Second)
	o.LockLife = or(o.LockLife, 15*time.Second)
	o.LockWait = or(o.LockWait, 30*time.Second)
	o.window = or(o.window, time.Minute)
	o.heard = or(o.heard, heardPoll)
	if o.clock == nil {
		o.clock = time.Now
	}
	if o.Owner == "" {
		o.Owner = rand.Text()[:8]
	}
	m := &Manager{opts: o, breaker: o.Breaker.withDefaults(), wake: make(chan struct{}, 1), notices: notices{came: make(chan struct{}, 1)}}
	switch {
	case policy == InMemory:
		m.at = newMemory(o.clock)
	case store == nil:
		return nil, errors.New("fleet: this sync policy needs a Redis")
	default:
		m.at = store
	}
	m.base.Store(&reading{server: o.clock(), local: o.clock()})
	m.snapshot.Store(NewSnapshot(0, o.clock(), o.Spec, nil))
	return m, nil
}

func or(d, other time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return other
}

// Now is the server's time, estimated by the local clock since the last reading. It is
// not before the last call that was recorded here: what begins now began after it.
func (m *Manager) Now() time.Time {
	b := m.base.Load()
	now := b.server.Add(m.opts.clock().Sub(b.local))
	if last := atMS(m.recorded.Load()); now.Before(last) && last.Sub(now) < time.Second { // else the server's clock was set back
		return last
	}
	return now
}

// Admit asks whether a call may begin: one script. Only half-open models and such
// with limits, a budget or a quota need it. A model that is not declared has none.
func (m *Manager) Admit(ctx context.Context, a Admission) (Admitted, error) {
	spec, at := m.spec(a.Model)
	if at == nil {
		return Admitted{}, fmt.Errorf("admit a call: %q is no declared model", a.Model)
	}
	now := m.Now()
	for _, span := range at.Maintenance {
		if span.Covers(now) {
			return Admitted{Reason: ReasonMaintenance, Until: span.Until}, nil
		}
	}
	if a.Key == "" {
		a.Key = rand.Text()
	}
	quota, budget := m.periods(a.Model)
	cost := a.Cost
	if cost == 0 {
		cost = float64(a.Tokens) * max(spec.Price.Input, spec.Price.Output) / 1e6
	}
	got, err := m.at.Admit(ctx, lua.Admission{
		Model: a.Model, Backend: spec.Backend, Owner: m.owner(a.Owner), Key: a.Key, Lease: or(a.For, time.Minute), Tokens: int64(max(a.Tokens, 0)), CostNano: nano(cost),
		RPM: spec.Limits.RPM, TPM: spec.Limits.TPM, Concurrent: spec.Limits.Concurrent, BudgetNano: nano(spec.Budget.USD), BudgetPeriod: budget,
		Quota: spec.Quota.Requests, QuotaPeriod: quota, Credential: m.opts.Credentials[spec.Backend], Window: m.opts.window,
	})
	if err != nil {
		return Admitted{}, fmt.Errorf("admit a call: %w", err)
	}
	m.behind(ctx, got.Version)
	return Admitted{OK: got.OK, Probe: got.Probe, Until: got.Until, Reason: Reason(got.Reason), Reservation: got.Reservation, CircuitEpoch: got.Epoch}, nil
}

// Hold makes the reservation and the probe of a call that still runs last for h.For from
// now: one script. False: the call's outcome is known, and it holds nothing.
func (m *Manager) Hold(ctx context.Context, h Holding) (bool, error) {
	spec, at := m.spec(h.Model)
	if at == nil {
		return false, fmt.Errorf("hold a call's place: %q is no declared model", h.Model)
	}
	got, err := m.at.Hold(ctx, lua.Holding{Model: h.Model, Key: h.Key, Reservation: h.Reservation, Lease: or(h.For, time.Minute), Limited: spec.Limited()})
	if err != nil {
		return false, fmt.Errorf("hold a call's place: %w", err)
	}
	return got.OK, nil
}

func (m *Manager) owner(said string) string {
	if said != "" {
		return said
	}
	return m.opts.Owner
}

// Record counts how a call ended and settles what it had reserved: one script. Under
// OnBoundary and Periodic a plain success (of a closed circuit without recent
// failures, with nothing reserved) is counted here and saved later. The snapshot
// includes what it changed when it returns. Each call that it repeats after a crash
// is one script more. An error is for the log: the call itself has ended.
func (m *Manager) Record(ctx context.Context, o Outcome) error {
	if m.plain(o) {
		if !m.recent.repeated(o.Key) {
			now := m.Now().UnixMilli()
			m.pending.add(now, o, slotOf(now, m.breaker.Window))
		}
		return nil
	}
	if m.pending.has(o.Model) { // its successes came before
		if err := m.Save(ctx); err != nil {
			m.opts.Log.Warn().Err(err).Msg("counters not saved")
		}
	}
	v := judge(o)
	quota, budget := m.periods(o.Model)
	c := lua.CallOutcome{
		Model: o.Model, Backend: o.Backend, Key: o.Key, Class: v.class, Error: v.faulty, Kind: o.Kind, Began: o.Began, Epoch: o.CircuitEpoch,
		Cooldown: v.cooldown, Pause: v.pause, Quarantine: v.quarantine, Bar: v.bar, Credential: m.opts.Credentials[o.Backend],
		Unlisted: v.bar > 0 && m.snapshot.Load().unlisted(o.Backend, m.Now()),
		Usage:    o.Usage, CostNano: nano(o.CostUSD), Waste: o.Waste, Reservation: o.Reservation, QuotaPeriod: quota, BudgetPer: budget,
		Op: o.Op, Tenant: o.Tenant, Breaker: m.breaker, Jitter: mrand.Float64() / 10,
	}
	switch {
	case o.Reservation != "":
		c.Token = lua.ReservationToken(o.Reservation)
	case o.Probe:
		c.Token = lua.CallToken(m.owner(o.Owner), o.Key)
	}
	got, err := m.at.RecordCall(ctx, c)
	if err != nil {
		return fmt.Errorf("record the end of a call: %w", err)
	}
	m.recorded.Store(got.Now.UnixMilli())
	m.behind(ctx, got.Version)
	return m.lose(ctx, o, budget)
}

// plain reports whether an outcome can wait: it changes nothing that another
// worker routes by.
func (m *Manager) plain(o Outcome) bool {
	if m.opts.Policy == Immediate || m.opts.Policy == InMemory || o.Kind != "" || o.Neutral || o.Probe || o.Reservation != "" || o.Waste != "" || len(o.Lost) > 0 {
		return false
	}
	at := m.snapshot.Load().Model(o.Model)
	return at != nil && at.State.Circuit == CircuitClosed && at.State.Failures == 0 && at.State.CircuitEpoch == o.CircuitEpoch
}

// Session reads a session, and with the same round trip sees to it that the
// snapshot is not behind.
func (m *Manager) Session(ctx context.Context, key SessionKey) (Session, error) {
	got, version, err := m.at.Session(ctx, string(key))
	if err != nil {
		return Session{}, err
	}
	m.behind(ctx, version)
	return sessionOf(got), nil
}

// ChangeSession changes a session by compare-and-set and answers the one in force.
func (m *Manager) ChangeSession(ctx context.Context, key SessionKey, ch SessionChange) (Session, error) {
	c := lua.SessionChange{What: string(ch.Kind), From: ch.From, To: ch.To, Home: ch.Home, Most: ch.MaxSwitches, Life: or(ch.Lifetime, time.Hour), Gen: ch.Gen}
	switch ch.Kind {
	case Bind, Move, Served, Drop:
	default:
		return Session{}, fmt.Errorf("change a session: %q is no change", ch.Kind)
	}
	if ch.Kind == Move && ch.FailbackTo != "" {
		c.What, c.To = "back", ch.FailbackTo
	}
	got, err := m.at.ChangeSession(ctx, string(key), c)
	if err != nil {
		return Session{}, fmt.Errorf("change a session: %w", err)
	}
	return sessionOf(got), nil
}

func sessionOf(s lua.Session) Session {
	return Session{Home: s.Home, Active: s.Active, Switches: s.Switches, IdleSince: s.IdleSince, Exists: s.Home != "", Gen: s.Gen, Changed: s.Changed}
}

// Operate enables, disables or resets a declared model, fleet-wide within a second.
func (m *Manager) Operate(ctx context.Context, model, what string) error {
	spec, at := m.spec(model)
	if at == nil {
		return fmt.Errorf("%w: %q is no declared model", lm.ErrNotFound, model)
	}
	got, err := m.at.OperateModel(ctx, model, spec.Backend, what)
	if err != nil {
		return err
	}
	m.behind(ctx, got.Version)
	return nil
}

// spec finds a declared model.
func (m *Manager) spec(id string) (*ModelSpec, *Model) {
	at := m.snapshot.Load().Model(id)
	if at == nil {
		return nil, nil
	}
	return &at.Spec, at
}

// periods are those of a model's quota and budget; empty where it has none.
func (m *Manager) periods(model string) (quota, budget string) {
	spec, at := m.spec(model)
	if at == nil {
		return "", ""
	}
	if spec.Quota.Requests > 0 {
		quota = string(spec.Quota.Period.orDaily())
	}
	if spec.Budget.USD > 0 {
		budget = string(spec.Budget.Period.orDaily())
	}
	return quota, budget
}

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
