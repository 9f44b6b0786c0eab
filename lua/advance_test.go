package lua

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
)

// TestAdvance_All196Pairs plants every state in a claimed trace and asks for
// every other: 32 are accepted, 164 are refused and change nothing.
func TestAdvance_All196Pairs(t *testing.T) {
	each(t, func(e *env) {
		e.lax = true // planted states have no entries and sets that fit
		c := e.claimed("w1", "0-a")
		key := e.s.keys.trace(c.ID)
		accepted, refused := 0, 0
		seq := 0
		for _, from := range lm.States() {
			e.rdb.HSet(ctx, key, "state", from.String())
			before := e.contents(key)
			for _, to := range lm.States() {
				seq++
				f := fenceAt(c, seq, from)
				_, err := e.s.Advance(ctx, withFence(c, f), Advance{Path: []lm.State{to}})
				switch {
				case legal(from, to) && err == nil:
					accepted++
					if got := e.record(c.ID).State; got != to {
						e.Errorf("%s -> %s left %s", from, to, got)
					}
					e.rdb.HSet(ctx, key, "state", from.String())
					before = e.contents(key)
				case !legal(from, to) && errors.Is(err, lm.ErrIllegal):
					refused++
					if !strings.Contains(err.Error(), from.String()) {
						e.Errorf("%s -> %s: %v does not name the state", from, to, err)
					}
					if after := e.contents(key); after != before {
						e.Fatalf("%s -> %s was refused and changed\n%s\nto\n%s", from, to, before, after)
					}
				default:
					e.Errorf("%s -> %s: %v", from, to, err)
				}
			}
		}
		if accepted != 32 || refused != 164 {
			e.Errorf("%d accepted, %d refused, want 32 and 164", accepted, refused)
		}
	})
}

// fenceAt is a claim's fence at a sequence number that is spent next, in a state.
func fenceAt(c lm.Claim, next int, state lm.State) *lm.Fence {
	f := lm.NewFence(c.Fence.Owner, c.Fence.Epoch, c.Fence.Token, c.Fence.Entry, state)
	skip(f, next-1)
	return f
}

// skip spends sequence numbers; gaps are allowed.
func skip(f *lm.Fence, n int) {
	for range n {
		_ = f.Write(func(lm.Attempt) (lm.State, error) { return lm.None, errors.New("spent") })
	}
}

func withFence(c lm.Claim, f *lm.Fence) lm.Claim {
	c.Fence = f
	return c
}

func TestAdvance_UnknownStatesAreRefused(t *testing.T) {
	each(t, func(e *env) {
		e.lax = true
		c := e.claimed("w1", "0-a")
		before := e.snapshot()
		if _, err := e.s.Advance(ctx, c, Advance{Path: []lm.State{lm.State(77)}}); !errors.Is(err, lm.ErrIllegal) {
			e.Errorf("unknown target: %v", err)
		}
		if _, err := e.s.Advance(ctx, c, Advance{Path: []lm.State{lm.Gathering, lm.State(77)}}); !errors.Is(err, lm.ErrIllegal) {
			e.Errorf("unknown target behind a legal one: %v", err)
		}
		e.unchanged("an unknown target", before)
		e.rdb.HSet(ctx, e.s.keys.trace("0-a"), "state", "TELEPORTED")
		before = e.snapshot()
		for what, err := range map[string]error{
			"advance": second(e.s.Advance(ctx, c, Advance{Path: []lm.State{lm.Gathering}})),
			"empty":   second(e.s.Advance(ctx, c, Advance{Steps: []lm.Step{{Name: "a", Data: []byte("b")}}})),
			"finish":  e.s.Finish(ctx, c, failed(c)),
			"retry":   e.s.Retry(ctx, c, aside(0)),
			"release": e.s.Release(ctx, c, "drain"),
		} {
			if !errors.Is(err, lm.ErrIllegal) || !strings.Contains(err.Error(), "TELEPORTED") {
				e.Errorf("%s in an unknown state: %v", what, err)
			}
		}
		e.unchanged("an unknown current state", before)
		taken := e.grab("w2", c.Fence.Entry)
		before = e.snapshot()
		got, err := e.s.Takeover(ctx, "w2", "lease", false, taken)
		if err != nil || got[0] == PutBackLost || got[0] == PutBack {
			e.Errorf("takeover of an unknown state: %v %v; a newer worker's state is not a lost trace", got, err)
		}
		e.unchanged("takeover of an unknown state", before)
	})
}

