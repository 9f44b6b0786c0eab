package lua

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// WorkerRecord is what a worker says of itself in the fleet's roster.
type WorkerRecord struct {
	Owner    string    `json:"owner"` // the consumer's name, new at every start
	Name     string    `json:"name"`
	Host     string    `json:"host,omitempty"`
	PID      int       `json:"pid,omitempty"`
	Version  string    `json:"version,omitempty"`
	Started  time.Time `json:"started,omitzero"`
	Slots    int       `json:"slots"`
	Running  int       `json:"running"` // operations held when it was written
	Queues   []string  `json:"queues"`
	Draining bool      `json:"draining,omitempty"`
	Presence bool      `json:"presence,omitempty"` // it listens, and Redis lets it count who else does
	Kinds    []string  `json:"kinds,omitempty"`    // that it has a handler for; empty: a version that does not say
	Catalog  string    `json:"catalog,omitempty"`  // digest of the models and pools that it can call, see Catalogs
	Real     bool      `json:"real,omitempty"`     // a request that names no model is answered here by no simulation
	Seen     time.Time `json:"seen,omitzero"`      // server time of the record
}

// Announce writes a worker's record; Seen is the server's to say.
func (s *Store) Announce(ctx context.Context, r WorkerRecord) error {
	r.Seen = time.Time{}
	record, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = s.run(ctx, call{script: announceScript, keys: []string{s.keys.fleet("workers")}, args: []any{r.Owner, record}})
	return err
}

// Roster lists the workers that have announced themselves, by name and start,
// and the server's time. It grows with the fleet: about 250 bytes a worker.
func (s *Store) Roster(ctx context.Context) ([]WorkerRecord, time.Time, error) {
	all, err := s.rdb.HGetAll(ctx, s.keys.fleet("workers")).Result()
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("read the roster: %w", err)
	}
	now, err := s.timeAt(ctx, s.keys.fleet("workers"))
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("read the roster: %w", err)
	}
	workers := make([]WorkerRecord, 0, len(all))
	for owner, value := range all {
		ms, record, _ := strings.Cut(value, " ")
		var r WorkerRecord
		_ = json.Unmarshal([]byte(record), &r) // what somebody else wrote there shows as a bare name
		r.Owner, r.Seen = owner, atMS(number(ms))
		workers = append(workers, r)
	}
	slices.SortFunc(workers, func(a, b WorkerRecord) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), a.Started.Compare(b.Started), cmp.Compare(a.Owner, b.Owner))
	})
	return workers, now, nil
}

// timeAt is the time of the server that has a key. A cluster's client would ask
// any master, whose clock is another one, and which may be away.
func (s *Store) timeAt(ctx context.Context, key string) (time.Time, error) {
	if cluster, ok := s.rdb.(*redis.ClusterClient); ok {
		node, err := cluster.MasterForKey(ctx, key)
		if err != nil {
			return time.Time{}, err
		}
		return node.Time(ctx).Result()
	}
	return s.rdb.Time(ctx).Result()
}

// OnRoster reports whether a worker is on the roster. One that ended in good order,
// or that somebody has taken over to the end, is not.
func (s *Store) OnRoster(ctx context.Context, owner string) (bool, error) {
	on, err := s.rdb.HExists(ctx, s.keys.fleet("workers"), owner).Result()
	if err != nil {
		return false, fmt.Errorf("read the roster: %w", err)
	}
	return on, nil
}

// Retire takes workers off the roster: one that has ended, or others that have
// been silent for long. One that still lives comes back with its next record.
func (s *Store) Retire(ctx context.Context, owners ...string) error {
	if len(owners) == 0 {
		return nil
	}
	if err := s.rdb.HDel(ctx, s.keys.fleet("workers"), owners...).Err(); err != nil {
		return fmt.Errorf("retire workers: %w", err)
	}
	return nil
}
