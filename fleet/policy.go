package fleet

import (
	"fmt"
	"time"
)

// SyncPolicy says when counters go to Redis. Deadlines, breaker, quarantine,
// sessions and reservations are always written at once, but in-memory.
type SyncPolicy string

// The policies.
const (
	// InMemory never touches Redis: each process has a truth of its own, and
	// nothing that is promised for the fleet holds.
	InMemory SyncPolicy = "in-memory"
	// OnBoundary loads at the start and saves at the end.
	OnBoundary SyncPolicy = "sync-on-boundary"
	// Periodic saves when its interval has passed.
	Periodic SyncPolicy = "periodic"
	// Immediate saves every call, in one script.
	Immediate SyncPolicy = "immediate"
)

// ParseSyncPolicy reads a policy; empty is Immediate.
func ParseSyncPolicy(s string) (SyncPolicy, error) {
	switch p := SyncPolicy(s); p {
	case "":
		return Immediate, nil
	case InMemory, OnBoundary, Periodic, Immediate:
		return p, nil
	default:
		return "", fmt.Errorf("sync policy %q: want in-memory, sync-on-boundary, periodic or immediate", s)
	}
}

// SyncStatus is how far a Manager's counters have been saved.
type SyncStatus struct {
	Policy         SyncPolicy `json:"policy"`
	LastSync       time.Time  `json:"last_sync,omitzero"` // zero: not yet
	NextSync       time.Time  `json:"next_sync,omitzero"` // zero: at the end, or at once
	PendingChanges int64      `json:"pending_changes"`    // recorded calls that are not saved
	Lost           int64      `json:"lost"`               // recorded calls that were given up: Redis was away for too long
	Hearing        bool       `json:"hearing"`            // others' changes are told to this Manager; else its poll finds them
	Locked         bool       `json:"locked"`             // this Manager holds the lock
	LockOwner      string     `json:"lock_owner"`         // who it last saw holding it
}
