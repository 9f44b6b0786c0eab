package lua

import (
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/redis/go-redis/v9"
)

// died is a failed operation with a request, labels and a checkpoint.
func (e *env) died(id lm.TraceID, change ...func(*lm.Request)) {
	e.Helper()
	c := e.in("w1", id, lm.Inferring, change...)
	if _, err := e.s.Advance(ctx, c, Advance{Steps: []lm.Step{{Name: "step:a", Data: []byte("b")}}}); err != nil {
		e.Fatal(err)
	}
	if err := e.s.Finish(ctx, c, failed(c)); err != nil {
		e.Fatal(err)
	}
}

// revive retries one operation with a checkpoint of one field.
func (e *env) revive(id, as lm.TraceID) Revived {
	e.Helper()
	return e.s.Revive(ctx, id.Partition(), []Revival{{Failed: e.record(id), ID: as, Steps: []lm.Step{{Name: "payload", Data: []byte("x")}}}})[0]
}

func TestRevive_MakesANewOperationOfAFailedOne(t *testing.T) {
	each(t, func(e *env) {
		e.died("0-other")
		e.died("0-a", func(r *lm.Request) {
			r.Key, r.Tenant, r.Thread, r.Run, r.Agent, r.Model = "k", "t", "th", "r", "ag", "m"
			r.Reply, r.Webhook, r.Timeout, r.Deadline = "me", "https://h", time.Second, time.Now().Add(time.Hour)
			r.Meta = map[string]string{"colour": "red"}
		})
		letters := e.dead("content_filtered", "content_filtered")
		e.want("0-a", "dead", letters[1].Entry)
		old := e.record("0-a")
		unique := e.rdb.Get(ctx, e.s.keys.unique(0, old.Unique)).Val()

		e.rdb.HSet(ctx, e.s.keys.checkpoint("0-b"), "step:old", "of an earlier one under this ID")
		if got := e.revive("0-a", "0-b"); got.ID != "0-b" || got.Existing || got.Err != nil {
			e.Fatalf("revive: %+v", got)
		}
		e.want("0-b", "payload", "-", "state", "QUEUED", "retry_of", "0-a", "kind", "chat", "tenant", "t", "thread", "th", "run", "r", "agent", "ag", "model", "m",
			"reply", "me", "webhook", "https://h", "timeout", "1000", "x_colour", "red", "size", "7", "checkpoint_size", "8",
			"deadline", "-", "unique", "-", "request_hash", "-", "attempts", "-", "crashes", "-", "crashes_total", "-", "outcome", "-", "dead", "-")
		e.want("0-a", "state", "COMPLETED", "outcome", "failed", "retried_as", "0-b", "unique", old.Unique)
		if left := e.dead("content_filtered"); left[0].ID != "0-other" {
			e.Errorf("the wrong dead letter went: %+v", left)
		}
		if n := e.rdb.Exists(ctx, e.s.keys.request("0-a"), e.s.keys.checkpoint("0-a")).Val(); n != 0 {
			e.Errorf("%d keys of the failed one's work are left", n)
		}
		if now := e.rdb.Get(ctx, e.s.keys.unique(0, old.Unique)).Val(); now != unique || now == "" {
			e.Errorf("the idempotency key was %q, is %q", unique, now)
		}
		if ttl := e.rdb.PTTL(ctx, e.s.keys.trace("0-a")).Val(); ttl < 29*24*time.Hour {
			e.Errorf("the failed trace lives for %s", ttl)
		}
		if r, _ := e.s.Results(ctx, []lm.TraceID{"0-a"}); r[0].Outcome != lm.Failed {
			e.Errorf("the failed one's result: %+v", r[0])
		}
		e.counts("failed=2 waiting:default=1")

		c := e.claimNext("w2")
		if c.ID != "0-b" || string(c.Request.Body) != `{"n":1}` || c.Attempts != 0 || c.Crashes != 0 || c.CrashesTotal != 0 || c.Checkpoint["payload"] != "x" || len(c.Checkpoint) != 2 || c.Checkpoint["checkpoint_ts"] == "" {
			e.Errorf("claim: %+v", c)
		}
		if c.Request.Reply != "me" || c.Request.Webhook != "https://h" || c.Request.Timeout != time.Second || !c.Request.Deadline.IsZero() || c.Request.Meta["colour"] != "red" {
			e.Errorf("request: %+v", c.Request)
		}
		e.finish(c)
		e.counts("failed=2 succeeded=1")
	})
}

