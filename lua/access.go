package lua

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// access is the user and password of a Store's connections. They may change while it
// lives: where its options can read the URL again, every new connection asks with what
// it says then.
type access struct {
	read func() (string, error) // the URL as it is now; nil: it does not change

	mu             sync.Mutex
	user, password string // as they were read last

	refused atomic.Int64 // unix ms since when no connection was let in; 0: the last one was
}

// newAccess begins with what the URL said when the Store was opened.
func newAccess(at *address, read func() (string, error)) *access {
	a := &access{read: read}
	a.user, a.password = at.credentials()
	return a
}

// credentials is go-redis' question before it asks to be let in. While the URL cannot
// be read, as in the middle of being replaced, the last one counts.
func (a *access) credentials(context.Context) (user, password string, err error) {
	a.refused.CompareAndSwap(0, time.Now().UnixMilli())
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.read != nil {
		a.reread()
	}
	return a.user, a.password, nil
}

func (a *access) reread() {
	text, err := a.read()
	if err != nil {
		return
	}
	if at, err := parseAddress(text); err == nil {
		a.user, a.password = at.credentials()
	}
}

// connected is go-redis' word that a connection was let in.
func (a *access) connected(context.Context, *redis.Conn) error {
	a.refused.Store(0)
	return nil
}

// Refused is for how long Redis has not let a new connection in while it answered:
// most often because the password is another one now. 0 where the last one was let in,
// and of a Store that Open did not make. Connections that are open stay so.
func (s *Store) Refused() time.Duration {
	if s.access == nil {
		return 0
	}
	since := s.access.refused.Load()
	if since == 0 {
		return 0
	}
	return time.Since(time.UnixMilli(since))
}
