package router

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/lighterman/lighterman/fleet"
	"pgregory.net/rapid"
)

func TestPick_RoundRobin(t *testing.T) {
	for _, c := range []struct {
		words string
		cold  states
		want  string
	}{
		{"a b c", nil, "a b c a b c"},
		{"a*2 b c", states{"b": openFor(time.Hour)}, "a a c a a c"},
		{"a b!", nil, "a a a"},
		{"a b", states{"a": {Disabled: true}}, "b b b"},
	} {
		snap, p := snapshot(pool(c.words, by(fleet.HomeRoundRobin)), c.cold)
		var got []string
		for turn := range len(strings.Fields(c.want)) {
			d, err := Pick(snap, p, &Ask{Turn: uint64(turn)}, fleet.Session{}, Tried{}, noon)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, d.Model.Spec.ID)
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s: %v, want %s", c.words, got, c.want)
		}
	}
}

// session is one that is bound to active and prefers home.
func session(home, active string) fleet.Session {
	return fleet.Session{Home: home, Active: active, Exists: true, IdleSince: noon.Add(-time.Minute)}
}

func idle(s fleet.Session, d time.Duration) fleet.Session {
	s.IdleSince = noon.Add(-d)
	return s
}

func switched(s fleet.Session, n int) fleet.Session {
	s.Switches = n
	return s
}

func failed(seats ...int) (t Tried) {
	for _, s := range seats {
		t.Failed = t.Failed.With(s)
	}
	return t
}