// A retry is asked for twice: by a client whose reply was lost, and by two people.
func TestRevive_TwiceIsOnce(t *testing.T) {
	each(t, func(e *env) {
		e.died("0-a")
		before := e.record("0-a")
		e.revive("0-a", "0-b")
		after := e.snapshot()
		if got := words(e.again()); got[0] != "EXISTING 0-b" {
			e.Errorf("replay: %v", got)
		}
		e.unchanged("a replay", after)
		if got := e.s.Revive(ctx, 0, []Revival{{Failed: before, ID: "0-c"}})[0]; got.ID != "0-b" || !got.Existing || got.Err != nil {
			e.Errorf("by another: %+v", got)
		}
		if got := e.s.Revive(ctx, 0, []Revival{{Failed: before, ID: "0-b"}})[0]; got.ID != "0-b" || got.Existing || got.Err != nil {
			e.Errorf("the same again: %+v", got)
		}
		e.unchanged("a second retry", after)
		e.finish(e.claimNext("w1"))
		after = e.snapshot()
		if got := e.revive("0-a", "0-d"); got.ID != "0-b" || !got.Existing {
			e.Errorf("after its end: %+v", got)
		}
		e.unchanged("a third retry", after)
	})
}

// A retry that fails is a failed operation like any other.
func TestRevive_OfARetry(t *testing.T) {
	each(t, func(e *env) {
		e.died("0-a")
		e.revive("0-a", "0-b")
		c := e.claimNext("w1")
		e.advance(c, lm.Gathering, lm.Inferring)
		must(e, e.s.Finish(ctx, c, failed(c)))
		e.dead("content_filtered")
		if got := e.revive("0-b", "0-c"); got.ID != "0-c" || got.Err != nil {
			e.Fatalf("revive: %+v", got)
		}
		e.want("0-c", "retry_of", "0-b")
		e.dead()
	})
}

func TestRevive_RefusesAndChangesNothing(t *testing.T) {
	eachWith(t, Options{QueueLimit: 1}, func(e *env) {
		e.died("0-failed")
		e.died("0-bare")
		e.rdb.Del(ctx, e.s.keys.request("0-bare"))
		e.died("0-blocked")
		e.rdb.Del(ctx, e.s.keys.request("0-blocked"))
		e.rdb.LPush(ctx, e.s.keys.request("0-blocked"), "x")
		e.finish(e.in("w1", "0-good", lm.Inferring))
		e.enqueue("0-off")
		if _, err := e.s.Cancel(ctx, "0-off"); err != nil {
			e.Fatal(err)
		}
		changed := e.record("0-failed")
		changed.Ended = changed.Ended.Add(time.Millisecond)
		moved := e.record("0-failed")
		moved.Queue = "batch"
		for _, row := range []struct {
			what   string
			failed Record
			as     lm.TraceID
			want   error
		}{
			{"no trace", Record{Trace: lm.Trace{ID: "0-none", Queue: "default"}}, "0-n", lm.ErrNotFound},
			{"no request", e.record("0-bare"), "0-n", ErrRequestGone},
			{"a request of another type", e.record("0-blocked"), "0-n", errors.New("a key of this operation holds another type; somebody else uses its name")},
			{"succeeded", e.record("0-good"), "0-n", ErrNotFailed},
			{"cancelled", e.record("0-off"), "0-n", ErrNotFailed},
			{"changed", changed, "0-n", errChanged},
			{"in another queue", moved, "0-n", errChanged},
			{"the ID is taken", e.record("0-failed"), "0-good", errors.New("the new ID 0-good is taken")},
		} {
			before := e.snapshot()
			got := e.s.Revive(ctx, 0, []Revival{{Failed: row.failed, ID: row.as}})[0]
			if !errors.Is(got.Err, row.want) && (got.Err == nil || got.Err.Error() != row.want.Error()) {
				e.Errorf("%s: %+v, want %v", row.what, got, row.want)
			}
			e.unchanged(row.what, before)
		}
		e.enqueue("0-waits") // at the door
		for what, record := range map[string]Record{"waiting": e.record("0-waits"), "full": e.record("0-failed")} {
			before := e.snapshot()
			got := e.s.Revive(ctx, 0, []Revival{{Failed: record, ID: "0-n"}})[0]
			if want := map[string]error{"waiting": ErrNotFailed, "full": ErrQueueFull}[what]; !errors.Is(got.Err, want) {
				e.Errorf("%s: %+v", what, got)
			}
			e.unchanged(what, before)
		}
	})
}

