package router

import (
	"slices"
	"strconv"
	"time"

	"github.com/lighterman/lighterman/fleet"
)

// Shift is what a change of a pool would do to homes, with all members healthy.
type Shift struct {
	Pool    string        `json:"pool"`
	Keys    int           `json:"keys"`
	Moved   float64       `json:"moved"` // share of the keys that would home elsewhere
	Members []MemberShift `json:"members"`
	Note    string        `json:"note,omitempty"`
}

// MemberShift is a member's share of the keys before and after.
type MemberShift struct {
	Member string  `json:"member"`
	Before float64 `json:"before"`
	After  float64 `json:"after"`
}

// Compare homes n keys in a pool of two specifications. A pool that only one of
// them has shares nothing with the other: every key moves.
func Compare(before, after fleet.Spec, pool string, n int) Shift {
	s := Shift{Pool: pool, Keys: n}
	old, renewed := homesOf(before, pool, n), homesOf(after, pool, n)
	count := func(home string, what func(*MemberShift) *float64) {
		if home == "" {
			return
		}
		i := slices.IndexFunc(s.Members, func(m MemberShift) bool { return m.Member == home })
		if i < 0 {
			i, s.Members = len(s.Members), append(s.Members, MemberShift{Member: home})
		}
		*what(&s.Members[i]) += 1 / float64(n)
	}
	for _, spec := range []fleet.Spec{before, after} {
		for _, p := range spec.Pools {
			if p.ID != pool {
				continue
			}
			for _, m := range p.Members { // those with no key too, in the order of declaration
				if !slices.ContainsFunc(s.Members, func(k MemberShift) bool { return k.Member == m.Model }) {
					s.Members = append(s.Members, MemberShift{Member: m.Model})
				}
			}
			if p.Routing.Home == fleet.HomeRoundRobin {
				s.Note = "round_robin homes by turn, not by key: only sessions that exist stay where they are"
			}
		}
	}
	for i := range n {
		count(old[i], func(m *MemberShift) *float64 { return &m.Before })
		count(renewed[i], func(m *MemberShift) *float64 { return &m.After })
		if old[i] != renewed[i] {
			s.Moved += 1 / float64(n)
		}
	}
	return s
}

// homesOf are the homes of n keys in a pool whose members are all healthy; empty
// where there is no such pool.
func homesOf(spec fleet.Spec, pool string, n int) []string {
	homes := make([]string, n)
	snap := fleet.NewSnapshot(0, time.Time{}, spec, nil)
	p := snap.Pool(pool)
	if p == nil {
		return homes
	}
	for i := range snap.Models {
		snap.Models[i].Maintenance = nil
	}
	for i := range homes {
		d, _ := Pick(snap, p, &Ask{Key: "key-" + strconv.Itoa(i), Turn: uint64(i)}, fleet.Session{}, Tried{}, time.Time{})
		homes[i] = d.Home
	}
	return homes
}
