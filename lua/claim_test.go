package lua

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
	"github.com/redis/go-redis/v9"
)

func TestClaim_MakesTheCallerTheOwner(t *testing.T) {
	each(t, func(e *env) {
		before := time.Now().Add(-time.Second).UnixMilli()
		e.enqueue("0-a", func(r *lm.Request) { r.Meta = map[string]string{"lang": "de"}; r.Thread = "t" })
		entries := e.read("w1")
		got := e.take("w1", entries[0], ClaimOK)
		c := got.Claim
		if !got.Started || got.Stop != nil || c.Request.Thread != "t" || c.Request.Meta["lang"] != "de" || string(c.Request.Body) != `{"n":1}` || c.Fence.State() != lm.Claimed {
			e.Errorf("%+v", got)
		}
		if int64(c.Fence.Epoch) < before || len(c.Fence.Token) != 16 || c.Fence.Entry != entries[0].Names() {
			e.Errorf("fence: %+v", c.Fence)
		}
		e.want("0-a", "state", "CLAIMED", "owner", "w1", "token", c.Fence.Token, "epoch", fmt.Sprint(int64(c.Fence.Epoch)), "seq", "0",
			"started", "1", "lease", "60000", "entry", c.Fence.Entry)
		if got.Record.State != lm.Queued {
			e.Errorf("the trace before: %+v", got.Record.Trace)
		}
		e.counts("running:default=1")
		e.streams("queue 1/1 resume 0/0")
	})
}

// TestClaim_EpochGrows: past the clock, and past the epoch that was.
func TestClaim_EpochGrows(t *testing.T) {
	each(t, func(e *env) {
		c := e.claimed("w1", "0-a")
		far := int64(c.Fence.Epoch) + 3_600_000
		e.sweep("w2", c.Fence.Entry, PutBack)
		e.rdb.HSet(ctx, e.s.keys.trace("0-a"), "epoch", far) // the clock ran ahead, and was set back
		next := e.claimNext("w2")
		if int64(next.Fence.Epoch) != far+1 {
			e.Errorf("epoch %d after %d", next.Fence.Epoch, far)
		}
	})
}

// TestClaim_ReplayAnswersTheSame: the very same call again, as after a lost
// reply, has one effect and brings request and checkpoint again.
func TestClaim_ReplayAnswersTheSame(t *testing.T) {
	each(t, func(e *env) {
		c := e.in("w1", "0-a", lm.Inferring)
		if _, err := e.s.Advance(ctx, c, Advance{Steps: []lm.Step{{Name: "step:x", Data: []byte("y")}}}); err != nil {
			e.Fatal(err)
		}
		must(e, e.s.Release(ctx, c, "drain"))
		second := e.claimNext("w2")
		if second.Checkpoint["step:x"] != "y" {
			e.Errorf("checkpoint %v", second.Checkpoint)
		}
		before := e.snapshot()
		v := e.again().([]any)[0].([]any)
		if text(v[0]) != "OK" || number(v[1]) != int64(second.Fence.Epoch) || text(v[3]) != "1" || text(v[5]) != `{"n":1}` || readFields(v[6])["step:x"] != "y" {
			e.Errorf("replay: %v", v)
		}
		e.unchanged("a replayed claim", before)
		// Once the claim has written, the old call is no replay any more.
		e.advance(second, lm.Gathering)
		before = e.snapshot()
		if got := e.lastClaimAgain(second); got != "SKIP" {
			e.Errorf("an old claim call: %q", got)
		}
		e.unchanged("an old claim call", before)
	})
}

// lastClaimAgain claims a claim's entry once more with its own token.
func (e *env) lastClaimAgain(c lm.Claim) string {
	e.Helper()
	st, id, _ := streamOf(c.ID.Partition(), c.Fence.Entry)
	v, err := e.s.run(ctx, call{
		script: claimScript,
		keys:   []string{e.s.keys.stream(st), e.s.keys.stats(0), e.s.keys.dead(0), e.s.keys.trace(c.ID), e.s.keys.request(c.ID), e.s.keys.checkpoint(c.ID)},
		args:   []any{1, Group, c.Fence.Owner, st.short(), 60000, 3, inlineBytes, inlineSum, id, string(c.ID), c.Fence.Token},
	})
	if err != nil {
		e.Fatal(err)
	}
	return text(v.([]any)[0])
}

