package embedded_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lighterman/lighterman/internal/embedded"
	"github.com/lighterman/lighterman/internal/redistest"
)

func TestMain(m *testing.M) { redistest.Main(m) }

func start(t *testing.T) *embedded.Server {
	t.Helper()
	s, err := embedded.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func client(t *testing.T, s *embedded.Server) *redis.Client {
	t.Helper()
	rdb := redis.NewClient(redistest.Options("tcp", s.Addr()))
	t.Cleanup(func() { _ = rdb.Close() })
	return rdb
}

func TestStart_AnswersAtURL(t *testing.T) {
	o, err := redis.ParseURL(start(t).URL())
	if err != nil {
		t.Fatal(err)
	}
	rdb := redis.NewClient(o)
	defer rdb.Close()
	if err := rdb.Ping(t.Context()).Err(); err != nil {
		t.Error(err)
	}
}

func TestStart_SaysWhenTheAddressIsTaken(t *testing.T) {
	s := start(t)
	if _, err := embedded.Start(s.Addr()); !errors.Is(err, embedded.ErrAddrInUse) {
		t.Errorf("second Start: %v, want ErrAddrInUse", err)
	}
	if err := client(t, s).Ping(t.Context()).Err(); err != nil {
		t.Errorf("the first server after the second's attempt: %v", err)
	}
	if _, err := embedded.Start("256.0.0.1:1"); err == nil || errors.Is(err, embedded.ErrAddrInUse) {
		t.Errorf("Start at an impossible address: %v", err)
	}
}

func TestServer_KeysExpireUntouched(t *testing.T) {
	rdb, ctx := client(t, start(t)), t.Context()
	const life = 200 * time.Millisecond
	set := time.Now()
	for _, key := range []string{"asked for", "left alone"} {
		if err := rdb.Set(ctx, key, "v", life).Err(); err != nil {
			t.Fatal(err)
		}
	}
	await(t, func() bool { return errors.Is(rdb.Get(ctx, "asked for").Err(), redis.Nil) })
	if age := time.Since(set); age < life-50*time.Millisecond {
		t.Errorf("a key with a lifetime of %s expired after %s", life, age)
	}
	await(t, func() bool { return rdb.DBSize(ctx).Val() == 0 })
}

func TestServer_TimeIsTheWallClock(t *testing.T) {
	now, err := client(t, start(t)).Time(t.Context()).Result()
	if d := time.Since(now).Abs(); err != nil || d > time.Second {
		t.Errorf("TIME is off by %s, %v", d, err)
	}
}

func TestServer_PendingEntriesGrowIdle(t *testing.T) {
	rdb, ctx := client(t, start(t)), t.Context()
	rdb.XGroupCreateMkStream(ctx, "s", "g", "0")
	rdb.XAdd(ctx, &redis.XAddArgs{Stream: "s", Values: []any{"k", "v"}})
	rdb.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "g", Consumer: "w1", Streams: []string{"s", ">"}})
	await(t, func() bool {
		p := rdb.XPendingExt(ctx, &redis.XPendingExtArgs{Stream: "s", Group: "g", Idle: 30 * time.Millisecond, Start: "-", End: "+", Count: 10})
		return len(p.Val()) == 1
	})
}

func TestServer_XReadGroupBlocks(t *testing.T) {
	s := start(t)
	rdb, ctx := client(t, s), t.Context()
	if err := rdb.XGroupCreateMkStream(ctx, "s", "g", "0").Err(); err != nil {
		t.Fatal(err)
	}
	read := func(block time.Duration) ([]redis.XStream, error) {
		return rdb.XReadGroup(ctx, &redis.XReadGroupArgs{Group: "g", Consumer: "w1", Streams: []string{"s", ">"}, Block: block}).Result()
	}

	from := time.Now()
	if _, err := read(50 * time.Millisecond); !errors.Is(err, redis.Nil) || time.Since(from) < 50*time.Millisecond {
		t.Errorf("BLOCK 50 of an empty stream: %v after %s, want %v after 50 ms", err, time.Since(from), redis.Nil)
	}

	got := make(chan error, 1)
	go func() {
		r, err := read(time.Minute)
		if err == nil && len(r[0].Messages) != 1 {
			err = errors.New("no entry")
		}
		got <- err
	}()
	if err := rdb.XAdd(ctx, &redis.XAddArgs{Stream: "s", Values: []any{"k", "v"}}).Err(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-got:
		if err != nil {
			t.Errorf("reader that waits for an entry: %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("XADD did not wake the reader")
	}
}

func TestClose_EndsThoseWhoWait(t *testing.T) {
	s := start(t)
	rdb := client(t, s)
	if err := rdb.XGroupCreateMkStream(t.Context(), "s", "g", "0").Err(); err != nil {
		t.Fatal(err)
	}
	got := make(chan error, 1)
	go func() {
		got <- rdb.XReadGroup(context.Background(), &redis.XReadGroupArgs{Group: "g", Consumer: "w1", Streams: []string{"s", ">"}, Block: time.Minute}).Err()
	}()
	await(t, func() bool { st := rdb.PoolStats(); return st.TotalConns-st.IdleConns == 1 })
	s.Close()
	s.Close() // A second one does nothing.
	select {
	case err := <-got:
		if err == nil || errors.Is(err, redis.Nil) {
			t.Errorf("reader of a closed server: %v, want an error of the connection", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the reader still waits")
	}
	l, err := net.Listen("tcp", s.Addr())
	if err != nil {
		t.Fatalf("the address after Close: %v", err)
	}
	_ = l.Close()
}

// await fails the test if cond does not become true.
func await(t *testing.T, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !cond(); <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("still not true after 10 s")
		}
	}
}
