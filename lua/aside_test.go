package lua

import (
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
