package consumer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	lm "github.com/lighterman/lighterman"
	"github.com/lighterman/lighterman/lua"
)

func TestWheel_DealsByWeight(t *testing.T) {
	queues := []Queue{{Name: "interactive", Weight: 6}, {Name: "default", Weight: 3}, {Name: "batch", Weight: 1}}
	w := newWheel(queues)
	if got := w.spin(100, []int{100, 100, 100}); !cmp.Equal(got, []int{60, 30, 10}) {
		t.Errorf("100 reads at once: %v, want 60 30 10", got)
	}
	order := ""
	for range 10 {
		for i, n := range w.spin(1, []int{1, 1, 1}) {
			order += strings.Repeat(queues[i].Name[:1], n)
		}
	}
	if order != "idiibidiid" && (strings.Count(order, "i") != 6 || strings.Count(order, "d") != 3 || strings.Contains(order, "iii")) {
		t.Errorf("single reads: %s, want 6 i and 3 d, never three alike in a row", order)
	}
	if got := newWheel([]Queue{{Name: "a"}, {Name: "b", Weight: -1}}).spin(4, []int{4, 4}); !cmp.Equal(got, []int{2, 2}) {
		t.Errorf("weights under 1: %v, want 2 2", got)
	}
}

func TestSlots_NeverMoreThanThereAre(t *testing.T) {
	s := newSlots(3)
	if got := []int{s.take(2), s.take(2), s.take(1)}; !cmp.Equal(got, []int{2, 1, 0}) {
		t.Errorf("took %v of 3, want 2 1 0", got)
	}
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(1)
		s.take(1)
		free := make(chan int)
		go func() { free <- s.wait(t.Context()) }()
		synctest.Wait()
		select {
		case n := <-free:
			t.Fatalf("wait found %d free slots", n)
		default:
		}
		s.give(1)
		if n := <-free; n != 1 {
			t.Errorf("wait found %d, want 1", n)
		}
		ended, end := context.WithCancel(t.Context())
		end()
		if n := s.wait(ended); n != 0 {
			t.Errorf("wait after the end: %d, want 0", n)
		}
	})
}

func TestGate_AsksBackWhatWasHandedOut(t *testing.T) {
	g := newGate()
	first := g.wanted()
	if !g.shut() || g.shut() || g.isOpen() {
		t.Error("shut must succeed once and leave the gate shut")
	}
	if !closed(first) || !closed(g.wanted()) {
		t.Error("claims of before and of while it is shut must be asked back")
	}
	g.open()
	if !g.isOpen() || closed(g.wanted()) || closed(g.left) {
		t.Error("an open gate asks nothing back")
	}
	g.drain()
	g.open()
	g.drain()
	if g.isOpen() || !closed(g.wanted()) || !closed(g.left) {
		t.Error("a drain shuts for good")
	}
	ended, end := context.WithCancel(ctx)
	end()
	if g.pass(ended) {
		t.Error("passed a shut gate")
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestContact_SitsOutOneLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newContact(10 * time.Second)
		after := func(d time.Duration, what string, want bool) {
			t.Helper()
			time.Sleep(d)
			if c.mayTakeOver() != want {
				t.Errorf("%s: may take over %v, want %v", what, !want, want)
			}
		}
		after(0, "at the start", true)
		c.note(errors.New("WRONGTYPE"))
		after(0, "an error that is no lost contact", true)
		c.note(io.EOF)
		after(time.Minute, "while contact is lost", false)
		c.note(nil)
		after(9*time.Second, "within a lease of the return", false)
		after(2*time.Second, "a lease after the return", true)
		c.late(5 * time.Second)
		c.note(nil)
		after(0, "an answer half a lease late", true)
		c.late(6 * time.Second)
		c.note(nil)
		after(9*time.Second, "an answer over half a lease late: Redis stood still", false)
		after(2*time.Second, "a lease after that", true)
	})
}

