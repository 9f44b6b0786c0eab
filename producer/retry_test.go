package producer

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/checkpoint"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
	"github.com/redis/go-redis/v9"
)

// fail plays a worker that records one step of each operation and then fails for
// good.
func fail(t testing.TB, rdb redis.UniversalClient, o lua.Options, n int, step []byte) {
	t.Helper()
	ctx := deadline(t)
	s := lua.NewStore(rdb, rdb, o)
	codec, err := checkpoint.New(checkpoint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	one := func(c lm.Claim) error {
		book, err := codec.Open(c.ID, nil)
		if err != nil {
			return err
		}
		steps, err := book.Record("step:one", step)
		if err != nil {
			return err
		}
		if _, err := s.Advance(ctx, c, lua.Advance{Path: []lm.State{lm.Gathering}, Steps: steps}); err != nil {
			return err
		}
		return s.Finish(ctx, c, lua.Ending{Path: []lm.State{lm.Errored, lm.Completed}, Tried: true,
			Result: lm.Result{Outcome: lm.Failed, Err: lm.Errorf(lm.PermanentFailure, "no")}})
	}
	for p := 0; n > 0 && ctx.Err() == nil; p = (p + 1) % s.Partitions() {
		st := lua.Stream{Partition: p, Queue: "default"}
		if err := s.EnsureGroups(ctx, []lua.Stream{st}); err != nil {
			t.Fatal(err)
		}
		entries, err := s.Read(ctx, "w", []lua.Share{{Stream: st, Count: 100}}, 100)
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) == 0 {
			continue
		}
		claims, err := s.Claim(ctx, "w", time.Minute, entries)
		if err != nil {
			t.Fatal(err)
		}
		n -= len(claims)
		var group sync.WaitGroup
		for _, c := range claims {
			group.Go(func() {
				if err := one(c.Claim); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
	}
}

// stored is a checkpoint's only step, as a worker that claims the operation opens it.
func stored(t testing.TB, s *lua.Store, id lm.TraceID) string {
	t.Helper()
	codec, err := checkpoint.New(checkpoint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	fields, err := s.Checkpoints(context.Background(), []lm.TraceID{id})
	if err != nil {
		t.Fatal(err)
	}
	book, err := codec.Open(id, fields[0])
	if err != nil {
		t.Fatalf("checkpoint of %s: %v", id, err)
	}
	data, _ := book.Lookup("step:one")
	return string(data)
}

func TestRetryMany_OverPartitions(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		o := lua.Options{Partitions: 8}
		c, ctx := open(t, rdb, o), deadline(t)
		s := lua.NewStore(rdb, rdb, o)
		ids := idsOf(t, c.EnqueueMany(ctx, chats(300)))
		fail(t, rdb, o, len(ids), []byte("done"))
		seen := make(map[lm.TraceID]bool)
		retried := c.RetryMany(ctx, append([]lm.TraceID{"0-none", "9-none", "x"}, ids...))
		for i, want := range []error{lm.ErrNotFound, lm.ErrNotFound, lm.ErrNotFound} {
			if !errors.Is(retried[i].Err, want) {
				t.Errorf("%s: %v", retried[i].ID, retried[i].Err)
			}
			if said := strings.Contains(retried[i].Err.Error(), "the fleet's partitions end at 7"); said != (i == 1) {
				t.Errorf("%s: %v", retried[i].ID, retried[i].Err)
			}
		}
		for i, r := range retried[3:] {
			if r.ID != ids[i] || r.Err != nil || r.Dropped != nil || r.Existing || r.As.Partition() != r.ID.Partition() || seen[r.As] {
				t.Fatalf("%+v", r)
			}
			seen[r.As] = true
		}
		if got := stored(t, s, retried[150].As); got != "done" {
			t.Errorf("the step taken along is %q", got)
		}
		for p := range s.Partitions() {
			if letters, err := s.Dead(ctx, p, 10); err != nil || len(letters) != 0 {
				t.Errorf("partition %d: %v %v", p, letters, err)
			}
		}
		again, err := c.Retry(ctx, ids[7])
		if err != nil || !again.Existing || again.As != retried[10].As {
			t.Errorf("again: %+v %v", again, err)
		}
		serve(t, rdb, o, len(ids), nil)
		if r, err := c.Wait(ctx, retried[3].As); err != nil || r.Outcome != lm.Succeeded {
			t.Errorf("%+v %v", r, err)
		}
		if _, err := c.Retry(ctx, retried[3].As); !errors.Is(err, ErrNotFailed) {
			t.Errorf("of one that succeeded: %v", err)
		}
	})
}

// Ten at once are one: nine are told of the tenth's.
func TestRetry_AtOnceIsOne(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		c, ctx := open(t, rdb, lua.Options{}), deadline(t)
		id := idsOf(t, c.EnqueueMany(ctx, chats(1)))[0]
		fail(t, rdb, lua.Options{}, 1, []byte("done"))
		var group sync.WaitGroup
		answers := make([]Retried, 10)
		for i := range answers {
			group.Go(func() { answers[i], _ = c.Retry(ctx, id) })
		}
		group.Wait()
		made := 0
		for _, a := range answers {
			if a.Err != nil || a.As != answers[0].As {
				t.Errorf("%+v", a)
			}
			if !a.Existing {
				made++
			}
		}
		if made != 1 || stored(t, c.store, answers[0].As) != "done" {
			t.Errorf("%d were made", made)
		}
		if counts, err := c.store.Counts(ctx, 0); err != nil || counts.Sum("waiting") != 1 {
			t.Errorf("%v %v", counts, err)
		}
	})
}