func TestPick_DecisionOrder(t *testing.T) {
	threshold := 60 * time.Second
	cautious := switching(func(s *fleet.Switch) { s.QuotaThreshold = &threshold })
	first := by(fleet.HomeFirstHealthy)
	for _, c := range []struct {
		name    string
		spec    fleet.Spec
		states  states
		session fleet.Session
		tried   Tried
		want    string
	}{
		{name: "a new session goes home", spec: pool("a b", first), want: "a home"},
		{name: "home is a healthy one", spec: pool("a b", first), states: states{"a": openFor(time.Hour)}, want: "b home"},
		{name: "the session's member before home", spec: pool("a b", first), session: session("a", "b"), want: "b session"},
		{name: "affinity never revives a cold member", spec: pool("a b c", first), session: session("a", "b"), states: states{"b": coolFor(time.Hour)}, want: "a home"},
		{name: "nor a tried one", spec: pool("a b c", first), session: session("a", "b"), tried: failed(1), want: "a home"},
		{name: "home and stand-in gone: another", spec: pool("a b c", first), session: session("a", "b"), tried: failed(0, 1), want: "c failover"},
		{name: "a member before failover_only", spec: pool("f! a b", first), session: session("a", "a"), tried: failed(1), want: "b failover"},
		{name: "failover_only last", spec: pool("f! a b", first), session: session("a", "a"), tried: failed(1, 2), want: "f failover"},
		{name: "home is never failover_only", spec: pool("f! a", first), states: states{"a": openFor(time.Hour)}, want: "f failover"},
		{name: "nothing left", spec: pool("a b", first), session: session("a", "a"), tried: failed(0, 1), want: ErrPoolExhausted.Error()},
		{name: "the rest is cold", spec: pool("a b", first), session: session("a", "a"), tried: failed(0), states: states{"b": coolFor(time.Hour)}, want: ErrNoHealthyMember.Error()},
		{name: "all cold", spec: pool("a b"), states: states{"a": coolFor(time.Hour), "b": openFor(time.Minute)}, want: ErrNoHealthyMember.Error()},

		{name: "failback after idle", spec: pool("a b"), session: idle(session("a", "b"), 10*time.Minute+1), want: "a failback"},
		{name: "not while it is warm", spec: pool("a b"), session: idle(session("a", "b"), 10*time.Minute), want: "b session"},
		{name: "by the pool's own time", spec: pool("a b", func(p *fleet.PoolSpec) { p.Routing.FailbackAfter = time.Hour }), session: idle(session("a", "b"), 59*time.Minute), want: "b session"},
		{name: "at once from failover_only", spec: pool("a b!"), session: session("a", "b"), want: "a failback"},
		{name: "not to a home that is cold", spec: pool("a b!"), session: session("a", "b"), states: states{"a": openFor(1)}, want: "b session"},
		{name: "a home that left the pool", spec: pool("b c"), session: idle(session("a", "b"), time.Hour), want: "b session"},
		{name: "a session whose member left begins anew", spec: pool("b c", first, upTo(0)), session: session("a", "a"), want: "b home"},

		{name: "budget of one, unused", spec: pool("a b", upTo(1)), session: session("a", "a"), tried: failed(0), want: "b failover"},
		{name: "budget of one, used", spec: pool("a b", upTo(1)), session: switched(session("a", "a"), 1), tried: failed(0), want: ErrSwitchBudget.Error()},
		{name: "0 forbids even when the breaker is open", spec: pool("a b", upTo(0)), session: session("a", "a"), states: states{"a": openFor(time.Hour)}, want: ErrSwitchBudget.Error()},
		{name: "failback is free", spec: pool("a b", upTo(0)), session: idle(session("a", "b"), time.Hour), want: "a failback"},
		{name: "no switch on an open circuit", spec: pool("a b", switching(func(s *fleet.Switch) { s.OnCircuitOpen = false })), session: session("a", "a"), states: states{"a": openFor(time.Hour)}, want: ErrStays.Error()},
		{name: "no switch on a quarantine", spec: pool("a b", switching(func(s *fleet.Switch) { s.OnPermanent = false })), session: session("a", "a"), states: states{"a": {QuarantineUntil: noon.Add(1)}}, want: ErrStays.Error()},
		{name: "a cooldown under the threshold stays", spec: pool("a b", cautious), session: session("a", "a"), states: states{"a": coolFor(30 * time.Second)}, want: ErrStays.Error()},
		{name: "one over it switches", spec: pool("a b", cautious), session: session("a", "a"), states: states{"a": coolFor(120 * time.Second)}, want: "b failover"},
		{name: "what the call has left is not held by a short cooldown", spec: pool("a b", cautious), session: session("a", "a"), tried: failed(0), states: states{"a": coolFor(30 * time.Second)}, want: "b failover"},
		{name: "an order leaves nobody there", spec: pool("a b", switching(func(s *fleet.Switch) { *s = fleet.Switch{} })), session: session("a", "a"), states: states{"a": {Disabled: true}}, want: "b failover"},
		{name: "a refused probe is an open circuit", spec: pool("a b", switching(func(s *fleet.Switch) { s.OnCircuitOpen = false })), session: session("a", "a"), states: states{"a": openFor(-1)}, tried: Tried{Refused: 1}, want: ErrStays.Error()},
		{name: "a refused call is a quota", spec: pool("a b", cautious), session: session("a", "a"), tried: Tried{Refused: 1, Again: noon.Add(time.Second)}, want: ErrStays.Error()},
		{name: "and switches from the threshold on", spec: pool("a b", cautious), session: session("a", "a"), tried: Tried{Refused: 1, Again: noon.Add(threshold)}, want: "b failover"},
	} {
		snap, p := snapshot(c.spec, c.states)
		if got := picked(Pick(snap, p, &Ask{Key: "k"}, c.session, c.tried, noon)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestPick_SwitchSaysWhetherTheSessionLeaves(t *testing.T) {
	snap, p := snapshot(pool("a b"), states{"a": openFor(time.Hour)})
	if d, _ := Pick(snap, p, &Ask{}, session("a", "a"), Tried{}, noon); !d.Switch || d.Home != "a" {
		t.Errorf("a session leaves a cold member: %+v", d)
	}
	if d, _ := Pick(snap, p, &Ask{}, fleet.Session{}, Tried{}, noon); d.Switch {
		t.Errorf("one that is not bound has nothing to leave: %+v", d)
	}
	spec := pool("a b")
	spec.Models[0].Capabilities = fleet.Capabilities{fleet.CanVision: false}
	snap, p = snapshot(spec, nil)
	if d, err := Pick(snap, p, &Ask{Needs: Needs{Vision: true}}, session("a", "a"), Tried{}, noon); err != nil || d.Switch || d.Model.Spec.ID != "b" {
		t.Errorf("a call that the session's member cannot serve is a detour, no switch: %+v %v", d, err)
	}
}

func TestPick_Eligible(t *testing.T) {
	spec := pool("text see small embedder")
	spec.Models[0].Capabilities = fleet.Capabilities{fleet.CanVision: false, fleet.CanEmbed: false}
	spec.Models[1].Window = 8000
	spec.Models[2].Window, spec.Models[2].Capabilities = 1000, fleet.Capabilities{fleet.CanVision: true, fleet.CanChat: true}
	spec.Models[3].Capabilities = fleet.Capabilities{fleet.CanEmbed: true}
	snap, p := snapshot(spec, nil)
	for _, c := range []struct {
		needs Needs
		want  string
	}{
		{Needs{Kind: fleet.CanChat}, "text see small"},
		{Needs{Kind: fleet.CanChat, Vision: true}, "see small"},
		{Needs{Kind: fleet.CanChat, Vision: true, Tokens: 1001}, "see"},
		{Needs{Kind: fleet.CanChat, Vision: true, Tokens: 8001}, ""},
		{Needs{Kind: fleet.CanPrompt}, "text see small"},
		{Needs{Kind: fleet.CanEmbed, Tokens: 500}, "see embedder"},
	} {
		e := Explain(snap, p, &Ask{Needs: c.needs}, fleet.Session{}, Tried{}, noon)
		var got []string
		for _, v := range e.Members {
			if v.Reason == Healthy || v.Reason == ByHome {
				got = append(got, v.Member)
			}
		}
		if strings.Join(got, " ") != c.want || (e.Err == ErrIneligible.Error()) != (c.want == "") {
			t.Errorf("%+v: %v (%s), want %q", c.needs, got, e.Err, c.want)
		}
	}
	if w := Window(snap, p); w != 0 {
		t.Errorf("window of a pool with an unknown one: %d", w)
	}
	spec = pool("a b")
	spec.Models[0].Window, spec.Models[1].Window = 8000, 1000
	if w := Window(snapshot(spec, nil)); w != 1000 {
		t.Errorf("window: %d, want the least", w)
	}
}

// Whatever happened to whichever members: what Pick chooses is open, it was not
// tried, a failover_only one is no home and comes only after all members, and
// Explain says the same.
func TestPick_Properties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 8).Draw(t, "members")
		spec := pool("z")
		spec.Models, spec.Pools[0].Members = nil, nil
		spec.Pools[0].Routing.Home = rapid.SampledFrom([]fleet.Home{"", fleet.HomeDeterministic, fleet.HomeRoundRobin, fleet.HomeFirstHealthy}).Draw(t, "home")
		st := states{}
		for i := range n {
			id := string(rune('a' + i))
			m := fleet.Member{Model: id, Weight: rapid.IntRange(1, 4).Draw(t, "weight"), Role: fleet.RoleMember}
			if i > 0 && rapid.Bool().Draw(t, "failover_only") {
				m.Role = fleet.RoleFailoverOnly
			}
			spec.Models = append(spec.Models, fleet.ModelSpec{ID: id})
			spec.Pools[0].Members = append(spec.Pools[0].Members, m)
			st[id] = rapid.SampledFrom([]fleet.ModelState{{}, {}, openFor(time.Hour), openFor(-1), coolFor(time.Hour), {Disabled: true}}).Draw(t, "state")
		}
		snap, p := snapshot(spec, st)
		id := rapid.SampledFrom([]string{"", "a", "b", "gone"})
		s := fleet.Session{Home: id.Draw(t, "home"), Active: id.Draw(t, "active"), IdleSince: noon.Add(-time.Duration(rapid.IntRange(0, 20).Draw(t, "idle")) * time.Minute)}
		tried := Tried{Failed: Seats(rapid.Uint64Range(0, 1<<n-1).Draw(t, "failed")), Refused: Seats(rapid.Uint64Range(0, 1<<n-1).Draw(t, "refused"))}
		ask := &Ask{Key: rapid.String().Draw(t, "key"), Turn: rapid.Uint64().Draw(t, "turn")}

		d, err := Pick(snap, p, ask, s, tried, noon)
		e := Explain(snap, p, ask, s, tried, noon)
		open, members := Seats(0), Seats(0)
		for i := range n {
			if snap.Models[i].Usability(noon).Usable && !tried.Failed.Has(i) && !tried.Refused.Has(i) {
				open = open.With(i)
			}
			if p.Spec.Members[i].Role == fleet.RoleMember {
				members = members.With(i)
			}
		}
		switch {
		case err != nil && open != 0:
			t.Fatalf("%v, and %b are open", err, open)
		case err != nil:
			if errors.Is(err, ErrPoolExhausted) != (tried.Failed == 1<<n-1) {
				t.Fatalf("%v with %b of %d tried", err, tried.Failed, n)
			}
			return
		case !open.Has(d.Seat):
			t.Fatalf("%s is not open", d.Model.Spec.ID)
		case !members.Has(d.Seat) && open&members != 0 && d.Reason != BySession && (d.Reason != ByFailback && d.Reason != ByHome):
			t.Fatalf("%s is failover_only, and members are open", d.Model.Spec.ID)
		case s.Active == "" || s.Active == "gone":
			if home := seatOf(p, d.Home); !members.Has(home) {
				t.Fatalf("home of a new session is %q, which is failover_only", d.Home)
			}
		}
		if e.Member != d.Model.Spec.ID || e.Members[d.Seat].Reason != d.Reason {
			t.Fatalf("explained as %+v, decided %+v", e, d)
		}
		again, _ := Pick(snap, p, ask, s, tried, noon)
		if !cmp.Equal(d.Seat, again.Seat) {
			t.Fatal("two decisions from the same facts")
		}
	})
}

