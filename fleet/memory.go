package fleet

import (
	"context"
	"fmt"
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/lighterman/lighterman/lua"
)

// memory is the truth of policy InMemory: this process's own. It forgets sessions
// and replay keys as Redis does, by time.
type memory struct {
	clock func() time.Time

	mu       sync.Mutex
	version  uint64
	models   map[string]*ledger
	backends map[string]*account
	sessions map[string]*ownSession
	pools    map[string]map[string]string
	turn     map[string]uint64
	seen     map[lua.ListName]*seenList
	lock     lua.Lock
	token    string
	lockEnds time.Time
	calls    int // since the last sweep
}

type ownSession struct {
	lua.Session
	ends time.Time
}

// sweepEvery is how many calls lie between two looks for what has expired.
const sweepEvery = 1024

func newMemory(clock func() time.Time) *memory {
	return &memory{
		clock: clock, models: make(map[string]*ledger), backends: make(map[string]*account), sessions: make(map[string]*ownSession),
		pools: make(map[string]map[string]string), turn: make(map[string]uint64),
		seen: make(map[lua.ListName]*seenList),
	}
}

// openLocked answers the accounts of a model and its backend.
func (y *memory) openLocked(model, backend string) (*ledger, *account) {
	l, on := y.models[model], y.accountLocked(backend)
	if l == nil {
		l = newLedger()
		y.models[model] = l
	}
	if y.calls++; y.calls%sweepEvery == 0 {
		y.sweepLocked()
	}
	return l, on
}

func (y *memory) sweepLocked() {
	now := y.clock()
	for _, l := range y.models {
		maps.DeleteFunc(l.seen, func(_ string, c call) bool { return max(c.until, c.at+seenFor.Milliseconds()) < now.UnixMilli() })
	}
	maps.DeleteFunc(y.sessions, func(_ string, s *ownSession) bool { return !now.Before(s.ends) })
}

func (y *memory) Admit(_ context.Context, a lua.Admission) (lua.Admitted, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	now := y.clock()
	l, on := y.openLocked(a.Model, a.Backend)
	got := l.admit(now.UnixMilli(), on, a)
	if got.Probe {
		y.version++
	}
	got.Now, got.Version = now, y.version
	return got, nil
}

func (y *memory) Hold(_ context.Context, h lua.Holding) (lua.Prolonged, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	l, now := y.models[h.Model], y.clock()
	return lua.Prolonged{OK: l != nil && l.hold(now.UnixMilli(), h), Now: now}, nil
}

func (y *memory) Running(_ context.Context, model string) (int64, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	l := y.models[model]
	if l == nil {
		return 0, nil
	}
	l.sweep(y.clock().UnixMilli())
	return int64(len(l.holds)), nil
}

func (y *memory) RecordCall(_ context.Context, o lua.CallOutcome) (lua.Recorded, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	now := y.clock()
	if o.Key == "" {
		o.Key = strconv.Itoa(y.calls) + " " + now.String()
	}
	l, on := y.openLocked(o.Model, o.Backend)
	before := seenBy(l, on)
	fresh := l.outcome(now.UnixMilli(), on, o)
	if seenBy(l, on) != before {
		y.version++
	}
	return lua.Recorded{Replay: !fresh, Now: now, Version: y.version}, nil
}

func (y *memory) RecordLost(_ context.Context, l lua.LostCall) error {
	y.mu.Lock()
	defer y.mu.Unlock()
	ledger, on := y.openLocked(l.Model, l.Backend)
	ledger.lost(y.clock().UnixMilli(), on, l)
	return nil
}

// routed is what routing sees of a model.
type routed struct {
	failing          bool
	epoch            int64
	probe            string
	deadlines        [4]int64
	modelBy, backend string
}

func seenBy(l *ledger, on *account) routed {
	return routed{
		failing: l.failures > 0, epoch: l.epoch, probe: l.probe, deadlines: [4]int64{l.cooldown, l.quarantine, on.cooldown, on.quarantine},
		modelBy: l.kind + l.credential, backend: on.kind + on.credential,
	}
}

