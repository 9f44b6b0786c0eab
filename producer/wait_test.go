package producer

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
	"github.com/redis/go-redis/v9"
)

// collect waits for all and returns the results in the order they came.
func collect(t *testing.T, c *Client, ids []lm.TraceID) []lm.Result {
	t.Helper()
	var results []lm.Result
	for r, err := range c.WaitMany(deadline(t), ids) {
		if err != nil {
			t.Fatalf("%s: %v", r.ID, err)
		}
		if r.Outcome == lm.Succeeded && r.Text() != string(r.ID) {
			t.Fatalf("%s got the result of %s", r.ID, r.Text())
		}
		results = append(results, r)
	}
	return results
}

func TestWait_ReturnsWhatAnOperationEndedIn(t *testing.T) {
	for name, opts := range map[string][]Option{"done": nil, "reply": {WithReply()}} {
		t.Run(name, func(t *testing.T) {
			redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
				c := open(t, rdb, lua.Options{Partitions: 3}, opts...)
				ids := idsOf(t, c.EnqueueMany(deadline(t), chats(20)))
				bad := ids[7]
				beside(t, func() { serve(t, rdb, lua.Options{Partitions: 3}, 20, func(id lm.TraceID) bool { return id == bad }) })
				for _, id := range ids {
					r, err := c.Wait(deadline(t), id)
					switch {
					case err != nil || r.ID != id:
						t.Errorf("%s: %+v %v", id, r, err)
					case id == bad && (r.Outcome != lm.Failed || r.Err == nil || r.Err.Kind != lm.ContentFiltered):
						t.Errorf("failed one: %+v", r)
					case id != bad && r.Text() != string(id):
						t.Errorf("%s: %s", id, r.Text())
					}
				}
				if r, err := c.Result(deadline(t), ids[0]); err != nil || r.Text() != string(ids[0]) { // and again, at rest
					t.Errorf("%+v %v", r, err)
				}
			})
		})
	}
}

func TestWait_ForWhatAnotherClientEnqueued(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		theirs := open(t, rdb, lua.Options{}, WithReply())
		ours := open(t, rdb, lua.Options{}, WithReply())
		a := idsOf(t, theirs.EnqueueMany(deadline(t), chats(5)))
		b := idsOf(t, ours.EnqueueMany(deadline(t), chats(5)))
		beside(t, func() {
			until(t, "both notice streams are read", func() bool { return ours.waits.count() == 2 })
			serve(t, rdb, lua.Options{}, 10, nil)
		})
		if got := collect(t, ours, append(a, b...)); len(got) != 10 {
			t.Errorf("%d results", len(got))
		}
	})
}

func (w *waits) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.readers)
}

func TestWaitMany_ThousandAsTheyEndAndEachOnce(t *testing.T) {
	redistest.EachCluster(t, func(t *testing.T, rdb redis.UniversalClient) {
		c := open(t, rdb, lua.Options{Partitions: 2})
		ids := idsOf(t, c.EnqueueMany(deadline(t), chats(1000)))
		beside(t, func() { serve(t, rdb, lua.Options{Partitions: 2}, len(ids), nil) })
		got := collect(t, c, append(ids, ids[:100]...))
		var seen []lm.TraceID
		for _, r := range got {
			seen = append(seen, r.ID)
		}
		slices.Sort(seen)
		slices.Sort(ids)
		if !slices.Equal(seen, ids) {
			t.Errorf("%d results for %d operations", len(seen), len(ids))
		}
	})
}

func TestWaitMany_FirstToEndComesFirst(t *testing.T) {
	rdb := redistest.Start(t).Client()
	c := open(t, rdb, lua.Options{})
	ids := idsOf(t, c.EnqueueMany(deadline(t), chats(3)))
	asked := slices.Clone(ids)
	slices.Reverse(asked)
	serve(t, rdb, lua.Options{}, 1, nil)
	n := 0
	for r, err := range c.WaitMany(deadline(t), asked) {
		if err != nil || r.ID != ids[n] {
			t.Fatalf("%+v %v, want %s", r, err, ids[n])
		}
		if n++; n < len(ids) {
			serve(t, rdb, lua.Options{}, 1, nil)
		}
	}
}

