package redistest

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// moveTimeout bounds one command of a move of slots.
const moveTimeout = 30 * time.Second

// Move is a slot on its way from one master to another, as redis-cli --cluster
// reshard moves it. While it lasts the old owner redirects commands whose keys
// have gone (ASK), and those of which some keys have gone are refused by both
// (TRYAGAIN).
type Move struct {
	s        *Shards
	slot     int
	from, to int
	src, dst *redis.Client
}

// BeginMove marks a slot as migrating to a master; no key has moved yet. It is
// nil when the slot is there already.
func (s *Shards) BeginMove(slot, to int) *Move {
	s.t.Helper()
	from := s.Owner(slot)
	if from == to {
		return nil
	}
	if from < 0 {
		s.t.Fatalf("redistest: slot %d is at none of the masters", slot)
	}
	m := &Move{s: s, slot: slot, from: from, to: to, src: redis.NewClient(s.Masters[from].p.options()), dst: redis.NewClient(s.Masters[to].p.options())}
	m.do(m.dst, "cluster", "setslot", slot, "importing", s.ids[from])
	m.do(m.src, "cluster", "setslot", slot, "migrating", s.ids[to])
	return m
}

// Some moves up to n keys and reports how many went; none are left when fewer
// than n did.
func (m *Move) Some(n int) int {
	m.s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), moveTimeout)
	defer cancel()
	keys, err := m.src.ClusterGetKeysInSlot(ctx, m.slot, n).Result()
	if err != nil {
		m.s.t.Fatalf("redistest: keys of slot %d: %v", m.slot, err)
	}
	if len(keys) == 0 {
		return 0
	}
	to := m.s.Masters[m.to].p
	args := []any{"migrate", "127.0.0.1", to.port, "", 0, moveTimeout.Milliseconds(), "keys"}
	if p := to.cfg.password; p != "" {
		args = append(args[:6:6], "auth", p, "keys")
	}
	for _, k := range keys {
		args = append(args, k)
	}
	m.do(m.src, args...)
	return len(keys)
}

// End moves what is left and gives the slot to its new owner, in the order that
// keeps it served: the new owner first.
func (m *Move) End() {
	m.s.t.Helper()
	for m.Some(100) > 0 {
	}
	m.do(m.dst, "cluster", "setslot", m.slot, "node", m.s.ids[m.to])
	m.do(m.src, "cluster", "setslot", m.slot, "node", m.s.ids[m.to])
	for i, other := range m.s.Masters {
		if i == m.from || i == m.to || !other.p.running() {
			continue
		}
		rdb := redis.NewClient(other.p.options())
		m.do(rdb, "cluster", "setslot", m.slot, "node", m.s.ids[m.to])
		_ = rdb.Close()
	}
	_, _ = m.src.Close(), m.dst.Close()
}

// MoveSlots moves slots to a master, one after the other, under whatever load
// there is.
func (s *Shards) MoveSlots(to int, slots ...int) {
	s.t.Helper()
	for _, slot := range slots {
		if m := s.BeginMove(slot, to); m != nil {
			m.End()
		}
	}
}

func (m *Move) do(rdb *redis.Client, args ...any) {
	m.s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), moveTimeout)
	defer cancel()
	if err := rdb.Do(ctx, args...).Err(); err != nil {
		m.s.t.Fatalf("redistest: move slot %d: %v", m.slot, fmt.Errorf("%v: %w", args[:min(len(args), 4)], err))
	}
}
