package producer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/internal/redistest"
	"github.com/lighterman/lighterman/lua"
	"github.com/redis/go-redis/v9"
)

// stage is one operation in the hands of a test that plays its worker.
type stage struct {
	testing.TB
	s     *lua.Store
	claim lm.Claim
	seq   uint64
}

var anyQueue = lua.Stream{Queue: "default"}

// claimed enqueues an operation and claims it.
func claimed(t testing.TB, c *Client, owner string) *stage {
	t.Helper()
	idsOf(t, c.EnqueueMany(deadline(t), chats(1)))
	st := &stage{TB: t, s: c.store}
	st.next(owner, anyQueue)
	return st
}

// next reads and claims the only entry of a stream.
func (st *stage) next(owner string, from lua.Stream) {
	st.Helper()
	ctx := deadline(st)
	resume := lua.Stream{Queue: "default", Resume: true}
	if err := st.s.EnsureGroups(ctx, []lua.Stream{anyQueue, resume}); err != nil {
		st.Fatal(err)
	}
	entries, err := st.s.Read(ctx, owner, []lua.Share{{Stream: from, Count: 1}}, 1)
	if err != nil || len(entries) != 1 {
		st.Fatalf("read: %v %v", entries, err)
	}
	got, err := st.s.Claim(ctx, owner, time.Minute, entries)
	if err != nil || got[0].Verdict != lua.ClaimOK {
		st.Fatalf("claim: %+v %v", got, err)
	}
	st.claim, st.seq = got[0].Claim, 0
	if _, err := st.s.Advance(ctx, st.claim, lua.Advance{Path: []lm.State{lm.Gathering, lm.Inferring}}); err != nil {
		st.Fatal(err)
	}
}

// say emits tokens.
func (st *stage) say(words ...string) {
	st.Helper()
	for _, w := range words {
		st.seq++
		if err := st.s.Frames(deadline(st), st.claim, []lm.Frame{{Seq: st.seq, Type: lm.FrameToken, Data: w}}); err != nil {
			st.Errorf("say %q: %v", w, err)
		}
	}
}

func (st *stage) finish(answer string) {
	st.Helper()
	body, _ := json.Marshal(answer)
	err := st.s.Finish(deadline(st), st.claim, lua.Ending{
		Path:   []lm.State{lm.Postprocessing, lm.Delivering, lm.Delivered, lm.Completed},
		Result: lm.Result{Outcome: lm.Succeeded, Body: body}, Tried: true,
	})
	if err != nil {
		st.Error(err)
	}
}

// follow collects what Follow yields: TYPE/DATA, and the text as a reader holds it.
type followed struct {
	frames []string
	text   string
	ids    []string
	result *lm.Result
	err    error
}

func (f *followed) take(frame lm.Frame, err error) {
	f.err = err
	if err != nil {
		return
	}
	f.ids = append(f.ids, frame.ID)
	f.frames = append(f.frames, fmt.Sprintf("%s/%s", frame.Type, frame.Data))
	switch frame.Type { //nolint:exhaustive // the others are no text
	case lm.FrameToken:
		f.text += frame.Data
	case lm.FrameReset:
		f.text = ""
	case lm.FrameFinal:
		f.result = frame.Result
	}
}

func follow(ctx context.Context, c *Client, id lm.TraceID, after string, each func(lm.Frame)) (f followed) {
	for frame, err := range c.Follow(ctx, id, after) {
		f.take(frame, err)
		if each != nil {
			each(frame)
		}
	}
	return f
}

func (f followed) want(t testing.TB, frames, text, answer string) {
	t.Helper()
	if f.err != nil || strings.Join(f.frames, " ") != frames || f.text != text || f.result == nil || f.result.Text() != answer {
		t.Errorf("%q, text %q, result %+v, %v; want %q, text %q, answer %q", strings.Join(f.frames, " "), f.text, f.result, f.err, frames, text, answer)
	}
}

func TestFollow_FramesAsTheyComeAndTheResult(t *testing.T) {
	redistest.EachCluster(t, func(t *testing.T, rdb redis.UniversalClient) {
		c := open(t, rdb, lua.Options{})
		st := claimed(t, c, "w1")
		said := 0
		speak := func(lm.Frame) { // the next word only when the one before has come
			if said++; said < 3 {
				st.say(fmt.Sprint(said))
			} else if said == 3 {
				st.finish("012")
			}
		}
		beside(t, func() {
			until(t, "it is followed", func() bool { return rdb.HExists(deadline(t), "{lm:0}:trace:"+string(st.claim.ID), "followed").Val() })
			st.say("0")
		})
		f := follow(deadline(t), c, st.claim.ID, "", speak)
		f.want(t, "token/0 token/1 token/2 final/", "012", "012")

		// An operation that has ended is replayed, from any frame on.
		follow(deadline(t), c, st.claim.ID, "", nil).want(t, "token/0 token/1 token/2 final/", "012", "012")
		follow(deadline(t), c, st.claim.ID, f.ids[1], nil).want(t, "token/2 final/", "2", "012")
		follow(deadline(t), c, st.claim.ID, f.ids[3], nil).want(t, "final/", "", "012")
	})
}

