package fleet

import (
	"context"
	"slices"
	"strconv"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

// Status is whether a model takes calls.
type Status string

// The statuses. They are derived, never stored.
const (
	Active  Status = "active"
	Standby Status = "standby"
)

// unavailable is the availability score under which a backend counts as down.
const unavailable = 0.3

// ModelView is a model as an operator sees it, at a moment.
type ModelView struct {
	ID      string `json:"id"`
	Backend string `json:"backend"`
	Status  Status `json:"status"`
	// Reason is why it is on standby, and SetAside the same more finely: the first
	// in the order of the reasons. Scope is whose matter that is; Until is when the
	// last of what holds ends, zero: not by itself.
	Reason            Reason     `json:"deactivation_reason,omitempty"`
	SetAside          Reason     `json:"set_aside,omitempty"`
	Scope             AsideScope `json:"scope,omitempty"`
	Until             time.Time  `json:"until,omitzero"`
	Circuit           string     `json:"circuit"` // closed, open, half-open
	CooldownRemaining lm.Seconds `json:"cooldown_remaining_seconds"`
	ModelState
	BudgetUSD float64            `json:"budget_usd,omitempty"`
	Quota     int64              `json:"quota,omitempty"`
	Waste     map[string]float64 `json:"waste_usd,omitempty"`    // by cause
	Cached    float64            `json:"cached_share,omitempty"` // of the input tokens: the affinity's yield
	Drift     Drift              `json:"drift,omitempty"`        // of what is declared and what its backend was seen to have; empty: nobody looks
}

// ProviderState is a backend over all its models.
type ProviderState struct {
	ID                string     `json:"id"`
	Available         bool       `json:"available"`
	AuthValid         bool       `json:"auth_valid"`
	AvailabilityScore float64    `json:"availability_score"` // moving average, weight 0.2
	ActiveModelCount  int        `json:"active_model_count"`
	TotalQuotaUsed    int64      `json:"total_quota_used"`
	TotalCost         float64    `json:"total_cost_usd"`
	CooldownRemaining lm.Seconds `json:"cooldown_remaining_seconds"`
	LastProbe         time.Time  `json:"last_probe,omitzero"`
	// What its last listing failed with, and since when they do; empty: it was good.
	Failing      lm.Kind   `json:"failing,omitempty"`
	FailingClass string    `json:"failing_class,omitempty"` // passing or lasting
	FailingSince time.Time `json:"failing_since,omitzero"`
	Listed       time.Time `json:"listed,omitzero"`     // the last good listing
	Offerings    int       `json:"offerings,omitempty"` // models in it
}

// observed adds what the backend's listings said.
func (p *ProviderState) observed(r lua.Observation) {
	p.LastProbe, p.Listed, p.Offerings = r.Tried, r.Listed, r.Count
	p.Failing, p.FailingClass, p.FailingSince = r.Kind, Class(r.Kind), r.Since
	if r.Kind == lm.Unauthorized && r.Strikes >= strikes {
		p.AuthValid = false
	}
}

// PoolState is a pool over its members.
type PoolState struct {
	ID            string    `json:"id"`
	ActiveModels  []string  `json:"active_models"`
	StandbyModels []string  `json:"standby_models"`
	RotationCount int64     `json:"rotation_count"`
	LastRotation  time.Time `json:"last_rotation,omitzero"`
	LastTrigger   Trigger   `json:"last_trigger,omitempty"`
	// Recovered is what made a member active again, of those that were on standby.
	Recovered map[string]Trigger `json:"recovered,omitempty"`
}

// SystemState is all of it at one moment.
type SystemState struct {
	At        time.Time       `json:"at"` // server time
	Version   uint64          `json:"version"`
	Models    []ModelView     `json:"models"`
	Providers []ProviderState `json:"providers"`
	Pools     []PoolState     `json:"pools"`
}

// System reads the whole state; it waits for Redis.
func (m *Manager) System(ctx context.Context) (SystemState, error) {
	o, err := m.state(ctx)
	if err != nil {
		return SystemState{}, err
	}
	now := o.raw.Now
	snap := newSnapshot(o.raw.Version, now, o.stock, o.models, o.records)
	s := SystemState{At: now, Version: o.raw.Version, Models: []ModelView{}, Providers: []ProviderState{}, Pools: []PoolState{}}
	for i := range snap.Models {
		s.Models = append(s.Models, view(&snap.Models[i], o.fields[snap.Models[i].Spec.ID], now))
	}
	_, backends, _ := o.stock.spec.names()
	for _, id := range backends {
		p := provider(id, o.backends[id], m.concerns(id, o.records), s.Models, now)
		if r, looked := o.records[id]; looked {
			p.observed(r)
		}
		s.Providers = append(s.Providers, p)
	}
	for _, p := range snap.Pools {
		s.Pools = append(s.Pools, poolState(p, o.pools[p.Spec.ID], s.Models))
	}
	return s, nil
}

func view(m *Model, h hash, now time.Time) ModelView {
	v := ModelView{ID: m.Spec.ID, Backend: m.Spec.Backend, Circuit: "closed", ModelState: m.State, BudgetUSD: m.Spec.Budget.USD, Quota: m.Spec.Quota.Requests}
	if m.State.Circuit != CircuitClosed {
		v.Circuit = string(m.State.Circuit)
	}
	v.Drift = m.Drift(now)
	v.CooldownRemaining = lm.Seconds(max(m.State.CooldownUntil.Sub(now), 0))
	u := m.Usability(now)
	v.Status, v.Reason, v.SetAside, v.Scope, v.Until = u.Status(), u.Reason.Deactivation(), u.Reason, u.Scope, u.Until
	for _, cause := range []string{WasteRetry, WasteCrash, WasteCancel} {
		if cost := h.num("waste_" + cause); cost != 0 {
			if v.Waste == nil {
				v.Waste = make(map[string]float64)
			}
			v.Waste[cause] = usd(cost)
		}
	}
	if in := h.num("input"); in > 0 {
		v.Cached = float64(h.num("cached")) / float64(in)
	}
	return v
}

func provider(id string, h hash, ours concerns, models []ModelView, now time.Time) ProviderState {
	p := ProviderState{
		ID: id, AvailabilityScore: 1, TotalCost: usd(h.num("cost")), CooldownRemaining: lm.Seconds(max(h.at("cooldown_until").Sub(now), 0)), LastProbe: h.at("last_probe"),
		AuthValid: !h.at("quarantine_until").After(now) || !ours(h["quarantine_credential"]),
	}
	if score, err := strconv.ParseFloat(h["score"], 64); err == nil {
		p.AvailabilityScore = score
	}
	p.Available = p.AvailabilityScore >= unavailable
	for _, m := range models {
		if m.Backend != id {
			continue
		}
		p.TotalQuotaUsed += m.QuotaUsed
		if m.Status == Active {
			p.ActiveModelCount++
		}
	}
	return p
}

func poolState(p Pool, h hash, models []ModelView) PoolState {
	s := PoolState{ID: p.Spec.ID, ActiveModels: []string{}, StandbyModels: []string{}, RotationCount: h.num("rotation_count"), LastRotation: h.at("last_rotation"), LastTrigger: Trigger(h["last_trigger"])}
	for _, i := range p.Members {
		if models[i].Status == Active {
			s.ActiveModels = append(s.ActiveModels, models[i].ID)
		} else {
			s.StandbyModels = append(s.StandbyModels, models[i].ID)
		}
	}
	s.Recovered = recovered(h)
	slices.Sort(s.ActiveModels)
	slices.Sort(s.StandbyModels)
	return s
}
