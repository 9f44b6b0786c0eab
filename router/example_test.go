package router_test

import (
	"fmt"
	"time"

	"github.com/lighterman/lighterman/fleet"
	"github.com/lighterman/lighterman/router"
)

// A call of a new thread goes home; while its home cools down another member is the
// home of new threads.
func ExamplePick() {
	spec := fleet.Spec{
		Models: []fleet.ModelSpec{{ID: "a"}, {ID: "b"}, {ID: "c"}},
		Pools:  []fleet.PoolSpec{{ID: "chat", Members: []fleet.Member{{Model: "a"}, {Model: "b"}, {Model: "c", Role: fleet.RoleFailoverOnly}}}},
	}
	now := time.Now()
	ask := &router.Ask{Key: "thread-1"}
	for _, states := range []map[string]fleet.ModelState{nil, {"a": {CooldownUntil: now.Add(time.Minute)}}} {
		snap := fleet.NewSnapshot(1, now, spec, states)
		d, err := router.Pick(snap, snap.Pool("chat"), ask, fleet.Session{}, router.Tried{}, now)
		if err != nil {
			panic(err)
		}
		fmt.Println(d.Model.Spec.ID, d.Reason)
	}
	// Output:
	// a home
	// b home
}
