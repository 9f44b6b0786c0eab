package lua

import (
	"fmt"
	"sync"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
)

func opened(t *testing.T, url string) *Store {
	t.Helper()
	s, err := Open(ctx, url, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.EnsureGroups(ctx, []Stream{resume, queue}); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestUnblock_EndsOwnReadsOnly: those of another Store, and every other connection,
// are left alone.
func TestUnblock_EndsOwnReadsOnly(t *testing.T) {
	for _, kind := range []string{"redis", "cluster"} {
		t.Run(kind, func(t *testing.T) {
			srv := redistest.Shared(t)
			url := srv.URL()
			if kind == "cluster" {
				srv = redistest.SharedCluster(t)
				url = "redis+cluster://" + srv.URL()[len("redis://"):]
			}
			mine, others := opened(t, url), opened(t, url)
			ended := make(chan string, 2)
			block := func(who string, s *Store, d time.Duration) {
				if entries, err := s.Block(who, []Stream{resume, queue}, 1, d); err != nil || len(entries) != 0 {
					t.Errorf("%s: %v, %v", who, entries, err)
				}
				ended <- who
			}
			go block("others", others, 3*time.Second)
			go block("mine", mine, 9*time.Second)
			n := 0
			for deadline := time.Now().Add(5 * time.Second); n == 0 && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
				k, err := mine.Unblock(ctx)
				if err != nil {
					t.Fatal(err)
				}
				n += k
			}
			if first := <-ended; n != 1 || first != "mine" {
				t.Errorf("%d reads were ended, and %s's ended first", n, first)
			}
			if second := <-ended; second != "others" {
				t.Errorf("%s ended second", second)
			}
			if k, err := mine.Unblock(ctx); k != 0 || err != nil {
				t.Errorf("with nothing under way: %d, %v", k, err)
			}
		})
	}
}

// TestUnblock_LosesNothing: what comes at the very moment is either brought by the
// read or still unread.
func TestUnblock_LosesNothing(t *testing.T) {
	srv := redistest.Shared(t)
	s := opened(t, srv.URL())
	brought, ended := 0, 0
	rounds := 0
	for i := 0; i < 300 || i < 10_000 && (ended == 0 || brought == 0 || brought == i); i++ {
		rounds++
		var race sync.WaitGroup
		var entries []Entry
		race.Go(func() {
			var err error
			if entries, err = s.Block("w1", []Stream{resume, queue}, 1, 50*time.Millisecond); err != nil {
				t.Error(err)
			}
		})
		race.Go(func() {
			for range 3 {
				k, err := s.Unblock(ctx)
				if err != nil {
					t.Error(err)
				}
				ended += k
			}
		})
		id := lm.NewTraceID(0, fmt.Sprint("r", i))
		race.Go(func() {
			r := &lm.Request{}
			r.Normalize()
			if a := s.Enqueue(ctx, []Operation{{ID: id, Request: r}})[0]; a.Err != nil {
				t.Error(a.Err)
			}
		})
		race.Wait()
		brought += len(entries)
		left, err := s.Read(ctx, "w1", []Share{{Stream: resume, Count: 5}, {Stream: queue, Count: 5}}, 5)
		if err != nil {
			t.Fatal(err)
		}
		if len(entries)+len(left) != 1 {
			t.Fatalf("round %d: the read brought %d, %d were left; want one in all", i, len(entries), len(left))
		}
	}
	t.Logf("%d entries were brought by the read, %d reads were ended", brought, ended)
	if brought == 0 || ended == 0 || brought == rounds {
		t.Errorf("%d brought, %d ended: the race was not met: void", brought, ended)
	}
}

func TestUnblock_WithoutOurOwnConnectionsEndsNone(t *testing.T) {
	rdb := redistest.Mini(t)
	if n, err := NewStore(rdb, rdb, Options{}).Unblock(ctx); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}
