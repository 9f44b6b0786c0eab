package lua

import (
	"strconv"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/redis/go-redis/v9"
)

// orphan is one way in which an operation can be lost to all workers.
type orphan struct {
	name  string
	make  func(e *env, id lm.TraceID)
	want  Repaired
	state lm.State // after the repair
	queue string   // the stream that its entry is in then
}

// at is a trace's entry, as stream key and ID.
func (e *env) at(id lm.TraceID) (key, entry string) {
	st, entry, _ := streamOf(0, e.trace(id)["entry"])
	return e.s.keys.stream(st), entry
}

// silence makes a claim's last beat long ago.
func (e *env) silence(id lm.TraceID) {
	e.rdb.HSet(ctx, e.s.keys.trace(id), "beat", time.Now().Add(-time.Hour).UnixMilli())
}

func (e *env) unack(id lm.TraceID) {
	key, entry := e.at(id)
	e.rdb.XAck(ctx, key, Group, entry)
	e.rdb.XDel(ctx, key, entry)
}

var orphans = []orphan{
	{"stream deleted", func(e *env, id lm.TraceID) {
		e.enqueue(id)
		e.rdb.Del(ctx, e.s.keys.stream(queue))
	}, RepairEntry, lm.Queued, "stream:default"},
	{"entry deleted", func(e *env, id lm.TraceID) {
		e.enqueue(id)
		key, entry := e.at(id)
		e.rdb.XDel(ctx, key, entry)
	}, RepairEntry, lm.Queued, "stream:default"},
	{"stream trimmed", func(e *env, id lm.TraceID) {
		e.enqueue(id)
		e.rdb.XTrimMaxLen(ctx, e.s.keys.stream(queue), 0)
	}, RepairEntry, lm.Queued, "stream:default"},
	{"read, then acknowledged by somebody", func(e *env, id lm.TraceID) {
		e.enqueue(id)
		e.read("w1")
		key, entry := e.at(id)
		e.rdb.XAck(ctx, key, Group, entry)
	}, RepairEntry, lm.Queued, "stream:default"},
	{"consumer deleted with it pending", func(e *env, id lm.TraceID) {
		e.enqueue(id)
		e.read("w1")
		e.rdb.XGroupDelConsumer(ctx, e.s.keys.stream(queue), Group, "w1")
	}, RepairEntry, lm.Queued, "stream:default"},
	{"no entry named", func(e *env, id lm.TraceID) {
		e.enqueue(id)
		e.unack(id)
		e.rdb.HSet(ctx, e.s.keys.trace(id), "entry", "")
	}, RepairEntry, lm.Queued, "stream:default"},
	{"resume stream deleted", func(e *env, id lm.TraceID) {
		c := e.claimed("w1", id)
		if err := e.s.Release(ctx, c, "drain"); err != nil {
			e.Fatal(err)
		}
		e.rdb.Del(ctx, e.s.keys.stream(resume))
	}, RepairEntry, lm.Reclaimed, "resume:default"},
	{"retry out of the delayed set", func(e *env, id lm.TraceID) {
		c := e.claimed("w1", id)
		if err := e.s.Retry(ctx, c, aside(time.Hour)); err != nil {
			e.Fatal(err)
		}
		e.rdb.Del(ctx, e.s.keys.delayed(0))
	}, RepairDelayed, lm.Retrying, ""},
	{"scheduled out of the delayed set", func(e *env, id lm.TraceID) {
		e.enqueue(id, func(r *lm.Request) { r.NotBefore = time.Now().Add(time.Hour) })
		e.rdb.Del(ctx, e.s.keys.delayed(0))
	}, RepairDelayed, lm.Received, ""},
	{"claimed and silent", func(e *env, id lm.TraceID) {
		e.claimed("w1", id)
		e.unack(id)
		e.silence(id)
	}, RepairBack, lm.Reclaimed, "resume:default"},
	{"inferring and silent, stream gone", func(e *env, id lm.TraceID) {
		e.in("w1", id, lm.Inferring)
		e.rdb.Del(ctx, e.s.keys.stream(queue))
		e.silence(id)
	}, RepairBack, lm.Reclaimed, "resume:default"},
	{"delivering and silent", func(e *env, id lm.TraceID) {
		e.in("w1", id, lm.Delivering)
		e.unack(id)
		e.silence(id)
	}, RepairBack, lm.Queued, "resume:default"},
	{"request replaced", func(e *env, id lm.TraceID) {
		e.enqueue(id)
		e.rdb.Del(ctx, e.s.keys.request(id))
		e.rdb.LPush(ctx, e.s.keys.request(id), "x")
	}, RepairDead, lm.Completed, ""},
	{"checkpoint replaced", func(e *env, id lm.TraceID) {
		c := e.claimed("w1", id)
		if err := e.s.Release(ctx, c, "drain"); err != nil {
			e.Fatal(err)
		}
		e.rdb.Set(ctx, e.s.keys.checkpoint(id), "x", 0)
	}, RepairDead, lm.Completed, ""},
	{"request of a retry replaced", func(e *env, id lm.TraceID) {
		c := e.claimed("w1", id)
		if err := e.s.Retry(ctx, c, aside(time.Hour)); err != nil {
			e.Fatal(err)
		}
		e.rdb.Del(ctx, e.s.keys.request(id))
		e.rdb.SAdd(ctx, e.s.keys.request(id), "x")
	}, RepairDead, lm.Completed, ""},
}

