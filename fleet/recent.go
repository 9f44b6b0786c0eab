package fleet

import (
	"context"
	"sync"
)

// recentKept is how many replay keys of plain successes a Manager remembers.
const recentKept = 8192

// recent tells repeats among the calls that are only counted here. The zero value
// is ready.
type recent struct {
	mu   sync.Mutex
	keys map[string]struct{}
	ring [recentKept]string
	next int
}

// repeated reports whether a key was seen lately, and remembers it. Empty never was.
func (r *recent) repeated(key string) bool {
	if key == "" {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.keys == nil {
		r.keys = make(map[string]struct{})
	}
	if _, ok := r.keys[key]; ok {
		return true
	}
	delete(r.keys, r.ring[r.next])
	r.ring[r.next] = key
	r.next = (r.next + 1) % recentKept
	r.keys[key] = struct{}{}
	return false
}

// turnBlock is how many turns of a round robin a Manager takes at a time.
const turnBlock = 32

// turns are what is left of the block of each pool.
type turns struct {
	mu    sync.Mutex
	pools map[string]*block
}

type block struct {
	mu         sync.Mutex
	next, left uint64
}

// Turn is the next turn of a pool's round robin: no two calls of the fleet get the
// same. It asks Redis once in 32 turns; turns of a process that ends are skipped.
func (m *Manager) Turn(ctx context.Context, pool string) (uint64, error) {
	m.turns.mu.Lock()
	if m.turns.pools == nil {
		m.turns.pools = make(map[string]*block)
	}
	b := m.turns.pools[pool]
	if b == nil {
		b = &block{}
		m.turns.pools[pool] = b
	}
	m.turns.mu.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left == 0 {
		first, err := m.at.Turns(ctx, pool, turnBlock)
		if err != nil {
			return 0, err
		}
		b.next, b.left = first, turnBlock
	}
	turn := b.next
	b.next++
	b.left--
	return turn, nil
}
