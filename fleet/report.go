package fleet

import (
	"maps"
	"slices"
	"time"
)

// ModelDrift is how one model stands between what is declared and what was seen.
type ModelDrift struct {
	ID           string       `json:"id"` // of an offering that nobody declares: BACKEND/NAME
	Backend      string       `json:"backend"`
	Name         string       `json:"name"` // what the backend calls it
	Drift        Drift        `json:"drift,omitempty"`
	Window       int          `json:"context_window,omitempty"` // 0: unknown
	Capabilities Capabilities `json:"capabilities,omitempty"`
	Mismatch     []Capability `json:"mismatch,omitempty"`   // declared otherwise than the API tells
	Discovered   bool         `json:"discovered,omitempty"` // not declared, and can be called
	Listed       time.Time    `json:"listed,omitzero"`      // the last good listing of its backend
}

// Drifts are all models, the declared ones in their order, then the discovered
// ones, then what is offered and nobody declares. It is the caller's own.
func (s *Snapshot) Drifts(now time.Time) []ModelDrift {
	all := []ModelDrift{}
	for i := range s.Models {
		m := &s.Models[i]
		d := ModelDrift{ID: m.Spec.ID, Backend: m.Spec.Backend, Name: m.Spec.Name, Drift: m.Drift(now), Window: m.Spec.Window, Capabilities: maps.Clone(m.Spec.Capabilities)}
		if m.seen != nil {
			d.Mismatch, d.Discovered, d.Listed = slices.Clone(m.seen.mismatch), m.seen.discovered, m.seen.record.Listed
		}
		all = append(all, d)
	}
	for _, b := range s.stock.spec.Backends {
		for _, name := range s.stock.undeclared(b.ID) {
			if id := b.ID + "/" + name; s.Model(id) == nil {
				all = append(all, ModelDrift{ID: id, Backend: b.ID, Name: name, Drift: DriftUndeclared, Listed: s.records[b.ID].Listed})
			}
		}
	}
	return all
}

// Discovered are the IDs of the models that were discovered.
func (s *Snapshot) Discovered() []string {
	var ids []string
	for i := range s.Models {
		if seen := s.Models[i].seen; seen != nil && seen.discovered {
			ids = append(ids, s.Models[i].Spec.ID)
		}
	}
	return ids
}

// DefaultModel says of one kind of call what its requests without a model get.
type DefaultModel struct {
	Kind    Capability `json:"kind"`
	Named   string     `json:"named,omitempty"`   // by the configuration
	Model   string     `json:"model,omitempty"`   // what serves: what is named where it can, else the first model that can; empty: none
	Problem string     `json:"problem,omitempty"` // why it is not the named one
}

// Defaults ensures the default models of chat, prompt and embed requests: the
// named one where it is there and can do it, else the first declared model that
// can. A pool can what one of its members can. It is a pure function.
func (s *Snapshot) Defaults(named map[Capability]string, now time.Time) []DefaultModel {
	var all []DefaultModel
	for _, kind := range []Capability{CanChat, CanPrompt, CanEmbed} {
		d := DefaultModel{Kind: kind, Named: named[kind]}
		if d.Named != "" {
			d.Problem = s.unfit(d.Named, kind, now)
		}
		switch {
		case d.Named != "" && d.Problem == "":
			d.Model = d.Named
		default:
			d.Model = s.firstFit(kind, now)
		}
		all = append(all, d)
	}
	return all
}

// unfit says why a model or pool is no default for a kind of call; empty: it is.
func (s *Snapshot) unfit(name string, kind Capability, now time.Time) string {
	members := []int{}
	if p := s.Find(name); p != nil {
		members = p.Members
	}
	why := "not declared"
	for _, i := range members {
		m := &s.Models[i]
		switch d := m.Drift(now); {
		case d.Excludes() || d == DriftDisabled:
			why = string(d)
		case !m.Spec.Capabilities.Serve(kind):
			why = "cannot " + string(kind)
		default:
			return ""
		}
	}
	return why
}

// firstFit prefers a model that says it can; an unknown one is none for embedding.
func (s *Snapshot) firstFit(kind Capability, now time.Time) string {
	may := ""
	for i := range s.Models {
		id := s.Models[i].Spec.ID
		switch {
		case s.unfit(id, kind, now) != "":
		case s.Models[i].Spec.Capabilities[kind]:
			return id
		case may == "" && kind != CanEmbed:
			may = id
		}
	}
	return may
}
