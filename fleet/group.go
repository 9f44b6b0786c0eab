package fleet

import "slices"

// Group is a group with its models resolved. What is in no group stays where it is,
// and what is in several is in each of them.
type Group struct {
	Spec   GroupSpec
	Models []int // indices into Snapshot.Models, in their order
}

// groupOf resolves a group: the union of what its backends have and of the models
// that it names, and nothing else.
func groupOf(spec GroupSpec, models []Model) Group {
	g := Group{Spec: GroupSpec{ID: spec.ID, Backends: slices.Clone(spec.Backends), Models: slices.Clone(spec.Models)}}
	for i := range models {
		if m := &models[i].Spec; slices.Contains(spec.Backends, m.Backend) || slices.Contains(spec.Models, m.ID) {
			g.Models = append(g.Models, i)
		}
	}
	return g
}

// Group finds a group by ID; nil when there is none.
func (s *Snapshot) Group(id string) *Group {
	for i := range s.Groups {
		if s.Groups[i].Spec.ID == id {
			return &s.Groups[i]
		}
	}
	return nil
}