func TestWaitMany_BreakLeavesNothingBehind(t *testing.T) {
	rdb := redistest.Start(t).Client()
	c := open(t, rdb, lua.Options{})
	ids := idsOf(t, c.EnqueueMany(deadline(t), chats(10)))
	serve(t, rdb, lua.Options{}, 3, nil)
	for range c.WaitMany(deadline(t), ids) { //nolint:errcheck // only their number is looked at
		break
	}
	until(t, "checker and reader end", func() bool {
		c.waits.mu.Lock()
		defer c.waits.mu.Unlock()
		return len(c.waits.entries) == 0 && len(c.waits.readers) == 0 && !c.waits.running
	})
}

func TestWait_CostsNoPolling(t *testing.T) {
	const n = 1000
	srv, sent := redistest.Start(t), &counter{}
	rdb, others := srv.Client(), srv.Client()
	rdb.AddHook(sent)
	c := open(t, rdb, lua.Options{})
	c.waits.block = block
	ids := idsOf(t, c.EnqueueMany(deadline(t), chats(n)))
	trips := sent.trips.Load()
	beside(t, func() {
		until(t, "all are waiting", func() bool { return sent.of("xread") >= 3 }) // two blocking reads without news
		if q := sent.trips.Load() - trips; q > 1+2+3 {                            // position, two chunks of traces, reads
			t.Errorf("%d round trips while nothing happened", q)
		}
		serve(t, others, lua.Options{}, n, nil)
	})
	if got := collect(t, c, ids); len(got) != n {
		t.Fatalf("%d results", len(got))
	}
	for name, most := range map[string]int64{"hgetall": n, "hmget": n, "xrevrange": 1, "xread": 100} {
		if got := sent.of(name); got > most {
			t.Errorf("%d %s for %d operations, want at most %d", got, name, n, most)
		}
	}
	t.Logf("%d round trips for %d waits: hgetall %d, hmget %d, xread %d", sent.trips.Load()-trips, n, sent.of("hgetall"), sent.of("hmget"), sent.of("xread"))
}

func TestWait_ManyWaitersShareAReader(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		c := open(t, rdb, lua.Options{})
		ids := idsOf(t, c.EnqueueMany(deadline(t), chats(100)))
		var group sync.WaitGroup
		for i := range 300 { // three for each
			group.Go(func() {
				if r, err := c.Wait(deadline(t), ids[i%100]); err != nil || r.Text() != string(ids[i%100]) {
					t.Errorf("%+v %v", r, err)
				}
			})
		}
		until(t, "all wait", func() bool {
			c.waits.mu.Lock()
			defer c.waits.mu.Unlock()
			n := 0
			for _, e := range c.waits.entries {
				n += len(e.places)
			}
			return n == 300 && len(c.waits.readers) == 1
		})
		serve(t, rdb, lua.Options{}, 100, nil)
		group.Wait()
	})
}

func TestWait_LostNoticeIsFoundByTheRecheck(t *testing.T) {
	srv, sent := redistest.Start(t), &counter{}
	rdb := srv.Client()
	rdb.AddHook(sent)
	sent.deaf.Store(true)
	c := open(t, rdb, lua.Options{})
	c.waits.interval = 50 * time.Millisecond
	ids := idsOf(t, c.EnqueueMany(deadline(t), chats(3)))
	beside(t, func() {
		until(t, "first look", func() bool { return sent.of("hgetall") >= 3 })
		serve(t, srv.Client(), lua.Options{}, 3, nil)
	})
	if got := collect(t, c, ids); len(got) != 3 {
		t.Errorf("%d results", len(got))
	}
}