func TestDecide(t *testing.T) {
	opts := Options{MaxAttempts: 5}.withDefaults()
	plain := errors.New("socket closed")
	for _, c := range []struct {
		name  string
		claim lm.Claim
		err   error
		want  string // verb, outcome or what is counted, reason
	}{
		{"success", lm.Claim{}, nil, "succeeded succeeded "},
		{"fenced", lm.Claim{}, fmt.Errorf("advance: %w", lm.ErrFenced), "drop fenced"},
		{"cause fenced", lm.Claim{}, errors.Join(lm.ErrFenced, context.Canceled), "drop fenced"},
		{"another operation is not found", lm.Claim{}, fmt.Errorf("status: %w", lm.ErrNotFound), "retry attempts handler"},
		{"lease ended", lm.Claim{}, errors.Join(ErrLeaseEnded, lm.Permanent(plain)), "putback contact"},
		{"redis away", lm.Claim{}, fmt.Errorf("advance: %w", lm.ErrUnavailable), "putback contact"},
		{"drained", lm.Claim{}, errors.Join(ErrDrained, plain), "putback drain"},
		{"hand over", lm.Claim{Attempts: 99}, lm.ErrHandOver, "putback drain"},
		{"cancelled", lm.Claim{}, errors.Join(lm.ErrCancelRequested, plain), "failed cancelled cancel_requested"},
		{"parked", lm.Claim{Attempts: 99}, lm.Park(time.Now().Add(time.Hour), "all models cold"), "retry  all models cold"},
		{"parked, wrapped", lm.Claim{}, fmt.Errorf("call: %w", lm.Park(time.Now(), "x")), "retry  x"},
		{"transient", lm.Claim{}, plain, "retry attempts handler"},
		{"transient of a kind", lm.Claim{}, lm.Errorf(lm.Overloaded, "529"), "retry attempts overloaded"},
		{"panic", lm.Claim{}, lm.Errorf(lm.HandlerPanicked, "boom"), "retry attempts panic"},
		{"timeout", lm.Claim{}, lm.Errorf(lm.TimedOut, "slow"), "retry attempts timeout"},
		{"fourth try", lm.Claim{Attempts: 3}, plain, "retry attempts handler"},
		{"fifth try", lm.Claim{Attempts: 4}, plain, "failed failed attempts_used_up"},
		{"permanent", lm.Claim{}, lm.Permanent(plain), "failed failed permanent"},
		{"permanent, wrapped", lm.Claim{}, fmt.Errorf("call: %w", lm.Errorf(lm.InvalidRequest, "no")), "failed failed invalid_request"},
		{"unknown kind, first time", lm.Claim{}, lm.Errorf(lm.UnknownKind, "x"), "retry schema_waits unknown_kind"},
		{"unknown kind, tenth time", lm.Claim{SchemaWaits: 9, Attempts: 99}, lm.Errorf(lm.UnknownKind, "x"), "retry schema_waits unknown_kind"},
		{"unknown kind, then", lm.Claim{SchemaWaits: 10}, lm.Errorf(lm.UnknownKind, "x"), "failed failed unknown_kind"},
		{"newer schema", lm.Claim{Attempts: 99}, lm.Errorf(lm.SchemaTooNew, "9"), "retry schema_waits schema_too_new"},
	} {
		d := decide(c.claim, c.err, false, opts)
		second := string(d.outcome)
		if d.kind == retry {
			second = string(d.counted)
		}
		got := fmt.Sprintf("%s %s %s", d.kind, second, d.reason)
		if d.kind == putBack || d.kind == drop {
			got = fmt.Sprintf("%s %s", d.kind, d.reason)
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if (d.failure != nil) != (d.kind == finishFailed) {
			t.Errorf("%s: failure %v", c.name, d.failure)
		}
	}
}

func TestDecide_Delays(t *testing.T) {
	opts := Options{}.withDefaults()
	for attempts, bound := range []time.Duration{500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second} {
		var least, most time.Duration = time.Hour, 0
		for range 2000 {
			d := decide(lm.Claim{Attempts: attempts}, errors.New("x"), false, opts).delay
			least, most = min(least, d), max(most, d)
		}
		if most > bound || most < bound*95/100 || least > bound*5/100 {
			t.Errorf("after %d failed tries: delays %s to %s, want 0 to %s (full jitter)", attempts+1, least, most, bound)
		}
	}
	if d := decide(lm.Claim{}, lm.RetryAfter(90*time.Second, errors.New("429")), false, opts).delay; d != 90*time.Second {
		t.Errorf("Retry-After 90 s: %s", d)
	}
	if d := decide(lm.Claim{}, fmt.Errorf("call: %w", lm.RetryAfter(time.Millisecond, lm.Errorf(lm.RateLimited, "x"))), false, opts).delay; d < time.Millisecond || d > 500*time.Millisecond {
		t.Errorf("Retry-After 1 ms is a floor only: %s", d)
	}
	if d := decide(lm.Claim{}, lm.Park(time.Now().Add(time.Hour), "x"), false, opts).delay; d < 59*time.Minute || d > time.Hour {
		t.Errorf("parked for an hour: %s", d)
	}
	if d := decide(lm.Claim{}, lm.Park(time.Now().Add(-time.Hour), "x"), false, opts).delay; d != 0 {
		t.Errorf("parked until an hour ago: %s", d)
	}
	for waits, want := range []time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second} {
		if d := decide(lm.Claim{SchemaWaits: waits}, lm.Errorf(lm.UnknownKind, "x"), false, opts).delay; d != want {
			t.Errorf("wait %d for a newer worker: %s, want %s", waits, d, want)
		}
	}
}