// TestClaim_StaleEntryIsRefused is the story of FAULTS: W1 reads E1 and stalls,
// W2 takes it over, fails and sets it aside, it is queued anew as E2, and W1
// goes on with E1 (PARITY 43a).
func TestClaim_StaleEntryIsRefused(t *testing.T) {
	each(t, func(e *env) {
		e.enqueue("0-a")
		e1 := e.read("w1")[0]
		taken := e.grab("w2", e1.Names())
		mine := e.take("w2", taken[0].Entry, ClaimOK).Claim // w2 reclaimed E1 and works on it
		must(e, e.s.Retry(ctx, mine, aside(0)))
		if n, err := e.s.Promote(ctx, 0, []lm.TraceID{"0-a"}); err != nil || n != 1 {
			e.Fatalf("promote: %d %v", n, err)
		}
		before := e.snapshot()
		e.take("w1", e1, ClaimSkip) // E1 is pending with nobody
		e.unchanged("a claim of a stale entry", before)
		e.want("0-a", "state", "QUEUED", "owner", "-", "attempts", "1")

		// E1 comes back by hand, pending with W1: it is removed, E2 is not touched.
		e2 := e.trace("0-a")["entry"]
		back, err := e.rdb.XAdd(ctx, &redis.XAddArgs{Stream: e.s.keys.stream(resume), Values: []string{"t", "0-a"}}).Result()
		if err != nil {
			e.Fatal(err)
		}
		stale := e.rdb.XReadGroup(ctx, &redis.XReadGroupArgs{Group: Group, Consumer: "w1", Streams: []string{e.s.keys.stream(resume), ">"}, Count: 1}).Val()
		if len(stale) != 1 || stale[0].Messages[0].ID != back {
			e.Fatalf("read %v", stale)
		}
		e.take("w1", Entry{Stream: resume, ID: back, Fields: []string{"t", "0-a"}}, ClaimStale)
		e.want("0-a", "entry", e2, "state", "QUEUED")
		e.streams("queue 1/0 resume 0/0")
		e.finish(e.claimNext("w3"))
	})
}

// TestClaim_StaleWhenTerminalOrDelayed: an entry of an operation that has ended
// or waits for a time is removed.
func TestClaim_StaleWhenTerminalOrDelayed(t *testing.T) {
	each(t, func(e *env) {
		a := e.claimed("w1", "0-a")
		e.finish(a)
		b := e.claimed("w1", "0-b")
		must(e, e.s.Retry(ctx, b, aside(time.Hour)))
		for _, id := range []string{"0-a", "0-b"} {
			e.rdb.XAdd(ctx, &redis.XAddArgs{Stream: e.s.keys.stream(queue), Values: []string{"t", id}})
		}
		traces := []string{e.contents(e.s.keys.trace("0-a")), e.contents(e.s.keys.trace("0-b"))}
		entries := e.read("w2")
		got, err := e.s.Claim(ctx, "w2", time.Second, entries)
		if err != nil || len(got) != 2 || got[0].Verdict != ClaimStale || got[1].Verdict != ClaimStale {
			e.Fatalf("%+v %v", got, err)
		}
		e.streams("queue 0/0 resume 0/0")
		if traces[0] != e.contents(e.s.keys.trace("0-a")) || traces[1] != e.contents(e.s.keys.trace("0-b")) {
			e.Error("a trace was changed")
		}
	})
}

func TestClaim_PendingWithAnotherIsUntouched(t *testing.T) {
	each(t, func(e *env) {
		e.enqueue("0-a")
		entry := e.read("w1")[0]
		before := e.snapshot()
		e.take("w2", entry, ClaimSkip)
		e.take("", entry, ClaimSkip)
		e.unchanged("a claim of another's entry", before)
		c := e.take("w1", entry, ClaimOK).Claim
		before = e.snapshot()
		e.take("w2", entry, ClaimSkip)
		e.take("w1", entry, ClaimSkip) // with another token: held by w1's first claim
		e.unchanged("a claim of what is held", before)
		e.finish(c)
	})
}