func (e *env) repair(want Repaired, act bool, id lm.TraceID) {
	e.Helper()
	records, err := e.s.openRecords(ctx, []lm.TraceID{id})
	if err != nil || len(records) != 1 {
		e.Fatalf("read %s: %v %v", id, records, err)
	}
	got, err := e.s.repair(ctx, records, act)
	if err != nil || got[0] != want {
		e.Fatalf("repair: %v %v, want %s", got, err, want)
	}
}

// TestRepair_EveryOrphanIsFoundAndMended: looked at it changes nothing, repaired
// it is where it belongs, repaired twice it is there once, and it runs to its end.
func TestRepair_EveryOrphanIsFoundAndMended(t *testing.T) {
	each(t, func(e *env) {
		for _, o := range orphans {
			e.orphan(o)
		}
	})
}

func (e *env) orphan(o orphan) {
	e.Helper()
	if err := e.s.EnsureGroups(ctx, []Stream{queue, resume}); err != nil {
		e.Fatal(err)
	}
	id := lm.TraceID("0-a")
	o.make(e, id)
	before := e.trace(id)
	e.repair(o.want, false, id)
	if after := e.trace(id); len(after) != len(before) || after["entry"] != before["entry"] || after["state"] != before["state"] {
		e.Fatalf("%s: looking changed %v to %v", o.name, before, after)
	}
	e.repair(o.want, true, id)
	after := e.trace(id)
	if after["state"] != o.state.String() {
		e.Fatalf("%s: state %s, want %s", o.name, after["state"], o.state)
	}
	if again := words(e.again()); again[0] != "CHANGED" && again[0] != "WELL" && again[0] != "ENDED" {
		e.Fatalf("%s: the repeat says %v", o.name, again)
	}
	if err := e.s.EnsureGroups(ctx, []Stream{queue, resume}); err != nil {
		e.Fatal(err)
	}
	if o.queue != "" {
		st, entry, _ := streamOf(0, after["entry"])
		if st.short() != o.queue || e.rdb.XLen(ctx, e.s.keys.stream(st)).Val() != 1 || len(e.rdb.XRange(ctx, e.s.keys.stream(st), entry, entry).Val()) != 1 {
			e.Fatalf("%s: entry %q, want one of %s", o.name, after["entry"], o.queue)
		}
	}
	switch o.want {
	case RepairDead:
		e.repaired(o, id)
		return
	case RepairDelayed:
		score, err := e.rdb.ZScore(ctx, e.s.keys.delayed(0), string(id)).Result()
		due := time.UnixMilli(int64(score))
		if late := time.Until(due) > time.Minute; err != nil || late != (o.state == lm.Received) {
			e.Fatalf("%s: due %v, %v", o.name, due, err)
		}
		e.rdb.ZAdd(ctx, e.s.keys.delayed(0), zAt(id, 1))
		if n, err := e.s.Promote(ctx, 0, []lm.TraceID{id}); n != 1 || err != nil {
			e.Fatalf("%s: promoted %d, %v", o.name, n, err)
		}
	default:
	}
	if after["crashes_total"] != map[bool]string{true: "1"}[o.want == RepairBack] {
		e.Errorf("%s: crashes %q", o.name, after["crashes_total"])
	}
	e.finish(e.advanced(e.claimNext("w9")))
	e.quiet(o.name)
	e.rdb.Del(ctx, e.s.keys.trace(id), e.s.keys.result(id))
}

