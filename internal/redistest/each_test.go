package redistest_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lighterman/lighterman/internal/redistest"
)

func TestEachCluster_RunsOnEveryKind(t *testing.T) {
	var ran []string
	redistest.EachCluster(t, func(t *testing.T, rdb redis.UniversalClient) {
		ran = append(ran, t.Name())
		if err := rdb.Set(t.Context(), "k", "v", 0).Err(); err != nil {
			t.Error(err)
		}
	})
	want := []string{t.Name() + "/redis", t.Name() + "/miniredis", t.Name() + "/cluster"}
	if !slices.Equal(ran, want) {
		t.Errorf("ran %v, want %v", ran, want)
	}
}

func TestEach_KeysExpire(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		ctx := t.Context()
		if err := rdb.Set(ctx, "k", "v", 20*time.Millisecond).Err(); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(5 * time.Second); !errors.Is(rdb.Get(ctx, "k").Err(), redis.Nil); {
			if time.Now().After(deadline) {
				t.Fatal("the key lives for ever")
			}
		}
	})
}

func TestMini_FollowsTheClockOfABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rdb, ctx := redistest.MiniPipe(t), t.Context()
		if err := rdb.Set(ctx, "k", "v", time.Hour).Err(); err != nil {
			t.Fatal(err)
		}
		before, err := rdb.Time(ctx).Result()
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour - time.Second)
		if err := rdb.Get(ctx, "k").Err(); err != nil {
			t.Errorf("a second before it expires: %v", err)
		}
		time.Sleep(time.Second)
		if err := rdb.Get(ctx, "k").Err(); !errors.Is(err, redis.Nil) {
			t.Errorf("after an hour: %v, want %v", err, redis.Nil)
		}
		if now, err := rdb.Time(ctx).Result(); err != nil || now.Sub(before) != time.Hour {
			t.Errorf("TIME went on by %s, %v, want an hour", now.Sub(before), err)
		}
	})
}

func TestShared_IsOneServerEmptiedPerTest(t *testing.T) {
	var pid int
	t.Run("first", func(t *testing.T) {
		s := redistest.Shared(t)
		pid = s.Pid()
		rdb := s.Client()
		if err := rdb.Set(t.Context(), "k", "v", 0).Err(); err != nil {
			t.Fatal(err)
		}
		if err := rdb.ScriptLoad(t.Context(), "return 1").Err(); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("second", func(t *testing.T) {
		s := redistest.Shared(t)
		if s.Pid() != pid {
			t.Errorf("pid %d, want the first test's %d", s.Pid(), pid)
		}
		rdb := s.Client()
		if n, err := rdb.DBSize(t.Context()).Result(); n != 0 || err != nil {
			t.Errorf("DBSIZE = %d, %v, want 0", n, err)
		}
		if err := rdb.EvalSha(t.Context(), "e0e1f9fabfc9d4800c877a703b823ac0578ff8db", nil).Err(); err == nil {
			t.Error("the first test's script is still loaded")
		}
		s.Kill()
	})
	t.Run("after one that killed it", func(t *testing.T) {
		if err := redistest.Shared(t).Client().Ping(t.Context()).Err(); err != nil {
			t.Error(err)
		}
	})
}

func TestShared_GoesToOneTestAtATime(t *testing.T) {
	for _, name := range []string{"a", "b", "c"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rdb := redistest.Shared(t).Client()
			for want := int64(1); want <= 50; want++ {
				if n, err := rdb.Incr(t.Context(), "n").Result(); n != want || err != nil {
					t.Fatalf("INCR = %d, %v, want %d", n, err, want)
				}
			}
		})
	}
}

func TestShared_ASubtestOfTheHolderGetsItToo(t *testing.T) {
	pid := redistest.Shared(t).Pid()
	t.Run("subtest", func(t *testing.T) {
		if got := redistest.Shared(t).Pid(); got != pid {
			t.Errorf("pid %d, want %d", got, pid)
		}
	})
}

func TestSharedCluster_IsEmptied(t *testing.T) {
	for _, name := range []string{"first", "second"} {
		t.Run(name, func(t *testing.T) {
			rdb := redistest.SharedCluster(t).ClusterClient()
			if n, err := rdb.Incr(t.Context(), "n").Result(); n != 1 || err != nil {
				t.Errorf("INCR = %d, %v, want 1", n, err)
			}
		})
	}
}