func TestWait_DeletedNoticeStreamLosesNobody(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		c := open(t, rdb, lua.Options{})
		c.waits.interval = 50 * time.Millisecond
		ids := idsOf(t, c.EnqueueMany(deadline(t), chats(20)))
		beside(t, func() {
			for range 20 {
				serve(t, rdb, lua.Options{}, 1, nil)
				rdb.Del(context.Background(), "{lm:0}:done")
			}
		})
		if got := collect(t, c, ids); len(got) != 20 {
			t.Errorf("%d results", len(got))
		}
	})
}

func TestWait_ReplyStreamOfAnotherTypeIsSurvived(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		c := open(t, rdb, lua.Options{}, WithReply())
		c.waits.interval = 50 * time.Millisecond
		rdb.Set(deadline(t), "{lm:0}:reply:"+c.opts.reply, "mine", 0)
		ids := idsOf(t, c.EnqueueMany(deadline(t), chats(3)))
		beside(t, func() { serve(t, rdb, lua.Options{}, 3, nil) })
		if got := collect(t, c, ids); len(got) != 3 {
			t.Errorf("%d results", len(got))
		}
	})
}

func TestWait_RedisKilledAndRestarted(t *testing.T) {
	srv := redistest.Start(t, redistest.WithAppendOnly(), redistest.WithConfig("appendfsync", "always"))
	c := open(t, srv.Client(), lua.Options{})
	ids := idsOf(t, c.EnqueueMany(deadline(t), chats(50)))
	beside(t, func() {
		until(t, "reader at work", func() bool { return c.waits.count() == 1 })
		srv.Kill()
		srv.Restart()
		serve(t, srv.Client(), lua.Options{}, 20, nil)
		srv.Kill()
		srv.Restart()
		serve(t, srv.Client(), lua.Options{}, 30, nil)
	})
	if got := collect(t, c, ids); len(got) != 50 {
		t.Errorf("%d results", len(got))
	}
}

func TestWait_RedisGoneUntilTheContextEnds(t *testing.T) {
	srv := redistest.Start(t)
	c := open(t, srv.Client(), lua.Options{})
	id := idsOf(t, c.EnqueueMany(deadline(t), chats(1)))[0]
	srv.Kill()
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if r, err := c.Wait(ctx, id); !errors.Is(err, context.DeadlineExceeded) || r.ID != id {
		t.Errorf("%+v %v", r, err)
	}
}

func TestWait_HungRedisDoesNotHoldTheCaller(t *testing.T) {
	srv := redistest.Start(t)
	c := open(t, srv.Client(), lua.Options{})
	id := idsOf(t, c.EnqueueMany(deadline(t), chats(1)))[0]
	srv.Stop()
	defer srv.Cont()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	started := time.Now()
	if _, err := c.Wait(ctx, id); !errors.Is(err, context.DeadlineExceeded) || time.Since(started) > time.Second {
		t.Errorf("%v after %s", err, time.Since(started))
	}
}

func TestWait_WhatIsNotThere(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		c, ctx := open(t, rdb, lua.Options{Partitions: 2}), deadline(t)
		for _, id := range []lm.TraceID{"0-nobody", "1-nobody", "7-nobody", "nonsense", ""} {
			if r, err := c.Wait(ctx, id); !errors.Is(err, lm.ErrNotFound) || !strings.Contains(err.Error(), string(id)) || r.ID != id {
				t.Errorf("wait %q: %+v %v", id, r, err)
			}
			if _, err := c.Status(ctx, id); !errors.Is(err, lm.ErrNotFound) {
				t.Errorf("status %q: %v", id, err)
			}
			if _, err := c.Result(ctx, id); !errors.Is(err, lm.ErrNotFound) {
				t.Errorf("result %q: %v", id, err)
			}
		}
		real := idsOf(t, c.EnqueueMany(ctx, chats(1)))[0]
		if _, err := c.Result(ctx, real); !errors.Is(err, ErrNotEnded) {
			t.Errorf("not ended: %v", err)
		}
		serve(t, rdb, lua.Options{Partitions: 2}, 1, nil)
		ended := 0
		for r, err := range c.WaitMany(ctx, []lm.TraceID{"0-nobody", real, "nonsense"}) {
			if ended++; (err == nil) != (r.ID == real) {
				t.Errorf("%+v %v", r, err)
			}
		}
		if ended != 3 {
			t.Errorf("%d answers", ended)
		}
	})
}

