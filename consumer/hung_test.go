package consumer

import (
	"testing"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

// A handler that hangs in a claim that was lost kept the next claim of the same
// operation, of a worker that died, from ever being taken over by this worker.
func TestReclaim_AHungHandlerKeepsNoDeadClaim(t *testing.T) {
	each(t, func(e *env) {
		e.groups()
		id := e.enqueue("0-a")
		c := New(e.s, HandlerFunc(fine), quick(Options{Lease: brief}))
		hung := e.die(c.Owner(), brief)[0]
		c.held.add(&hold{claim: hung, cancel: func(error) {}})
		if err := e.s.Release(ctx, hung, "contact"); err != nil {
			e.Fatal(err)
		}
		if dead := e.die("dead", brief)[0]; dead.ID != id {
			e.Fatalf("claimed %s", dead.ID)
		}
		e.until("the dead claim is taken over", func() bool {
			taken, _, err := e.s.Idle(ctx, c.Owner(), resume, brief, "0-0")
			if err == nil {
				err = c.putBackIdle(ctx, lua.CauseLease, "", taken)
			}
			return err == nil && e.state(id) == lm.Reclaimed
		})
		if r := e.record(id); r.CrashesTotal != 1 || r.Owner != "" {
			e.Errorf("crashes %d, owner %q", r.CrashesTotal, r.Owner)
		}
	})
}