func second[T any](_ T, err error) error { return err }

func TestAdvance_ExpectedStateMismatchReturnsTheActualOne(t *testing.T) {
	each(t, func(e *env) {
		c := e.in("w1", "0-a", lm.Inferring)
		before := e.snapshot()
		stale := withFence(c, fenceAt(c, 10, lm.Gathering))
		_, err := e.s.Advance(ctx, stale, Advance{Path: []lm.State{lm.Inferring}})
		if !errors.Is(err, lm.ErrIllegal) || !strings.HasSuffix(err.Error(), "in INFERRING") {
			e.Errorf("from a state it is not in: %v", err)
		}
		e.unchanged("a mismatch", before)
		if stale.Fence.State() != lm.Gathering {
			e.Errorf("a refused write moved the fence to %s", stale.Fence.State())
		}
	})
}

// TestAdvance_CheckpointAndStateMoveTogether: steps, their sum and the hop are
// there or none of them, and progress sets the crashes back but not the total.
func TestAdvance_CheckpointAndStateMoveTogether(t *testing.T) {
	each(t, func(e *env) {
		c := e.claimed("w1", "0-a")
		e.rdb.HSet(ctx, e.s.keys.trace(c.ID), "crashes", 2, "crashes_total", 5)
		cp := e.s.keys.checkpoint(c.ID)
		steps := []lm.Step{{Name: "step:gather", Data: []byte("abc")}, {Name: "schema_version", Data: []byte("1")}}
		if _, err := e.s.Advance(ctx, c, Advance{Path: []lm.State{lm.Gathering, lm.Inferring}, Steps: steps}); err != nil {
			e.Fatal(err)
		}
		e.want(c.ID, "state", "INFERRING", "seq", "1", "crashes", "0", "crashes_total", "5", "checkpoint_size", "29", "hn", "3")
		m := e.rdb.HGetAll(ctx, cp).Val()
		if m["step:gather"] != "abc" || m["schema_version"] != "1" || m["checkpoint_ts"] == "" || len(m) != 3 {
			e.Errorf("checkpoint: %v", m)
		}
		before := e.snapshot()
		if _, err := e.s.Advance(ctx, c, Advance{Path: []lm.State{lm.Delivered}, Steps: []lm.Step{{Name: "x", Data: []byte("y")}}}); !errors.Is(err, lm.ErrIllegal) {
			e.Errorf("illegal with steps: %v", err)
		}
		e.unchanged("an illegal hop with a checkpoint", before)

		// A checkpoint alone, and one that drops what was stored.
		if _, err := e.s.Advance(ctx, c, Advance{Steps: []lm.Step{{Name: "step:tool", Data: []byte("d")}}}); err != nil {
			e.Fatal(err)
		}
		e.want(c.ID, "state", "INFERRING", "hn", "3", "checkpoint_size", "39")
		if n := e.rdb.HLen(ctx, cp).Val(); n != 4 {
			e.Errorf("%d fields", n)
		}
		if _, err := e.s.Advance(ctx, c, Advance{Steps: []lm.Step{{Name: "!reset"}, {Name: "n", Data: []byte("1")}}}); err != nil {
			e.Fatal(err)
		}
		if m := e.rdb.HGetAll(ctx, cp).Val(); m["n"] != "1" || len(m) != 2 {
			e.Errorf("after reset: %v", m)
		}
		e.want(c.ID, "checkpoint_size", "2")
		if _, err := e.s.Advance(ctx, c, Advance{Steps: []lm.Step{{Name: "!reset"}}}); err != nil {
			e.Fatal(err)
		}
		if n := e.rdb.Exists(ctx, cp).Val(); n != 0 {
			e.Error("a reset alone leaves a checkpoint")
		}
		e.want(c.ID, "checkpoint_size", "0")
		// A hop without steps keeps the crash count: nothing was saved.
		e.rdb.HSet(ctx, e.s.keys.trace(c.ID), "crashes", 1)
		e.advance(c, lm.ToolExecuting)
		e.want(c.ID, "crashes", "1")
	})
}