// In one call: the door counts what the call lets in, and one that is refused
// leaves its neighbours alone.
func TestRevive_ABatch(t *testing.T) {
	eachWith(t, Options{QueueLimit: 2}, func(e *env) {
		var revivals []Revival
		for i := range 4 {
			id := lm.TraceID(fmt.Sprintf("0-%d", i))
			e.died(id)
			revivals = append(revivals, Revival{Failed: e.record(id), ID: id + "-again"})
		}
		e.rdb.Del(ctx, e.s.keys.request("0-1"))
		got := e.s.Revive(ctx, 0, revivals)
		if got[0].Err != nil || !errors.Is(got[1].Err, ErrRequestGone) || got[2].Err != nil || !errors.Is(got[3].Err, ErrQueueFull) {
			e.Errorf("%+v", got)
		}
		e.counts("failed=4 waiting:default=2")
		e.streams("queue 2/0 resume 0/0")
		if left := e.dead("content_filtered", "content_filtered"); left[0].ID != "0-1" || left[1].ID != "0-3" {
			e.Errorf("%+v", left)
		}
	})
}

// What killed its workers begins with no crash.
func TestRevive_OfACrashLimitVictim(t *testing.T) {
	eachWith(t, Options{CrashLimit: 1}, func(e *env) {
		e.in("w1", "0-a", lm.Inferring)
		for i, want := range []Returned{PutBack, PutBackEnded} {
			if i > 0 {
				c := e.claimNext("w1")
				e.rdb.HSet(ctx, e.s.keys.trace("0-a"), "started", "1")
				e.advance(c, lm.Gathering)
			}
			e.sweep("w2", e.trace("0-a")["entry"], want)
		}
		letter := e.dead("crash_limit")[0]
		e.want("0-a", "crashes", "2", "dead", letter.Entry)
		if got := e.s.Revive(ctx, 0, []Revival{{Failed: e.record("0-a"), ID: "0-b"}})[0]; got.Err != nil {
			e.Fatalf("%+v", got)
		}
		e.dead()
		if c := e.claimNext("w1"); c.Crashes != 0 || c.CrashesTotal != 0 || c.Checkpoint != nil {
			e.Errorf("claim: %+v", c)
		}
		e.want("0-b", "started", "1", "checkpoint_size", "-")
	})
}

// The dead letter may have been trimmed, or be another's under the same stream ID
// after a failover: then there is none to remove.
func TestRevive_RemovesNobodyElsesLetter(t *testing.T) {
	each(t, func(e *env) {
		e.died("0-a")
		e.died("0-b")
		letters := e.dead("content_filtered", "content_filtered")
		e.rdb.HSet(ctx, e.s.keys.trace("0-a"), "dead", letters[1].Entry)
		if got := e.revive("0-a", "0-c"); got.Err != nil {
			e.Errorf("%+v", got)
		}
		e.dead("content_filtered", "content_filtered")
		e.rdb.HSet(ctx, e.s.keys.trace("0-b"), "dead", "1-1")
		if got := e.revive("0-b", "0-d"); got.Err != nil {
			e.Errorf("%+v", got)
		}
		e.dead("content_filtered", "content_filtered")
	})
}

