package router

import (
	"strings"
	"time"

	"github.com/lighterman/lighterman/fleet"
)

// noon is the moment at which the tests of pure functions decide.
var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// allOn is a pool's policy with everything on.
func allOn() fleet.Switch {
	return fleet.Switch{OnCircuitOpen: true, OnQuota: true, OnPermanent: true}
}

// pool declares a pool named chat from words: "a", "b*3" of weight 3, "c!" a
// failover_only one.
func pool(words string, change ...func(*fleet.PoolSpec)) fleet.Spec {
	p := fleet.PoolSpec{ID: "chat", Switch: allOn()}
	var spec fleet.Spec
	for word := range strings.FieldsSeq(words) {
		m := fleet.Member{Weight: 1, Role: fleet.RoleMember}
		id, weight, weighted := strings.Cut(word, "*")
		if weighted {
			m.Weight = int(weight[0] - '0')
		}
		if m.Model = strings.TrimSuffix(id, "!"); m.Model != id {
			m.Role = fleet.RoleFailoverOnly
		}
		p.Members = append(p.Members, m)
		spec.Models = append(spec.Models, fleet.ModelSpec{ID: m.Model, Backend: "b-" + m.Model, Name: m.Model})
	}
	for _, c := range change {
		c(&p)
	}
	spec.Pools = []fleet.PoolSpec{p}
	return spec
}

func by(home fleet.Home) func(*fleet.PoolSpec) {
	return func(p *fleet.PoolSpec) { p.Routing.Home = home }
}

func switching(change func(*fleet.Switch)) func(*fleet.PoolSpec) {
	return func(p *fleet.PoolSpec) { change(&p.Switch) }
}

func upTo(n int) func(*fleet.PoolSpec) {
	return switching(func(s *fleet.Switch) { s.MaxSwitches = &n })
}

type states = map[string]fleet.ModelState

func snapshot(spec fleet.Spec, s states) (*fleet.Snapshot, *fleet.Pool) {
	snap := fleet.NewSnapshot(7, noon, spec, s)
	return snap, snap.Pool("chat")
}

func openFor(d time.Duration) fleet.ModelState {
	return fleet.ModelState{Circuit: fleet.CircuitOpen, OpenUntil: noon.Add(d), CircuitEpoch: 3}
}

func coolFor(d time.Duration) fleet.ModelState { return fleet.ModelState{CooldownUntil: noon.Add(d)} }

// picked is a decision as a word: the member and why, or the error.
func picked(d Decision, err error) string {
	if err != nil {
		return err.Error()
	}
	return d.Model.Spec.ID + " " + string(d.Reason)
}
