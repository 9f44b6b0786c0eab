package lua

import (
	"strconv"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
)

const week = 7 * 24 * time.Hour

// keptLong is a request that asks for its result to be kept longer than the fleet does.
func keptLong(r *lm.Request) { r.Key, r.Retention = "k", week }

// keeps asserts how long what an ended operation leaves lives from now on.
func (e *env) keeps(id lm.TraceID, want time.Duration) {
	e.Helper()
	unique := e.s.keys.unique(0, e.record(id).Unique)
	for _, key := range []string{e.s.keys.trace(id), e.s.keys.result(id), unique} {
		if ttl := e.rdb.PTTL(ctx, key).Val(); ttl > want || ttl <= want-time.Minute {
			e.Errorf("%s lives for %v, want %v", key, ttl, want)
		}
	}
}

// TestRetention_OfARequestIsKeptByEveryEnding: trace, result, frames and key of an
// operation live as long as its request asks for, whichever script ends it; a failed
// one's as long as its dead letter.
func TestRetention_OfARequestIsKeptByEveryEnding(t *testing.T) {
	delivered := func(e *env) lm.Claim {
		c := e.in("w1", "0-a", lm.Delivered, keptLong)
		e.rdb.HSet(ctx, e.s.keys.result("0-a"), "outcome", "succeeded", "body", `"yes"`)
		return c
	}
	for _, row := range []struct {
		name string
		end  func(e *env)
		want time.Duration
	}{
		{"finish", func(e *env) {
			c := e.in("w1", "0-a", lm.Inferring, keptLong)
			must(e, e.s.Frames(ctx, c, []lm.Frame{{Seq: 1, Type: lm.FrameToken, Data: "x"}}))
			e.finish(c)
			if ttl := e.rdb.PTTL(ctx, e.s.keys.out("0-a")).Val(); ttl > week || ttl <= week-time.Minute {
				e.Errorf("the frames live for %v", ttl)
			}
		}, week},
		{"finish, failed", func(e *env) {
			c := e.in("w1", "0-a", lm.Inferring, keptLong)
			must(e, e.s.Finish(ctx, c, failed(c)))
		}, 30 * 24 * time.Hour},
		{"cancel", func(e *env) {
			e.enqueue("0-a", keptLong)
			if got, err := e.s.Cancel(ctx, "0-a"); err != nil || got != CancelDone {
				e.Fatal(got, err)
			}
		}, week},
		{"expiry", func(e *env) {
			e.enqueue("0-a", keptLong, func(r *lm.Request) { r.Deadline = time.Now().Add(-time.Second) })
			if got, err := e.s.Expire(ctx, []lm.TraceID{"0-a"}); err != nil || got[0] != CancelDone {
				e.Fatal(got, err)
			}
		}, week},
		{"putback of what was delivered", func(e *env) { e.sweep("w2", delivered(e).Fence.Entry, PutBackEnded) }, week},
		{"repair of what was delivered", func(e *env) {
			delivered(e)
			e.unack("0-a")
			e.silence("0-a")
			e.repair(RepairDone, true, "0-a")
		}, week},
	} {
		t.Run(row.name, func(t *testing.T) {
			each(t, func(e *env) {
				row.end(e)
				e.keeps("0-a", row.want)
				again := Operation{ID: "0-b", Request: request(`{"n":1}`, keptLong)}
				if a := e.accept(again); a.Err != nil || !a.Existing || a.ID != "0-a" {
					e.Errorf("the same key again: %+v", a)
				}
			})
		})
	}
}

// TestRetention_ComesAlong to the claim, from a foreign entry, and to what repeats a
// failed operation; a push that asks for another retention is the same request.
func TestRetention_ComesAlong(t *testing.T) {
	each(t, func(e *env) {
		ms := strconv.FormatInt(week.Milliseconds(), 10)
		e.push("id", "a", "key", "k", "body", `1`, "retention", ms)
		e.push("id", "a", "key", "k", "body", `1`, "retention", "60000")
		entries := e.read("w1")
		e.adopt("w1", entries, Adopted, AdoptedDuplicate)
		e.want("0-a", "retention", ms, "x_retention", "-")
		c := e.take("w1", entries[0], ClaimOK).Claim
		if c.Request.Retention != week || len(c.Request.Meta) != 0 {
			e.Errorf("claimed: %v, own fields %v", c.Request.Retention, c.Request.Meta)
		}
		must(e, e.s.Finish(ctx, c, failed(c)))
		if got := e.revive("0-a", "0-b"); got.Err != nil {
			e.Fatal(got.Err)
		}
		e.want("0-b", "retention", ms)
		e.finish(e.claimNext("w1"))
		if ttl := e.rdb.PTTL(ctx, e.s.keys.result("0-b")).Val(); ttl > week || ttl <= week-time.Minute {
			e.Errorf("the retry's result lives for %v", ttl)
		}
	})
}

// TestAdopt_RetentionOutsideItsBounds is refused with the bounds.
func TestAdopt_RetentionOutsideItsBounds(t *testing.T) {
	for _, value := range []string{"", "7d", "0", "-1", "59999", "2592000001", "99999999999999999999"} {
		f := Derive(Entry{Stream: queue, ID: "1-1", Fields: []string{"body", `1`, "retention", value}})
		if f.Verdict != "invalid_field" || f.Detail != "retention: want milliseconds, 60000 to 2592000000" {
			t.Errorf("%q: %s %s", value, f.Verdict, f.Detail)
		}
	}
	for _, value := range []string{"60000", "2592000000"} {
		if f := Derive(Entry{Stream: queue, ID: "1-1", Fields: []string{"body", `1`, "retention", value}}); f.Verdict != "" {
			t.Errorf("%q: %s %s", value, f.Verdict, f.Detail)
		}
	}
}
