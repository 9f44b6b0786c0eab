package lua

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"
)

// catalogsKept bounds the lists of names that the fleet keeps; with more of them all
// but the newest go, and those in use are published again within a minute.
const catalogsKept = 64

// CatalogDigest tells one list of names from another.
func CatalogDigest(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return digest(names...)
}

// PublishCatalog keeps a list of model and pool names under its digest, which the
// records of the workers that know these names carry: most fleets have one list,
// however many workers. tidy also looks whether too many are kept.
func (s *Store) PublishCatalog(ctx context.Context, names []string, tidy bool) error {
	if len(names) == 0 {
		return nil
	}
	text, err := json.Marshal(names)
	if err != nil {
		return err
	}
	key, field := s.keys.fleet("catalogs"), CatalogDigest(names)
	if err := s.rdb.HSet(ctx, key, field, text).Err(); err != nil {
		return fmt.Errorf("publish a catalog: %w", err)
	}
	if !tidy {
		return nil
	}
	all, err := s.rdb.HGetAll(ctx, key).Result()
	if err != nil || len(all) <= catalogsKept {
		return nil //nolint:nilerr // the next one looks
	}
	var old []string
	for f := range all {
		if f != field {
			old = append(old, f)
		}
	}
	_ = s.rdb.HDel(ctx, key, old...).Err() // the next one does
	return nil
}

// Catalogs reads lists of names by their digests; one that is not kept is missing.
func (s *Store) Catalogs(ctx context.Context, digests []string) (map[string][]string, error) {
	pipe := s.rdb.Pipeline()
	cmds := make(map[string]*redis.StringCmd)
	for _, d := range digests {
		if d != "" && cmds[d] == nil {
			cmds[d] = pipe.HGet(ctx, s.keys.fleet("catalogs"), d)
		}
	}
	_, _ = pipe.Exec(ctx) // each command has its own error
	catalogs := make(map[string][]string)
	for d, cmd := range cmds {
		var names []string
		if text, err := cmd.Bytes(); IsLost(err) {
			return nil, fmt.Errorf("read catalogs: %w", err)
		} else if err == nil && json.Unmarshal(text, &names) == nil {
			slices.Sort(names)
			catalogs[d] = names
		}
	}
	return catalogs, nil
}