// TestRevive_OutOfMemoryChangesNothing: it asks for memory first.
func TestRevive_OutOfMemoryChangesNothing(t *testing.T) {
	onRedis(t, Options{}, func(e *env) {
		defer e.rdb.ConfigSet(ctx, "maxmemory", "0")
		e.died("0-a")
		record := e.record("0-a")
		e.rdb.ConfigSet(ctx, "maxmemory", "1")
		before := e.snapshot()
		if got := e.s.Revive(ctx, 0, []Revival{{Failed: record, ID: "0-b"}})[0]; !IsOutOfMemory(got.Err) {
			e.Errorf("%+v", got)
		}
		e.unchanged("a refused retry", before)
		// Forgetting is what helps then.
		purged, errs, err := e.s.Purge(ctx, 0, e.dead("content_filtered"))
		if err != nil || errs[0] != nil || purged[0] != PurgedAll {
			e.Errorf("purge: %v %v %v", purged, errs, err)
		}
	})
}

func TestPurge_ForgetsAFailedOperation(t *testing.T) {
	each(t, func(e *env) {
		e.died("0-keep")
		e.died("0-a", func(r *lm.Request) { r.Key = "k" })
		must(e, e.rdb.XAdd(ctx, &redis.XAddArgs{Stream: e.s.keys.out("0-a"), Values: []string{"seq", "1"}}).Err())
		letters := e.dead("content_filtered", "content_filtered")
		kept := e.snapshot()
		purged, errs, err := e.s.Purge(ctx, 0, letters[1:])
		if err != nil || errs[0] != nil || purged[0] != PurgedAll {
			e.Fatalf("purge: %v %v %v", purged, errs, err)
		}
		for _, key := range e.allKeys() {
			if _, there := kept[key]; !there {
				e.Errorf("%s is new", key)
			}
		}
		for _, key := range append(e.s.keys.operation(nil, "0-a", "", "")[:5], e.s.keys.unique(0, request(`{}`, func(r *lm.Request) { r.Key = "k" }).KeyHash())) {
			if _, there := kept[key]; !there {
				e.Errorf("%s was never there", key)
			}
			if e.rdb.Exists(ctx, key).Val() != 0 {
				e.Errorf("%s is left", key)
			}
		}
		if left := e.dead("content_filtered"); left[0].ID != "0-keep" {
			e.Errorf("%+v", left)
		}
		e.want("0-keep", "state", "COMPLETED")
		after := e.snapshot()
		if got := words(e.again()); got[0] != "GONE" {
			e.Errorf("replay: %v", got)
		}
		e.unchanged("a replay", after)
		e.enqueue("0-a", func(r *lm.Request) { r.Key = "k" }) // the ID and the key are free
		e.counts("failed=2 waiting:default=1")
	})
}

