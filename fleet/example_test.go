package fleet_test

import (
	"context"
	"fmt"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/fleet"
)

// A member says that it has to be left alone for a while: everybody who routes by
// the snapshot sees it.
func ExampleManager_Record() {
	ctx := context.Background()
	m, err := fleet.New(nil, fleet.Options{ // with a lua.Store in place of nil: the whole fleet's
		Policy: fleet.InMemory,
		Spec:   fleet.Spec{Models: []fleet.ModelSpec{{ID: "claude-a", Backend: "anthropic"}}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := m.Load(ctx); err != nil {
		fmt.Println(err)
		return
	}
	_ = m.Record(ctx, fleet.Outcome{Model: "claude-a", Backend: "anthropic", Kind: lm.RateLimited, RetryAfter: time.Minute})
	reason, until := m.Snapshot().Model("claude-a").Standby(m.Now())
	fmt.Println(reason, "for", until.Sub(m.Now()).Round(time.Minute))
	// Output: quota_exhausted for 1m0s
}

// A change of shared definitions is made under the fleet's lock.
func ExampleManager_AcquireLock() {
	ctx := context.Background()
	m, err := fleet.New(nil, fleet.Options{Policy: fleet.InMemory})
	if err != nil {
		fmt.Println(err)
		return
	}
	lock, err := m.AcquireLock(ctx)
	if err != nil {
		fmt.Println(err) // ErrLockTimeout: somebody else has it
		return
	}
	err = lock.SetSystem(ctx, map[string]string{"reconciled_by": "w1"}) // ErrLockLost: nothing was written
	fmt.Println(err, m.Status().Locked)
	fmt.Println(m.ReleaseLock(ctx, lock), m.Status().Locked)
	// Output:
	// <nil> true
	// <nil> false
}

// Two processes that see a member fail at the same time switch its session once.
func ExampleManager_ChangeSession() {
	ctx := context.Background()
	m, err := fleet.New(nil, fleet.Options{Policy: fleet.InMemory})
	if err != nil {
		fmt.Println(err)
		return
	}
	key := fleet.NewSessionKey("chat", "tenant-1", fleet.ScopeThread, "thread-7")
	_, _ = m.ChangeSession(ctx, key, fleet.SessionChange{Kind: fleet.Bind, To: "a", Home: "a"})
	for _, choice := range []string{"b", "c"} {
		s, _ := m.ChangeSession(ctx, key, fleet.SessionChange{Kind: fleet.Move, From: "a", To: choice, MaxSwitches: 4})
		fmt.Println(s.Active, s.Home, s.Switches, s.Changed)
	}
	// Output:
	// b a 1 true
	// b a 1 false
}