func TestBackoff_DoublesUpToItsCap(t *testing.T) {
	b := Backoff{First: 500 * time.Millisecond, Cap: 60 * time.Second}
	var got []time.Duration
	for failed := range 11 {
		got = append(got, b.bound(failed))
	}
	s := time.Second
	if want := []time.Duration{s / 2, s / 2, s, 2 * s, 4 * s, 8 * s, 16 * s, 32 * s, 60 * s, 60 * s, 60 * s}; !cmp.Equal(got, want) {
		t.Errorf("bounds %v, want %v", got, want)
	}
	if d := b.bound(10_000); d != time.Minute {
		t.Errorf("after 10,000 tries %s: an overflow", d)
	}
	if d := b.delay(1, time.Hour); d != time.Hour {
		t.Errorf("floor of an hour: %s", d)
	}
	if (Backoff{}).withDefaults() != (Backoff{First: 500 * time.Millisecond, Cap: time.Minute}) {
		t.Error("defaults")
	}
}

func TestOptions_Defaults(t *testing.T) {
	o := Options{}.withDefaults()
	if o.Lease != 10*time.Second || o.Beat != o.Lease/4 || o.Tick != time.Second || o.DrainTimeout != 25*time.Second || o.MaxAttempts != 5 || o.Concurrency != 64 || o.Timeout != 10*time.Minute {
		t.Errorf("%+v", o)
	}
	if !cmp.Equal(o.Queues, []Queue{{Name: "interactive", Weight: 6}, {Name: "default", Weight: 3}, {Name: "batch", Weight: 1}}) {
		t.Errorf("queues %v", o.Queues)
	}
}

func TestFleetSize_LargeFleetAsksAboutAsOftenAsFour(t *testing.T) {
	for n, want := range map[int64]time.Duration{0: time.Second, 1: time.Second, 4: time.Second, 7: 1750 * time.Millisecond, 8: 2 * time.Second, 500: 125 * time.Second} {
		var f, announced fleetSize
		f.n.Store(n)
		announced.roster.Store(n)
		if got := f.stretch(time.Second); got != want || announced.stretch(time.Second) != want {
			t.Errorf("%d workers: %s between turns, %s where they have announced themselves, want %s", n, got, announced.stretch(time.Second), want)
		}
	}
}

// A reader that finds no slot, because another partition's was faster, asks Redis
// for nothing (here there is none) and takes that for no sign of life.
func TestReader_WithoutASlotReadsNothing(t *testing.T) {
	c := New(lua.NewStore(nil, nil, lua.Options{}), nil, Options{Concurrency: 1})
	c.slots.take(1)
	c.contacts.fleet.note(lm.ErrUnavailable)
	r := &reader{c: c, wheel: newWheel(c.opts.Queues), backlog: true}
	entries, surplus, err := r.next(reach{streams: []lua.Stream{{Queue: "default"}}}, 1)
	if len(entries) != 0 || len(surplus) != 0 || err != nil || !r.backlog {
		t.Errorf("%v, %v, %v", entries, surplus, err)
	}
	if !c.contacts.fleet.lost {
		t.Error("a read that was not made was taken for contact")
	}
}

