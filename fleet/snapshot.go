package fleet

import (
	"slices"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

// Snapshot is what a worker knows of all models and pools at one moment. It is
// immutable: a newer one replaces it as a whole.
type Snapshot struct {
	Version uint64    // grows with every change that was seen
	At      time.Time // server time of its reading
	Models  []Model
	Pools   []Pool
	Groups  []Group
	alone   []Pool // of one model each, in the order of Models
	models  map[string]int
	pools   map[string]int
	stock   *inventory
	records map[string]lua.Observation // of the backends that are looked at
}

// Model is one model as it stands.
type Model struct {
	Spec        ModelSpec
	State       ModelState
	Maintenance []Span // of its windows, ahead of At, in order
	seen        *sighting
}

// Pool is a pool with its members resolved.
type Pool struct {
	Spec    PoolSpec
	Members []int // indices into Models, in the order of Spec.Members
	record  hash  // what Rotate wrote down; nil where it was not read
}

// NewSnapshot resolves pools against models; states by model ID, absent is a
// model that nobody has used yet.
func NewSnapshot(version uint64, at time.Time, spec Spec, states map[string]ModelState) *Snapshot {
	return newSnapshot(version, at, takeStock(spec, nil), states, nil)
}

// newSnapshot is NewSnapshot of what is declared and was seen. It shares nothing
// with another snapshot that could be changed in it.
func newSnapshot(version uint64, at time.Time, stock *inventory, states map[string]ModelState, records map[string]lua.Observation) *Snapshot {
	spec := &stock.spec
	s := &Snapshot{
		Version: version, At: at, models: make(map[string]int, len(spec.Models)), pools: make(map[string]int, len(spec.Pools)), stock: stock, records: records,
	}
	for i, m := range spec.Models {
		s.models[m.ID] = i
		s.Models = append(s.Models, Model{
			Spec: m.copied(), State: states[m.ID], Maintenance: maintenance(m.Maintenance, at), seen: stock.sighting(i, records),
		})
	}
	for i, p := range spec.Pools {
		s.pools[p.ID] = i
		pool := Pool{Spec: p}
		for _, m := range p.Members {
			pool.Members = append(pool.Members, s.models[m.Model])
		}
		pool.Spec.Members = slices.Clone(p.Members)
		s.Pools = append(s.Pools, pool)
	}
	for _, g := range spec.Groups {
		s.Groups = append(s.Groups, groupOf(g, s.Models))
	}
	s.alone = eachAlone(spec.Models)
	return s
}

// eachAlone makes a pool of one of every model.
func eachAlone(models []ModelSpec) []Pool {
	members, places, pools := make([]Member, len(models)), make([]int, len(models)), make([]Pool, len(models))
	for i := range models {
		members[i], places[i] = Member{Model: models[i].ID, Weight: 1, Role: RoleMember}, i
		pools[i] = Pool{Spec: PoolSpec{ID: models[i].ID, Members: members[i : i+1 : i+1]}, Members: places[i : i+1 : i+1]}
	}
	return pools
}

// Model finds a model by ID; nil when there is none.
func (s *Snapshot) Model(id string) *Model {
	if i, ok := s.models[id]; ok {
		return &s.Models[i]
	}
	return nil
}

// Recovered is what made members active again, of those that were on standby, as
// the pool's record says.
func (p *Pool) Recovered() map[string]Trigger { return recovered(p.record) }

// Alone is the pool of one that a model's own name stands for; nil when there is
// no such model.
func (s *Snapshot) Alone(model string) *Pool {
	if i, ok := s.models[model]; ok {
		return &s.alone[i]
	}
	return nil
}

// LimitTargets are what those wait for that a full limit of a model refused: the model
// alone, and each pool that it is a member of.
func (s *Snapshot) LimitTargets(model string) []string {
	at, known := s.models[model]
	if !known {
		return nil
	}
	targets := []string{lm.WaitLimit + model}
	for i := range s.Pools {
		if slices.Contains(s.Pools[i].Members, at) {
			targets = append(targets, lm.WaitLimit+s.Pools[i].Spec.ID)
		}
	}
	return targets
}

// Pool finds a pool by ID; nil when there is none.
func (s *Snapshot) Pool(id string) *Pool {
	if i, ok := s.pools[id]; ok {
		return &s.Pools[i]
	}
	return nil
}

// Find is the pool that a request's model means, by its ID or a model's, or that of the
// only one that differs as lighterman.MatchModel allows; nil: none.
func (s *Snapshot) Find(name string) *Pool {
	if p := s.exactly(name); p != nil {
		return p
	}
	model := lm.MatchModel(name, s.Models, func(m *Model) string { return m.Spec.ID })
	pool := lm.MatchModel(name, s.Pools, func(p *Pool) string { return p.Spec.ID })
	switch {
	case model >= 0 && pool < 0:
		return &s.alone[model]
	case pool >= 0 && model < 0:
		return &s.Pools[pool]
	}
	return nil
}

func (s *Snapshot) exactly(name string) *Pool {
	if p := s.Pool(name); p != nil {
		return p
	}
	return s.Alone(name)
}