func TestAdvance_CancelIsSeenAndStartIsWritten(t *testing.T) {
	each(t, func(e *env) {
		c := e.claimed("w1", "0-a")
		e.rdb.HSet(ctx, e.s.keys.trace(c.ID), "started", "0", "cancel_requested", "1")
		stop, err := e.s.Advance(ctx, c, Advance{Path: []lm.State{lm.Gathering}, Start: true})
		if err != nil || !errors.Is(stop, lm.ErrCancelRequested) {
			e.Errorf("stop %v, %v", stop, err)
		}
		e.want(c.ID, "started", "1", "state", "PRE_INFERENCE_GATHER")
	})
}

// TestFence_EveryWriteOfAStaleClaimChangesNothing: wrong owner, epoch or token,
// or an older sequence number, through every write that a claim makes.
func TestFence_EveryWriteOfAStaleClaimChangesNothing(t *testing.T) {
	writes := map[string]func(s *Store, c lm.Claim) error{
		"advance": func(s *Store, c lm.Claim) error {
			return second(s.Advance(ctx, c, Advance{Path: []lm.State{lm.ToolExecuting}}))
		},
		"advance an empty path": func(s *Store, c lm.Claim) error { return second(s.Advance(ctx, c, Advance{})) },
		"advance and checkpoint": func(s *Store, c lm.Claim) error {
			return second(s.Advance(ctx, c, Advance{Path: []lm.State{lm.ToolExecuting}, Steps: []lm.Step{{Name: "a", Data: []byte("b")}}}))
		},
		"frame": func(s *Store, c lm.Claim) error {
			return s.Frames(ctx, c, []lm.Frame{{Seq: 99, Type: lm.FrameToken, Data: "x"}})
		},
		"retry":   func(s *Store, c lm.Claim) error { return s.Retry(ctx, c, aside(0)) },
		"release": func(s *Store, c lm.Claim) error { return s.Release(ctx, c, "drain") },
		"finish":  func(s *Store, c lm.Claim) error { return s.Finish(ctx, c, succeeded(c)) },
		"failed":  func(s *Store, c lm.Claim) error { return s.Finish(ctx, c, failed(c)) },
		"heartbeat": func(s *Store, c lm.Claim) error {
			beats, err := s.Heartbeat(ctx, 0, c.Fence.Owner, []Renewal{{c.ID, c.Fence}})
			if err == nil && beats[0] == BeatLost {
				return lm.ErrFenced
			}
			return err
		},
	}
	each(t, func(e *env) {
		c := e.in("w1", "0-a", lm.Inferring)
		if err := e.s.Frames(ctx, c, []lm.Frame{{Seq: 1, Type: lm.FrameToken, Data: "hello"}}); err != nil {
			e.Fatal(err)
		}
		before := e.snapshot()
		f := c.Fence
		for stale, fence := range map[string]*lm.Fence{
			"another owner":   lm.NewFence("w2", f.Epoch, f.Token, f.Entry, lm.Inferring),
			"an older epoch":  lm.NewFence(f.Owner, f.Epoch-1, f.Token, f.Entry, lm.Inferring),
			"a newer epoch":   lm.NewFence(f.Owner, f.Epoch+1, f.Token, f.Entry, lm.Inferring),
			"another token":   lm.NewFence(f.Owner, f.Epoch, "AAAAAAAAAAAAAAAA", f.Entry, lm.Inferring),
			"an empty token":  lm.NewFence(f.Owner, f.Epoch, "", f.Entry, lm.Inferring),
			"an empty owner":  lm.NewFence("", f.Epoch, f.Token, f.Entry, lm.Inferring),
			"another's claim": lm.NewFence("w2", f.Epoch+5, "BBBBBBBBBBBBBBBB", f.Entry, lm.Inferring),
		} {
			for what, write := range writes {
				skip(fence, 20)
				if err := write(e.s, withFence(c, fence)); !errors.Is(err, lm.ErrFenced) {
					e.Errorf("%s with %s: %v, want fenced", what, stale, err)
				}
				if d := difference(before, e.snapshot()); d != "" {
					e.Fatalf("%s with %s changed\n%s", what, stale, d)
				}
			}
		}
		// The claim itself, but later than a newer write of its own.
		e.advance(c, lm.ToolExecuting, lm.Inferring)
		e.advance(c)
		e.advance(c)
		before = e.snapshot()
		for what, write := range writes {
			if what == "frame" || what == "heartbeat" {
				continue // no sequence, or one of their own
			}
			late := lm.NewFence(f.Owner, f.Epoch, f.Token, f.Entry, lm.Inferring)
			skip(late, 1)
			if err := write(e.s, withFence(c, late)); !errors.Is(err, lm.ErrFenced) {
				e.Errorf("%s overtaken by a later write: %v, want fenced", what, err)
			}
			if d := difference(before, e.snapshot()); d != "" {
				e.Fatalf("%s overtaken changed\n%s", what, d)
			}
		}
		e.finish(c)
	})
}

