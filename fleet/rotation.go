package fleet

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"time"
)

// rotateEvery is the least time between two records of one pool, and between two
// attempts of one Manager.
const rotateEvery = time.Second

// rotations are what a Manager remembers of the pools that it keeps the record of.
// It belongs to Run.
type rotations struct {
	settled map[string]string // pool: the active members as last agreed with the record
	tried   time.Time         // local time of the last attempt
	failing bool
}

// keepRotations has the record of every pool follow its models' state. It costs
// nothing while nothing changed: the snapshot has both. Where a pool's active
// members are not the recorded ones, the first worker to see it takes the lock and
// rotates; one that finds the lock taken leaves it to the holder and looks again a
// second later. A worker that sees it otherwise than the record, because it is
// configured otherwise, writes once and does not insist. One that dies before it
// has written leaves it to the others, who see the same change, or to whoever
// starts next.
func (m *Manager) keepRotations(ctx context.Context, r *rotations) {
	now := m.opts.clock()
	if !r.tried.IsZero() && now.Sub(r.tried) < rotateEvery {
		return
	}
	changed := r.changed(m.snapshot.Load(), m.Now())
	if len(changed) == 0 {
		return
	}
	r.tried = now
	err := m.rotateAll(ctx, r, changed)
	if err != nil && !r.failing && ctx.Err() == nil {
		m.opts.Log.Warn().Err(err).Msg("pool rotation not recorded")
	}
	r.failing = err != nil
}

// changed are the pools whose record does not say what is active now, each with
// what is.
func (r *rotations) changed(snap *Snapshot, now time.Time) map[string]string {
	changed := make(map[string]string)
	for i := range snap.Pools {
		p := &snap.Pools[i]
		if p.record == nil { // not read yet
			continue
		}
		id, active := p.Spec.ID, snap.active(p, now)
		recorded, known := p.record["active"]
		settled, has := r.settled[id]
		switch {
		case known && active == recorded:
			r.settled[id] = active
		case has && active == settled, now.Sub(p.record.at("last_rotation")) < rotateEvery:
		default:
			changed[id] = active
		}
	}
	return changed
}

// active are the members that take calls now, as they are recorded.
func (s *Snapshot) active(p *Pool, now time.Time) string {
	var ids []string
	for _, i := range p.Members {
		if s.Models[i].Usability(now).Status() == Active {
			ids = append(ids, s.Models[i].Spec.ID)
		}
	}
	slices.Sort(ids)
	return strings.Join(ids, " ")
}

// rotateAll rotates under the lock, if nobody else has it.
func (m *Manager) rotateAll(ctx context.Context, r *rotations, changed map[string]string) error {
	h, err := m.tryLock(ctx)
	if h == nil {
		return err
	}
	for pool, active := range changed {
		var p PoolState
		if p, err = m.Rotate(ctx, h, pool, ""); err != nil {
			break
		}
		r.settled[pool] = active
		m.opts.Log.Info().Str("pool", pool).Str("reason", string(p.LastTrigger)).Strs("active", p.ActiveModels).Strs("standby", p.StandbyModels).Msg("pool rotation")
	}
	if gave := m.ReleaseLock(ctx, h); err == nil {
		err = gave
	}
	return err
}

// tryLock takes the lock if it is free; nil: it is not.
func (m *Manager) tryLock(ctx context.Context) (*LockHandle, error) {
	token, asked := rand.Text(), m.opts.clock()
	got, err := m.at.AcquireLock(ctx, m.opts.Owner, token, m.opts.LockLife)
	switch {
	case err != nil:
		m.abandon(token)
		return nil, err
	case !got.Held:
		m.lockSeen.Store(&got.Owner)
		return nil, nil
	}
	return m.hold(token, got.Fence, got.Acquired, asked.Add(min(got.Left, m.opts.LockLife))), nil
}
