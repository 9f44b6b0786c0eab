package lua

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/redis/go-redis/v9"
)

// frames are what an operation's token stream holds: TYPE/SEQ/DATA.
func (e *env) frames(id lm.TraceID) string {
	e.Helper()
	got, err := e.s.ReadFrames(ctx, id, "0", 100, 0)
	if err != nil {
		e.Fatal(err)
	}
	words := make([]string, len(got))
	for i, f := range got {
		words[i] = fmt.Sprintf("%s/%d/%s", f.Type, f.Seq, f.Data)
	}
	return strings.Join(words, " ")
}

// TestFollow_MarksWhatHasNotEnded: and says the state of what has.
func TestFollow_MarksWhatHasNotEnded(t *testing.T) {
	each(t, func(e *env) {
		c := e.in("w1", "0-a", lm.Inferring)
		for range 2 { // idempotent
			if st, err := e.s.Follow(ctx, "0-a"); err != nil || st != lm.Inferring {
				e.Fatalf("%v %v", st, err)
			}
		}
		e.want("0-a", "followed", "1", "state", "INFERRING", "owner", "w1", "seq", "1")
		if ttl := e.rdb.PTTL(ctx, e.s.keys.trace("0-a")).Val(); ttl > 0 {
			e.Errorf("the trace expires in %s", ttl)
		}
		if b, err := e.s.Heartbeat(ctx, 0, "w1", []Renewal{{"0-a", c.Fence}}); err != nil || b[0] != BeatFollowed {
			e.Errorf("%v %v", b, err)
		}
		e.finish(c)
		if got := e.frames("0-a"); got != "final/0/succeeded" {
			e.Errorf("its end was not told: %q", got)
		}
		if ttl := e.rdb.PTTL(ctx, e.s.keys.out("0-a")).Val(); ttl <= 0 || ttl > time.Hour {
			e.Errorf("the token stream lives for %s", ttl)
		}

		b := e.in("w1", "0-b", lm.Inferring)
		e.finish(b)
		before := e.snapshot()
		if st, err := e.s.Follow(ctx, "0-b"); err != nil || st != lm.Completed {
			e.Errorf("%v %v", st, err)
		}
		if _, err := e.s.Follow(ctx, "0-none"); err == nil || !strings.Contains(err.Error(), "no such operation") {
			e.Errorf("%v", err)
		}
		e.unchanged("following what has ended or is not there", before)
		if got := e.frames("0-b"); got != "" {
			e.Errorf("frames of what nobody followed: %q", got)
		}
	})
}

// TestFollow_TellsTheWorkerOnce: the one that runs it, when it is marked.
func TestFollow_TellsTheWorkerOnce(t *testing.T) {
	onRedis(t, Options{}, func(e *env) {
		heard := e.rdb.(*redis.Client).Subscribe(ctx, e.s.keys.control("w1"))
		defer heard.Close()
		if _, err := heard.Receive(ctx); err != nil {
			e.Fatal(err)
		}
		e.in("w1", "0-a", lm.Inferring)
		e.enqueue("0-b")
		for _, id := range []lm.TraceID{"0-a", "0-a", "0-b"} {
			_, err := e.s.Follow(ctx, id)
			must(e, err)
		}
		must(e, e.s.Tell(ctx, "end", "w1"))
		var words []string
		for len(words) == 0 || words[len(words)-1] != "end" {
			m, err := heard.ReceiveMessage(ctx)
			if err != nil {
				e.Fatal(err)
			}
			words = append(words, m.Payload)
		}
		if got := strings.Join(words, " "); got != WordCancel+" end" {
			e.Errorf("it heard %q", got)
		}
	})
}

// TestFollow_SeenByTheNextClaim: the flag comes with the claim, not a heartbeat later.
func TestFollow_SeenByTheNextClaim(t *testing.T) {
	each(t, func(e *env) {
		for i, a := range e.s.Enqueue(ctx, []Operation{{ID: "0-a", Request: request(`1`), Followed: true}, {ID: "0-b", Request: request(`1`)}}) {
			if a.Err != nil {
				e.Fatal(i, a.Err)
			}
		}
		for _, entry := range e.read("w1") {
			got, err := e.s.Claim(ctx, "w1", time.Minute, []Entry{entry})
			if err != nil || got[0].Record.Followed != (got[0].Claim.ID == "0-a") {
				e.Errorf("%+v %v", got[0], err)
			}
		}
	})
}