// Count has nothing to do: nothing is pending under InMemory.
func (y *memory) Count(context.Context, []lua.Increments, []lua.Spent) (uint64, error) { return 0, nil }

func (y *memory) Session(_ context.Context, key string) (lua.Session, uint64, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if s := y.sessionLocked(key); s != nil {
		return s.Session, y.version, nil
	}
	return lua.Session{}, y.version, nil
}

func (y *memory) sessionLocked(key string) *ownSession {
	s := y.sessions[key]
	if s != nil && !y.clock().Before(s.ends) {
		delete(y.sessions, key)
		return nil
	}
	return s
}

func (y *memory) ChangeSession(_ context.Context, key string, ch lua.SessionChange) (lua.Session, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.calls++; y.calls%sweepEvery == 0 {
		y.sweepLocked()
	}
	now, s := y.clock(), y.sessionLocked(key)
	var old lua.Session
	if s != nil {
		old = s.Session
	}
	next := changed(old, ch, now)
	switch {
	case !next.Changed:
	case next.Home == "": // its generation stays for a minute
		y.sessions[key] = &ownSession{Session: lua.Session{Gen: next.Gen}, ends: now.Add(time.Minute)}
	default:
		kept := next
		kept.Changed = false
		y.sessions[key] = &ownSession{Session: kept, ends: now.Add(ch.Life)}
	}
	return next, nil
}

// changed is a session after a change, as session.lua makes it: a pure function.
func changed(s lua.Session, ch lua.SessionChange, now time.Time) lua.Session {
	s.Now, s.Changed = now, false
	gen := max(s.Gen+1, now.UnixMilli())
	if s.Home == "" {
		if ch.What != "bind" {
			return lua.Session{Gen: s.Gen, Now: now}
		}
		return lua.Session{Home: ch.Home, Active: ch.To, IdleSince: now, Gen: gen, Changed: true, Now: now}
	}
	if ch.What == "bind" || ch.From != "" && ch.From != s.Active || ch.Gen != 0 && ch.Gen != s.Gen {
		return s
	}
	switch ch.What {
	case "served":
		s.Switches, s.IdleSince = 0, now
	case "drop":
		return lua.Session{Gen: s.Gen, Changed: true, Now: now}
	case "move":
		if ch.To == s.Active || ch.Most >= 0 && s.Switches+1 > ch.Most {
			return s
		}
		s.Switches++
		s.Active, s.Gen = ch.To, gen
	case "back":
		s.Active, s.Gen = ch.To, gen
	}
	s.Changed = true
	return s
}

func (y *memory) Turns(_ context.Context, pool string, n int) (uint64, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	first := y.turn[pool]
	y.turn[pool] += uint64(n)
	return first, nil
}

func (y *memory) FleetVersion(context.Context) (uint64, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.version, nil
}

func (y *memory) FleetState(_ context.Context, models, backends, pools []string) (lua.FleetState, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	st := lua.FleetState{Version: y.version, Now: y.clock().UTC(), Observed: y.observationsLocked()}
	for _, id := range models {
		h := hash{}
		if l := y.models[id]; l != nil {
			h = l.fields()
		}
		st.Models = append(st.Models, h)
	}
	for _, id := range backends {
		h := hash{}
		if a := y.backends[id]; a != nil {
			h = a.fields()
		}
		st.Backends = append(st.Backends, h)
	}
	for _, id := range pools {
		st.Pools = append(st.Pools, maps.Clone(y.pools[id]))
	}
	return st, nil
}

func (y *memory) OperateModel(_ context.Context, model, backend, what string) (lua.Recorded, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	l, on := y.openLocked(model, backend)
	switch what {
	case lua.ModelReset:
		l.reset(on)
	case lua.ModelEnable, lua.ModelDisable:
		l.disabled = what == lua.ModelDisable
	default:
		return lua.Recorded{}, fmt.Errorf("operate a model: %q is not enable, disable or reset", what)
	}
	y.version++
	return lua.Recorded{Now: y.clock(), Version: y.version}, nil
}

// The lock holds between the goroutines of this process.

