package lua

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
)

// TestClean_ItsShareOfRedis passes over many operations and holds the processor
// time of Redis against the share. Under LIGHTERMAN_E2E=full there are 100,000 of
// them, the bound is tight and the share larger, because 2 % takes minutes.
func TestClean_ItsShareOfRedis(t *testing.T) {
	n, slack, share := 2_000, 2.0, janitorShare
	if os.Getenv("LIGHTERMAN_E2E") == "full" {
		n, slack, share = 100_000, 1.0, 0.2
	}
	server := redistest.Start(t)
	rdb := server.Client()
	s := NewStore(rdb, rdb, Options{})
	if err := s.EnsureGroups(ctx, []Stream{queue, resume}); err != nil {
		t.Fatal(err)
	}
	ops := make([]Operation, 0, 1000)
	for i := range n {
		ops = append(ops, Operation{ID: lm.TraceID(fmt.Sprintf("0-n%d", i)), Request: request(`{"n":1}`)})
		if len(ops) == cap(ops) {
			for _, a := range s.Enqueue(ctx, ops) {
				if a.Err != nil {
					t.Fatal(a.Err)
				}
			}
			ops = ops[:0]
		}
	}
	busy := func() float64 {
		info := readInfo(rdb.Info(ctx, "cpu").Val())
		user, _ := strconv.ParseFloat(info["used_cpu_user_main_thread"], 64)
		sys, _ := strconv.ParseFloat(info["used_cpu_sys_main_thread"], 64)
		return user + sys
	}
	for _, share := range []float64{1, share} {
		before, began := busy(), time.Now()
		pass, err := s.Clean(ctx, Janitor{Act: true, Share: share})
		took, used := time.Since(began), busy()-before
		if err != nil || pass.Open != n || pass.Orphans() != 0 || len(pass.Drift) != 0 {
			t.Fatalf("%+v %v", pass, err)
		}
		t.Logf("%d operations, %d keys, share %v: %v, Redis busy %.2f s (%.1f %%), %.0f keys/s", n, pass.Keys, share, took.Round(time.Millisecond),
			used, 100*used/took.Seconds(), float64(pass.Keys)/took.Seconds())
		if share < 1 && used/took.Seconds() > share*(1+slack) {
			t.Errorf("Redis spent %.1f %% of its time on it, want %.0f %%", 100*used/took.Seconds(), 100*share)
		}
	}
}