// A letter whose ID is another operation's goes alone: that of a conflict, of a
// reused ID, of a trace that is gone, of an entry that never was one.
func TestPurge_TouchesNoOtherOperation(t *testing.T) {
	each(t, func(e *env) {
		e.died("0-a")
		e.died("0-reused")
		e.rdb.Del(ctx, e.s.keys.trace("0-reused"))
		e.push("id", "a", "body", "1")
		e.push("v", "7", "body", "1")
		e.push("t", "0-lost")
		entries := e.read("w1")
		e.adopt("w1", entries[:2], AdoptedDead, AdoptedDead)
		e.take("w1", entries[2], ClaimLost)
		e.died("0-other")
		must(e, e.rdb.XAdd(ctx, &redis.XAddArgs{Stream: e.s.keys.dead(0), Values: []string{"t", "9-elsewhere", "reason", "x"}}).Err())
		must(e, e.rdb.XAdd(ctx, &redis.XAddArgs{Stream: e.s.keys.dead(0), Values: []string{"reason", "x"}}).Err())
		letters := e.dead("content_filtered", "content_filtered", "conflict", "unknown_version", "trace_lost", "content_filtered", "x", "x")
		e.claimed("w3", "0-reused", func(r *lm.Request) { r.Key = "again" })
		e.rdb.HSet(ctx, e.s.keys.trace("0-reused"), "dead", letters[1].Entry) // even so
		running := e.trace("0-reused")
		strays := append(letters[1:5:5], letters[6:]...)
		purged, errs, err := e.s.Purge(ctx, 0, strays)
		if err != nil || fmt.Sprint(purged) != "[ENTRY ENTRY ENTRY ENTRY ENTRY GONE]" {
			e.Errorf("purge: %v %v %v", purged, errs, err)
		}
		if fmt.Sprint(e.trace("0-reused")) != fmt.Sprint(running) || e.rdb.Exists(ctx, e.s.keys.request("0-reused")).Val() != 1 {
			e.Error("the running operation was touched")
		}
		e.want("0-a", "state", "COMPLETED", "outcome", "failed")
		if e.rdb.Exists(ctx, e.s.keys.request("0-a")).Val() != 1 {
			e.Error("the first one's request is gone")
		}
		wrong := letters[5]
		wrong.ID = "0-a"
		before := e.snapshot()
		if purged, _, err := e.s.Purge(ctx, 0, []DeadLetter{wrong}); err != nil || purged[0] != PurgedGone {
			e.Errorf("a letter of another operation: %v %v", purged, err)
		}
		e.unchanged("it", before)
		e.lax = true
	})
}

// TestPurge_LeavesAKeyThatAnotherHolds: the idempotency key was used again since.
func TestPurge_LeavesAKeyThatAnotherHolds(t *testing.T) {
	each(t, func(e *env) {
		withKey := func(r *lm.Request) { r.Key = "k" }
		e.died("0-a", withKey)
		unique := e.s.keys.unique(0, e.record("0-a").Unique)
		e.rdb.Del(ctx, unique)
		e.enqueue("0-b", withKey)
		if purged, _, err := e.s.Purge(ctx, 0, e.dead("content_filtered")); err != nil || purged[0] != PurgedAll {
			e.Errorf("%v %v", purged, err)
		}
		if got := e.rdb.Get(ctx, unique).Val(); len(got) < 4 || got[:4] != "0-b " {
			e.Errorf("the key is %q", got)
		}
	})
}

// TestPurge_OfARetriedOne: its letter went with the retry, and the new operation
// is not touched by one who listed it before.
func TestPurge_OfARetriedOne(t *testing.T) {
	each(t, func(e *env) {
		e.died("0-a")
		letters := e.dead("content_filtered")
		e.revive("0-a", "0-b")
		before := e.snapshot()
		if purged, _, err := e.s.Purge(ctx, 0, letters); err != nil || purged[0] != PurgedGone {
			e.Errorf("%v %v", purged, err)
		}
		e.unchanged("a purge that came late", before)
	})
}

func TestTrimDead_RemovesWhatIsOlderThanItsRetention(t *testing.T) {
	eachWith(t, Options{DeadRetention: time.Hour}, func(e *env) {
		ms := func(ago time.Duration) string { return strconv.FormatInt(time.Now().Add(-ago).UnixMilli(), 10) + "-0" }
		if n, err := e.s.TrimDead(ctx, 0); n != 0 || err != nil {
			e.Errorf("of nothing: %d %v", n, err)
		}
		for _, ago := range []time.Duration{3 * time.Hour, 61 * time.Minute, 59 * time.Minute, 0} {
			must(e, e.rdb.XAdd(ctx, &redis.XAddArgs{Stream: e.s.keys.dead(0), ID: ms(ago), Values: []string{"t", "0-a", "reason", ago.String()}}).Err())
		}
		if n, err := e.s.TrimDead(ctx, 0); n != 2 || err != nil {
			e.Errorf("%d %v, want 2", n, err)
		}
		e.dead("59m0s", "0s")
		if e.again(); len(e.dead("59m0s", "0s")) != 2 {
			e.Error("a replay removed something")
		}
	})
}

