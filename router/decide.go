package router

import (
	"math/rand/v2"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/fleet"
)

// Action is what follows a failed call.
type Action int

// The actions.
const (
	Fail   Action = iota // the error goes back: the operation's own retry, or its end
	Retry                // the same member again, after Wait
	Switch               // another member at once
	Park                 // set the operation aside for Wait; no attempt is counted
)

func (a Action) String() string { return [...]string{"fail", "retry", "switch", "park"}[a] }

// Reaction is an action and how long to wait for it.
type Reaction struct {
	Do   Action
	Wait time.Duration
}

// The bounds of trying again in place.
const (
	retries       = 2                      // per member and call
	patience      = 5 * time.Second        // the longest Retry-After that is waited for in place
	retryBase     = 500 * time.Millisecond // doubling
	overloadBase  = 2 * time.Second
	retryCap      = 8 * time.Second
	failuresPerOp = 8 // failed calls per step
)

// row says of an error's kind how it is met.
type row struct {
	retries int           // in place at most
	base    time.Duration // of their backoff
	quota   bool          // a quota signal: on_quota with its threshold decides, and a Retry-After parks
	lasting bool          // on_permanent decides
}

// table is the one of docs/routing.md. A kind that is not in it fails.
var table = map[lm.Kind]row{
	lm.RateLimited:       {retries: retries, base: retryBase, quota: true},
	lm.Overloaded:        {retries: 1, base: overloadBase, quota: true},
	lm.QuotaExhausted:    {quota: true},
	lm.ProviderFailed:    {retries: retries, base: retryBase},
	lm.TimedOut:          {retries: 1, base: retryBase},
	lm.StreamInterrupted: {retries: retries, base: retryBase},
	lm.Unauthorized:      {lasting: true},
	lm.ModelNotFound:     {lasting: true},
}

// Decide says what follows a call's failure: of a kind, with the provider's
// Retry-After (0: it named none), under a pool's policy, as failure number n of
// this call at this member, from 1. Nothing is waited for in place for longer than
// lease. It is pure: the wait is the longest one, to be jittered by jitter unless
// the provider named it.
func Decide(kind lm.Kind, retryAfter time.Duration, sw fleet.Switch, n int, lease time.Duration) Reaction {
	r, known := table[kind]
	if !known {
		return Reaction{Do: Fail}
	}
	if r.quota && sw.OnQuota && (sw.QuotaThreshold == nil || retryAfter == 0 || retryAfter >= *sw.QuotaThreshold) || r.lasting && sw.OnPermanent {
		return Reaction{Do: Switch}
	}
	if wait := max(retryAfter, min(r.base<<(n-1), retryCap)); n <= r.retries && retryAfter <= patience && wait < lease {
		return Reaction{Do: Retry, Wait: wait}
	}
	if r.quota && retryAfter > 0 {
		return Reaction{Do: Park, Wait: retryAfter}
	}
	return Reaction{Do: Fail}
}

// backoff jitters a wait between its floor, the provider's Retry-After, and its
// whole length.
func backoff(wait, floor time.Duration) time.Duration {
	return floor + rand.N(max(wait-floor, 0)+1)
}

// The bounds of a park: one that was told no time is looked at again after a while,
// so that a person's order or a new member is seen.
const (
	parkUnknown = 30 * time.Second
	parkLeast   = 100 * time.Millisecond
	parkJitter  = 5 * time.Second
)

// parkUntil is when an operation that waits for a time comes back: a little later,
// each at another moment, so that not all of them come at once.
func parkUntil(until, now time.Time) time.Time {
	if until.IsZero() {
		until = now.Add(parkUnknown)
	}
	wait := max(until.Sub(now), parkLeast)
	return now.Add(wait + rand.N(min(wait/5, parkJitter)+parkLeast))
}