// TestClaim_GroupRecreatedDoesNotTakeALiveClaim: after the group is lost and made
// again at 0, everything is delivered once more; what is held stays so.
func TestClaim_GroupRecreatedDoesNotTakeALiveClaim(t *testing.T) {
	each(t, func(e *env) {
		c := e.in("w1", "0-a", lm.Inferring)
		e.rdb.XGroupDestroy(ctx, e.s.keys.stream(queue), Group)
		if _, err := e.s.Read(ctx, "w2", []Share{{Stream: queue, Count: 1}}, 1); !IsNoGroup(err) {
			e.Errorf("read without a group: %v", err)
		}
		if _, err := e.s.Block("w2", []Stream{queue}, 1, time.Millisecond); !IsNoGroup(err) {
			e.Errorf("block without a group: %v", err)
		}
		if beats, err := e.s.Heartbeat(ctx, 0, "w1", []Renewal{{c.ID, c.Fence}}); err != nil || beats[0] != BeatOK {
			e.Errorf("beat without a group: %v %v", beats, err)
		}
		must(e, e.s.EnsureGroups(ctx, []Stream{queue, resume}))
		must(e, e.s.EnsureGroups(ctx, []Stream{queue, resume})) // idempotent
		entries := e.read("w2")
		if len(entries) != 1 || entries[0].Names() != c.Fence.Entry {
			e.Fatalf("read %v", entries)
		}
		before := e.snapshot()
		e.take("w2", entries[0], ClaimSkip)
		e.unchanged("a claim of a held operation", before)
		e.advance(c, lm.ToolExecuting, lm.Inferring)
		e.finish(c)
		e.streams("queue 0/0 resume 0/0")
	})
}

// TestClaim_TraceLostOnce: an own entry whose trace is gone is dead-lettered
// once and never made again by whatever comes late (PARITY 43).
func TestClaim_TraceLostOnce(t *testing.T) {
	each(t, func(e *env) {
		e.lax = true // the lost one stays in the counts as waiting until the janitor comes
		e.enqueue("0-a")
		e.rdb.Del(ctx, e.s.keys.trace("0-a"), e.s.keys.request("0-a"))
		entry := e.read("w1")[0]
		e.take("w1", entry, ClaimLost)
		e.again()
		letters := e.dead("trace_lost")
		if letters[0].ID != "0-a" || letters[0].Queue != "default" || letters[0].Worker != "w1" {
			e.Errorf("dead letter: %+v", letters[0])
		}
		e.streams("queue 0/0 resume 0/0")
		before := e.snapshot()
		e.take("w1", entry, ClaimSkip)
		e.takeover("w1", false, []Taken{{Entry: entry}}, PutBackSkip)
		c := lm.Claim{ID: "0-a", Request: *request(`{}`), Fence: lm.NewFence("w1", 5, "CCCCCCCCCCCCCCCC", entry.Names(), lm.Claimed)}
		_ = e.s.Finish(ctx, c, failed(c))
		_ = e.s.Retry(ctx, c, aside(0))
		_, _ = e.s.Heartbeat(ctx, 0, "w1", []Renewal{{c.ID, c.Fence}})
		e.unchanged("a late write to a lost trace", before)
	})
}

// TestClaim_LargePayloadsAreReadUnderTheClaim: over the bound of one, and over the
// bound of all; the answer says what it does not carry, and nothing is missing.
func TestClaim_LargePayloadsAreReadUnderTheClaim(t *testing.T) {
	each(t, func(e *env) {
		big := `"` + strings.Repeat("b", inlineBytes) + `"`
		full := `"` + strings.Repeat("f", inlineBytes-2) + `"` // exactly the bound
		n := inlineSum/inlineBytes + 5
		e.enqueue("0-big", func(r *lm.Request) { r.Body = json.RawMessage(big) })
		var ops []Operation
		for i := range n {
			ops = append(ops, Operation{ID: lm.TraceID(fmt.Sprintf("0-%d", i)), Request: request(full)})
		}
		e.s.Enqueue(ctx, ops)
		entries := e.read("w1")
		got, err := e.s.Claim(ctx, "w1", time.Minute, entries)
		if err != nil || len(got) != n+1 {
			e.Fatalf("%d %v", len(got), err)
		}
		raw := e.again().([]any)
		inline := 0
		for i, item := range raw {
			v := item.([]any)
			if v[5] != nil {
				inline++
			}
			want := full
			if got[i].Claim.ID == "0-big" {
				want = big
			}
			if carried := v[5] != nil; carried == got[i].Unread.Any() {
				e.Errorf("%s: carried %v, unread %+v", got[i].Claim.ID, carried, got[i].Unread)
			}
			claim, err := e.s.Fetch(ctx, got[i].Claim, got[i].Unread)
			if err != nil || string(claim.Request.Body) != want || got[i].Verdict != ClaimOK {
				e.Errorf("%s: %s, body of %d bytes, %v", claim.ID, got[i].Verdict, len(claim.Request.Body), err)
			}
		}
		if inline != inlineSum/inlineBytes {
			e.Errorf("%d bodies travelled, want %d", inline, inlineSum/inlineBytes)
		}
		// A large checkpoint.
		c := got[0].Claim
		if _, err := e.s.Advance(ctx, c, Advance{Steps: []lm.Step{{Name: "step:x", Data: []byte(big)}}}); err != nil {
			e.Fatal(err)
		}
		must(e, e.s.Release(ctx, c, "drain"))
		again := e.take("w2", e.read("w2")[0], ClaimOK)
		next, err := e.s.Fetch(ctx, again.Claim, again.Unread)
		if err != nil || next.Checkpoint["step:x"] != big || string(next.Request.Body) != big {
			e.Errorf("request of %d bytes, checkpoint of %d, %v", len(next.Request.Body), len(next.Checkpoint["step:x"]), err)
		}
	})
}

