package lua

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/redis/go-redis/v9"
)

// ListName names the list of a backend as it is asked: Digest is one over its
// provider, its address and a hash of its credential, so that what another
// credential or address said is not found.
type ListName struct{ Backend, Digest string }

func (n ListName) field() string { return n.Backend + " " + n.Digest }

// NewListName makes the name; credential is a hash, never the credential itself.
func NewListName(backend, provider, url, credential string) ListName {
	return ListName{Backend: backend, Digest: digest(provider, url, credential)}
}

// EmptyList is the kind of a listing that was answered, with no model in it: it
// says nothing, and is no list to serve.
const EmptyList lm.Kind = "empty_list"

// Listing is what one listing of a backend said.
type Listing struct {
	Name  ListName
	Kind  lm.Kind // of the failure; empty: List holds a good one
	List  []byte
	Etag  string // of List: without white space
	Count int
	Took  time.Duration
	Keep  time.Duration // of a good list
}

// Observation is the record of a backend's listings. Times are the server's; zero
// means never.
type Observation struct {
	Name    ListName
	Tried   time.Time // the last listing
	Listed  time.Time // the last good one whose list is still there
	Since   time.Time // the first failure of those in a row
	Strikes int       // failures in a row
	Kind    lm.Kind   // of the last one; empty: it was good
	Etag    string    // of the last good list; empty: there is none
	Count   int
	Took    time.Duration
}

// Observe records a listing under the fleet's lock; see observe.lua. False: the
// lock is not the asker's any more, nothing was written.
func (s *Store) Observe(ctx context.Context, token string, fence int64, l Listing) (bool, error) {
	etag := l.Etag
	if etag == "" {
		etag = "-"
	}
	return s.said(ctx, "OK", call{
		script: observeScript,
		keys:   []string{s.keys.fleet("lock"), s.keys.observed(), s.keys.list(l.Name), s.keys.backend(l.Name.Backend), s.keys.version(), s.keys.notices()},
		args: []any{token, fence, s.publish(), l.Name.field(), string(l.Kind), l.List, etag, l.Count, l.Took.Milliseconds(),
			l.Keep.Milliseconds(), modelKept.Milliseconds()},
	})
}

// Observations reads the records of all backends, whoever asked them, and the
// server's time: one round trip.
func (s *Store) Observations(ctx context.Context) ([]Observation, time.Time, error) {
	pipe := s.rdb.Pipeline()
	records, now := pipe.HGetAll(ctx, s.keys.observed()), pipe.Time(ctx)
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, time.Time{}, fmt.Errorf("read what backends were seen to have: %w", err)
	}
	return observations(records.Val()), now.Val().UTC(), nil
}

// observations reads records as observe.lua writes them; what is not one is left
// out.
func observations(records map[string]string) []Observation {
	all := make([]Observation, 0, len(records))
	for field, value := range records {
		backend, digest, ok := strings.Cut(field, " ")
		w := strings.Fields(value)
		if !ok || len(w) != 9 {
			continue
		}
		o := Observation{
			Name: ListName{Backend: backend, Digest: digest}, Tried: atMS(number(w[0])), Listed: atMS(number(w[1])), Since: atMS(number(w[2])),
			Strikes: int(number(w[3])), Count: int(number(w[5])), Took: time.Duration(number(w[6])) * time.Millisecond,
		}
		if w[4] != "-" {
			o.Etag = w[4]
		}
		if w[8] != "-" {
			o.Kind = lm.Kind(w[8])
		}
		all = append(all, o)
	}
	return all
}

// Lists reads lists in the order of their names, in one round trip; empty: there
// is none.
func (s *Store) Lists(ctx context.Context, names []ListName) ([]string, error) {
	if len(names) == 0 {
		return nil, nil
	}
	pipe := s.rdb.Pipeline()
	cmds := make([]*redis.StringCmd, len(names))
	for i, n := range names {
		cmds[i] = pipe.Get(ctx, s.keys.list(n))
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("read model lists: %w", err)
	}
	lists := make([]string, len(names))
	for i, c := range cmds {
		lists[i] = c.Val()
	}
	return lists, nil
}

// ForgetLists removes records and lists that were made before a time; see
// unlist.lua. It answers how many.
func (s *Store) ForgetLists(ctx context.Context, names []ListName, before time.Time) (int, error) {
	if len(names) == 0 {
		return 0, nil
	}
	c := call{script: unlistScript, keys: []string{s.keys.observed(), s.keys.version(), s.keys.notices()}, args: []any{len(names), s.publish(), before.UnixMilli()}}
	for _, n := range names {
		c.keys, c.args = append(c.keys, s.keys.list(n)), append(c.args, n.field())
	}
	removed := 0
	err := again(ctx, s.opts.Patience, func() error {
		v, err := s.run(ctx, c)
		removed += int(number(v))
		return err
	})
	return removed, err
}