// TestForgetOldest_NothingOfTheirsStays: of more dead letters than are kept the oldest go
// with trace, request, checkpoint, result and idempotency key.
func TestForgetOldest_NothingOfTheirsStays(t *testing.T) {
	eachWith(t, Options{DeadKept: 2}, func(e *env) {
		for _, id := range []lm.TraceID{"0-a", "0-b", "0-c", "0-d"} {
			c := e.claimed("w1", id, func(r *lm.Request) { r.Key = "k" + id.Name() })
			if _, err := e.s.Advance(ctx, c, Advance{Steps: []lm.Step{{Name: "step:x", Data: []byte("x")}}}); err != nil {
				e.Fatal(err)
			}
			must(e, e.s.Finish(ctx, c, failed(c)))
		}
		e.enqueue("0-waits") // a quiet partition is looked at less often
		due, err := e.s.Tick(ctx, 0, time.Minute, time.Minute, []Stream{queue})
		if err != nil || due.Letters != 4 {
			e.Fatalf("%d letters, %v", due.Letters, err)
		}
		if n, err := e.s.ForgetOldest(ctx, 0, due.Letters); n != 2 || err != nil {
			e.Errorf("%d forgotten, %v, want 2", n, err)
		}
		if n, err := e.s.ForgetOldest(ctx, 0, 2); n != 0 || err != nil {
			e.Errorf("%d forgotten, %v, want none", n, err)
		}
		letters, _ := e.s.Dead(ctx, 0, 10)
		if len(letters) != 2 || letters[0].ID != "0-d" || letters[1].ID != "0-c" {
			e.Errorf("%+v are left", letters)
		}
		for id, want := range map[lm.TraceID]int64{"0-a": 0, "0-b": 0, "0-c": 4, "0-d": 4} {
			if n := e.rdb.Exists(ctx, e.s.keys.trace(id), e.s.keys.request(id), e.s.keys.checkpoint(id), e.s.keys.result(id)).Val(); n != want {
				e.Errorf("%d keys of %s are left, want %d", n, id, want)
			}
		}
		if n := len(e.rdb.Keys(ctx, e.s.keys.in(0, "unique:*")).Val()); n != 2 {
			e.Errorf("%d idempotency keys are left, want 2", n)
		}
	})
}

func TestDeadPage_ListsASpanInPages(t *testing.T) {
	each(t, func(e *env) {
		for i := range 7 {
			must(e, e.rdb.XAdd(ctx, &redis.XAddArgs{Stream: e.s.keys.dead(0), ID: strconv.Itoa(1000+i) + "-0", Values: []string{"t", "0-a", "reason", strconv.Itoa(i)}}).Err())
		}
		for _, row := range []struct {
			span   Span
			newest bool
			want   string
		}{
			{Span{}, false, "[0 1 2] [3 4 5] [6]"},
			{Span{}, true, "[6 5 4] [3 2 1] [0]"},
			{Span{Since: time.UnixMilli(1002), Until: time.UnixMilli(1005)}, false, "[2 3 4] []"},
			{Span{Since: time.UnixMilli(1002), Until: time.UnixMilli(1005)}, true, "[4 3 2] []"},
			{Span{Until: time.UnixMilli(1002)}, true, "[1 0]"},
			{Span{Since: time.UnixMilli(1005)}, false, "[5 6]"},
		} {
			got, cursor := "", ""
			for {
				letters, next, err := e.s.DeadPage(ctx, 0, row.span, row.newest, cursor, 3)
				if err != nil {
					e.Fatal(err)
				}
				var reasons []string
				for _, l := range letters {
					reasons = append(reasons, l.Reason)
				}
				got += fmt.Sprint(reasons) + " "
				if cursor = next; next == "" {
					break
				}
			}
			if got != row.want+" " {
				e.Errorf("%+v: %s, want %s", row, got, row.want)
			}
		}
	})
}