// TestFollow_ToldOfEveryWayToEnd: cancel, crash limit, failure.
func TestFollow_ToldOfEveryWayToEnd(t *testing.T) {
	each(t, func(e *env) {
		limit, fails := e.in("w1", "0-limit", lm.Inferring), e.in("w1", "0-fails", lm.Inferring)
		e.rdb.HSet(ctx, e.s.keys.trace("0-limit"), "crashes", 3)
		e.enqueue("0-cancel")
		for _, id := range []lm.TraceID{"0-cancel", "0-limit", "0-fails"} {
			if _, err := e.s.Follow(ctx, id); err != nil {
				e.Fatal(err)
			}
		}
		_, err := e.s.Cancel(ctx, "0-cancel")
		must(e, err)
		e.sweep("w2", limit.Fence.Entry, PutBackEnded)
		must(e, e.s.Finish(ctx, fails, failed(fails)))
		for id, want := range map[lm.TraceID]string{"0-cancel": "final/0/cancelled", "0-limit": "final/0/failed", "0-fails": "final/0/failed"} {
			if got := e.frames(id); got != want {
				e.Errorf("%s: %q, want %q", id, got, want)
			}
		}
	})
}

// TestFollow_ASpoiledTokenStreamDoesNotKeepFromEnding: somebody else's key.
func TestFollow_ASpoiledTokenStreamDoesNotKeepFromEnding(t *testing.T) {
	each(t, func(e *env) {
		c := e.in("w1", "0-a", lm.Inferring)
		_, err := e.s.Follow(ctx, "0-a")
		must(e, err)
		e.rdb.Set(ctx, e.s.keys.out("0-a"), "x", 0)
		e.finish(c)
		e.want("0-a", "state", "COMPLETED", "outcome", "succeeded")
	})
}

// TestFrame_ALaterClaimBeginsWithAReset: what it writes is the text from its
// beginning. Once, also when the call is repeated, and not before the first frame.
func TestFrame_ALaterClaimBeginsWithAReset(t *testing.T) {
	each(t, func(e *env) {
		c := e.in("w1", "0-a", lm.Inferring)
		token := func(seq uint64, data string) []lm.Frame {
			return []lm.Frame{{Seq: seq, Type: lm.FrameToken, Data: data}}
		}
		must(e, e.s.Frames(ctx, c, token(1, "a")))
		must(e, e.s.Frames(ctx, c, token(2, "b")))
		e.sweep("w2", c.Fence.Entry, PutBack)
		next := e.claimNext("w2")
		if err := e.s.Frames(ctx, c, token(3, "late")); err == nil {
			e.Error("a frame of a lost claim was taken")
		}
		must(e, e.s.Frames(ctx, next, nil))
		for range 2 {
			must(e, e.s.Frames(ctx, next, token(1, "A")))
		}
		must(e, e.s.Frames(ctx, next, token(2, "B")))
		want := "token/1/a token/2/b reset/0/ token/1/A token/2/B"
		if got := e.frames("0-a"); got != want {
			e.Errorf("%s, want %s", got, want)
		}
		e.sweep("w1", next.Fence.Entry, PutBack)
		last := e.claimNext("w1")
		must(e, e.s.Frames(ctx, last, []lm.Frame{{Seq: 1, Type: lm.FrameReset, Data: "1 2"}, {Seq: 2, Type: lm.FrameToken, Data: "c"}}))
		if got := e.frames("0-a"); got != want+" reset/1/1 2 token/2/c" {
			e.Errorf("a worker's own reset: %s", got)
		}
	})
}

// TestReadFrames_InPagesAndBlocking: exclusive of the ID it goes on from.
func TestReadFrames_InPagesAndBlocking(t *testing.T) {
	each(t, func(e *env) {
		c := e.in("w1", "0-a", lm.Inferring)
		for i := range 5 {
			must(e, e.s.Frames(ctx, c, []lm.Frame{{Seq: uint64(i + 1), Type: lm.FrameToken, Data: "x"}}))
		}
		for _, wait := range []time.Duration{0, time.Millisecond} {
			after, n := "0", 0
			for {
				got, err := e.s.ReadFrames(ctx, "0-a", after, 2, wait)
				if err != nil {
					e.Fatal(err)
				}
				if len(got) == 0 {
					break
				}
				for _, f := range got {
					if n++; f.Seq != uint64(n) || f.Epoch != c.Fence.Epoch {
						e.Errorf("frame %d: %+v", n, f)
					}
				}
				after = got[len(got)-1].ID
			}
			if n != 5 {
				e.Errorf("%d frames", n)
			}
		}
	})
}

// TestFrame_AStreamHoldsTenThousandAtMost: the oldest frames of a long text make room,
// about, and what was written last is there.
func TestFrame_AStreamHoldsTenThousandAtMost(t *testing.T) {
	each(t, func(e *env) {
		claim := e.claimed("w1", "0-a")
		var last uint64
		for range 3 {
			frames := make([]lm.Frame, 4000)
			for i := range frames {
				last++
				frames[i] = lm.Frame{Seq: last, Type: lm.FrameToken, Data: "x"}
			}
			must(e, e.s.Frames(ctx, claim, frames))
		}
		key := e.s.keys.out("0-a")
		newest := e.rdb.XRevRangeN(ctx, key, "+", "-", 1).Val()
		if n := e.rdb.XLen(ctx, key).Val(); n > framesKept+100 || len(newest) != 1 || newest[0].Values["seq"] != strconv.FormatUint(last, 10) {
			e.Errorf("%d frames are kept, the last is %v", n, newest)
		}
	})
}
