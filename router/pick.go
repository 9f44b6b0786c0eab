package router

import (
	"errors"
	"math/bits"
	"time"

	"github.com/lighterman/lighterman/fleet"
)

// MaxMembers is the most members that a pool can have.
const MaxMembers = 64

// Why no member can be had.
var (
	ErrIneligible      = errors.New("no member of the pool can serve this call")
	ErrNoHealthyMember = errors.New("no member of the pool is healthy")
	ErrPoolExhausted   = errors.New("every member of the pool was tried")
	ErrSwitchBudget    = errors.New("the session has used up its switches")
	ErrStays           = errors.New("the session's member cannot be called now, and the pool's policy keeps the session there")
)

// Seats is a set of a pool's members by their places in it.
type Seats uint64

// Has reports whether seat i is in the set.
func (s Seats) Has(i int) bool { return i >= 0 && s>>i&1 == 1 }

// With is the set with seat i.
func (s Seats) With(i int) Seats { return s | 1<<i }

// Tried is what a call has met so far.
type Tried struct {
	Failed  Seats     // left for good: they were called, or the session has moved on
	Refused Seats     // not admitted, see fleet.Admission
	Again   time.Time // the earliest time at which one of Refused may be asked again
}

// Ask is what Pick gets to know of a call.
type Ask struct {
	Key   string // home key: agent, else thread or run by scope, else the trace ID
	Turn  uint64 // the pool's counter, where its home strategy is round_robin
	Needs Needs
}

// Decision is the member for a call. With an error of Pick only Version, Home and
// Until are set.
type Decision struct {
	Version uint64 // of the snapshot that it was made from
	Seat    int    // in the pool; -1: none
	Model   *fleet.Model
	Home    string // the session's home, or what is to become it
	Reason  Reason
	Switch  bool      // it is not the session's member, which the session leaves
	Probe   bool      // its circuit is half-open: the call must be admitted
	Until   time.Time // of no member: when one may be had; zero: when a person says so
}

// sight is how a pool's members stand for one call.
type sight struct {
	pool     *fleet.Pool
	snap     *fleet.Snapshot
	members  Seats // those of role member
	eligible Seats
	absent   Seats // able, and not there
	open     Seats // eligible, not tried, healthy
	probes   Seats // those of open that are half-open
	until    time.Time
}

// Pick chooses the member for a call. It is a pure function and allocates
// nothing. A session without an active member is none. Errors: ErrIneligible; with
// Until: ErrNoHealthyMember, ErrPoolExhausted, ErrSwitchBudget and ErrStays.
func Pick(snap *fleet.Snapshot, pool *fleet.Pool, ask *Ask, session fleet.Session, tried Tried, now time.Time) (Decision, error) {
	v := look(snap, pool, ask, tried, now)
	d := Decision{Version: snap.Version, Seat: -1}
	active, home := seatOf(pool, session.Active), seatOf(pool, session.Home)
	if active < 0 {
		home = v.home(ask)
	}
	if home >= 0 {
		d.Home = pool.Spec.Members[home].Model
	}
	switch {
	case v.open.Has(active) && v.open.Has(home) && home != active && mayReturn(pool, session, active, now):
		return v.choose(d, home, ByFailback), nil
	case v.open.Has(active):
		return v.choose(d, active, BySession), nil
	case v.eligible == 0 && v.absent == 0:
		return d, ErrIneligible
	case v.eligible == 0: // what was seen of them can change by itself
		return d, ErrNoHealthyMember
	case v.open == 0 && v.eligible&^tried.Failed == 0:
		d.Until = v.until
		return d, ErrPoolExhausted
	case v.open == 0:
		d.Until = v.until
		return d, ErrNoHealthyMember
	}
	if active >= 0 && v.eligible.Has(active) {
		if until, err := v.leave(session, active, tried, now); err != nil {
			d.Until = until
			return d, err
		}
		d.Switch = true
	}
	if active >= 0 && v.absent.Has(active) { // no policy keeps a session where there is nobody; over its budget it goes around
		most := pool.Spec.Switch.MaxSwitches
		d.Switch = most == nil || session.Switches < *most
	}
	if v.open.Has(home) {
		return v.choose(d, home, ByHome), nil
	}
	return v.choose(d, v.failover(ask), ByFailover), nil
}