func TestFollow_ManyFramesInPages(t *testing.T) {
	rdb := redistest.Start(t).Client()
	c := open(t, rdb, lua.Options{})
	st := claimed(t, c, "w1")
	const n = 2*framesAtOnce + 1
	frames := make([]lm.Frame, n)
	for i := range frames {
		frames[i] = lm.Frame{Seq: uint64(i + 1), Type: lm.FrameToken, Data: "x"}
	}
	if err := st.s.Frames(deadline(t), st.claim, frames); err != nil {
		t.Fatal(err)
	}
	st.finish("all")
	if f := follow(deadline(t), c, st.claim.ID, "", nil); f.err != nil || len(f.frames) != n+1 || len(f.text) != n {
		t.Errorf("%d frames, %v", len(f.frames), f.err)
	}
}

// TestFollow_ATakeoverGivesTheTextOnce: what the first claim said is void, and said
// again by the second.
func TestFollow_ATakeoverGivesTheTextOnce(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		c := open(t, rdb, lua.Options{})
		st := claimed(t, c, "w1")
		st.say("Faster ", "wa")
		f := follow(deadline(t), c, st.claim.ID, "", func(frame lm.Frame) {
			switch frame.Data {
			case "wa":
				if err := st.s.Release(deadline(t), st.claim, "drain"); err != nil {
					t.Error(err)
				}
				st.next("w2", lua.Stream{Queue: "default", Resume: true})
				st.say("Faster ", "water")
			case "water":
				st.finish("Faster water")
			}
		})
		f.want(t, "token/Faster  token/wa reset/ token/Faster  token/water final/", "Faster water", "Faster water")
	})
}

func TestFollow_WithoutFramesTheResultComesAtOnce(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		c := open(t, rdb, lua.Options{}, WithFollowed())
		c.waits.block, c.waits.interval = 20*time.Second, time.Minute // only the frame of its end can tell in time
		st := claimed(t, c, "w1")
		ended := make(chan time.Time, 1)
		beside(t, func() {
			until(t, "the reader blocks", func() bool { return len(c.follows) == 1 })
			st.finish("yes")
			ended <- time.Now()
		})
		follow(deadline(t), c, st.claim.ID, "", nil).want(t, "final/", "", "yes")
		if late := time.Since(<-ended); late > 10*time.Second {
			t.Errorf("the end was heard after %s", late)
		}
		c.waits.block = 0
	})
}

// TestFollow_AMissedEndIsFoundByTheTrace: the frame that tells of it is gone.
func TestFollow_AMissedEndIsFoundByTheTrace(t *testing.T) {
	rdb := redistest.Start(t).Client()
	c := open(t, rdb, lua.Options{})
	c.waits.interval = 100 * time.Millisecond
	st := claimed(t, c, "w1")
	beside(t, func() {
		until(t, "the reader blocks", func() bool { return len(c.follows) == 1 })
		rdb.HDel(deadline(t), "{lm:0}:trace:"+string(st.claim.ID), "followed") // as a failover may
		st.finish("yes")
	})
	follow(deadline(t), c, st.claim.ID, "", nil).want(t, "final/", "", "yes")
}

func TestFollow_Errors(t *testing.T) {
	redistest.Each(t, func(t *testing.T, rdb redis.UniversalClient) {
		c := open(t, rdb, lua.Options{})
		st := claimed(t, c, "w1")
		for id, after := range map[lm.TraceID]string{"0-none": "", "7-far": "", "nope": ""} {
			if f := follow(deadline(t), c, id, after, nil); !errors.Is(f.err, lm.ErrNotFound) {
				t.Errorf("%s: %v", id, f.err)
			}
		}
		for _, after := range []string{"$", "last", "1-2-3", "-"} {
			if f := follow(deadline(t), c, st.claim.ID, after, nil); f.err == nil || !strings.Contains(f.err.Error(), "want the ID of a frame") {
				t.Errorf("after %s: %v", after, f.err)
			}
		}
		stop := errors.New("enough")
		ctx, cancel := context.WithCancelCause(deadline(t))
		beside(t, func() {
			until(t, "the reader blocks", func() bool { return len(c.follows) == 1 })
			cancel(stop)
		})
		if f := follow(ctx, c, st.claim.ID, "", nil); !errors.Is(f.err, stop) {
			t.Errorf("%v, want the context's cause", f.err)
		}
		st.finish("yes")
		rdb.Del(deadline(t), "{lm:0}:result:"+string(st.claim.ID))
		if f := follow(deadline(t), c, st.claim.ID, "", nil); !errors.Is(f.err, ErrResultGone) {
			t.Errorf("%v, want result gone", f.err)
		}
	})
}

