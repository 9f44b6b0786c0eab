package fleet

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"time"
)

// SessionKey names a session as "POOL:HASH". The hash is over tenant, scope and
// the thread's or run's name, so that Redis never sees one of them.
type SessionKey string

// NewSessionKey is the key of a thread's or run's session in a pool. Two tenants
// never share one, whatever they call their threads.
func NewSessionKey(pool, tenant string, scope Scope, id string) SessionKey {
	var b []byte
	for _, part := range [...]string{tenant, string(scope), id} {
		b = strconv.AppendInt(b, int64(len(part)), 10)
		b = append(b, ':')
		b = append(b, part...)
	}
	sum := sha256.Sum256(b)
	return SessionKey(pool + ":" + hex.EncodeToString(sum[:16]))
}

// Session is what stickiness holds for, as the fleet has it. The zero value is a
// session that nobody has bound.
type Session struct {
	Home      string // the member that it prefers; never changes while it exists
	Active    string // the member that it uses
	Switches  int    // since the last served request
	IdleSince time.Time
	Exists    bool
	Gen       int64 // grows with every bind and move; never repeats for a key
	Changed   bool  // the change that answered with this session was made by it
}

// ChangeKind says what becomes of a session.
type ChangeKind string

// The changes. All but Bind compare first: where the active member is not From
// (or, with Gen given, the session has moved since) nothing changes and the
// session in force is answered. Where there is no session only Bind makes one.
const (
	// Bind makes To the active member and Home the home of a session that does
	// not exist; one that exists stays as it is.
	Bind ChangeKind = "bind"
	// Move makes To the active member and counts one switch; refused where that
	// would make more than MaxSwitches. With FailbackTo in place of To it is a
	// return home, which counts none and is never refused.
	Move ChangeKind = "move"
	// Served refreshes the lifetime, sets the switches to 0 and IdleSince to now.
	Served ChangeKind = "served"
	// Drop ends the session: the next served request binds a new one.
	Drop ChangeKind = "drop"
)

// SessionChange is one change of a session.
type SessionChange struct {
	Kind        ChangeKind
	From        string // the active member as the caller knows it
	To          string
	Home        string        // of a Bind
	MaxSwitches int           // of a Move; -1 unbounded
	Lifetime    time.Duration // after the last use; default 1 h
	FailbackTo  string        // of a Move: the return home
	Gen         int64         // of the session that the caller knows; 0: not compared
}
