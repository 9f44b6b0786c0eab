package fleet

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Trigger is what brought a pool's members from standby to active or back.
type Trigger string

// The recovery triggers, and what takes a member away.
const (
	CooldownExpired Trigger = "cooldown_expired"
	QuotaReset      Trigger = "quota_reset"
	ProbeSuccess    Trigger = "probe_success"
	Manual          Trigger = "manual"
	StartupProbe    Trigger = "startup_probe"
	Deactivated     Trigger = "deactivated"
)

// Rotate writes down, under the lock, which members of a pool are active now and
// which are on standby, and counts a rotation where that has changed since it was
// last written down. What routing does follows from the models' state and needs
// no rotation; this is the record of it, which Run keeps. An empty
// trigger is found out: by what the first member that came back was away for, else
// Deactivated.
func (m *Manager) Rotate(ctx context.Context, h *LockHandle, pool string, because Trigger) (PoolState, error) {
	o, err := m.state(ctx)
	if err != nil {
		return PoolState{}, err
	}
	s, err := m.System(ctx)
	if err != nil {
		return PoolState{}, err
	}
	i := slices.IndexFunc(s.Pools, func(p PoolState) bool { return p.ID == pool })
	if i < 0 {
		return PoolState{}, errNoPool
	}
	p, before := s.Pools[i], o.pools[pool]
	active := strings.Join(p.ActiveModels, " ")
	if active == before["active"] {
		return p, nil
	}
	if _, known := before["active"]; known {
		p.RotationCount++
	} else if because == "" {
		because = StartupProbe
	}
	if because == "" {
		because = cameBack(before["standby"], p.ActiveModels, s.Models)
	}
	p.LastRotation, p.LastTrigger = s.At, because
	p.Recovered = stillActive(before, p.ActiveModels, s.Models)
	return p, h.set(ctx, pool, map[string]string{
		"active": active, "standby": causes(s.Models, p.StandbyModels), "recovered": joined(p.Recovered), "rotation_count": strconv.FormatInt(p.RotationCount, 10),
		"last_rotation": strconv.FormatInt(s.At.UnixMilli(), 10), "last_trigger": string(because),
	})
}

// recoveries say what ends each cause of standby.
var recoveries = map[string]Trigger{
	"cooldown": CooldownExpired, "quarantine": CooldownExpired, "maintenance": CooldownExpired,
	"quota": QuotaReset, "budget": QuotaReset, "circuit": ProbeSuccess, "absent": ProbeSuccess, "manual": Manual,
}

// cameBack is what brought back the first of the active models that were on
// standby, written as "ID=CAUSE ..."; Deactivated when none was.
func cameBack(standby string, active []string, models []ModelView) Trigger {
	for _, was := range strings.Fields(standby) {
		if id, cause := pair(was); slices.Contains(active, id) {
			return recovery(id, cause, models)
		}
	}
	return Deactivated
}

// recovery is what ended a cause. A deadline that is gone, not over, was reset by
// a person: time and probes leave it where it is.
func recovery(id, cause string, models []ModelView) Trigger {
	i := slices.IndexFunc(models, func(v ModelView) bool { return v.ID == id })
	if i < 0 {
		return recoveries[cause]
	}
	ends := map[string]time.Time{"cooldown": models[i].CooldownUntil, "quarantine": models[i].QuarantineUntil, "circuit": models[i].OpenUntil}
	if end, has := ends[cause]; has && end.IsZero() {
		return Manual
	}
	return recoveries[cause]
}

// stillActive is what made each of the active models active again: now, or
// before and not on standby since.
func stillActive(before hash, active []string, models []ModelView) map[string]Trigger {
	all := recovered(before)
	for _, was := range strings.Fields(before["standby"]) {
		id, cause := pair(was)
		all[id] = recovery(id, cause, models)
	}
	maps.DeleteFunc(all, func(id string, _ Trigger) bool { return !slices.Contains(active, id) })
	return all
}

// recovered reads what is written down of it, as "ID=TRIGGER ...".
func recovered(h hash) map[string]Trigger {
	all := make(map[string]Trigger)
	for _, was := range strings.Fields(h["recovered"]) {
		id, trigger := pair(was)
		all[id] = Trigger(trigger)
	}
	return all
}

func joined(all map[string]Trigger) string {
	var list []string
	for _, id := range slices.Sorted(maps.Keys(all)) {
		list = append(list, id+"="+string(all[id]))
	}
	return strings.Join(list, " ")
}

// pair splits "ID=VALUE".
func pair(s string) (id, value string) {
	i := strings.LastIndexByte(s, '=')
	return s[:max(i, 0)], s[i+1:]
}

// causes writes down why each model is on standby.
func causes(models []ModelView, ids []string) string {
	var list []string
	for _, m := range models {
		if slices.Contains(ids, m.ID) {
			list = append(list, m.ID+"="+m.cause())
		}
	}
	return strings.Join(list, " ")
}

// cause is the reason as it is written down: what has to end.
func (v *ModelView) cause() string {
	switch v.SetAside {
	case ReasonMaintenance:
		return "maintenance"
	case ReasonBudget:
		return "budget"
	case ReasonQuota:
		return "quota"
	case ReasonCooldown:
		return "cooldown"
	case ReasonQuarantine:
		return "quarantine"
	case ReasonErrorThreshold, ReasonProbe:
		return "circuit"
	case ReasonMissing, ReasonUnauthorized:
		return "absent"
	default:
		return "manual"
	}
}