// What cannot be read is dropped and said: corrupt, gone, or over this client's limit.
func TestRetry_DropsACheckpointThatItCannotTake(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		c, ctx := open(t, rdb, lua.Options{}, WithCheckpointLimit(1000)), deadline(t)
		big := []byte(strings.Repeat("0123456789abcdef", 1<<16)) // compresses, but not to nothing
		for i := range big {
			big[i] ^= byte(i*i>>8) ^ byte(i>>3)
		}
		for name, row := range map[string]struct {
			step  []byte
			spoil func(key string) error
			want  error
		}{
			"corrupt":   {[]byte("x"), func(key string) error { return rdb.HSet(ctx, key, "payload_compressed", "y").Err() }, checkpoint.ErrCorrupt},
			"gone":      {[]byte("x"), func(key string) error { return rdb.Del(ctx, key).Err() }, errCheckpointGone},
			"too large": {big, func(string) error { return nil }, checkpoint.ErrTooLarge},
			"newer":     {[]byte("x"), func(key string) error { return rdb.HSet(ctx, key, "schema_version", "99").Err() }, checkpoint.ErrSchemaNewer},
		} {
			id := idsOf(t, c.EnqueueMany(ctx, chats(1)))[0]
			fail(t, rdb, lua.Options{}, 1, row.step)
			if err := row.spoil("{lm:0}:checkpoint:" + string(id)); err != nil {
				t.Fatal(err)
			}
			r, err := c.Retry(ctx, id)
			if err != nil || !errors.Is(r.Dropped, row.want) {
				t.Errorf("%s: %+v %v", name, r, err)
			}
			if n := rdb.Exists(ctx, "{lm:0}:checkpoint:"+string(r.As)).Val(); n != 0 {
				t.Errorf("%s: the new one has a checkpoint", name)
			}
			serve(t, rdb, lua.Options{}, 1, nil)
		}
	})
}

// Large ones go in scripts of their own, so that none blocks Redis for long.
func TestRetryMany_BoundsWhatAScriptMoves(t *testing.T) {
	rdb := redistest.Shared(t).Client()
	c, ctx := open(t, rdb, lua.Options{}), deadline(t)
	reqs := chats(5)
	for i := range reqs {
		reqs[i].Body = json.RawMessage(`{"prompt":"` + strings.Repeat("x", 600<<10) + `"}`)
		reqs[i].Kind = "own"
	}
	ids := idsOf(t, c.EnqueueMany(ctx, reqs))
	fail(t, rdb, lua.Options{}, len(ids), []byte("x"))
	before := c.store.ScriptRuns()
	for _, r := range c.RetryMany(ctx, ids) {
		if r.Err != nil {
			t.Error(r.Err)
		}
	}
	if n := c.store.ScriptRuns() - before; n != 5 {
		t.Errorf("%d scripts for 5 requests of 600 KiB, want 5", n)
	}
}
