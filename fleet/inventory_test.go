package fleet

import (
	"fmt"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

// stockSpec is two backends, with models declared on both.
func stockSpec() Spec {
	return Spec{
		Backends: []BackendSpec{{ID: "one", Provider: "openai"}, {ID: "two", Provider: "ollama"}, {ID: "three", Provider: "openai"}},
		Models: []ModelSpec{
			{ID: "big", Backend: "one", Name: "gpt-4o"}, {ID: "set", Backend: "one", Name: "gpt-4o-mini", Window: 1000, Capabilities: Capabilities{CanVision: true}},
			{ID: "llama", Backend: "two", Name: "llama3"}, {ID: "one/taken", Backend: "three", Name: "x"},
		},
		Pools:  []PoolSpec{{ID: "two/pool", Members: []Member{{Model: "big"}}}},
		Groups: []GroupSpec{{ID: "local", Backends: []string{"two"}}, {ID: "both", Backends: []string{"one", "two"}, Models: []string{"one/taken"}}, {ID: "named", Models: []string{"set"}}},
	}
}

func stockLists() map[string][]offered {
	return map[string][]offered{
		"one": settle(nil, []lm.Offering{
			{Name: "gpt-4o", Window: 128000}, {Name: "gpt-4o-mini", Window: 64000, Can: map[lm.Capability]bool{CanVision: false}},
			{Name: "taken"}, {Name: "text-embedding-3-small"}, {Name: "has space"},
		}),
		"two": settle(nil, []lm.Offering{{Name: "llama3:latest", Window: 8192, Can: map[lm.Capability]bool{CanChat: true, CanTools: true}}, {Name: "pool"}}),
	}
}

func snapshotOf(spec Spec, lists map[string][]offered, now time.Time) *Snapshot {
	records := make(map[string]lua.Observation)
	for b := range lists {
		records[b] = lua.Observation{Tried: now, Listed: now}
	}
	return newSnapshot(1, now, takeStock(spec, lists), nil, records)
}

func ids(s *Snapshot, which []int) string {
	var words []string
	for _, i := range which {
		words = append(words, s.Models[i].Spec.ID)
	}
	return strings.Join(words, " ")
}

// TestStock_LearnsAndDiscovers: names, windows and capabilities from lists, with
// the declaration before them, and offerings that nobody declares.
func TestStock_LearnsAndDiscovers(t *testing.T) {
	now := time.Now()
	spec := stockSpec()
	s := snapshotOf(spec, stockLists(), now)
	text := func(s *Snapshot) string {
		var lines []string
		for _, d := range s.Drifts(now) {
			lines = append(lines, fmt.Sprintf("%s=%s %q %d (%s)", d.ID, d.Name, d.Drift, d.Window, canDo(d.Capabilities)))
		}
		return strings.Join(lines, "\n")
	}
	const declared = `big=gpt-4o "ok" 128000 (chat prompt stream)
set=gpt-4o-mini "capability_mismatch" 1000 (chat prompt stream vision)
llama=llama3:latest "ok" 8192 (chat tools)
one/taken=x "" 0 (chat prompt stream)`
	if got, want := text(s), declared+`
one/has space=has space "model_undeclared" 0 ()
one/text-embedding-3-small=text-embedding-3-small "model_undeclared" 0 ()
two/pool=pool "model_undeclared" 0 ()`; got != want {
		t.Errorf("without discovery:\n%s\nwant\n%s", got, want)
	}
	spec.Observe.Discover = true
	s = snapshotOf(spec, stockLists(), now)
	// What would hide a declared model or a pool, or cannot be asked for, stays out.
	if got, want := text(s), declared+`
one/text-embedding-3-small=text-embedding-3-small "ok" 0 (embed)
one/has space=has space "model_undeclared" 0 ()
two/pool=pool "model_undeclared" 0 ()`; got != want {
		t.Errorf("with discovery:\n%s\nwant\n%s", got, want)
	}
	if got := s.Discovered(); len(got) != 1 || s.Model(got[0]) == nil || s.Model(got[0]).Spec.Backend != "one" {
		t.Errorf("discovered %v", got)
	}
	if spec.Models[0].Window != 0 || spec.Models[2].Name != "llama3" || spec.Models[1].Capabilities[CanChat] {
		t.Error("the declaration itself was changed")
	}
	var many []lm.Offering
	for i := range discoverMost + 7 {
		many = append(many, lm.Offering{Name: fmt.Sprintf("m%04d", i)})
	}
	s = snapshotOf(spec, map[string][]offered{"one": settle(nil, many)}, now)
	if n := len(s.Discovered()); n != discoverMost || s.Model("one/m0000") == nil {
		t.Errorf("%d were discovered of %d", n, len(many))
	}
}

// TestGroup_UnionIsolationRemoval; what is in no group stays.
func TestGroup_UnionIsolationRemoval(t *testing.T) {
	spec := stockSpec()
	spec.Observe.Discover = true
	lists := stockLists()
	lists["two"] = append(lists["two"], offered{Offering: lm.Offering{Name: "qwen"}})
	s := snapshotOf(spec, lists, time.Now())
	for group, want := range map[string]string{
		"local": "llama two/qwen", "both": "big set llama one/taken one/text-embedding-3-small two/qwen", "named": "set",
	} {
		if g := s.Group(group); g == nil || ids(s, g.Models) != want {
			t.Errorf("%s: %+v, want %s", group, g, want)
		}
	}
	all := len(s.Models)
	spec.Groups = spec.Groups[1:]
	s = snapshotOf(spec, lists, time.Now())
	if s.Group("local") != nil || s.Group("both") == nil || len(s.Models) != all || s.Model("llama") == nil {
		t.Error("with a group went more than the group")
	}
	spec.Groups = nil
	if s = snapshotOf(spec, lists, time.Now()); len(s.Models) != all {
		t.Errorf("ungrouped backends have %d models of %d", len(s.Models), all)
	}
}

// TestSnapshot_IsACopy: what is changed in one is not in another, nor in what is
// declared.
func TestSnapshot_IsACopy(t *testing.T) {
	spec := stockSpec()
	spec.Models[0].Maintenance = []Window{{Cron: "0 3 * * 0", For: time.Hour}}
	now, lists := time.Now(), stockLists()
	stock := takeStock(spec, lists)
	records := map[string]lua.Observation{"one": {Tried: now, Listed: now}}
	one, two := newSnapshot(1, now, stock, nil, records), newSnapshot(2, now, stock, nil, records)
	one.Models[0].Spec.Capabilities[CanChat] = false
	one.Models[1].Spec.Capabilities[CanVision] = false
	one.Models[0].Spec.Maintenance[0].Cron = "changed"
	one.Models[1].seen.mismatch[0] = "changed"
	one.Pools[0].Members[0] = 2
	one.Pools[0].Spec.Members[0].Model = "changed"
	one.Groups[1].Spec.Backends[0], one.Groups[1].Models[0] = "changed", 3
	d := one.Drifts(now)
	d[2].Capabilities[CanTools] = false
	if m := two.Models; !m[0].Spec.Capabilities[CanChat] || !m[1].Spec.Capabilities[CanVision] || !one.Models[2].Spec.Capabilities[CanTools] ||
		m[0].Spec.Maintenance[0].Cron == "changed" || m[1].seen.mismatch[0] == "changed" {
		t.Error("a model's change is seen in another snapshot")
	}
	if two.Pools[0].Members[0] != 0 || two.Pools[0].Spec.Members[0].Model != "big" || two.Groups[1].Spec.Backends[0] != "one" || two.Groups[1].Models[0] != 0 {
		t.Error("a pool's or group's change is seen in another snapshot")
	}
	if !spec.Models[1].Capabilities[CanVision] || spec.Pools[0].Members[0].Model != "big" || spec.Groups[1].Backends[0] != "one" || spec.Models[0].Maintenance[0].Cron == "changed" {
		t.Error("a change is seen in the declaration")
	}
}

// TestDefaults_AreEnsured: the named one where it can, else the first that can,
// with the reason.
func TestDefaults_AreEnsured(t *testing.T) {
	now := time.Now()
	spec := stockSpec()
	spec.Models = append(spec.Models, ModelSpec{ID: "gone", Backend: "one", Name: "gpt-9"}, ModelSpec{ID: "vectors", Backend: "one", Name: "text-embedding-3-small"})
	spec.Pools = append(spec.Pools, PoolSpec{ID: "lost", Members: []Member{{Model: "gone"}}}, PoolSpec{ID: "half", Members: []Member{{Model: "gone"}, {Model: "big"}}})
	s := snapshotOf(spec, stockLists(), now)
	for _, c := range []struct {
		named Capabilities
		chat  string
		embed string
		want  string
	}{
		{chat: "", embed: "", want: "chat= big, prompt= big, embed= vectors"},
		{chat: "llama", embed: "vectors", want: "chat=llama llama, prompt= big, embed=vectors vectors"},
		{chat: "gone", want: "chat=gone big model_missing, prompt= big, embed= vectors"},
		{chat: "lost", want: "chat=lost big model_missing, prompt= big, embed= vectors"},
		{chat: "half", want: "chat=half half, prompt= big, embed= vectors"},
		{chat: "nobody", embed: "big", want: "chat=nobody big not declared, prompt= big, embed=big vectors cannot embed"},
		{chat: "vectors", want: "chat=vectors big cannot chat, prompt= big, embed= vectors"},
	} {
		var got []string
		for _, d := range s.Defaults(map[Capability]string{CanChat: c.chat, CanEmbed: c.embed}, now) {
			got = append(got, strings.TrimSpace(fmt.Sprintf("%s=%s %s %s", d.Kind, d.Named, d.Model, d.Problem)))
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("chat %q embed %q: %s, want %s", c.chat, c.embed, strings.Join(got, ", "), c.want)
		}
	}
	bare := NewSnapshot(0, now, Spec{Models: []ModelSpec{{ID: "x", Backend: "b"}}}, nil)
	if d := bare.Defaults(nil, now); d[0].Model != "x" || d[2].Model != "" {
		t.Errorf("of a model that says nothing: %+v", d)
	}
}
