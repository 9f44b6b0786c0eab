package producer

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
	"github.com/redis/go-redis/v9"
)

func TestMain(m *testing.M) { redistest.Main(m) }

// chat is a request of the built-in kind.
func chat() lm.Request {
	return lm.Request{Body: json.RawMessage(`{"messages":[{"role":"user","content":"Why do rivers bend?"}]}`)}
}

func chats(n int) []lm.Request {
	reqs := make([]lm.Request, n)
	for i := range reqs {
		reqs[i] = chat()
	}
	return reqs
}

// open makes a Client over a Store of its own options.
func open(t testing.TB, rdb redis.UniversalClient, o lua.Options, opts ...Option) *Client {
	t.Helper()
	c := New(lua.NewStore(rdb, rdb, o), opts...)
	c.waits.block = 50 * time.Millisecond // Close waits for it
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return c
}

// deadline is for tests that would otherwise hang.
func deadline(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// idsOf fails the test unless all were accepted.
func idsOf(t testing.TB, accepted []Accepted) []lm.TraceID {
	t.Helper()
	ids := make([]lm.TraceID, len(accepted))
	for i, a := range accepted {
		if a.Err != nil || a.ID == "" || a.Existing {
			t.Fatalf("request %d: %+v", i, a)
		}
		ids[i] = a.ID
	}
	return ids
}

// serve plays workers: it ends n operations, in the order of their entries, with
// their own ID as the answer, or failed where failing says so.
func serve(t testing.TB, rdb redis.UniversalClient, o lua.Options, n int, failing func(lm.TraceID) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second) // not the test's: it may run beside it
	defer cancel()
	s := lua.NewStore(rdb, rdb, o)
	for n > 0 {
		for p := range s.Partitions() {
			if n == 0 {
				return
			}
			st := lua.Stream{Partition: p, Queue: "default"}
			if err := s.EnsureGroups(ctx, []lua.Stream{st}); err != nil {
				t.Errorf("groups: %v", err)
				return
			}
			entries, err := s.Read(ctx, "w", []lua.Share{{Stream: st, Count: 100}}, min(n, 100))
			if err != nil {
				t.Errorf("read: %v", err)
				return
			}
			if len(entries) > 0 {
				n -= len(entries)
				finish(ctx, t, s, entries, failing)
			}
		}
		if ctx.Err() != nil {
			t.Errorf("%d operations never came", n)
			return
		}
	}
}

func finish(ctx context.Context, t testing.TB, s *lua.Store, entries []lua.Entry, failing func(lm.TraceID) bool) {
	claims, err := s.Claim(ctx, "w", time.Minute, entries)
	if err != nil {
		t.Errorf("claim: %v", err)
		return
	}
	var group sync.WaitGroup
	for _, c := range claims {
		group.Go(func() {
			claim := c.Claim
			end := lua.Ending{
				Path:   []lm.State{lm.Gathering, lm.Inferring, lm.Postprocessing, lm.Delivering, lm.Delivered, lm.Completed},
				Result: lm.Result{Outcome: lm.Succeeded, Body: json.RawMessage(fmt.Sprintf("%q", claim.ID))}, Tried: true,
			}
			if failing != nil && failing(claim.ID) {
				end.Path = []lm.State{lm.Errored, lm.Completed}
				end.Result = lm.Result{Outcome: lm.Failed, Err: lm.Errorf(lm.ContentFiltered, "no")}
			}
			if err := s.Finish(ctx, claim, end); err != nil {
				t.Errorf("finish %s: %v", claim.ID, err)
			}
		})
	}
	group.Wait()
}

// counter counts what a Redis client sends, and may swallow notices.
type counter struct {
	trips    atomic.Int64 // round trips
	commands sync.Map     // name -> *atomic.Int64
	deaf     atomic.Bool  // blocking reads come back empty
}

func (c *counter) count(cmd redis.Cmder) {
	n, _ := c.commands.LoadOrStore(cmd.Name(), new(atomic.Int64))
	n.(*atomic.Int64).Add(1)
}

func (c *counter) of(name string) int64 {
	if n, ok := c.commands.Load(name); ok {
		return n.(*atomic.Int64).Load()
	}
	return 0
}

func (c *counter) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (c *counter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.trips.Add(1)
		c.count(cmd)
		err := next(ctx, cmd)
		if cmd.Name() == "xread" && c.deaf.Load() {
			cmd.SetErr(redis.Nil)
			return redis.Nil
		}
		return err
	}
}

func (c *counter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.trips.Add(1)
		for _, cmd := range cmds {
			c.count(cmd)
		}
		return next(ctx, cmds)
	}
}

// beside runs f beside the test, which does not end before it.
func beside(t testing.TB, f func()) {
	done := make(chan struct{})
	t.Cleanup(func() { <-done })
	go func() {
		defer close(done)
		f()
	}()
}

// until waits for a condition.
func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	late := time.After(30 * time.Second)
	for !holds() {
		select {
		case <-late:
			t.Errorf("never: %s", what)
			return
		case <-time.After(2 * time.Millisecond):
		}
	}
}
