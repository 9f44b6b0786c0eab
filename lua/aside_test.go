package lua

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	lm "github.com/lighterman/lighterman"
)

// TestRetry_KeepsTheWay of the try that was set aside last, in fields that leave
// the trace a listpack, and no longer than they hold.
func TestRetry_KeepsTheWay(t *testing.T) {
	each(t, func(e *env) {
		note := "v12 chat: " + strings.Repeat("claude-a rate_limited, ", 4) + "日本 cooldown" // 115 bytes
		for _, tt := range []struct {
			name        string
			route, want []string
		}{
			{"one", []string{"v1 chat: a cooldown"}, []string{"v1 chat: a cooldown"}},
			{"the newest that fit", []string{strings.Repeat("old ", 9), note, "mid", note}, []string{note, "mid", note}},
			{"exactly", []string{"x", strings.Repeat("y", 100), strings.Repeat("z", 155)}, []string{strings.Repeat("y", 100), strings.Repeat("z", 155)}},
			{"a long one is cut", []string{"old", strings.Repeat("é", 200)}, []string{strings.Repeat("é", 128)}},
			{"not within a letter", []string{"x" + strings.Repeat("é", 200)}, []string{"x" + strings.Repeat("é", 127)}},
			{"no line is broken", []string{"a\nb\x00c"}, []string{"a b c"}},
			{"none forgets the last", nil, nil},
		} {
			c := e.claimedAgain("0-a")
			e.advance(c, lm.Gathering, lm.Inferring)
			must(e, e.s.Retry(ctx, c, Aside{Path: []lm.State{lm.Errored, lm.Retrying}, Delay: time.Hour, Reason: "chat: cold", Route: tt.route}))
			trace, err := e.s.Trace(ctx, "0-a")
			if err != nil || !slices.Equal(trace.Route, tt.want) {
				e.Errorf("%s: %q %v, want %q", tt.name, trace.Route, err, tt.want)
			}
			if e.kind != "miniredis" {
				if got := e.rdb.ObjectEncoding(ctx, e.s.keys.trace("0-a")).Val(); got != "listpack" {
					e.Errorf("%s: the trace is a %s", tt.name, got)
				}
			}
			before := e.snapshot()
			e.again()
			e.unchanged("a repeat", before)
		}
		if c := e.claimedAgain("0-a"); c.Request.Body == nil {
			e.Error("a claim with a way lost its request")
		}
	})
}

// claimedAgain claims an operation that is new or waits for a time.
func (e *env) claimedAgain(id lm.TraceID) lm.Claim {
	e.Helper()
	if e.trace(id)["state"] == "" {
		return e.claimed("w1", id)
	}
	e.rdb.ZAdd(ctx, e.s.keys.delayed(0), zAt(id, 1))
	if n, err := e.s.Promote(ctx, 0, []lm.TraceID{id}); err != nil || n != 1 {
		e.Fatalf("promote: %d %v", n, err)
	}
	return e.claimNext("w1")
}

// TestFinish_AFailureKeepsItsWay, though it has used nothing.
func TestFinish_AFailureKeepsItsWay(t *testing.T) {
	each(t, func(e *env) {
		c := e.in("w1", "0-a", lm.Inferring)
		end := failed(c)
		end.Result.Route = []string{"v2 chat: a rate_limited, b invalid_request"}
		must(e, e.s.Finish(ctx, c, end))
		r, err := e.s.Results(ctx, []lm.TraceID{"0-a"})
		if err != nil || !slices.Equal(r[0].Route, end.Result.Route) || r[0].Err.Kind != lm.ContentFiltered {
			e.Errorf("%+v %v", r, err)
		}
	})
}

// TestRetry_KeepsWhyTheNewestAttemptsEnded: of the last 5 that failed and of the last
// try that counted as none, each cut to one line of 200 bytes, in a trace that stays a
// listpack; the end of the operation keeps them.
func TestRetry_KeepsWhyTheNewestAttemptsEnded(t *testing.T) {
	each(t, func(e *env) {
		long := "provider: " + strings.Repeat("é", 200)
		aside := func(counted Counted, note string) {
			c := e.claimedAgain("0-a")
			e.advance(c, lm.Gathering, lm.Inferring)
			must(e, e.s.Retry(ctx, c, Aside{Path: []lm.State{lm.Errored, lm.Retrying}, Delay: time.Hour, Counted: counted, Reason: "x", Note: note}))
			before := e.snapshot()
			e.again()
			e.unchanged("a repeat", before)
		}
		aside(CountNothing, "parked before")
		for _, note := range []string{long, long, "provider: third", "provider: fourth\nline", "provider: fifth", "provider: sixth", "provider: seventh"} {
			aside(CountAttempt, note)
		}
		aside(CountNothing, "sim: cooldown")
		aside(CountNothing, "sim: cooldown again")
		want := []string{"3 true provider: third", "4 true provider: fourth line", "5 true provider: fifth", "6 true provider: sixth", "7 true provider: seventh", "8 false sim: cooldown again"}
		check := func(when string) {
			trace, err := e.s.Trace(ctx, "0-a")
			var got []string
			for _, n := range trace.Notes {
				if got = append(got, fmt.Sprintf("%d %t %s", n.Attempt, n.Counted, n.Text)); n.At.Before(trace.Created) || n.At.After(time.Now().Add(time.Minute)) {
					e.Errorf("%s: note %d at %s", when, n.Attempt, n.At)
				}
			}
			slices.Sort(got)
			if err != nil || !slices.Equal(got, want) {
				e.Errorf("%s: %q %v, want %q", when, got, err, want)
			}
		}
		check("while it waits")
		if e.kind != "miniredis" {
			if got := e.rdb.ObjectEncoding(ctx, e.s.keys.trace("0-a")).Val(); got != "listpack" {
				e.Errorf("the trace is a %s", got)
			}
		}
		c := e.claimedAgain("0-a")
		if len(c.Request.Meta) != 0 {
			e.Errorf("notes are no meta: %v", c.Request.Meta)
		}
		e.advance(c, lm.Gathering, lm.Inferring)
		must(e, e.s.Finish(ctx, c, succeeded(c)))
		check("when it has ended")

		e.enqueue("0-b")
		must(e, e.s.Retry(ctx, e.claimNext("w1"), Aside{Path: []lm.State{lm.Errored, lm.Retrying}, Delay: time.Hour, Counted: CountAttempt, Reason: "x", Note: long}))
		if trace, err := e.s.Trace(ctx, "0-b"); err != nil || len(trace.Notes) != 1 || trace.Notes[0].Text != "provider: "+strings.Repeat("é", 95) {
			e.Errorf("a long note: %+v %v", trace.Notes, err)
		}
	})
}