func (y *memory) AcquireLock(_ context.Context, owner, token string, life time.Duration) (lua.Lock, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	now := y.clock()
	if y.token != "" && now.Before(y.lockEnds) && y.token != token {
		return lua.Lock{Owner: y.lock.Owner, Left: y.lockEnds.Sub(now), Now: now}, nil
	}
	if y.token != token || !now.Before(y.lockEnds) {
		y.lock = lua.Lock{Held: true, Owner: owner, Fence: max(y.lock.Fence+1, now.UnixMilli()), Acquired: now}
		y.token, y.lockEnds = token, now.Add(life)
	}
	l := y.lock
	l.Left, l.Now = y.lockEnds.Sub(now), now
	return l, nil
}

func (y *memory) holdsLocked(token string, fence int64) bool {
	return y.token == token && y.lock.Fence == fence && y.clock().Before(y.lockEnds)
}

func (y *memory) RenewLock(_ context.Context, token string, fence int64, life time.Duration) (bool, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if !y.holdsLocked(token, fence) {
		return false, nil
	}
	y.lockEnds = y.clock().Add(life)
	return true, nil
}

func (y *memory) ReleaseLock(_ context.Context, token string, fence int64) (bool, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if !y.holdsLocked(token, fence) {
		return false, nil
	}
	y.token = ""
	return true, nil
}

func (y *memory) SetUnderLock(_ context.Context, token string, fence int64, pool string, fields map[string]string) (bool, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if !y.holdsLocked(token, fence) {
		return false, nil
	}
	if y.pools[pool] == nil {
		y.pools[pool] = make(map[string]string)
	}
	maps.Copy(y.pools[pool], fields)
	y.version++
	return true, nil
}

func (y *memory) LockHolder(context.Context) (lua.Lock, error) {
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.token == "" || !y.clock().Before(y.lockEnds) {
		return lua.Lock{}, nil
	}
	l := y.lock
	l.Left = y.lockEnds.Sub(y.clock())
	return l, nil
}

// fields are a ledger as Redis keeps it.
func (l *ledger) fields() hash {
	h := hash{"probe_owner": l.probe, "failed_kind": string(l.failedKind), "quarantine_kind": l.kind, "quarantine_credential": l.credential, "limited": l.limited.String()}
	if l.open {
		h["circuit"] = string(CircuitOpen)
	}
	if l.disabled {
		h["disabled"] = "1"
	}
	for field, n := range map[string]int64{
		"failures": int64(l.failures), "opened": int64(l.opened), "failed_at": l.failedAt, "epoch": l.epoch, "open_until": l.openUntil, "probe_until": l.probeUntil,
		"cooldown_until": l.cooldown, "quarantine_until": l.quarantine, "quarantine_at": l.quarantined, "held_cost": l.heldCost, "requests": l.requests, "errors": l.errors,
		"input": l.usage.Input, "cached": l.usage.Cached, "output": l.usage.Output, "cost": l.cost, "last_request": l.lastRequest, "last_failure": l.lastFailure,
		"budget_used": l.budget.sum, "budget_start": l.budget.start, "quota_used": l.quota.sum, "quota_start": l.quota.start,
	} {
		h[field] = strconv.FormatInt(n, 10)
	}
	for cause, cost := range l.waste {
		h["waste_"+cause] = strconv.FormatInt(cost, 10)
	}
	for i, b := range l.rate {
		h["b"+strconv.Itoa(i)] = fmt.Sprint(b.slot, " ", b.ok, " ", b.bad)
	}
	return h
}

func (a *account) fields() hash {
	return hash{
		"cooldown_until": strconv.FormatInt(a.cooldown, 10), "quarantine_until": strconv.FormatInt(a.quarantine, 10), "quarantine_kind": a.kind,
		"quarantine_credential": a.credential, "score": strconv.FormatFloat(a.score, 'f', 6, 64), "cost": strconv.FormatInt(a.cost, 10),
		"requests": strconv.FormatInt(a.requests, 10), "last_probe": strconv.FormatInt(a.probed, 10),
	}
}