// look finds out of every member whether it can be called.
func look(snap *fleet.Snapshot, pool *fleet.Pool, ask *Ask, tried Tried, now time.Time) sight {
	v := sight{pool: pool, snap: snap}
	for i, index := range pool.Members {
		m := &snap.Models[index]
		if pool.Spec.Members[i].Role != fleet.RoleFailoverOnly {
			v.members = v.members.With(i)
		}
		if ask.Needs.eligible(&m.Spec) != Healthy {
			continue
		}
		s := tried.of(m, i, now)
		if s.Absent() {
			v.absent = v.absent.With(i)
			continue
		}
		v.eligible = v.eligible.With(i)
		switch {
		case !s.open():
			v.until = earlier(v.until, s.Until)
		case !tried.Failed.Has(i):
			v.open = v.open.With(i)
			if s.Probe {
				v.probes = v.probes.With(i)
			}
		}
	}
	return v
}

func (v *sight) choose(d Decision, seat int, why Reason) Decision {
	d.Seat, d.Reason, d.Model, d.Probe = seat, why, &v.snap.Models[v.pool.Members[seat]], v.probes.Has(seat)
	return d
}

// home is the home of a session that has none: by the pool's strategy among the
// open ones of role member, else among all of that role; never a failover_only.
func (v *sight) home(ask *Ask) int {
	for _, among := range [...]Seats{v.open & v.members, v.eligible & v.members, v.members} {
		if among != 0 {
			return v.first(among, ask)
		}
	}
	return -1
}

// failover is another member than the home: members before failover_only ones.
func (v *sight) failover(ask *Ask) int {
	if among := v.open & v.members; among != 0 {
		return v.first(among, ask)
	}
	return v.first(v.open, ask)
}

// leave says whether a session may leave its member: one that this call has tried
// was left by Decide, for another the policy decides; and each counts as a switch.
func (v *sight) leave(session fleet.Session, active int, tried Tried, now time.Time) (time.Time, error) {
	sw := &v.pool.Spec.Switch
	s := tried.of(&v.snap.Models[v.pool.Members[active]], active, now)
	if !tried.Failed.Has(active) && !mayLeave(sw, &s, now) {
		return s.Until, ErrStays
	}
	if sw.MaxSwitches != nil && session.Switches >= *sw.MaxSwitches {
		return s.Until, ErrSwitchBudget
	}
	return time.Time{}, nil
}

// mayReturn says whether a session that could go on with its stand-in goes home:
// when the stand-in's prompt cache has gone cold, or it is only a failover.
func mayReturn(pool *fleet.Pool, session fleet.Session, active int, now time.Time) bool {
	if pool.Spec.Members[active].Role == fleet.RoleFailoverOnly {
		return true
	}
	after := pool.Spec.Routing.FailbackAfter
	if after <= 0 {
		after = DefaultFailback
	}
	return !session.IdleSince.IsZero() && now.Sub(session.IdleSince) > after
}

// DefaultFailback is for how long a stand-in's prompt cache is taken to be warm.
const DefaultFailback = 10 * time.Minute

// first is the one of a set that comes first by the pool's home strategy.
func (v *sight) first(among Seats, ask *Ask) int {
	switch v.pool.Spec.Routing.Home {
	case fleet.HomeFirstHealthy:
		return bits.TrailingZeros64(uint64(among))
	case fleet.HomeRoundRobin:
		return v.turn(among, ask.Turn)
	default:
		return v.highest(among, ask.Key)
	}
}

// turn deals a counter over a set: a member's weight is how often in a row.
func (v *sight) turn(among Seats, turn uint64) int {
	total := uint64(0)
	for left := among; left != 0; left &= left - 1 {
		total += weightOf(v.pool, bits.TrailingZeros64(uint64(left)))
	}
	turn %= total
	for left := among; ; left &= left - 1 {
		seat := bits.TrailingZeros64(uint64(left))
		w := weightOf(v.pool, seat)
		if turn < w {
			return seat
		}
		turn -= w
	}
}

func (v *sight) highest(among Seats, key string) int {
	hash, best, top := keyHash(key), -1, 0.0
	for left := among; left != 0; left &= left - 1 {
		seat := bits.TrailingZeros64(uint64(left))
		m := &v.pool.Spec.Members[seat]
		if s := score(hash, m.Model, m.Weight); best < 0 || s > top {
			best, top = seat, s
		}
	}
	return best
}

func weightOf(pool *fleet.Pool, seat int) uint64 {
	return uint64(max(pool.Spec.Members[seat].Weight, 1))
}

func seatOf(pool *fleet.Pool, model string) int {
	if model == "" {
		return -1
	}
	for i := range pool.Spec.Members {
		if pool.Spec.Members[i].Model == model {
			return i
		}
	}
	return -1
}

// earlier is the earlier of two times of which zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