// TestFetch_ReadsInPieces: requests and checkpoints of many pieces are whole, whatever
// their lengths, and no reply is longer than a piece or one field.
func TestFetch_ReadsInPieces(t *testing.T) {
	each(t, func(e *env) {
		for i, size := range []int{pieceBytes - 1, pieceBytes, pieceBytes + 1, 3*pieceBytes + 7} {
			id := lm.TraceID(fmt.Sprintf("0-%d", i))
			body := `"` + strings.Repeat("b", size-3) + strconv.Itoa(i) + `"`
			e.enqueue(id, func(r *lm.Request) { r.Body = json.RawMessage(body) })
			first := e.take("w1", e.read("w1")[0], ClaimOK)
			steps := []lm.Step{{Name: "step:empty"}}
			for j := range 9 {
				steps = append(steps, lm.Step{Name: fmt.Sprintf("step:%d", j), Data: []byte(strings.Repeat(strconv.Itoa(j), pieceBytes/3+j))})
			}
			steps = append(steps, lm.Step{Name: "step:long", Data: []byte(strings.Repeat("l", 2*pieceBytes))})
			if _, err := e.s.Advance(ctx, first.Claim, Advance{Steps: steps}); err != nil {
				e.Fatal(err)
			}
			must(e, e.s.Release(ctx, first.Claim, "drain"))
			got := e.take("w1", e.read("w1")[0], ClaimOK)
			if got.Unread.Request != size || len(got.Claim.Request.Body) > 0 || len(got.Claim.Checkpoint) > 0 {
				e.Errorf("unread %+v of %d bytes", got.Unread, size)
			}
			claim, err := e.s.Fetch(ctx, got.Claim, got.Unread)
			if err != nil || string(claim.Request.Body) != body {
				e.Errorf("request of %d bytes, want %d: %v", len(claim.Request.Body), size, err)
			}
			delete(claim.Checkpoint, "checkpoint_ts")
			if len(claim.Checkpoint) != len(steps) {
				e.Errorf("%d fields, want %d", len(claim.Checkpoint), len(steps))
			}
			for _, st := range steps {
				if claim.Checkpoint[st.Name] != string(st.Data) {
					e.Errorf("%s has %d bytes, want %d", st.Name, len(claim.Checkpoint[st.Name]), len(st.Data))
				}
			}
			must(e, e.s.Finish(ctx, claim, succeeded(claim)))
		}
	})
}

// TestFetch_OfWhatIsGone: a request or checkpoint that somebody deleted is empty, one
// that somebody replaced says so.
func TestFetch_OfWhatIsGone(t *testing.T) {
	each(t, func(e *env) {
		e.lax = true
		e.enqueue("0-a", func(r *lm.Request) { r.Body = json.RawMessage(`"` + strings.Repeat("b", inlineBytes) + `"`) })
		got := e.take("w1", e.read("w1")[0], ClaimOK)
		e.rdb.Del(ctx, e.s.keys.request("0-a"))
		got.Unread.Checkpoint = 1
		claim, err := e.s.Fetch(ctx, got.Claim, got.Unread)
		if err != nil || len(claim.Request.Body) != 0 || len(claim.Checkpoint) != 0 {
			e.Errorf("%d bytes, %v", len(claim.Request.Body), err)
		}
		e.rdb.HSet(ctx, e.s.keys.request("0-a"), "a", "b")
		if _, err := e.s.Fetch(ctx, got.Claim, got.Unread); !IsWrongType(err) {
			e.Errorf("replaced: %v", err)
		}
	})
}

