package router

import (
	"time"

	"github.com/lighterman/lighterman/fleet"
)

// Verdict says of one member how it stood in a decision.
type Verdict struct {
	Member string     `json:"member"`
	Role   fleet.Role `json:"role"`
	Weight int        `json:"weight"`
	Reason Reason     `json:"reason"`
	// Of one that is set aside: whose matter that is, and until when; zero: when a
	// person or a listing says so.
	Scope fleet.AsideScope `json:"scope,omitempty"`
	Until time.Time        `json:"until,omitzero"`
	Probe bool             `json:"probe,omitempty"`
	// Limited is what refused the last call that asked the chosen member, until Until: this
	// one may be refused too.
	Limited fleet.Reason `json:"limited,omitempty"`
}

// Explanation is a decision with its reasons. Err is empty when there is a member.
type Explanation struct {
	Version uint64    `json:"snapshot"`
	Pool    string    `json:"pool"`
	Key     string    `json:"key"`
	Member  string    `json:"member,omitempty"`
	Home    string    `json:"home,omitempty"`
	Reason  Reason    `json:"reason,omitempty"`
	Err     string    `json:"error,omitempty"`
	Until   time.Time `json:"until,omitzero"`
	Members []Verdict `json:"members"`
}

// Explain makes the decision that Pick makes, and says of every member why.
func Explain(snap *fleet.Snapshot, pool *fleet.Pool, ask *Ask, session fleet.Session, tried Tried, now time.Time) Explanation {
	d, err := Pick(snap, pool, ask, session, tried, now)
	e := Explanation{Version: d.Version, Pool: pool.Spec.ID, Key: ask.Key, Home: d.Home, Reason: d.Reason, Until: d.Until}
	if err != nil {
		e.Err = err.Error()
	} else {
		e.Member = d.Model.Spec.ID
	}
	for i, seat := range pool.Spec.Members {
		v := Verdict{Member: seat.Model, Role: seat.Role, Weight: max(seat.Weight, 1)}
		if v.Role == "" {
			v.Role = fleet.RoleMember
		}
		m := &snap.Models[pool.Members[i]]
		s := tried.of(m, i, now)
		v.Reason, v.Probe = ask.Needs.eligible(&m.Spec), s.Probe
		switch {
		case i == d.Seat:
			v.Reason = d.Reason
			if s.Limited {
				v.Limited, v.Scope, v.Until = s.Reason, s.Scope, s.Until
			}
		case v.Reason != Healthy:
		case tried.Failed.Has(i) && !s.Absent():
			v.Reason = WasTried
		case s.refused:
			v.Reason, v.Until = WasRefused, s.Until
		case !s.Usable || s.Limited:
			v.Reason, v.Scope, v.Until = Reason(s.Reason), s.Scope, s.Until
		}
		e.Members = append(e.Members, v)
	}
	return e
}

// ModelHealth says how a model stands: Healthy, or why it takes no calls, or refused the
// last one, and until when; zero: until a person or a listing says otherwise. See fleet.Usability.
func ModelHealth(m *fleet.Model, now time.Time) (Reason, time.Time) {
	u := m.Usability(now)
	if u.Usable && !u.Limited {
		return Healthy, time.Time{}
	}
	return Reason(u.Reason), u.Until
}
