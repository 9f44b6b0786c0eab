package fleet

import (
	"maps"
	"slices"
	"strings"

	"github.com/lighterman/lighterman/lua"
)

// discoverMost is how many models one backend adds by auto-discovery, the first by
// name: the state of each is read with every snapshot.
const discoverMost = 256

// inventory is a specification as far as lists have completed it: the declared
// models with the names, windows and capabilities that their backends tell, and
// behind them those that were discovered. It is never changed.
type inventory struct {
	spec  Spec
	found []sight // of each model of spec; without a backend that is looked at the zero value
	lists map[string][]offered
}

// sight is what a list says of a model.
type sight struct {
	found      bool
	discovered bool
	mismatch   []Capability
}

// takeStock completes a specification by the good lists of backends: a pure
// function.
func takeStock(spec Spec, lists map[string][]offered) *inventory {
	v := &inventory{spec: spec, lists: lists, found: make([]sight, len(spec.Models))}
	backends := make(map[string]BackendSpec, len(spec.Backends))
	for _, b := range spec.Backends {
		backends[b.ID] = b
	}
	v.spec.Models = slices.Clone(spec.Models)
	claimed := make(map[string]map[int]bool)
	for i := range v.spec.Models {
		m := &v.spec.Models[i]
		at := v.declared(m, backends[m.Backend], &v.found[i])
		if claimed[m.Backend] == nil {
			claimed[m.Backend] = make(map[int]bool)
		}
		claimed[m.Backend][at] = true
	}
	if spec.Observe.Discover {
		for _, b := range spec.Backends {
			v.discover(b, claimed[b.ID])
		}
	}
	return v
}

// declared completes a declared model, and answers its place in its backend's
// list; -1: it is not there.
func (v *inventory) declared(m *ModelSpec, b BackendSpec, s *sight) int {
	at := match(m.Name, v.lists[m.Backend])
	var told Capabilities
	if at >= 0 {
		o := &v.lists[m.Backend][at]
		s.found, told, m.Name = true, o.Can, o.Name
		if m.Window == 0 {
			m.Window = o.Window
		}
		s.mismatch = contradicted(m.Capabilities, told)
	}
	m.Capabilities, m.Limits = capable(m.Capabilities, told, infer(b, m.Name)), assume(b, m.Limits)
	return at
}

// discover adds the offerings of a backend that nobody declares.
func (v *inventory) discover(b BackendSpec, claimed map[int]bool) {
	added := 0
	for i := range v.lists[b.ID] {
		o := &v.lists[b.ID][i]
		id := b.ID + "/" + o.Name
		if claimed[i] || added >= discoverMost || v.taken(id) {
			continue
		}
		added++
		v.spec.Models = append(v.spec.Models, ModelSpec{
			ID: id, Backend: b.ID, Name: o.Name, Window: o.Window, Capabilities: capable(nil, o.Can, infer(b, o.Name)), Limits: assume(b, Limits{}),
		})
		v.found = append(v.found, sight{found: true, discovered: true})
	}
}

// taken reports whether a name is a declared model's or a pool's, or one that no
// request could carry.
func (v *inventory) taken(id string) bool {
	return strings.ContainsAny(id, " \t") || slices.ContainsFunc(v.spec.Models, func(m ModelSpec) bool { return m.ID == id }) ||
		slices.ContainsFunc(v.spec.Pools, func(p PoolSpec) bool { return p.ID == id })
}

// undeclared are the names that a backend offers and no declared model is, sorted.
func (v *inventory) undeclared(backend string) []string {
	var names []string
	for i := range v.lists[backend] {
		name := v.lists[backend][i].Name
		declared := false
		for j := range v.spec.Models {
			m := &v.spec.Models[j]
			declared = declared || m.Backend == backend && m.Name == name && !v.found[j].discovered
		}
		if !declared {
			names = append(names, name)
		}
	}
	return names
}

// sameModels reports whether two inventories have the same models.
func (v *inventory) sameModels(other *inventory) bool {
	return slices.EqualFunc(v.spec.Models, other.spec.Models, func(a, b ModelSpec) bool { return a.ID == b.ID })
}

// sightings joins what lists say with the records of their listings. Each call
// makes new ones.
func (v *inventory) sighting(i int, records map[string]lua.Observation) *sighting {
	m := &v.spec.Models[i]
	r, looked := records[m.Backend]
	if !looked {
		return nil
	}
	_, listed := v.lists[m.Backend]
	o := v.spec.Observe.withDefaults()
	return &sighting{
		record: r, listed: listed, found: v.found[i].found, discovered: v.found[i].discovered, mismatch: slices.Clone(v.found[i].mismatch),
		interval: o.Interval, keep: o.Keep,
	}
}

// copied is a model's specification that shares nothing that can be changed.
func (s ModelSpec) copied() ModelSpec {
	s.Capabilities = maps.Clone(s.Capabilities)
	s.Maintenance = slices.Clone(s.Maintenance)
	return s
}

func sortByName(list []offered) {
	slices.SortFunc(list, func(a, b offered) int { return strings.Compare(a.Name, b.Name) })
}
