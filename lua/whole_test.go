package lua

import (
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
)

// Scripts that took one operation's refusal for another's, or a refusal for none.

func TestHeartbeat_MakesALostEntryPendingAgain(t *testing.T) {
	each(t, func(e *env) {
		c := e.claimed("w1", "0-a")
		st, id, _ := streamOf(0, c.Fence.Entry)
		if n := e.rdb.XAck(ctx, e.s.keys.stream(st), Group, id).Val(); n != 1 {
			e.Fatalf("acknowledged %d", n)
		}
		beats, err := e.s.Heartbeat(ctx, 0, "w1", []Renewal{{c.ID, c.Fence}})
		if err != nil || beats[0] != BeatOK {
			e.Fatalf("%v %v", beats, err)
		}
		if _, pending := e.entries(0); pending[c.Fence.Entry] != "w1" {
			e.Errorf("pending: %v: no sweep would find it when its worker dies", pending)
		}
		e.finish(c)
		e.streams("queue 0/0 resume 0/0")
	})
}

func TestHeartbeat_ARefusedRenewalIsNoRenewal(t *testing.T) {
	each(t, func(e *env) {
		c := e.claimed("w1", "0-a")
		st, _, _ := streamOf(0, c.Fence.Entry)
		e.rdb.Del(ctx, e.s.keys.stream(st))
		e.rdb.Set(ctx, e.s.keys.stream(st), "somebody else's", 0)
		e.rdb.HSet(ctx, e.s.keys.trace("0-a"), "beat", 1)
		beats, err := e.s.Heartbeat(ctx, 0, "w1", []Renewal{{c.ID, c.Fence}})
		if err != nil || beats[0] != "WRONGTYPE" {
			e.Errorf("%v %v, want WRONGTYPE", beats, err)
		}
		e.want("0-a", "beat", "1")
		e.rdb.Del(ctx, e.s.keys.stream(st))
		if beats, err = e.s.Heartbeat(ctx, 0, "w1", []Renewal{{c.ID, c.Fence}}); err != nil || beats[0] != BeatOK {
			e.Errorf("without a group: %v %v, want OK: nobody can take it over", beats, err)
		}
		e.finish(c)
	})
}

func TestRead_AStreamWithoutAGroupHidesNoDelivery(t *testing.T) {
	each(t, func(e *env) {
		e.enqueue("0-a")
		whole, broken := Stream{Queue: lm.DefaultQueue}, Stream{Queue: "broken"}
		must(e, e.s.EnsureGroups(ctx, []Stream{whole}))
		shares := []Share{{Stream: whole, Count: 5}, {Stream: broken, Count: 5}}
		entries, err := e.s.Read(ctx, "w1", shares, 5)
		if len(entries) != 1 || !IsNoGroup(err) {
			e.Errorf("%d entries, %v; want the delivered one and NOGROUP", len(entries), err)
		}
		if entries, err = e.s.Read(ctx, "w1", shares, 5); len(entries) != 0 || !IsNoGroup(err) {
			e.Errorf("%d entries, %v; want none and NOGROUP", len(entries), err)
		}
	})
}

func TestEnqueue_OneThatFailsTakesNoPlace(t *testing.T) {
	eachWith(t, Options{QueueLimit: 1}, func(e *env) {
		e.rdb.Set(ctx, e.s.keys.deadlines(0), "somebody else's", 0)
		fails, fits := request(`1`), request(`2`)
		fails.Deadline = time.Now().Add(time.Hour)
		answers := e.s.Enqueue(ctx, []Operation{{ID: "0-a", Request: fails}, {ID: "0-b", Request: fits}})
		if answers[0].Err == nil || answers[1].Err != nil {
			e.Errorf("%v, %v; want a refusal and the place", answers[0].Err, answers[1].Err)
		}
		e.rdb.Del(ctx, e.s.keys.deadlines(0))
		e.counts("waiting:default=1")
	})
}

func TestClaim_AnotherWorkersEntryIsNotLostToIt(t *testing.T) {
	each(t, func(e *env) {
		e.enqueue("0-a")
		entry := e.read("w2")[0]
		e.rdb.Del(ctx, e.s.keys.trace("0-a"))
		e.take("w1", entry, ClaimSkip)
		e.takeover("w1", false, []Taken{{Entry: entry}}, PutBackSkip)
		if _, pending := e.entries(0); pending[entry.Names()] != "w2" {
			e.Errorf("pending: %v", pending)
		}
		e.dead()
		e.take("w2", entry, ClaimLost)
		e.rdb.HIncrBy(ctx, e.s.keys.stats(0), "waiting:default", -1) // a trace that is gone cannot be counted off
		e.rdb.Del(ctx, e.s.keys.request("0-a"))
	})
}

func TestPromote_OfAnotherQueueThanWasReadMovesNothing(t *testing.T) {
	each(t, func(e *env) {
		c := e.claimed("w1", "0-a")
		must(e, e.s.Retry(ctx, c, aside(0)))
		wrong := Stream{Queue: "other"}
		answers, err := e.s.promote(ctx, 0, []promotion{{id: "0-a", queue: "other"}})
		if err != nil || answers[0] != "CHANGED" {
			e.Errorf("%v %v", answers, err)
		}
		if n := e.rdb.Exists(ctx, e.s.keys.stream(wrong)).Val(); n != 0 || e.record("0-a").State != lm.Retrying {
			e.Errorf("%d streams made, state %s", n, e.record("0-a").State)
		}
		if n, err := e.s.Promote(ctx, 0, []lm.TraceID{"0-a"}); n != 1 || err != nil {
			e.Errorf("promoted %d %v", n, err)
		}
	})
}
