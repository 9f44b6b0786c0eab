package lightermantest

import (
	"context"
	"time"

	"github.com/lighterman/lighterman/lua"
)

// undertaker is the consumer that takes over what dead workers hold.
const undertaker = "lightermantest"

// A dead worker's last commands may still be under way when its connections
// close, so its entries are looked for a little longer than a blocking read takes.
const (
	buryEvery = 10 * time.Millisecond
	buryFor   = 3 * blockFor
)

// bury gives what a dead worker held back to the fleet, at once and not when its
// leases end: these are long, so that a busy machine takes nothing from a worker
// that lives. The putback is the one of a sweep, and counts a crash.
func (f *Fleet) bury(owner string) {
	for until := time.Now().Add(buryFor); ; {
		found := false
		for p := range f.store.Partitions() {
			for _, q := range f.opts.Queues {
				for _, resume := range []bool{true, false} {
					found = f.buryIn(lua.Stream{Partition: p, Queue: q, Resume: resume}, owner) || found
				}
			}
		}
		if !found && time.Now().After(until) {
			return
		}
		select {
		case <-f.ending.Done():
			return
		case <-time.After(buryEvery):
		}
	}
}

// buryIn goes through a stream's pending entries. Those that nobody has claimed are
// put back too: who has read one cannot be told, and one that was taken from a
// living reader cannot be claimed by it any more. Claimed ones of others go back
// to their owners with the next heartbeat.
func (f *Fleet) buryIn(st lua.Stream, owner string) (found bool) {
	ctx, cancel := context.WithTimeout(f.ending, time.Second)
	defer cancel()
	for from := "0-0"; from != ""; {
		taken, next, err := f.store.Idle(ctx, undertaker, st, 0, from)
		if err != nil {
			return true // so that it is tried again
		}
		var back []lua.Taken
		for _, t := range taken {
			if _, own := t.Entry.Own(); own && (t.Record.Owner == owner || t.Record.Owner == "") {
				back = append(back, t)
			}
		}
		if len(back) > 0 {
			found = true
			if _, err := f.store.Takeover(ctx, undertaker, lua.CauseLease, false, back); err != nil {
				return true
			}
		}
		from = next
	}
	return found
}