// TestFence_EndedClaimChangesNothing: after its end in each way, no write of the
// claim goes through, and a terminal trace keeps its lifetime (PARITY 8, 29).
func TestFence_EndedClaimChangesNothing(t *testing.T) {
	ends := map[string]func(e *env, c lm.Claim){
		"finish":  func(e *env, c lm.Claim) { e.finish(c) },
		"failed":  func(e *env, c lm.Claim) { must(e, e.s.Finish(ctx, c, failed(c))) },
		"retry":   func(e *env, c lm.Claim) { must(e, e.s.Retry(ctx, c, aside(time.Hour))) },
		"release": func(e *env, c lm.Claim) { must(e, e.s.Release(ctx, c, "drain")) },
		"sweep":   func(e *env, c lm.Claim) { e.sweep("w2", c.Fence.Entry, PutBack) },
		"reclaim": func(e *env, c lm.Claim) { e.sweep("w2", c.Fence.Entry, PutBack); e.claimNext("w2") },
	}
	each(t, func(e *env) {
		for how, end := range ends {
			id := lm.TraceID("0-" + how)
			c := e.in("w1", id, lm.Inferring)
			old := lm.NewFence(c.Fence.Owner, c.Fence.Epoch, c.Fence.Token, c.Fence.Entry, lm.Inferring)
			skip(old, 30)
			end(e, c)
			before := e.snapshot()
			late := withFence(c, old)
			for what, err := range map[string]error{
				"advance": second(e.s.Advance(ctx, late, Advance{Path: []lm.State{lm.ToolExecuting}})),
				"steps":   second(e.s.Advance(ctx, late, Advance{Steps: []lm.Step{{Name: "a", Data: []byte("b")}}})),
				"frame":   e.s.Frames(ctx, late, []lm.Frame{{Seq: 9, Type: lm.FrameToken, Data: "x"}}),
				"retry":   e.s.Retry(ctx, late, aside(0)),
				"release": e.s.Release(ctx, late, "drain"),
				"finish":  e.s.Finish(ctx, late, succeeded(late)),
			} {
				if !errors.Is(err, lm.ErrFenced) {
					e.Errorf("%s after %s: %v", what, how, err)
				}
			}
			if beats, err := e.s.Heartbeat(ctx, 0, "w1", []Renewal{{id, old}}); err != nil || beats[0] != BeatLost {
				e.Errorf("heartbeat after %s: %v %v", how, beats, err)
			}
			e.unchanged("a late write after "+how, before)
			for _, entry := range e.read("w9") { // leave nothing to read for the next round
				e.take("w9", entry, ClaimOK)
			}
		}
	})
}