func TestWait_ResultGoneSaysSo(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		c, ctx := open(t, rdb, lua.Options{}), deadline(t)
		id := idsOf(t, c.EnqueueMany(ctx, chats(1)))[0]
		serve(t, rdb, lua.Options{}, 1, nil)
		rdb.Del(ctx, "{lm:0}:result:"+string(id))
		if r, err := c.Wait(ctx, id); !errors.Is(err, ErrResultGone) || r.Outcome != lm.Succeeded {
			t.Errorf("%+v %v", r, err)
		}
		if _, err := c.Result(ctx, id); !errors.Is(err, ErrResultGone) {
			t.Errorf("%v", err)
		}
	})
}

func TestWait_SpoiledTraceFailsAlone(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		c, ctx := open(t, rdb, lua.Options{}), deadline(t)
		ids := idsOf(t, c.EnqueueMany(ctx, chats(9)))
		serve(t, rdb, lua.Options{}, 9, nil)
		rdb.Set(ctx, "{lm:0}:trace:"+string(ids[4]), "mine", 0)
		good := 0
		for r, err := range c.WaitMany(ctx, ids) {
			if (err != nil) != (r.ID == ids[4]) {
				t.Errorf("%+v %v", r, err)
			}
			if err == nil {
				good++
			}
		}
		if good != 8 {
			t.Errorf("%d results", good)
		}
	})
}

func TestWait_EnqueuedAfterAnotherWasToldNotFound(t *testing.T) {
	rdb := redistest.Start(t).Client()
	c := open(t, rdb, lua.Options{})
	ctx, stop := context.WithCancel(deadline(t))
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() { // keeps "not found" answers for the same ID in the air
			for ctx.Err() == nil {
				_, _ = c.Wait(ctx, "0-order")
			}
		})
	}
	req := chat()
	req.ID = "order"
	if _, err := c.Enqueue(ctx, req); err != nil {
		t.Fatal(err)
	}
	got := make(chan error)
	go func() { _, err := c.Wait(ctx, "0-order"); got <- err }()
	serve(t, rdb, lua.Options{}, 1, nil)
	if err := <-got; err != nil {
		t.Error(err)
	}
	stop()
	asking.Wait()
}

func TestClose_EndsWaiting(t *testing.T) {
	rdb := redistest.Start(t).Client()
	c := open(t, rdb, lua.Options{})
	id := idsOf(t, c.EnqueueMany(deadline(t), chats(1)))[0]
	got := make(chan error)
	go func() { _, err := c.Wait(deadline(t), id); got <- err }()
	until(t, "it waits", func() bool { return c.waits.count() == 1 })
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := <-got; !errors.Is(err, ErrClosed) {
		t.Errorf("waiting: %v", err)
	}
	if _, err := c.Wait(deadline(t), id); !errors.Is(err, ErrClosed) {
		t.Errorf("wait afterwards: %v", err)
	}
	if _, err := c.Enqueue(deadline(t), chat()); !errors.Is(err, ErrClosed) {
		t.Errorf("enqueue afterwards: %v", err)
	}
}

func TestOpen_RefusesAnotherNumberOfPartitions(t *testing.T) {
	srv := redistest.Start(t)
	first, err := Open(deadline(t), srv.URL(), WithPartitions(2), WithPrefix("x"))
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if _, err := Open(deadline(t), srv.URL(), WithPrefix("x")); !errors.Is(err, lua.ErrRedis) {
		t.Errorf("%v", err)
	}
	if err := errors.Join(first.Close(), first.Close()); err != nil {
		t.Errorf("close twice: %v", err)
	}
}
