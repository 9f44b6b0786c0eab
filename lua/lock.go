package lua

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// Lock is the fleet's advisory lock as somebody has it.
type Lock struct {
	Held     bool // by the asker, or for LockHolder by anybody
	Owner    string
	Fence    int64
	Acquired time.Time
	Left     time.Duration // until it expires
	Now      time.Time
}

// AcquireLock takes the lock, or says who has it. It asks once.
func (s *Store) AcquireLock(ctx context.Context, owner, token string, life time.Duration) (Lock, error) {
	v, err := s.run(ctx, call{
		script: lockScript,
		keys:   []string{s.keys.fleet("lock"), s.keys.fleet("fence")},
		args:   []any{owner, token, life.Milliseconds()},
	})
	if err != nil {
		return Lock{}, err
	}
	items, err := list(v, -1)
	if err != nil || len(items) < 4 {
		return Lock{}, fmt.Errorf("lock answered %v: %w", v, err)
	}
	l := Lock{Now: atMS(number(items[1])), Owner: owner}
	if text(items[0]) != "OK" {
		l.Owner, l.Left = text(items[2]), time.Duration(number(items[3]))*time.Millisecond
		return l, nil
	}
	l.Held, l.Fence, l.Acquired = true, number(items[2]), atMS(number(items[3]))
	l.Left = time.Duration(number(items[len(items)-1])) * time.Millisecond
	return l, nil
}

// RenewLock prolongs a lock; false: it is not the asker's any more.
func (s *Store) RenewLock(ctx context.Context, token string, fence int64, life time.Duration) (bool, error) {
	return s.said(ctx, "OK", call{script: renewScript, keys: []string{s.keys.fleet("lock")}, args: []any{token, fence, life.Milliseconds()}})
}

// ReleaseLock gives a lock back; false: it was not the asker's any more.
func (s *Store) ReleaseLock(ctx context.Context, token string, fence int64) (bool, error) {
	return s.said(ctx, "OK", call{script: unlockScript, keys: []string{s.keys.fleet("lock")}, args: []any{token, fence}})
}

// SetUnderLock sets fields of a pool's hash (pool not empty) or of the fleet's
// system hash; false: the lock is not the asker's any more, nothing was written.
func (s *Store) SetUnderLock(ctx context.Context, token string, fence int64, pool string, fields map[string]string) (bool, error) {
	key := s.keys.fleet("system")
	if pool != "" {
		key = s.keys.pool(pool)
	}
	c := call{
		script: guardedScript,
		keys:   []string{s.keys.fleet("lock"), key, s.keys.version(), s.keys.notices()},
		args:   []any{token, fence, s.publish(), len(fields)},
	}
	for field, value := range fields {
		c.args = append(c.args, field, value)
	}
	return s.said(ctx, "OK", c)
}

// LockHolder says who has the lock.
func (s *Store) LockHolder(ctx context.Context) (Lock, error) {
	pipe := s.rdb.Pipeline()
	held := pipe.HMGet(ctx, s.keys.fleet("lock"), "owner", "fence", "acquired")
	left := pipe.PTTL(ctx, s.keys.fleet("lock"))
	now := pipe.Time(ctx)
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return Lock{}, fmt.Errorf("read the lock: %w", err)
	}
	v := held.Val()
	return Lock{
		Held: v[0] != nil, Owner: text(v[0]), Fence: number(v[1]), Acquired: atMS(number(v[2])), Left: max(left.Val(), 0), Now: now.Val(),
	}, nil
}

func (s *Store) said(ctx context.Context, want string, c call) (bool, error) {
	v, err := s.run(ctx, c)
	return err == nil && text(v) == want, err
}
