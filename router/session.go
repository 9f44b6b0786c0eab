package router

import (
	"context"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/fleet"
)

// SessionLifetime is how long a session is kept after its last use.
const SessionLifetime = time.Hour

// refreshAfter is how old a session's last use may grow in Redis before a served
// call refreshes it: so that a busy session costs hardly a write.
const refreshAfter = 30 * time.Second

// scopeOf is what a call sticks by in a pool: its thread, else its run; in a pool
// of scope run its run alone. Empty: nothing but its own operation.
func scopeOf(pool *fleet.Pool, call *lm.Call) (fleet.Scope, string) {
	if pool.Spec.Routing.Scope != fleet.ScopeRun && call.Thread != "" {
		return fleet.ScopeThread, call.Thread
	}
	return fleet.ScopeRun, call.Run
}

// HomeKey is what a call's home follows from.
func HomeKey(pool *fleet.Pool, call *lm.Call) string {
	if call.Agent != "" {
		return call.Agent
	}
	if _, id := scopeOf(pool, call); id != "" {
		return id
	}
	return string(call.ID)
}

// SessionOf is the key of the session that a call belongs to in a pool; empty
// where it sticks by its operation alone, of which the fleet keeps nothing.
func SessionOf(pool *fleet.Pool, call *lm.Call) fleet.SessionKey {
	scope, id := scopeOf(pool, call)
	if id == "" || len(pool.Members) < 2 {
		return ""
	}
	return fleet.NewSessionKey(pool.Spec.ID, call.Tenant, scope, id)
}

// stick finds the session: once per claim in Redis. Calls that share no session
// stick to the member that answered the operation's last call, which a takeover
// knows from its checkpoint.
func (t *trip) stick(ctx context.Context) {
	s := t.r.opts.Sessions
	if s != nil {
		t.key = SessionOf(t.pool, &t.call)
	}
	if t.key == "" {
		if seatOf(t.pool, t.call.Last) >= 0 {
			t.session.Active = t.call.Last
		}
	} else {
		t.fetch(ctx)
	}
	if t.session.Active == "" && t.pool.Spec.Routing.Home == fleet.HomeRoundRobin {
		t.ask.Turn = t.turn(ctx)
	}
}

func (t *trip) fetch(ctx context.Context) {
	if t.call.Memo != nil {
		if known, ok := t.call.Memo.Load(t.key); ok {
			t.session, _ = known.(fleet.Session)
			return
		}
	}
	var err error
	if t.session, err = t.r.opts.Sessions.Session(ctx, t.key); err != nil {
		t.r.trouble("session_read", err, &t.call)
		t.session = fleet.Session{}
		return
	}
	if t.session.Exists && seatOf(t.pool, t.session.Active) < 0 { // its member left the pool
		t.change(ctx, fleet.SessionChange{Kind: fleet.Drop, From: t.session.Active, Gen: t.session.Gen})
		if seatOf(t.pool, t.session.Active) < 0 {
			t.session = fleet.Session{}
		}
	}
	t.remember()
}

func (t *trip) remember() {
	if t.call.Memo != nil && t.key != "" {
		t.call.Memo.Store(t.key, t.session)
	}
}

func (t *trip) turn(ctx context.Context) uint64 {
	if t.r.opts.Sessions != nil {
		turn, err := t.r.opts.Sessions.Turn(ctx, t.pool.Spec.ID)
		if err == nil {
			return turn
		}
		t.r.trouble("turn", err, &t.call)
	}
	return t.r.turns.Add(1) - 1
}

// change changes the session in Redis and takes over what is in force there. It
// reports whether Redis answered; where it did not, the session stays as it is.
func (t *trip) change(ctx context.Context, c fleet.SessionChange) bool {
	c.Lifetime = SessionLifetime
	s, err := t.r.opts.Sessions.ChangeSession(ctx, t.key, c)
	if err != nil {
		t.r.trouble("session_"+string(c.Kind), err, &t.call)
		return false
	}
	t.session = s
	t.remember()
	return true
}

// move takes the session to the member of a decision. It reports false where the
// session in force is now another one than the decision was made for.
func (t *trip) move(ctx context.Context, d *Decision) bool {
	to, from := d.Model.Spec.ID, t.session.Active
	if !t.session.Exists { // bound by nobody yet, or only by this operation
		t.session.Active = to
		t.session.Switches++
		return true
	}
	change := fleet.SessionChange{Kind: fleet.Move, From: from, To: to, MaxSwitches: -1, Gen: t.session.Gen}
	if d.Reason == ByFailback {
		change.To, change.FailbackTo = "", to
	} else if most := t.pool.Spec.Switch.MaxSwitches; most != nil {
		change.MaxSwitches = *most
	}
	if !t.change(ctx, change) {
		t.session.Active = to // of this operation only
		return true
	}
	if !t.session.Exists { // it has ended meanwhile; a served call binds it anew
		return true
	}
	return t.session.Active == to // else another's choice, or refused: then Switches says so
}

// served binds the session by the first call that was served, and later keeps it
// alive and its switches forgiven. A call that only made a detour changes nothing.
func (t *trip) served(ctx context.Context, d *Decision) {
	member := d.Model.Spec.ID
	switch {
	case t.key == "" || t.session.Active != member:
	case !t.session.Exists:
		t.change(ctx, fleet.SessionChange{Kind: fleet.Bind, To: member, Home: t.session.Home})
	case t.session.Switches > 0 || t.r.opts.Now().Sub(t.session.IdleSince) > refreshAfter:
		t.change(ctx, fleet.SessionChange{Kind: fleet.Served, From: member, Gen: t.session.Gen})
	}
}