func TestPick_AllocatesNothing(t *testing.T) {
	snap, p := eight()
	for name, s := range map[string]fleet.Session{"none": {}, "bound": session("model-3", "model-5")} {
		if n := testing.AllocsPerRun(100, func() { _, _ = Pick(snap, p, &Ask{Key: "thread-42"}, s, Tried{}, noon) }); n != 0 {
			t.Errorf("session %s: %v allocations", name, n)
		}
	}
	cold := states{}
	for _, m := range p.Spec.Members {
		cold[m.Model] = openFor(time.Hour)
	}
	snap = fleet.NewSnapshot(1, noon, fleet.Spec{Models: specs(p), Pools: []fleet.PoolSpec{p.Spec}}, cold)
	if n := testing.AllocsPerRun(100, func() { _, _ = Pick(snap, snap.Pool("chat"), &Ask{}, fleet.Session{}, Tried{}, noon) }); n != 0 {
		t.Errorf("all cold: %v allocations", n)
	}
}

func specs(p *fleet.Pool) (list []fleet.ModelSpec) {
	for _, m := range p.Spec.Members {
		list = append(list, fleet.ModelSpec{ID: m.Model})
	}
	return list
}

func eight() (*fleet.Snapshot, *fleet.Pool) {
	words := ""
	for i := range 8 {
		words += fmt.Sprintf("model-%d ", i)
	}
	return snapshot(pool(words), states{"model-1": coolFor(time.Hour), "model-2": openFor(-1)})
}

func BenchmarkPick(b *testing.B) {
	snap, p := eight()
	for name, s := range map[string]fleet.Session{"home": {}, "session": session("model-3", "model-5"), "failover": session("model-1", "model-1")} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			ask := &Ask{Key: "thread-0123456789", Needs: Needs{Kind: fleet.CanChat, Tokens: 900}}
			for b.Loop() {
				if _, err := Pick(snap, p, ask, s, Tried{}, noon); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