func TestByStream_BatchesOfOneStreamUpTo100(t *testing.T) {
	var entries []lua.Entry
	for range 150 {
		entries = append(entries, lua.Entry{Stream: stream})
	}
	entries = append(entries, lua.Entry{Stream: resume}, lua.Entry{Stream: stream})
	var sizes []int
	for _, b := range byStream(entries) {
		sizes = append(sizes, len(b))
	}
	if !cmp.Equal(sizes, []int{100, 50, 1, 1}) {
		t.Errorf("batches of %v, want 100 50 1 1", sizes)
	}
}

func TestHeld_ALaterClaimOfTheSameOperationStays(t *testing.T) {
	s := newHeld()
	var cause error
	fence := func(epoch lm.Epoch) *lm.Fence { return lm.NewFence("w", epoch, "t", "", lm.Claimed) }
	first := &hold{claim: lm.Claim{ID: "1-a", Fence: fence(1)}, cancel: func(err error) { cause = err }}
	second := &hold{claim: lm.Claim{ID: "1-a", Fence: fence(2)}, cancel: func(error) { t.Error("the later claim was cancelled") }}
	s.add(first)
	s.add(second)
	if !errors.Is(cause, lm.ErrFenced) {
		t.Errorf("the first claim ended with %v, want ErrFenced", cause)
	}
	s.remove(first)
	var r lua.Record
	r.ID, r.Owner, r.Epoch = "1-a", "w", 2
	if !s.has(r) || s.size() != 1 || len(s.all(1)) != 1 || len(s.all(0)) != 0 || len(s.all(-1)) != 1 {
		t.Error("removing the first claim took the second one away")
	}
	ended, end := context.WithCancel(ctx)
	end()
	s.awaitEmpty(ended)
	s.remove(second)
	s.awaitEmpty(ctx)
	if s.has(r) {
		t.Error("still held")
	}
	if once, twice := first.endOnce(ownEnd), first.endOnce(leakedEnd); !once || twice {
		t.Error("a claim is ended once")
	}
}

// TestReader_ExpectsLongEntriesWhereSomeCame: a stream whose last read brought own
// entries only is read in one go, until a foreign one comes or a reply is lost.
func TestReader_ExpectsLongEntriesWhereSomeCame(t *testing.T) {
	st, other := lua.Stream{Queue: "default"}, lua.Stream{Queue: "other"}
	own := lua.Entry{Stream: st, Fields: []string{"t", "0-a"}}
	foreign := lua.Entry{Stream: st, Fields: []string{"body", "1"}}
	r := &reader{}
	for i, row := range []struct {
		read []lua.Entry
		err  error
		want bool
	}{
		{nil, nil, false},
		{[]lua.Entry{own, own}, nil, true},
		{nil, nil, true},
		{[]lua.Entry{foreign, own, {Stream: other, Fields: own.Fields}, own}, nil, false},
		{[]lua.Entry{own}, nil, true},
		{[]lua.Entry{own, {Stream: st, Long: 1 << 20}}, nil, false},
		{[]lua.Entry{own}, nil, false}, // for a minute after a long one
	} {
		r.weigh(row.read, row.err)
		if got := r.expect([]lua.Share{{Stream: st}})[0].OwnOnly; got != row.want {
			t.Errorf("%d: own entries only: %v, want %v", i, got, row.want)
		}
	}
	if r.heavy = (time.Time{}); !r.expect([]lua.Share{{Stream: st}})[0].OwnOnly {
		t.Error("it never ends")
	}
	if r.weigh(nil, context.DeadlineExceeded); r.expect([]lua.Share{{Stream: st}})[0].OwnOnly != !lua.IsLost(context.DeadlineExceeded) {
		t.Error("a lost reply may have been a long one")
	}
}

// TestDoubts_AreBounded: of one partition no more than mostDoubts, none with a body.
func TestDoubts_AreBounded(t *testing.T) {
	var d doubts
	for i := range mostDoubts + 50 {
		d.add([]lua.Entry{{ID: "1-1", Fields: []string{"body", strings.Repeat("b", i)}}})
	}
	d.add([]lua.Entry{{ID: "1-1", Stream: lua.Stream{Partition: 1}, Fields: []string{"t", "1-a"}}})
	got := d.take(0)
	if len(got) != mostDoubts || len(d.take(0)) != 0 || len(d.take(1)) != 1 {
		t.Fatalf("%d are remembered, want %d", len(got), mostDoubts)
	}
	for _, e := range got {
		if _, own := e.Own(); !own {
			t.Fatalf("a body is remembered: %+v", e)
		}
	}
}
