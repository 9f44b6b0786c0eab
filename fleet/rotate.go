package fleet

import (
	"context"
	"slices"
	"strconv"
	"strings"
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
// no rotation; this is the record of it, kept by whoever reconciles.
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
	}
	p.LastRotation, p.LastTrigger = s.At, because
	return p, h.set(ctx, pool, map[string]string{
		"active": active, "standby": strings.Join(p.StandbyModels, " "), "rotation_count": strconv.FormatInt(p.RotationCount, 10),
		"last_rotation": strconv.FormatInt(s.At.UnixMilli(), 10), "last_trigger": string(because),
	})
}
