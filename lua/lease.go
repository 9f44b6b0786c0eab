package lua

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

func (k keys) janitor(p int) string { return k.in(p, "janitor") }

// janitorDone stands in a lease's key, until the next pass is due, for the owner.
const janitorDone = "done "

// LeaseJanitor takes the janitor's lease of the partitions where nobody has it
// and none had it lately, and names them. It keeps two passes from doing the
// same work; nothing goes wrong when they do, since every write checks again
// what was read. Nobody's lease, and no wait for the next pass, lasts longer than most
// from now on, whatever the server's clock did.
func (s *Store) LeaseJanitor(ctx context.Context, owner string, lease, most time.Duration) ([]int, error) {
	pipe := s.rdb.Pipeline()
	cmds := make([]*redis.Cmd, s.Partitions())
	for p := range cmds {
		cmds[p] = pipe.Do(ctx, "set", s.keys.janitor(p), owner, "nx", "px", lease.Milliseconds())
		pipe.Do(ctx, "pexpire", s.keys.janitor(p), most.Milliseconds(), "lt") // a clock that was set back has made it longer
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	var mine []int
	var failed error
	for p, cmd := range cmds {
		switch err := cmd.Err(); {
		case err == nil:
			mine = append(mine, p)
		case !errors.Is(err, redis.Nil):
			failed = fmt.Errorf("take the janitor's lease: %w", err)
		}
	}
	if len(mine) > 0 {
		return mine, nil // the others are another turn's
	}
	return nil, failed
}

// RenewJanitor renews the leases, and reports false when one of them is
// another's or gone.
func (s *Store) RenewJanitor(ctx context.Context, owner string, lease time.Duration, partitions []int) (bool, error) {
	return s.setJanitor(ctx, owner, owner, lease, partitions)
}

// DoneJanitor ends the leases; the next pass is due after a time.
func (s *Store) DoneJanitor(ctx context.Context, owner string, next time.Duration, partitions []int) error {
	_, err := s.setJanitor(ctx, owner, janitorDone+owner, next, partitions)
	return err
}

// setJanitor reads and then writes; what gets in between at worst makes two
// passes at once.
func (s *Store) setJanitor(ctx context.Context, owner, value string, lifetime time.Duration, partitions []int) (bool, error) {
	mine := true
	for _, p := range partitions {
		held, err := s.rdb.Get(ctx, s.keys.janitor(p)).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return false, fmt.Errorf("read the janitor's lease: %w", err)
		}
		if held != owner {
			mine = false
			continue
		}
		if err := s.rdb.Do(ctx, "set", s.keys.janitor(p), value, "xx", "px", lifetime.Milliseconds()).Err(); err != nil && !errors.Is(err, redis.Nil) {
			return false, fmt.Errorf("renew the janitor's lease: %w", err)
		}
	}
	return mine, nil
}

// Roll is what TidyRoster took down.
type Roll struct {
	Workers []string // records that were silent for a day
	Drains  []string // drain orders of owners that are on the roster no more
}

// silentFor is how long a roster record must be silent to go; an order is given
// as long as a worker could need to announce itself.
const (
	silentFor  = 24 * time.Hour
	orderStays = 10 * time.Minute
)

// TidyRoster takes silent workers off the roster and their drain orders down;
// without act it only names them. A worker that lives comes back with its next
// record.
func (s *Store) TidyRoster(ctx context.Context, act bool) (Roll, error) {
	workers, now, err := s.Roster(ctx)
	if err != nil {
		return Roll{}, err
	}
	orders, err := s.Orders(ctx)
	if err != nil {
		return Roll{}, err
	}
	var roll Roll
	present := make(map[string]bool)
	for _, w := range workers {
		if now.Sub(w.Seen) > silentFor {
			roll.Workers = append(roll.Workers, w.Owner)
		} else {
			present[w.Owner] = true
		}
	}
	for owner, since := range orders.Drain {
		if !present[owner] && now.Sub(since) > orderStays {
			roll.Drains = append(roll.Drains, owner)
		}
	}
	if !act {
		return roll, nil
	}
	return roll, errors.Join(s.Retire(ctx, roll.Workers...), s.Drained(ctx, roll.Drains...))
}
