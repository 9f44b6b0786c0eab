package fleet

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mrand "math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// What the lock answers.
var (
	// ErrLockTimeout: somebody else held it for as long as we waited.
	ErrLockTimeout = errors.New("the fleet's lock is held by another")
	// ErrLockLost: it is another's now, or has expired; nothing was written.
	ErrLockLost = errors.New("the fleet's lock was lost")
	// ErrLockUnknown: Redis could not be asked. The lock may still be held.
	ErrLockUnknown = errors.New("the fleet's lock could not be checked")

	errNoPool = errors.New("no such pool")
)

// LockHandle is one holding of the fleet's advisory lock:
//
//	waiting -> held --(renewed at a third of its life)--> held
//	            |  \-- answered "another's", or its end has passed by our own
//	            |      clock since before the last good request: lost
//	            \-- released
//
// Held is a conservative belief: the truth is token and fence in Redis, which
// every guarded write compares in its own script.
type LockHandle struct {
	ID         string // lock_id: the token
	Owner      string
	Fence      int64
	AcquiredAt time.Time // server time

	m      *Manager
	life   time.Duration
	ends   atomic.Pointer[time.Time] // by the local clock; written by renewals
	cancel context.CancelCauseFunc
	ctx    context.Context //nolint:containedctx // the work under the lock is bounded by it
	done   chan struct{}   // the renewer has ended
	once   sync.Once
}

// AcquireLock waits until the lock is ours, at most for the lock wait: then
// ErrLockTimeout. Where Redis cannot be asked it goes on trying; if that is all it
// heard, the error is ErrLockUnknown. The lock is renewed until it is released or
// lost; Context ends then.
func (m *Manager) AcquireLock(ctx context.Context) (*LockHandle, error) {
	token := rand.Text()
	until := m.opts.clock().Add(m.opts.LockWait)
	for {
		asked := m.opts.clock()
		got, err := m.at.AcquireLock(ctx, m.opts.Owner, token, m.opts.LockLife)
		if err == nil && got.Held {
			// An answer to a repeat tells what is left; it is never more than that.
			return m.hold(token, got.Fence, got.Acquired, asked.Add(min(got.Left, m.opts.LockLife))), nil
		}
		pause := 20*time.Millisecond + mrand.N(60*time.Millisecond)
		if err == nil {
			m.lockSeen.Store(&got.Owner)
			if got.Left > 0 {
				pause = min(pause, got.Left+time.Millisecond)
			}
		}
		if left := until.Sub(m.opts.clock()); left <= 0 {
			if err != nil {
				m.abandon(token)
				return nil, fmt.Errorf("%w: %w", ErrLockUnknown, err)
			}
			return nil, fmt.Errorf("%w (%s)", ErrLockTimeout, got.Owner)
		} else if pause > left {
			pause = left
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			m.abandon(token)
			return nil, fmt.Errorf("wait for the fleet's lock: %w", context.Cause(ctx))
		case <-timer.C:
		}
	}
}

// abandon gives back what a request whose answer was lost may have taken.
func (m *Manager) abandon(token string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if l, err := m.at.LockHolder(ctx); err == nil && l.Held && l.Owner == m.opts.Owner {
		_, _ = m.at.ReleaseLock(ctx, token, l.Fence) // compares the token; else it expires
	}
}

func (m *Manager) hold(token string, fence int64, acquired, ends time.Time) *LockHandle {
	h := &LockHandle{ID: token, Owner: m.opts.Owner, Fence: fence, AcquiredAt: acquired, m: m, life: m.opts.LockLife, done: make(chan struct{})}
	h.ends.Store(&ends)
	h.ctx, h.cancel = context.WithCancelCause(context.Background())
	m.lock.Store(h)
	go h.keep()
	return h
}

// Context ends when the lock is released or lost (then with cause ErrLockLost): work
// under the lock runs in it.
func (h *LockHandle) Context() context.Context { return h.ctx }

// ExpiresAt is the end of the holding as far as it is known, by the local clock.
func (h *LockHandle) ExpiresAt() time.Time { return *h.ends.Load() }

// Held reports whether the lock is believed to be ours: not released, not lost,
// and its end not reached.
func (h *LockHandle) Held() bool {
	return h.ctx.Err() == nil && h.m.opts.clock().Before(h.ExpiresAt())
}

// keep renews at a third of the life until the lock is released or lost.
func (h *LockHandle) keep() {
	defer close(h.done)
	wait := h.life / 3
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-h.ctx.Done():
			return
		case <-timer.C:
		}
		left := h.ExpiresAt().Sub(h.m.opts.clock())
		if left <= 0 {
			h.lose()
			return
		}
		ctx, cancel := context.WithTimeout(h.ctx, left)
		err := h.Renew(ctx)
		cancel()
		switch {
		case err == nil:
			wait = h.life / 3
		case errors.Is(err, ErrLockLost):
			return
		default: // could not check: not lost before its end
			wait = min(h.life/12, max(h.ExpiresAt().Sub(h.m.opts.clock()), time.Millisecond))
		}
		timer.Reset(wait)
	}
}

// Renew prolongs the lock now. ErrLockLost: it is not ours any more, and Context
// has ended; ErrLockUnknown: Redis could not be asked.
func (h *LockHandle) Renew(ctx context.Context) error {
	if h.ctx.Err() != nil {
		return ErrLockLost
	}
	asked := h.m.opts.clock()
	ok, err := h.m.at.RenewLock(ctx, h.ID, h.Fence, h.life)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrLockUnknown, err)
	case !ok:
		h.lose()
		return ErrLockLost
	}
	for ends := asked.Add(h.life); ; {
		old := h.ends.Load()
		if !ends.After(*old) || h.ends.CompareAndSwap(old, &ends) {
			return nil
		}
	}
}

func (h *LockHandle) lose() {
	h.cancel(ErrLockLost)
	h.m.lock.CompareAndSwap(h, nil)
}

// ReleaseLock gives the lock back; of one that was lost it is a no-op. It may be
// called again.
func (m *Manager) ReleaseLock(ctx context.Context, h *LockHandle) error {
	var err error
	h.once.Do(func() {
		lost := h.ctx.Err() != nil
		h.cancel(context.Canceled)
		<-h.done
		m.lock.CompareAndSwap(h, nil)
		if lost {
			return
		}
		if _, err = m.at.ReleaseLock(ctx, h.ID, h.Fence); err != nil {
			err = fmt.Errorf("release the fleet's lock, which now expires by itself: %w", err)
		}
	})
	return err
}

// set is a guarded write: token and fence are compared in the script that writes.
func (h *LockHandle) set(ctx context.Context, pool string, fields map[string]string) error {
	ok, err := h.m.at.SetUnderLock(ctx, h.ID, h.Fence, pool, fields)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrLockUnknown, err)
	case !ok:
		h.lose()
		return ErrLockLost
	}
	return nil
}

// SetSystem sets fields of the fleet's system record under the lock.
func (h *LockHandle) SetSystem(ctx context.Context, fields map[string]string) error {
	return h.set(ctx, "", fields)
}