func must(e *env, err error) {
	e.Helper()
	if err != nil {
		e.Fatal(err)
	}
}

// TestScripts_MissingTraceMakesNoKey: every script, of an operation that is not
// there (PARITY 4, 43).
func TestScripts_MissingTraceMakesNoKey(t *testing.T) {
	each(t, func(e *env) {
		before := e.snapshot()
		c := lm.Claim{ID: "0-ghost", Request: *request(`{}`), Fence: lm.NewFence("w1", 5, "CCCCCCCCCCCCCCCC", "stream:default/5-5", lm.Claimed)}
		for what, err := range map[string]error{
			"advance": second(e.s.Advance(ctx, c, Advance{Path: []lm.State{lm.Gathering}})),
			"steps":   second(e.s.Advance(ctx, c, Advance{Steps: []lm.Step{{Name: "a", Data: []byte("b")}}})),
			"frame":   e.s.Frames(ctx, c, []lm.Frame{{Seq: 1, Type: lm.FrameToken, Data: "x"}}),
			"retry":   e.s.Retry(ctx, c, aside(0)),
			"release": e.s.Release(ctx, c, "drain"),
			"finish":  e.s.Finish(ctx, c, failed(c)),
			"trace":   second(e.s.Trace(ctx, c.ID)),
		} {
			if !errors.Is(err, lm.ErrNotFound) {
				e.Errorf("%s: %v, want not found", what, err)
			}
		}
		if beats, err := e.s.Heartbeat(ctx, 0, "w1", []Renewal{{c.ID, c.Fence}}); err != nil || beats[0] != BeatLost {
			e.Errorf("heartbeat: %v %v", beats, err)
		}
		if n, err := e.s.Promote(ctx, 0, []lm.TraceID{c.ID}); err != nil || n != 0 {
			e.Errorf("promote: %d %v", n, err)
		}
		ghost := Entry{Stream: queue, ID: "5-5", Fields: []string{"t", "0-ghost"}}
		e.take("w1", ghost, ClaimSkip)
		e.takeover("w1", false, []Taken{{Entry: ghost}}, PutBackSkip)
		if a, err := e.s.Adopt(ctx, "w1", []Entry{{Stream: queue, ID: "5-5", Fields: []string{"body", "{}"}}}); err != nil || a[0] != AdoptedGone {
			e.Errorf("adopt: %v %v", a, err)
		}
		if r, err := e.s.Results(ctx, []lm.TraceID{c.ID}); err != nil || r[0].Outcome != "" {
			e.Errorf("result: %+v %v", r, err)
		}
		e.unchanged("a script of a missing trace", before)
	})
}

// TestRace_OneTransitionWins: goroutines with the same claim ask for the same
// hop; one is recorded, the others are refused (PARITY 6).
func TestRace_OneTransitionWins(t *testing.T) {
	each(t, func(e *env) {
		c := e.claimed("w1", "0-a")
		const n = 16
		errs := make([]error, n)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				_, errs[i] = e.s.Advance(ctx, withFence(c, fenceAt(c, i+1, lm.Claimed)), Advance{Path: []lm.State{lm.Gathering}})
			})
		}
		wg.Wait()
		won := 0
		for _, err := range errs {
			switch {
			case err == nil:
				won++
			case !errors.Is(err, lm.ErrIllegal) && !errors.Is(err, lm.ErrFenced):
				e.Error(err)
			}
		}
		if won != 1 {
			e.Errorf("%d won", won)
		}
		e.want(c.ID, "state", "PRE_INFERENCE_GATHER", "hn", "3")
	})
}

