package producer

import (
	"crypto/rand"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
)

// names mints operation names: ULIDs that grow within this process, also within
// a millisecond and when the clock steps back, so that IDs sort as they were
// made. It may be used concurrently.
type names struct {
	mu      sync.Mutex
	entropy *ulid.MonotonicEntropy // reads crypto/rand through a buffer
	last    uint64                 // ms of the last name
}

func newNames() *names { return &names{entropy: ulid.Monotonic(rand.Reader, 0)} }

func (n *names) next(now time.Time) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.last = max(ulid.Timestamp(now), n.last)
	id, err := ulid.New(n.last, n.entropy)
	if err != nil { // the random start of this ms was too near the end to count on; crypto/rand never fails
		n.last++
		id = ulid.MustNew(n.last, n.entropy)
	}
	return id.String()
}
