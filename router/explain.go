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
	Until  time.Time  `json:"until,omitzero"` // of a cold one; zero: when a person says so
	Probe  bool       `json:"probe,omitempty"`
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
		h := healthOf(m, now)
		v.Reason, v.Probe = ask.Needs.eligible(&m.Spec), h.probe
		if v.Reason == Healthy {
			v.Reason = absent(m, now)
		}
		switch {
		case i == d.Seat:
			v.Reason = d.Reason
		case v.Reason != Healthy:
		case tried.Failed.Has(i):
			v.Reason = WasTried
		case h.cold != "":
			v.Reason, v.Until = h.cold, h.until
		case tried.Refused.Has(i):
			v.Reason, v.Until = WasRefused, tried.Again
		}
		e.Members = append(e.Members, v)
	}
	return e
}

// ModelHealth says how a model stands: Healthy, or why it is cold and until when;
// zero: until a person says otherwise.
func ModelHealth(m *fleet.Model, now time.Time) (Reason, time.Time) {
	if why := absent(m, now); why != Healthy {
		return why, time.Time{}
	}
	h := healthOf(m, now)
	if h.cold == "" {
		return Healthy, time.Time{}
	}
	return h.cold, h.until
}