// TestRace_OneEndWins: finish, retry and release race; one of them ends
// the claim, and the counts agree with it.
func TestRace_OneEndWins(t *testing.T) {
	each(t, func(e *env) {
		for i := range 20 {
			id := lm.TraceID(fmt.Sprintf("0-%d", i))
			c := e.in("w1", id, lm.Inferring)
			fences := make([]lm.Claim, 3)
			for j := range fences {
				fences[j] = withFence(c, fenceAt(c, 10+j, lm.Inferring))
			}
			errs := make([]error, 3)
			var wg sync.WaitGroup
			wg.Go(func() { errs[0] = e.s.Finish(ctx, fences[0], succeeded(fences[0])) })
			wg.Go(func() { errs[1] = e.s.Retry(ctx, fences[1], aside(time.Hour)) })
			wg.Go(func() { errs[2] = e.s.Release(ctx, fences[2], "drain") })
			wg.Wait()
			won := 0
			for _, err := range errs {
				if err == nil {
					won++
				} else if !errors.Is(err, lm.ErrFenced) {
					e.Error(err)
				}
			}
			tr := e.record(id)
			if won != 1 || (errs[0] == nil) != (tr.State == lm.Completed) || (errs[1] == nil) != (tr.State == lm.Retrying) || (errs[2] == nil) != (tr.State == lm.Reclaimed) {
				e.Errorf("%d won: %v, trace %s", won, errs, tr.State)
			}
			for _, entry := range e.read("w9") {
				e.take("w9", entry, ClaimOK)
			}
		}
	})
}

// TestMeta_CannotNameAFieldOfOurs (PARITY 7).
func TestMeta_CannotNameAFieldOfOurs(t *testing.T) {
	ours := []string{"state", "epoch", "owner", "token", "seq", "entry", "hn", "h1", "created", "size", "started", "attempts",
		"crashes", "outcome", "unique", "reply", "queue", "request_hash", "cancel_requested", "checkpoint_size", "deadline", "x_state"}
	each(t, func(e *env) {
		meta := make(map[string]string)
		for _, f := range ours {
			meta[f] = "0-evil"
		}
		e.enqueue("0-plain")
		plain := e.trace("0-plain")
		e.enqueue("0-a", func(r *lm.Request) { r.Meta = meta })
		got := e.trace("0-a")
		for field, value := range plain {
			switch field {
			case "entry", "created", "h1":
				if got[field] == "0-evil" {
					e.Errorf("%s was overwritten", field)
				}
			default:
				if got[field] != value {
					e.Errorf("%s is %q, without meta %q", field, got[field], value)
				}
			}
		}
		for field := range got {
			if _, in := plain[field]; !in && !strings.HasPrefix(field, metaPrefix) {
				e.Errorf("meta made the field %s", field)
			}
		}
		for _, entry := range e.read("w1") {
			claimed := e.take("w1", entry, ClaimOK)
			if claimed.Claim.ID == "0-a" && claimed.Claim.Request.Meta["owner"] != "0-evil" {
				e.Errorf("meta was lost: %v", claimed.Claim.Request.Meta)
			}
			if claimed.Claim.Attempts != 0 || claimed.Stop != nil || claimed.Claim.KeyHash != "" {
				e.Errorf("meta reached the claim: %+v", claimed)
			}
			e.finish(claimed.Claim)
		}
		// A checkpoint cannot either: its fields are another key's.
		d := e.claimed("w1", "0-b")
		if _, err := e.s.Advance(ctx, d, Advance{Steps: []lm.Step{{Name: "state", Data: []byte("COMPLETED")}, {Name: "owner", Data: []byte("w2")}}}); err != nil {
			e.Fatal(err)
		}
		e.want("0-b", "state", "CLAIMED", "owner", "w1")
	})
}