// advanced brings a claim to where it can be finished.
func (e *env) advanced(c lm.Claim) lm.Claim {
	e.advance(c, lm.Gathering, lm.Inferring)
	return c
}

// repaired checks what a dead-lettered one leaves.
func (e *env) repaired(o orphan, id lm.TraceID) {
	e.Helper()
	dead, err := e.s.Dead(ctx, 0, 10)
	if err != nil || len(dead) != 1 || dead[0].ID != id || dead[0].Reason != "key_replaced" {
		e.Fatalf("%s: dead letters %+v, %v", o.name, dead, err)
	}
	r, err := e.s.Results(ctx, []lm.TraceID{id})
	if err != nil || r[0].Outcome != lm.Failed || r[0].Err == nil {
		e.Fatalf("%s: result %+v, %v", o.name, r, err)
	}
	e.quiet(o.name)
	e.rdb.Del(ctx, e.s.keys.dead(0), e.s.keys.trace(id), e.s.keys.result(id), e.s.keys.request(id), e.s.keys.checkpoint(id))
}

// quiet checks that nothing waits, runs or is delayed, nowhere.
func (e *env) quiet(name string) {
	e.Helper()
	counts, err := e.s.Counts(ctx, 0)
	if err != nil {
		e.Fatal(err)
	}
	for f, n := range counts {
		if n != 0 && f != "failed" && f != "succeeded" {
			e.Fatalf("%s: %s is %d", name, f, n)
		}
	}
	for _, st := range []Stream{queue, resume} {
		if n := e.rdb.XLen(ctx, e.s.keys.stream(st)).Val(); n != 0 {
			e.Fatalf("%s: %d entries in %s", name, n, st.short())
		}
	}
	if n := e.rdb.ZCard(ctx, e.s.keys.delayed(0)).Val(); n != 0 {
		e.Fatalf("%s: %d delayed", name, n)
	}
}

// TestRepair_WhatLivesIsLeftAlone: nothing of a healthy fleet is touched, in any
// state, and neither is one whose worker is merely slow.
func TestRepair_WhatLivesIsLeftAlone(t *testing.T) {
	each(t, func(e *env) {
		e.enqueue("0-queued")
		e.repair(RepairWell, true, "0-queued")
		e.read("w1") // pending with a consumer, not claimed
		e.repair(RepairWell, true, "0-queued")
		for i, state := range []lm.State{lm.Claimed, lm.Gathering, lm.Inferring, lm.ToolExecuting, lm.Postprocessing, lm.Delivering} {
			id := lm.TraceID("0-s" + strconv.Itoa(i))
			e.in("w1", id, state)
			e.repair(RepairWell, true, id) // beats, and its entry is pending
			e.silence(id)
			e.repair(RepairWell, true, id) // silent: the sweep's
			key, entry := e.at(id)
			e.rdb.HSet(ctx, e.s.keys.trace(id), "beat", time.Now().UnixMilli())
			e.rdb.XAck(ctx, key, Group, entry)
			e.repair(RepairWell, true, id) // no entry pending, but it beats
			e.rdb.HSet(ctx, e.s.keys.trace(id), "beat", time.Now().Add(-150*time.Second).UnixMilli())
			e.repair(RepairWell, true, id) // slow: under three leases of a minute
		}
		e.lax = true
	})
}