func TestFollow_SomebodyElsesKeyIsAnError(t *testing.T) {
	rdb := redistest.Start(t).Client() // miniredis waits on it
	c := open(t, rdb, lua.Options{})
	st := claimed(t, c, "w1")
	rdb.Set(deadline(t), "{lm:0}:out:"+string(st.claim.ID), "x", 0)
	if f := follow(deadline(t), c, st.claim.ID, "", nil); f.err == nil || !strings.Contains(f.err.Error(), "WRONGTYPE") {
		t.Errorf("%v, want a wrong type", f.err)
	}
}

func TestFollow_BreakAndCloseEndIt(t *testing.T) {
	rdb := redistest.Start(t).Client()
	c := open(t, rdb, lua.Options{})
	st := claimed(t, c, "w1")
	st.say("a", "b")
	for frame, err := range c.Follow(deadline(t), st.claim.ID, "") {
		if err != nil || frame.Data != "a" {
			t.Errorf("%+v %v", frame, err)
		}
		break
	}
	all := make(chan struct{})
	beside(t, func() {
		<-all
		until(t, "the reader blocks", func() bool { return len(c.follows) == 1 })
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	heard := func(frame lm.Frame) {
		if frame.Data == "b" {
			close(all)
		}
	}
	if f := follow(deadline(t), c, st.claim.ID, "", heard); !errors.Is(f.err, ErrClosed) || len(f.frames) != 2 {
		t.Errorf("%v %v", f.frames, f.err)
	}
	if f := follow(deadline(t), c, st.claim.ID, "", nil); !errors.Is(f.err, ErrClosed) {
		t.Errorf("of a closed client: %v", f.err)
	}
}

func TestFollow_OutlivesARestartOfRedis(t *testing.T) {
	server := redistest.Start(t, redistest.WithAppendOnly())
	c := open(t, server.Client(), lua.Options{})
	st := claimed(t, c, "w1")
	st.say("a")
	f := follow(deadline(t), c, st.claim.ID, "", func(frame lm.Frame) {
		switch frame.Data {
		case "a":
			server.Kill()
			server.Restart()
			st.say("b")
		case "b":
			st.finish("ab")
		}
	})
	f.want(t, "token/a token/b final/", "ab", "ab")
}

func TestFollow_RedisKilledInABlockingRead(t *testing.T) {
	server := redistest.Start(t, redistest.WithAppendOnly())
	c := open(t, server.Client(), lua.Options{}, WithFollowed())
	c.waits.block = 10 * time.Second
	st := claimed(t, c, "w1")
	beside(t, func() {
		until(t, "the reader blocks", func() bool {
			return strings.Contains(server.Client().ClientList(deadline(t)).Val(), "cmd=xread ")
		})
		server.Kill()
		server.Restart()
		st.finish("yes")
	})
	follow(deadline(t), c, st.claim.ID, "", nil).want(t, "final/", "", "yes")
}

// TestFollow_MoreFollowersThanReadersTakeTurns: each gets all.
func TestFollow_MoreFollowersThanReadersTakeTurns(t *testing.T) {
	rdb := redistest.Start(t).Client()
	c := open(t, rdb, lua.Options{})
	c.follows = make(chan struct{}, 2)
	st := claimed(t, c, "w1")
	const n = 9
	got := make(chan followed, n)
	for range n {
		beside(t, func() { got <- follow(deadline(t), c, st.claim.ID, "", nil) })
	}
	until(t, "both readers block", func() bool { return len(c.follows) == 2 })
	st.say("a", "b")
	st.finish("ab")
	for range n {
		(<-got).want(t, "token/a token/b final/", "ab", "ab")
	}
}

// BenchmarkFollow_Frame: from a worker's writing of a frame to its follower, one
// after the other, so that each wakes a blocked read.
func BenchmarkFollow_Frame(b *testing.B) {
	c := open(b, redistest.Start(b).Client(), lua.Options{}, WithFollowed())
	st := claimed(b, c, "w1")
	said := make(chan time.Time, 1)
	speak := func() {
		until(b, "the reader blocks", func() bool { return len(c.follows) == 1 })
		said <- time.Now()
		st.say("x")
	}
	b.ResetTimer()
	go speak()
	var all []time.Duration
	for frame, err := range c.Follow(b.Context(), st.claim.ID, "") {
		if err != nil {
			b.Fatal(err)
		}
		if frame.Type == lm.FrameFinal {
			break
		}
		all = append(all, time.Since(<-said))
		if len(all) < b.N {
			go speak()
		} else {
			st.finish("x")
		}
	}
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-us")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-us")
}