func TestClaim_CancelFlagAndCrashLimit(t *testing.T) {
	each(t, func(e *env) {
		e.enqueue("0-a")
		key := e.s.keys.trace("0-a")
		e.rdb.HSet(ctx, key, "cancel_requested", "1", "crashes", 2)
		got := e.take("w1", e.read("w1")[0], ClaimOK)
		if !errors.Is(got.Stop, lm.ErrCancelRequested) || !got.Started || got.Claim.Crashes != 2 {
			e.Errorf("%+v", got)
		}
		must(e, e.s.Release(ctx, got.Claim, "drain"))
		e.rdb.HSet(ctx, key, "crashes", 3)
		got = e.take("w1", e.read("w1")[0], ClaimOK)
		if got.Started {
			e.Error("one with as many crashes as the limit was started at once")
		}
		e.want("0-a", "started", "0")
		// A takeover of what never started counts no crash.
		e.sweep("w2", got.Claim.Fence.Entry, PutBack)
		e.want("0-a", "crashes", "3", "crashes_total", "-")
	})
}

// TestClaim_OneOfManyWorkersWins: ten readers of one stream share its
// operations, none is claimed twice.
func TestClaim_OneOfManyWorkersWins(t *testing.T) {
	each(t, func(e *env) {
		const n = 60
		var ops []Operation
		for i := range n {
			ops = append(ops, Operation{ID: lm.TraceID(fmt.Sprintf("0-%d", i)), Request: request(`1`)})
		}
		e.s.Enqueue(ctx, ops)
		var mu sync.Mutex
		owners := make(map[lm.TraceID]string)
		var wg sync.WaitGroup
		for w := range 10 {
			wg.Go(func() {
				name := fmt.Sprintf("w%d", w)
				for {
					entries, err := e.s.Read(ctx, name, []Share{{Stream: resume, Count: 1}, {Stream: queue, Count: 3}}, 4)
					if err != nil || len(entries) == 0 {
						return
					}
					got, err := e.s.Claim(ctx, name, time.Minute, entries)
					if err != nil {
						e.Error(err)
						return
					}
					mu.Lock()
					for _, c := range got {
						if c.Verdict != ClaimOK || owners[c.Claim.ID] != "" {
							e.Errorf("%s claimed %s: %s, owned by %q", name, c.Claim.ID, c.Verdict, owners[c.Claim.ID])
						}
						owners[c.Claim.ID] = name
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if len(owners) != n {
			e.Errorf("%d claimed", len(owners))
		}
		e.counts(fmt.Sprintf("running:default=%d", n))
	})
}

// TestClaim_OneBadNeighbour: a claim that cannot be read leaves its trace as it
// is, and its neighbours are claimed.
func TestClaim_OneBadNeighbour(t *testing.T) {
	for _, what := range []string{"trace", "request", "checkpoint"} {
		t.Run(what, func(t *testing.T) {
			each(t, func(e *env) {
				e.lax = true
				for _, id := range []lm.TraceID{"0-a", "0-bad", "0-b"} {
					e.enqueue(id)
				}
				e.rdb.HSet(ctx, e.s.keys.trace("0-bad"), "checkpoint_size", 1)
				bad := e.s.keys.of("0-bad", what)
				e.rdb.Del(ctx, bad)
				e.rdb.LPush(ctx, bad, "a list")
				before := e.contents(e.s.keys.trace("0-bad"))
				got, err := e.s.Claim(ctx, "w1", time.Minute, e.read("w1"))
				if err != nil {
					e.Fatal(err)
				}
				if got[0].Verdict != ClaimOK || got[2].Verdict != ClaimOK || got[1].Err == nil {
					e.Errorf("%v %v, bad: %v %v", got[0].Verdict, got[2].Verdict, got[1].Verdict, got[1].Err)
				}
				if after := e.contents(e.s.keys.trace("0-bad")); after != before {
					e.Errorf("the refused one was changed from\n%s\nto\n%s", before, after)
				}
				e.counts("running:default=2 waiting:default=1")
			})
		})
	}
}

// TestRead_BringsNoMoreThanThereIsRoomFor: COUNT is per stream, room is over all.
func TestRead_BringsNoMoreThanThereIsRoomFor(t *testing.T) {
	each(t, func(e *env) {
		other := Stream{Queue: "other"}
		must(e, e.s.EnsureGroups(ctx, []Stream{other}))
		for i := range 10 {
			e.enqueue(lm.TraceID(fmt.Sprintf("0-a%d", i)))
			e.enqueue(lm.TraceID(fmt.Sprintf("0-b%d", i)), func(r *lm.Request) { r.Queue = "other" })
		}
		read := func(room, a, b int) string {
			entries, err := e.s.Read(ctx, "w1", []Share{{Stream: resume, Count: 4}, {Stream: queue, Count: a}, {Stream: other, Count: b}}, room)
			if err != nil {
				e.Fatal(err)
			}
			n := map[Stream]int{}
			for _, x := range entries {
				n[x.Stream]++
				if id, ok := x.Own(); !ok || e.record(id).Queue != x.Stream.Queue {
					e.Errorf("%+v came from the wrong stream", x)
				}
			}
			return fmt.Sprint(n[resume], n[queue], n[other])
		}
		for _, row := range []struct {
			room, a, b int
			want       string
		}{{4, 3, 1, "0 3 1"}, {0, 3, 1, "0 0 0"}, {1, 3, 3, "0 1 0"}, {8, 2, 2, "0 6 2"}, {100, 1, 1, "0 0 7"}, {5, 1, 1, "0 0 0"}} {
			if got := read(row.room, row.a, row.b); got != row.want {
				e.Errorf("room %d, shares %d %d: read %s, want %s", row.room, row.a, row.b, got, row.want)
			}
		}
	})
}

// A queue's limit holds over both of its streams, and its room goes to the others.
func TestRead_KeepsToAQueuesLimit(t *testing.T) {
	each(t, func(e *env) {
		other := Stream{Queue: "other"}
		must(e, e.s.EnsureGroups(ctx, []Stream{other, resume, queue}))
		for _, c := range []lm.Claim{e.claimed("w0", "0-r1"), e.claimed("w0", "0-r2"), e.claimed("w0", "0-r3")} {
			must(e, e.s.Release(ctx, c, "drain"))
		}
		for i := range 20 {
			e.enqueue(lm.TraceID(fmt.Sprintf("0-a%d", i)))
			e.enqueue(lm.TraceID(fmt.Sprintf("0-b%d", i)), func(r *lm.Request) { r.Queue = "other" })
		}
		for _, row := range []struct {
			room, most int
			want       string
		}{{6, 0, "0 0 6"}, {6, 2, "2 0 4"}, {6, 3, "1 2 3"}, {100, 2, "0 2 7"}} {
			entries, err := e.s.ReadWithin(ctx, "w1", []Share{{Stream: resume, Count: row.room}, {Stream: queue, Count: 3}, {Stream: other, Count: 3}}, row.room, map[string]int{"default": row.most})
			must(e, err)
			n := map[Stream]int{}
			for _, x := range entries {
				n[x.Stream]++
			}
			if got := fmt.Sprint(n[resume], n[queue], n[other]); got != row.want {
				e.Errorf("room %d, at most %d of the default queue: read %s, want %s", row.room, row.most, got, row.want)
			}
		}
	})
}

func TestBlock_WaitsShortAndMapsStreams(t *testing.T) {
	each(t, func(e *env) {
		start := time.Now()
		if got, err := e.s.Block("w1", []Stream{resume, queue}, 2, 20*time.Millisecond); err != nil || len(got) != 0 || time.Since(start) > 3*time.Second {
			e.Errorf("nothing there: %v %v after %v", got, err, time.Since(start))
		}
		e.enqueue("0-a")
		got, err := e.s.Block("w1", []Stream{resume, queue}, 2, time.Second)
		if err != nil || len(got) != 1 || got[0].Stream != queue {
			e.Errorf("%v %v", got, err)
		}
	})
}