// TestRepair_ARaceWithALiveWorkerIsLost reads an orphan, lets it move on before
// the repair arrives, and finds that the repair does nothing.
func TestRepair_ARaceWithALiveWorkerIsLost(t *testing.T) {
	each(t, func(e *env) {
		read := func(id lm.TraceID) []Record {
			records, err := e.s.openRecords(ctx, []lm.TraceID{id})
			if err != nil || len(records) != 1 {
				e.Fatalf("%v %v", records, err)
			}
			return records
		}
		changed := func(records []Record) {
			e.Helper()
			before := e.trace(records[0].ID)
			got, err := e.s.repair(ctx, records, true)
			if err != nil || got[0] != repairChanged && got[0] != repairEnded {
				e.Fatalf("repair %v %v, want CHANGED", got, err)
			}
			if after := e.trace(records[0].ID); after["entry"] != before["entry"] || after["state"] != before["state"] || after["epoch"] != before["epoch"] {
				e.Fatalf("it changed %v to %v", before, after)
			}
		}
		// Its entry is deleted while a worker has read it: the claim still succeeds.
		e.enqueue("0-a")
		entries := e.read("w1")
		key, entry := e.at("0-a")
		e.rdb.XDel(ctx, key, entry)
		seen := read("0-a")
		c := e.take("w1", entries[0], ClaimOK).Claim
		changed(seen)
		// The same, and the repair is first: the claim of the old entry is stale.
		e.finish(e.advanced(c))
		changed(seen)
		e.enqueue("0-b")
		entries = e.read("w1")
		key, entry = e.at("0-b")
		e.rdb.XDel(ctx, key, entry)
		e.repair(RepairEntry, true, "0-b")
		if v, err := e.s.Claim(ctx, "w1", time.Minute, entries); err != nil || v[0].Verdict == ClaimOK {
			e.Fatalf("the old entry was claimed: %+v %v", v, err)
		}
		c = e.claimNext("w2")
		// A silent claim that comes back writes or beats: then it is no orphan.
		e.unack("0-b")
		e.silence("0-b")
		seen = read("0-b")
		if beats, err := e.s.Heartbeat(ctx, 0, "w2", []Renewal{{ID: "0-b", Fence: c.Fence}}); err != nil || beats[0] != BeatOK {
			e.Fatalf("beat %v %v", beats, err)
		}
		if got, err := e.s.repair(ctx, seen, true); err != nil || got[0] != RepairWell {
			e.Fatalf("repair of one that beats: %v %v", got, err)
		}
		// And one that was put back meanwhile and claimed by another is fenced by its epoch.
		e.unack("0-b") // miniredis lets a beat claim what is in no stream
		e.silence("0-b")
		e.repair(RepairBack, true, "0-b")
		if err := e.s.Finish(ctx, c, succeeded(c)); err == nil {
			e.Fatal("the old claim finished")
		}
		e.claimNext("w3")
		changed(seen)
		e.finish(e.advanced(e.reclaim("0-b")))
	})
}

// reclaim puts the only claim back by repair and claims it anew.
func (e *env) reclaim(id lm.TraceID) lm.Claim {
	e.Helper()
	e.unack(id)
	e.silence(id)
	e.repair(RepairBack, true, id)
	return e.claimNext("w8")
}

func zAt(id lm.TraceID, score float64) redis.Z { return redis.Z{Member: string(id), Score: score} }

// TestRepair_WhatWasReadMustStillBe: state, entry and epoch, each by itself.
func TestRepair_WhatWasReadMustStillBe(t *testing.T) {
	each(t, func(e *env) {
		e.lax = true
		e.claimed("w1", "0-a")
		e.unack("0-a")
		e.silence("0-a")
		for name, change := range map[string]func(*Record){
			"state": func(r *Record) { r.State = lm.Gathering },
			"entry": func(r *Record) { r.Entry = "stream:default/1-1" },
			"epoch": func(r *Record) { r.Epoch++ },
		} {
			records, err := e.s.openRecords(ctx, []lm.TraceID{"0-a"})
			if err != nil {
				e.Fatal(err)
			}
			change(&records[0])
			if got, err := e.s.repair(ctx, records, true); err != nil || got[0] != repairChanged {
				e.Errorf("%s: %v %v", name, got, err)
			}
		}
		e.repair(RepairBack, true, "0-a")
	})
}

// TestRepair_ADeletedStreamMintsTheSameIDAgain: in the same millisecond, and the
// new entry is not taken for the old one.
func TestRepair_ADeletedStreamMintsTheSameIDAgain(t *testing.T) {
	onRedis(t, Options{}, func(e *env) {
		e.lax = true
		for i := range 300 {
			id := lm.TraceID("0-n" + strconv.Itoa(i))
			e.enqueue(id)
			e.rdb.Del(ctx, e.s.keys.stream(queue))
			e.repair(RepairEntry, true, id)
			key, entry := e.at(id)
			if got := e.rdb.XRange(ctx, key, entry, entry).Val(); len(got) != 1 {
				e.Fatalf("try %d: no entry %s", i, entry)
			}
		}
	})
}
