package fleet

import (
	"math"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

// The circuit of one model, shared by the whole fleet:
//
//	           5 failures in a row, or
//	           50 % of at least 20 in 60 s
//	 closed ------------------------------> open  (30 s, doubling to 10 min)
//	   ^                                    |  ^
//	   |                          time over |  | the probe failed
//	   |                                    v  |
//	   +---------------------------------- half-open
//	             the probe succeeded        one probe, a lease: released by an
//	                                        ending that is neither, or by time
//
// Failures of one moment count as one in the row: a call that was under way when the
// last counted failure of its kind came met the same crash, and says nothing new. The
// rate counts it, and is looked at with the next failure that is counted. Time-outs
// have no moment: each is counted.
//
// Every opening and closing makes a new epoch; a result of an older one moves
// nothing. The functions here are the rules as values; outcome.lua and admit.lua
// are the same rules in Redis and are compared with them in tests.

// BreakerSpec is when a circuit opens and for how long. Zero fields mean the
// defaults: 5, 20, 60 s, 30 s, 10 min.
type BreakerSpec struct {
	Streak int           // consecutive failures that open it
	Least  int           // calls in the window before a rate of 50 % may
	Window time.Duration // of the rate, in 12 buckets
	Base   time.Duration // of the first opening; doubles
	Cap    time.Duration
}

func (s BreakerSpec) withDefaults() lua.Breaker {
	b := lua.Breaker{Streak: 5, Least: 20, Window: time.Minute, Base: 30 * time.Second, Cap: 10 * time.Minute}
	if s.Streak > 0 {
		b.Streak = s.Streak
	}
	if s.Least > 0 {
		b.Least = s.Least
	}
	if s.Window > 0 {
		b.Window = s.Window
	}
	if s.Base > 0 {
		b.Base = s.Base
	}
	if s.Cap > 0 {
		b.Cap = max(s.Cap, b.Base)
	}
	return b
}

// breaker is a circuit at one moment: a value. Times are server ms.
type breaker struct {
	failures   int
	opened     int
	open       bool // open or half-open
	epoch      int64
	openUntil  int64
	failedAt   int64   // the last failure that counted in the row
	failedKind lm.Kind // its kind; an interrupted stream is provider
	probe      string  // token of the probe; empty: none
	probeUntil int64
	rate       [buckets]bucket
}

// buckets is how many make a window.
const buckets = 12

// bucket counts one twelfth of a window.
type bucket struct{ slot, ok, bad int64 }

// lease asks whether a call may begin: always while closed, and while half-open
// only as the fleet's one probe. until is when to ask again.
func (b breaker) lease(now int64, token string, life int64) (after breaker, ok, probe bool, until int64) {
	switch {
	case !b.open:
		return b, true, false, 0
	case b.openUntil > now:
		return b, false, false, b.openUntil
	case b.probe != "" && b.probe != token && b.probeUntil > now:
		return b, false, false, b.probeUntil
	}
	b.probe, b.probeUntil = token, now+life
	return b, true, true, 0
}

// sameMoment is the class of a failure that belongs to the moment of one that has
// counted.
const sameMoment lua.Class = "same"

// moment says whether a failure of a closed circuit is of the same moment as the last
// that counted, and remembers it where it is not. Its call began at a time; 0: unknown.
func (b breaker) moment(now int64, class lua.Class, kind lm.Kind, epoch, began int64) (breaker, lua.Class) {
	if class != lua.ClassFail || b.open || epoch != b.epoch {
		return b, class
	}
	if kind == lm.StreamInterrupted { // by the same crash that others see as a broken connection
		kind = lm.ProviderFailed
	}
	if began > 0 && began < b.failedAt && kind == b.failedKind && kind != lm.TimedOut {
		return b, sameMoment
	}
	b.failedAt, b.failedKind = now, kind
	return b, class
}

// record takes a result into account. Of an older epoch, or of an open circuit's
// that is not its probe's, it is none.
func (b breaker) record(now int64, class lua.Class, epoch int64, token string, jitter int64, by lua.Breaker) breaker {
	switch {
	case epoch != b.epoch:
		return b
	case !b.open:
		return b.closedRecord(now, class, jitter, by)
	case b.probe == "" || b.probe != token:
		return b
	}
	switch class {
	case lua.ClassOK:
		return breaker{epoch: b.epoch + 1, openUntil: b.openUntil}
	case lua.ClassFail:
		b.failures++
		return b.trip(now, jitter, by)
	default:
		return b.release()
	}
}

func (b breaker) closedRecord(now int64, class lua.Class, jitter int64, by lua.Breaker) breaker {
	if class == lua.ClassNeutral {
		return b
	}
	slot := slotOf(now, by.Window)
	here := &b.rate[slot%buckets]
	if here.slot != slot {
		*here = bucket{slot: slot}
	}
	if class == lua.ClassOK {
		here.ok++
		b.failures = 0
		return b
	}
	here.bad++
	if class == sameMoment {
		return b
	}
	b.failures++
	all, bad := b.counts(now, by.Window)
	if b.failures >= by.Streak || all >= int64(by.Least) && 2*bad >= all {
		return b.trip(now, jitter, by)
	}
	return b
}

// counts are all calls and failed ones of the window.
func (b breaker) counts(now int64, window time.Duration) (all, bad int64) {
	slot := slotOf(now, window)
	for _, at := range b.rate {
		if at.slot > slot-buckets && at.slot <= slot {
			all += at.ok + at.bad
			bad += at.bad
		}
	}
	return all, bad
}

// trip opens the circuit: a new epoch, no probe, twice as long as the last time.
func (b breaker) trip(now, jitter int64, by lua.Breaker) breaker {
	b.opened++
	life := min(float64(by.Base.Milliseconds())*math.Pow(2, float64(min(b.opened-1, 30))), float64(by.Cap.Milliseconds()))
	b.open = true
	b.epoch++
	b.openUntil = max(b.openUntil, now+int64(math.Floor(life+life*float64(jitter)/1000)))
	return b.release()
}

func (b breaker) release() breaker {
	b.probe, b.probeUntil = "", 0
	return b
}

func slotOf(now int64, window time.Duration) int64 {
	return int64(math.Floor(float64(now) / (float64(window.Milliseconds()) / buckets)))
}
