package lua

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// Session is a session as stored. The zero value is one that nobody has bound.
type Session struct {
	Home, Active string
	Switches     int
	IdleSince    time.Time
	Gen          int64
	Changed      bool      // by the change that answered so
	Now          time.Time // of the server; zero for one that was only read
}

// SessionChange is one change: bind, move, back, served or drop; see session.lua.
type SessionChange struct {
	What           string
	From, To, Home string
	Most           int
	Life           time.Duration
	Gen            int64
}

// Session reads one and, in the same round trip, the version of the fleet's
// routing state.
func (s *Store) Session(ctx context.Context, key string) (Session, uint64, error) {
	pipe := s.rdb.Pipeline()
	got := pipe.HMGet(ctx, s.keys.session(key), "home", "active", "switches", "idle_since", "gen")
	version := pipe.Get(ctx, s.keys.version())
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return Session{}, 0, fmt.Errorf("read a session: %w", err)
	}
	v := got.Val()
	seen := Session{Home: text(v[0]), Active: text(v[1]), Switches: int(number(v[2])), IdleSince: atMS(number(v[3])), Gen: number(v[4])}
	return seen, uint64(number(version.Val())), nil
}

// ChangeSession makes one change and answers the session in force.
func (s *Store) ChangeSession(ctx context.Context, key string, ch SessionChange) (Session, error) {
	c := call{
		script: sessionScript,
		keys:   []string{s.keys.session(key)},
		args:   []any{ch.What, ch.From, ch.To, ch.Home, ch.Most, max(ch.Life.Milliseconds(), 1), ch.Gen, rand.Text()},
	}
	var got Session
	err := again(ctx, hotPatience, func() error {
		v, err := s.run(ctx, c)
		if err != nil {
			return err
		}
		items, err := list(v, 7)
		if err != nil {
			return err
		}
		got = Session{
			Changed: number(items[0]) == 1, Now: atMS(number(items[1])), Home: text(items[2]), Active: text(items[3]),
			Switches: int(number(items[4])), IdleSince: atMS(number(items[5])), Gen: number(items[6]),
		}
		return nil
	})
	return got, err
}

// Turns takes n turns of a pool's round robin and answers the first of them. One
// whose reply was lost is skipped, which is harmless.
func (s *Store) Turns(ctx context.Context, pool string, n int) (uint64, error) {
	last, err := s.rdb.IncrBy(ctx, s.keys.turn(pool), int64(n)).Result()
	if err != nil {
		return 0, fmt.Errorf("take turns of a pool: %w", err)
	}
	return uint64(last) - uint64(n), nil
}