// TestHistory_KeepsTheLast64Hops: a long tool loop, read back in order, with
// what each hop says of itself (PARITY 11).
func TestHistory_KeepsTheLast64Hops(t *testing.T) {
	each(t, func(e *env) {
		c := e.in("w1", "0-a", lm.Inferring) // RQ, C, GI
		h := e.record("0-a").History
		if len(h) != 3 || len(h[0].Path) != 2 || h[1].Worker != "w1" || h[1].Epoch != c.Fence.Epoch || h[2].Path[1] != lm.Inferring {
			e.Errorf("history: %+v", h)
		}
		for range 50 {
			e.advance(c, lm.ToolExecuting)
			e.advance(c, lm.Inferring)
		}
		e.want("0-a", "hn", "103")
		h = e.record("0-a").History
		if len(h) != hopsKept {
			e.Fatalf("%d hops", len(h))
		}
		for i, hop := range h {
			want := lm.Inferring
			if i%2 == 0 {
				want = lm.ToolExecuting
			}
			if len(hop.Path) != 1 || hop.Path[0] != want {
				e.Fatalf("hop %d is %+v, want %s", i, hop, want)
			}
			if i > 0 && hop.At.Before(h[i-1].At) {
				e.Fatalf("hop %d is before the one before", i)
			}
		}
		if n := e.rdb.HLen(ctx, e.s.keys.trace("0-a")).Val(); n > 64+30 {
			e.Errorf("the trace has %d fields", n)
		}
		must(e, e.s.Retry(ctx, c, Aside{Path: []lm.State{lm.Errored, lm.Retrying}, Counted: CountAttempt, Reason: "rate_limited"}))
		h = e.record("0-a").History
		if last := h[len(h)-1]; last.Reason != "rate_limited" || len(last.Path) != 2 || last.Took <= 0 {
			e.Errorf("last hop: %+v", last)
		}
	})
}

// TestScriptFlush_NothingNotices: scripts are dropped before every call, also in
// the middle of a pipeline of many (PARITY 9).
func TestScriptFlush_NothingNotices(t *testing.T) {
	each(t, func(e *env) {
		flush := e.flushScripts
		for i := range 5 {
			id := lm.TraceID(fmt.Sprintf("0-%d", i))
			flush()
			e.enqueue(id)
			flush()
			entries := e.read("w1")
			flush()
			c := e.take("w1", entries[0], ClaimOK).Claim
			for n := range 4 {
				flush()
				path := []lm.State{lm.Gathering, lm.Inferring}
				if n > 0 {
					path = []lm.State{lm.ToolExecuting, lm.Inferring}
				}
				step := lm.Step{Name: fmt.Sprintf("step:%d", n), Data: bytes.Repeat([]byte("x"), n)}
				if _, err := e.s.Advance(ctx, c, Advance{Path: path, Steps: []lm.Step{step}}); err != nil {
					e.Fatal(err)
				}
				if got := e.rdb.HLen(ctx, e.s.keys.checkpoint(id)).Val(); got != int64(n+2) {
					e.Errorf("%d checkpoint fields after %d steps", got, n+1)
				}
				e.want(id, "seq", fmt.Sprint(n+1), "hn", fmt.Sprint(n+3))
			}
			flush()
			must(e, e.s.Frames(ctx, c, []lm.Frame{{Seq: 1, Type: lm.FrameToken, Data: "x"}}))
			flush()
			if b, err := e.s.Heartbeat(ctx, 0, "w1", []Renewal{{id, c.Fence}}); err != nil || b[0] != BeatFollowed {
				e.Errorf("beat: %v %v", b, err)
			}
			flush()
			must(e, e.s.Retry(ctx, c, aside(0)))
			flush()
			if n, err := e.s.Promote(ctx, 0, []lm.TraceID{id}); err != nil || n != 1 {
				e.Fatalf("promote %d %v", n, err)
			}
			flush()
			c = e.claimNext("w1")
			flush()
			e.sweep("w2", c.Fence.Entry, PutBack)
			flush()
			c = e.claimNext("w2")
			flush()
			must(e, e.s.Finish(ctx, c, failed(c)))
			flush()
			if _, err := e.s.Tick(ctx, 0, time.Millisecond, time.Second, []Stream{queue}); err != nil {
				e.Error(err)
			}
		}
		e.counts("failed=5")
	})
}

