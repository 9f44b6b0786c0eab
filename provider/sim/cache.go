package sim

import (
	"sync"
	"time"
)

// cacheFor is how long a prompt cache holds after its last use, as providers' do
// (about 5 minutes).
const cacheFor = 5 * time.Minute

// maxPrefixes bounds a cache; over it what has expired goes, else everything.
const maxPrefixes = 100_000

// promptCache remembers by member the beginnings of conversations that it has
// served lately: each message with all before it is one. The zero value is empty.
type promptCache struct {
	mu    sync.Mutex
	until map[uint64]time.Time
}

// serve notes a conversation of a member and returns how many bytes of its
// messages, from the first on, the cache held.
func (p *promptCache) serve(member string, messages value, now time.Time) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tidyLocked(now)
	prefix, size, cached := hash(member), 0, 0
	for message := range messages.elements() {
		prefix = mix(prefix + hash(message))
		size += len(message)
		if now.Before(p.until[prefix]) {
			cached = size
		}
		p.until[prefix] = now.Add(cacheFor)
	}
	return cached
}

func (p *promptCache) tidyLocked(now time.Time) {
	if p.until == nil {
		p.until = make(map[uint64]time.Time)
	}
	if len(p.until) < maxPrefixes {
		return
	}
	for prefix, until := range p.until {
		if !now.Before(until) {
			delete(p.until, prefix)
		}
	}
	if len(p.until) >= maxPrefixes {
		clear(p.until)
	}
}