// TestAdvance_LinesOfStepsAreARingInTheTrace: of any number the newest 32 stay, each of
// at most 64 bytes; none is in the checkpoint, and a line alone is no progress.
func TestAdvance_LinesOfStepsAreARingInTheTrace(t *testing.T) {
	each(t, func(e *env) {
		c := e.in("w1", "0-a", lm.Inferring)
		line := func(name string) lm.Step {
			return lm.StepLine{Kind: lm.ToolStep, Name: name, Outcome: lm.StepOK, Took: lm.Seconds(time.Hour)}.Field()
		}
		e.rdb.HSet(ctx, e.s.keys.trace(c.ID), "crashes", 2)
		if _, err := e.s.Advance(ctx, c, Advance{Steps: []lm.Step{line("alone")}}); err != nil {
			e.Fatal(err)
		}
		e.want(c.ID, "crashes", "2", "checkpoint_size", "-", "sn", "1", "state", "INFERRING")
		if n := e.rdb.Exists(ctx, e.s.keys.checkpoint(c.ID)).Val(); n != 0 {
			e.Error("a line alone made a checkpoint")
		}
		steps := []lm.Step{line("first"), {Name: "!reset"}, {Name: "n", Data: []byte("1")}, line("second")}
		if _, err := e.s.Advance(ctx, c, Advance{Path: []lm.State{lm.ToolExecuting}, Steps: steps}); err != nil {
			e.Fatal(err)
		}
		e.want(c.ID, "crashes", "0", "checkpoint_size", "2", "sn", "3", "state", "TOOL_EXECUTING")
		if m := e.rdb.HGetAll(ctx, e.s.keys.checkpoint(c.ID)).Val(); m["n"] != "1" || len(m) != 2 {
			e.Errorf("checkpoint: %v", m)
		}
		for i := range 40 {
			if _, err := e.s.Advance(ctx, c, Advance{Steps: []lm.Step{line(fmt.Sprintf("%d %s", i, strings.Repeat("x", 100)))}}); err != nil {
				e.Fatal(err)
			}
		}
		got := e.record(c.ID).Steps
		if len(got) != linesKept || !strings.HasPrefix(got[0].Name, "8 xxx") || !strings.HasPrefix(got[31].Name, "39 xxx") || got[31].Took.Std() != time.Hour {
			e.Errorf("%d lines: %+v", len(got), got)
		}
		for field, value := range e.trace(c.ID) {
			if len(value) > 64 {
				e.Errorf("%s has %d bytes", field, len(value))
			}
		}
		if enc := e.rdb.ObjectEncoding(ctx, e.s.keys.trace(c.ID)).Val(); e.kind == "redis" && enc != "listpack" {
			e.Errorf("the trace is a %s", enc)
		}
		// An older claim tells nothing.
		before := e.snapshot()
		stale := withFence(c, lm.NewFence("w2", c.Fence.Epoch, c.Fence.Token, c.Fence.Entry, lm.ToolExecuting))
		if _, err := e.s.Advance(ctx, stale, Advance{Steps: []lm.Step{line("late")}}); !errors.Is(err, lm.ErrFenced) {
			e.Errorf("a stale claim's line: %v", err)
		}
		e.unchanged("a stale claim's line", before)
	})
}
